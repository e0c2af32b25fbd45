"""What merges that see activations are worth beside those that see weights alone, on nano models.

    python benchmarks/activations.py                  # seconds

Reads the committed outcomes of the zoo, measured with both kinds of arms. A case is a pair of
models, each of which is the expert for a task that the other cannot do: the gap that a merge closes
is averaged over both tasks. Nothing is predicted: *best fixed* is the arm with the highest mean,
*oracle* the best arm of each case, both in hindsight. Intervals resample models. Writes
benchmarks/activations.json.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from simmerge_hub.operators import ARMS, FED_ARMS, Arm
from simmerge_hub.selector.models.resampling import resample, spread
from simmerge_hub.selector.tables.outcomes import SMALLEST_GAP, Outcome, gap_closed, load_outcomes

HERE = Path(__file__).parent
TABLE = HERE.parent / "recipes" / "outcomes" / "zoo-v3.jsonl.gz"
SEED = 0
Pair = tuple[str, str]
Gains = Mapping[str, float]
"""Label of an arm -> the gap it closes, mean of both tasks."""


def _alike(arms: Sequence[Arm]) -> tuple[Arm, ...]:
    return tuple(arm for arm in arms if arm == arm.swapped())


SETS = {
    "weights alone, equal": _alike(ARMS),
    "weights alone": ARMS,
    "activations, equal": _alike(FED_ARMS),
    "activations": FED_ARMS,
    "all": (*ARMS, *FED_ARMS),
}


def main() -> None:
    """Measure, write the JSON, print what is best."""
    outcomes = load_outcomes(TABLE)
    regimes = {name: name for name in sorted({row.regime for row in outcomes.rows})}
    found = {
        name: _judge(_cases([row for row in outcomes.rows if row.regime.startswith(prefix)]))
        for name, prefix in ({"pooled": ""} | regimes).items()
    }
    (HERE / "activations.json").write_text(json.dumps(found, indent=1) + "\n")
    for name, table in found["pooled"]["sets"].items():
        print(name, table)


def _cases(rows: Sequence[Outcome]) -> dict[Pair, Gains]:
    """Pair -> gains, of pairs that are apart on both tasks; arms as seen from the first by name."""
    swapped = {arm.label: arm.swapped().label for arm in SETS["all"]}
    cases: dict[Pair, list[Gains]] = {}
    for row in rows:
        if row.gap >= SMALLEST_GAP:
            first, second = sorted((row.expert, row.auxiliary))
            own = {a: a if row.expert == first else swapped[a] for a in swapped}
            gains = {a: gap_closed(row, row.utilities[label]) for a, label in own.items()}
            cases.setdefault((first, second), []).append(gains)
    return {
        pair: {a: fmean(each[a] for each in both) for a in both[0]}
        for pair, both in cases.items()
        if len(both) == 2
    }


def _judge(cases: Mapping[Pair, Gains]) -> dict[str, Any]:
    weights = resample([a for a, _ in cases], [b for _, b in cases], SEED)

    def mean(values: Sequence[float]) -> dict[str, float]:
        return {k: round(v, 4) for k, v in spread(np.array(values), weights).items()}

    arms = {a.label: mean([case[a.label] for case in cases.values()]) for a in SETS["all"]}
    sets = {}
    for name, members in SETS.items():
        labels = [arm.label for arm in members]
        best = max(labels, key=lambda label: arms[label]["mean"])
        oracle = mean([max(case[label] for label in labels) for case in cases.values()])
        sets[name] = {"best fixed": best, "gap closed": arms[best], "oracle": oracle}
    return {
        "cases": len(cases),
        "models": len({model for pair in cases for model in pair}),
        "arms": arms,
        "sets": sets,
    }


if __name__ == "__main__":
    main()
