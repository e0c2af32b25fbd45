"""The notebook runs from top to bottom in a process of its own, and holds nothing that was run."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs/tutorial/first-merge.ipynb"
RUN = """
import ast, sys

def show(value):
    shown = value._repr_html_() if hasattr(value, "_repr_html_") else repr(value)
    print("OUT", shown)

names = {"__name__": "__main__", "show": show}
for source in sys.stdin.read().split("\\0"):
    exec(compile(source, "<cell>", "exec"), names)
"""


def cells(kind: str) -> list[dict[str, Any]]:
    """The cells of a kind, in order."""
    notebook = json.loads(NOTEBOOK.read_text("utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def as_run(source: str) -> str:
    """A cell whose last expression is shown, as notebooks show it."""
    tree = ast.parse(source)
    if isinstance(tree.body[-1], ast.Expr):
        last = ast.unparse(tree.body.pop())
        return f"{ast.unparse(tree)}\nshow({last})"
    return source


def test_it_holds_no_output() -> None:
    every = [*cells("code"), *cells("markdown")]
    assert len({cell["id"] for cell in every}) == len(every)
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells("code"))
    assert "".join(cells("markdown")[0]["source"]).count("Colab") >= 2


def test_it_runs(tmp_path: Path) -> None:
    sources = [as_run("".join(cell["source"])) for cell in cells("code")]
    kept = {n: v for n, v in os.environ.items() if not n.startswith("HF_")}
    seen = subprocess.run(
        [sys.executable, "-c", RUN],
        input="\0".join(sources),
        env=kept | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert seen.returncode == 0, seen.stderr
    assert "<div><p" in seen.stdout and "Merge math + multilingual." in seen.stdout
    assert "model.safetensors" in seen.stdout
    right = ast.literal_eval(seen.stdout.partition("OUT {")[2].join(["{", ""]).partition("\n")[0])
    for own, other in (("math", "multilingual"), ("multilingual", "math")):
        assert right[own, own] >= right["merged", own] > right[other, own]
    assert "/nano/math-multilingual" in seen.stdout
    assert not list(tmp_path.glob("simmerge-notebook-*"))
