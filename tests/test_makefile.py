"""`make bench` runs what it says: every benchmark but those the Makefile names."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_bench_runs_every_script_or_says_why_not() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    recipe = makefile.partition("\nbench:")[2].partition("\n\n")[0]
    run = set(re.findall(r"benchmarks/(\w+\.py)", recipe))
    left_out = makefile.partition("\n# Not here:")[2].partition("\nbench:")[0]
    named = set(re.findall(r"(\w+\.py)", left_out))
    scripts = {
        p.name for p in (ROOT / "benchmarks").glob("*.py") if '"__main__"' in p.read_text("utf-8")
    }
    assert run | named == scripts
    assert not run & named
