"""What arms that treat both models alike reach on pairs of real language models.

    python benchmarks/real_pairs.py     # a moment

Reads the outcomes of the zoo of Gemma 3 270M as far as they are measured and writes the table in
the package that a plan rests on where no held-out pair is as far from training
(`selector/predictor/measured/real_pairs.json`): by arm, the mean share of the gap closed over both
tasks of a pair. Beside it, what such a plan quotes of another family (`another_family.json`).

And benchmarks/real_pairs.json: all arms, with intervals over models, how often each loses a skill,
what it gains over equal Linear, and the oracle; the same of zoos by which nothing was chosen, with
the arm that the package's table says is safe there (`taken`): a second build of the first
(`again`), and specialists of another family's model, SmolLM2 135M (`family`).
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from selection import SEED, SETS, TABLES, round_all

from simmerge_hub.selector.models.resampling import resample, spread
from simmerge_hub.selector.predictor.measured.pairs import ANOTHER_FAMILY, REAL_PAIRS, read
from simmerge_hub.selector.tables.outcomes import (
    SMALLEST_GAP,
    Outcome,
    Outcomes,
    gap_closed,
    load_outcomes,
)

HERE = Path(__file__).parent
ZOOS = {"first": "zoo-real", "again": "zoo-real-2", "family": "zoo-smollm"}
LOST = 0.5
"""Of less than this share of its gap a skill counts as lost."""


def main() -> None:
    """Write the tables."""
    zoos = {key: load_outcomes(TABLES / f"{name}.jsonl.gz") for key, name in ZOOS.items()}
    found = {key: judge(outcomes) for key, outcomes in zoos.items()}
    for path, key, model in (
        (REAL_PAIRS, "first", "a 270 M language model"),
        (ANOTHER_FAMILY, "family", "SmolLM2 135M, another family's model"),
    ):
        (parameters,) = zoos[key].provenance["parameters"].values()
        arms = found[key]["arms"]
        alike = [arm.label for arm in SETS["all"] if arm == arm.swapped() and arm.label in arms]
        package = {
            "of": f"pairs of specialists of {model}",
            "origin": f"recipes/outcomes/{ZOOS[key]}.jsonl.gz, exams of 96 prompts, mean over both "
            "tasks",
            "parameters": parameters,
            "pairs": found[key]["pairs"],
            "gains": {label: arms[label]["mean"] for label in alike},
        }
        write(path, package)
    safe = read()
    taken = {name: safe.best([arm.label for arm in SETS[name]]) for name in ("all", "weights")}
    unseen = {key: found[key] | {"taken": taken} for key in ("again", "family")}
    write(HERE / "real_pairs.json", found["first"] | unseen)


def judge(outcomes: Outcomes) -> dict[str, Any]:
    """Every arm over the pairs of which both tasks can be judged: its mean, and what it loses."""
    pairs: dict[frozenset[str], dict[str, Outcome]] = {}
    for row in outcomes.rows:
        if row.gap >= SMALLEST_GAP:
            pairs.setdefault(frozenset((row.expert, row.auxiliary)), {})[row.expert] = row
    both = [sorted(rows.items()) for rows in pairs.values() if len(rows) == 2]
    measured = [arm for arm in SETS["all"] if arm in outcomes.arms]
    gains = np.array([[tasks(one, two, arm) for arm in measured] for (_, one), (_, two) in both])
    means, worst = gains.mean(axis=2), gains.min(axis=2)
    weights = resample([one for (one, _), _ in both], [two for _, (two, _) in both], SEED)
    over = means - means[:, [[arm.label for arm in measured].index("linear")]]
    return {
        "pairs": len(both),
        "models": len({name for pair in both for name, _ in pair}),
        "arms": {
            arm.label: spread(means[:, i], weights)
            | {
                "lost": float((worst[:, i] < LOST).mean()),
                "over linear": spread(over[:, i], weights),
            }
            for i, arm in enumerate(measured)
        },
        "oracle": spread(means.max(axis=1), weights),
    }


def tasks(one: Outcome, two: Outcome, arm: Any) -> tuple[float, float]:
    """The shares of both gaps that an arm closes; its weights are the first model's first."""
    return (
        gap_closed(one, one.utilities[arm.label]),
        gap_closed(two, two.utilities[arm.swapped().label]),
    )


def write(path: Path, report: dict[str, Any]) -> None:
    """As JSON, numbers to four places."""
    path.write_text(json.dumps(round_all(report), indent=1) + "\n")


if __name__ == "__main__":
    main()
