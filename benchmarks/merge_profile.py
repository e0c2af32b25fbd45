"""Where the time of a merge goes: nanoseconds of one core an entry of the output, stage by stage.

    python benchmarks/merge_profile.py --work FOLDER    # the models of merge_vs_mergekit.py

Merges the synthetic 1.1 B models in process, on one thread and on two, with the functions that
read, decode, check, measure, combine, round, write and hash replaced by ones that take their own
time and give it to their stage; a stage called from another counts for itself alone. What is left
over ("between") is Python, waiting for the interpreter's lock, and what no stage covers. Start-up
is measured apart, as the time of commands that do less and less. Writes
benchmarks/merge_profile.json, which says what bounds the numbers of merge_vs_mergekit.json.
"""

import argparse
import json
import shutil
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import merge_vs_mergekit as whole

from simmerge_hub import operators
from simmerge_hub.hub.files import hashes
from simmerge_hub.merger import compute, run
from simmerge_hub.recipe import Recipe
from simmerge_hub.recipe.load import load
from simmerge_hub.weights import stream
from simmerge_hub.weights.writing import shards

HERE = Path(__file__).parent
STAGES: dict[str, list[tuple[Any, str]]] = {
    "hash the folders": [(hashes, "_hash_now")],
    "read": [(stream, "_read_all")],
    "bfloat16 to float32": [(stream, "decoded")],
    "look for NaN and Inf": [(compute, "finite"), (run, "finite")],
    "deltas": [(compute._Application, "_chunk")],
    "statistics": [(operators, "measure")],
    "combine": [(operators, "combine")],
    "round to bfloat16": [(run, "_write_merged")],
    "write": [(shards, "_pwrite")],
}
STARTS = {
    "the interpreter": "pass",
    "and torch": "import torch",
    "and the merger": "import torch, simmerge_hub.merger.run",
}


class Clock:
    """Adds up the time of each stage without that of the stages it calls, over all threads."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._lock, self._own = threading.Lock(), threading.local()

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, which also counts for its stage."""

        def call(*args: Any, **kwargs: Any) -> Any:
            outer, self._own.inner = getattr(self._own, "inner", 0.0), 0.0
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                spent = time.perf_counter() - began
                with self._lock:
                    self.seconds[stage] += spent - self._own.inner
                self._own.inner = outer + spent

        return call


@contextmanager
def clocked() -> Iterator[Clock]:
    """A clock that runs in all stages."""
    clock = Clock()
    with ExitStack() as stack:
        for stage, places in STAGES.items():
            for owner, name in places:
                timed = clock.timed(stage, getattr(owner, name))
                stack.enter_context(patch.object(owner, name, timed))
        yield clock


def main() -> None:
    """Profile every operator of merge_vs_mergekit.py and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", required=True, help="where the models are, or are made")
    work = Path(parser.parse_args().work)
    work.mkdir(parents=True, exist_ok=True)
    models = [whole.synthetic(work / name, seed) for seed, name in enumerate(("base", "a", "b"))]
    found: dict[str, Any] = {"machine": whole.machine(), "start-up": startup(), "operators": {}}
    for name in whole.METHODS:
        recipe = load(whole.recipe_of(work, models, name))[0]
        found["operators"][name] = {
            f"{threads} threads": profiled(work, recipe, threads) for threads in (1, 2)
        }
        print(name, json.dumps(found["operators"][name], indent=1), flush=True)
    (HERE / "merge_profile.json").write_text(json.dumps(found, indent=2) + "\n")


def startup() -> dict[str, float]:
    """Seconds of the quickest of five runs of each beginning of a command."""

    def once(code: str) -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - began

    return {name: round(min(once(code) for _ in range(5)), 2) for name, code in STARTS.items()}


def profiled(work: Path, recipe: Recipe, threads: int) -> dict[str, float]:
    """One merge: its wall seconds, and nanoseconds of one core an entry for each stage."""
    shutil.rmtree(work / "out-profile", ignore_errors=True)
    whole.settle(work)
    hashes._hash.cache_clear()
    with clocked() as clock, patch.object(hashes, "REMEMBERED", 2**63):
        began = time.perf_counter()
        report = run.merge(recipe, work / "out-profile", threads=threads, durable=False)
        wall = time.perf_counter() - began
    shutil.rmtree(work / "out-profile")
    entries = report.size / 2
    stages = {stage: clock.seconds[stage] * 1e9 / entries for stage in STAGES}
    stages["between"] = wall * threads * 1e9 / entries - sum(stages.values())
    return {"seconds": round(wall, 2)} | {stage: round(ns, 2) for stage, ns in stages.items()}


if __name__ == "__main__":
    main()
