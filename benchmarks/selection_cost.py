"""Seconds to plan beside seconds to merge and evaluate every candidate.

    python benchmarks/selection_cost.py                   # nano models, two minutes
    python benchmarks/selection_cost.py --large FOLDER    # and the 1.1 B models of synthetic.py

*Cached* is a plan of models that were signed before, *signed* one that signs both models and their
base first. Beside it, what one does without a predictor: merge with each of the arms a plan chooses
between, load each merge and let it do both tasks' evaluation prompts. Everything runs in this
process, imports aside. Writes benchmarks/selection_cost.json.
"""

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from simmerge_hub import Plan, Recipe, Sources, Tasks, plan
from simmerge_hub.merger import merge
from simmerge_hub.operators import BALANCED, Arm
from simmerge_hub.zoo.evaluation import evaluate, exam
from simmerge_hub.zoo.tasks import task

HERE = Path(__file__).parent
NANO = HERE.parent / "simmerge_hub" / "zoo" / "nano"
PROMPTS = 100
"""Evaluation prompts of each task."""


def main() -> None:
    """Measure, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--large", type=Path, help="a folder with base, a and b of 1.1 B")
    options = parser.parse_args()
    file = HERE / "selection_cost.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    with tempfile.TemporaryDirectory(prefix="selection-cost-") as folder:
        os.environ["HF_HOME"] = folder
        found["nano"] = nano(Path(folder))
        if options.large:
            found["1.1B"] = large(options.large, Path(folder))
    file.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    print(json.dumps(found, indent=1))


def nano(work: Path) -> dict[str, Any]:
    """The packaged code and math specialists, with probes, through the public verbs."""
    manifest = json.loads((NANO / "manifest.json").read_text())
    exams = [exam(task(*manifest["tasks"][t].split("/")), PROMPTS) for t in ("code", "math")]

    def planned() -> Plan:
        return plan(
            *(str(NANO / name) for name in ("code", "math")),
            base=str(NANO / "base"),
            tasks=Tasks(
                experts={"code": "code", "math": "math"},
                probes={t: str(NANO / "probes" / f"{t}.jsonl") for t in ("code", "math")},
            ),
        )

    return compared(planned, work, lambda model: [evaluate(model, one) for one in exams])


def large(folder: Path, work: Path) -> dict[str, Any]:
    """Random models of 1.1 B, by structure alone; one evaluation is run, and counts for each."""

    def planned() -> Plan:
        return plan(
            *(str(folder / name) for name in ("a", "b")),
            base=str(folder / "base"),
            tasks=Tasks(experts={"code": "a", "math": "b"}),
            sources=Sources(signals="structural"),
        )

    ids = torch.zeros(PROMPTS, 64, dtype=torch.int64)

    def evaluated(model: Any) -> None:
        with torch.inference_mode():
            for start in range(0, 2 * PROMPTS, 20):
                model(input_ids=ids[start % PROMPTS :][:20], use_cache=False)

    return compared(planned, work, evaluated, evaluations=1)


def compared(
    planned: Callable[[], Plan],
    work: Path,
    evaluated: Callable[[Any], Any],
    evaluations: int = len(BALANCED),
) -> dict[str, Any]:
    """Plan unsigned and signed, then merge with every arm and evaluate so many of the merges."""
    shutil.rmtree(work / "assets", ignore_errors=True)
    signing, first = timed(planned)
    cached = min(timed(planned)[0] for _ in range(5))
    merging, testing, target = [], [], work / "merged"
    for number, arm in enumerate(BALANCED):
        merging.append(timed(partial(merge, recipe(first, arm), target))[0])
        if number < evaluations:
            testing.append(timed(lambda: evaluated(loaded(target)))[0])
        shutil.rmtree(target)
    alone = sum(merging) + sum(testing) / len(testing) * len(BALANCED)
    return {
        "arms": len(BALANCED),
        "plan_cached_seconds": round(cached, 3),
        "plan_signing_seconds": round(signing, 3),
        "merge_seconds": round(sum(merging), 2),
        "evaluate_seconds": round(alone - sum(merging), 2),
        "evaluations_run": len(testing),
        "times_cheaper_cached": round(alone / cached, 1),
        "times_cheaper_signing": round(alone / signing, 1),
    }


def recipe(of: Plan, arm: Arm) -> Recipe:
    """The plan's recipe with another arm."""
    (step,) = of.recipe.steps
    return replace(
        of.recipe, steps=(replace(step, operator=arm.operator, parameters=arm.parameters),)
    )


def loaded(folder: Path) -> Any:
    """The merge as a user would load it to evaluate."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and what came of it."""
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


if __name__ == "__main__":
    main()
