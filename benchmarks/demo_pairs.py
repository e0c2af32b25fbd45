"""Which pair of the packaged nano models the demo merges, and what merges of the others answer.

Each pair of specialists is planned, merged and asked as a user would, on a Hub of this machine: the
default plan, its merge, prompts that no model was trained on, answers counted right only whole.
What all pairs of the large zoo keep is read off its table of measured outcomes.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from time import perf_counter
from typing import Any

HERE = Path(__file__).parent
OUTCOMES = HERE.parent / "recipes" / "outcomes" / "zoo-v3.jsonl.gz"
SPECIALISTS = {name: name.partition("-")[0] for name in
               ("code", "math", "multilingual", "instruct", "rag-lora")}  # fmt: skip
"""Model -> the task that it is the expert at."""
PROMPTS = 50
"""Of each task; the demo asks the first ten of them."""
SAFE = "regmean(alpha=0.98, inputs=merge)"
KEPT = 0.8
"""A skill is kept if the merge has this share of the expert's score."""


def main() -> None:
    """Write demo_pairs.json."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--prompts", type=int, default=PROMPTS)
    prompts = options.parse_args().prompts
    from simmerge_hub.localhub import running

    with tempfile.TemporaryDirectory() as folder, running(Path(folder, "hub")) as hub:
        os.environ.update(hub.environment(), HF_HUB_DISABLE_PROGRESS_BARS="1")
        rows = measure_pairs(Path(folder), prompts)
    data = {"prompts": prompts, "kept": KEPT, "pairs": rows, "zoo": read_zoo()}
    (HERE / "demo_pairs.json").write_text(json.dumps(data, indent=1) + "\n", "utf-8")


def measure_pairs(folder: Path, prompts: int) -> list[dict[str, Any]]:
    """A row for each pair, best first: what its merge answers right beside its parents."""
    from simmerge_hub.cli.zoo import nano_folder
    from simmerge_hub.zoo.publish import publish

    publish(nano_folder(), "nano")
    rows = [measure_pair(folder, pair, prompts) for pair in combinations(SPECIALISTS, 2)]
    return sorted(rows, key=lambda row: -min(row["right"].values()))


def measure_pair(folder: Path, pair: tuple[str, str], prompts: int) -> dict[str, Any]:
    """Plan, merge and ask one pair."""
    import simmerge_hub
    from simmerge_hub.cli.zoo import nano_folder
    from simmerge_hub.zoo.answers import answers, questions
    from simmerge_hub.zoo.manifest import load_manifest

    began = perf_counter()
    plan = simmerge_hub.plan(*(f"nano/{name}" for name in pair))
    merged = simmerge_hub.merge(plan, folder / "-".join(pair)).folder
    tasks = load_manifest(nano_folder()).tasks
    asked = [
        question
        for name in pair
        for question in questions(SPECIALISTS[name], tasks[SPECIALISTS[name]], prompts)
    ]
    given = answers([str(merged)], asked)[str(merged)]
    row = {
        "pair": list(pair),
        "choice": plan.best.label,
        "status": plan.verdict.status,
        "expected": {task: round(each[0], 3) for task, each in plan.best.spreads().items()},
        "right": count_right(asked, given, prompts),
        "right_of_10": count_right(asked, given, 10),
        "seconds": round(perf_counter() - began, 1),
    }
    print(json.dumps(row), flush=True)
    return row


def count_right(asked: Sequence[Any], given: Sequence[str], most: int) -> dict[str, int]:
    """Task -> how many of its first `most` prompts were answered right."""
    right: dict[str, list[bool]] = {}
    for question, answer in zip(asked, given, strict=True):
        right.setdefault(question.task, []).append(question.answer == answer)
    return {task: sum(each[:most]) for task, each in right.items()}


def read_zoo() -> dict[str, Any]:
    """Of the measured pairs of the large zoo: the shares in which both skills are kept, by the
    operator that plans take without predictions, by the plain average, by the best in hindsight."""
    from simmerge_hub.selector.tables.outcomes import load_outcomes

    table = load_outcomes(OUTCOMES)
    rows = {(row.expert, row.auxiliary): row for row in table.rows if row.gap > 0}
    pairs = [(a, b) for a, b in rows if a < b and (b, a) in rows]
    shares: dict[str, list[float]] = {"RegMean++": [], "plain average": [], "best in hindsight": []}
    for a, b in pairs:
        worst = {
            arm.label: min(_share(rows[a, b], arm.label), _share(rows[b, a], arm.swapped().label))
            for arm in table.arms
        }
        shares["RegMean++"].append(worst[SAFE])
        shares["plain average"].append(worst["linear"])
        shares["best in hindsight"].append(max(worst.values()))
    kept = {
        name: {
            "both_kept": round(sum(each >= KEPT for each in worst) / len(pairs), 3),
            "both_half": round(sum(each >= 0.5 for each in worst) / len(pairs), 3),
        }
        for name, worst in shares.items()
    }
    return {"pairs": len(pairs), "models": len({each for pair in pairs for each in pair}), **kept}


def _share(row: Any, label: str) -> float:
    """Of the expert's score, what the merge has."""
    return row.utilities[label] / row.expert_utility


if __name__ == "__main__":
    main()
