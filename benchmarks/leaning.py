"""Whether a mean should weigh more the model that moved less from the base.

    python benchmarks/leaning.py     # a moment

Equal Linear gives each model half of its delta, and half of a short one may be too little. Of every
pair whose two tasks can be judged, Linear is taken with 0.7 for the model whose delta is shorter by
more than a ratio, and with equal weights else. The ratio is the best on the first build of the real
zoo, and was chosen with the nano zoos and 18 pairs of the second build in view; the last pairs were
measured after it was chosen, Linear alone, at five weights. Writes benchmarks/leaning.json.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from selection import SEED, TABLES, round_all

from simmerge_hub.selector.models.resampling import resample, spread
from simmerge_hub.selector.tables.features import load_features
from simmerge_hub.selector.tables.outcomes import (
    SMALLEST_GAP,
    Outcome,
    gap_closed,
    load_outcomes,
)
from simmerge_hub.selector.tables.rows import Floats

HERE = Path(__file__).parent
ZOOS = {
    "zoo-real": "zoo-real", "zoo-v3": "zoo-v3", "zoo-v2": "zoo-v2", "zoo-more": "zoo-more",
    "zoo-real-2": "zoo-real-2", "zoo-real-2-linear": "zoo-real-2",
}  # fmt: skip
"""Table of outcomes -> that of features; the first is what the ratio was chosen on."""
MOVED = "delta_log_ratio.all"
"""The feature that says how much farther the expert moved from the base than the auxiliary."""
ARMS = ("linear(weights=0.7/0.3)", "linear", "linear(weights=0.3/0.7)")
RATIO = 0.6
"""In the middle of the ratios that are as good as each other on the first build."""
RATIOS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)
LOST = 0.5
"""Of less than this share of its gap a skill counts as lost."""


def main() -> None:
    """Every zoo, and the ratios on the first."""
    found: dict[str, Any] = {"ratio": RATIO, "zoos": {zoo: judge(zoo, RATIO) for zoo in ZOOS}}
    found["ratios"] = {
        str(ratio): judge(next(iter(ZOOS)), ratio)["leaning"]["mean"] for ratio in RATIOS
    }
    path = HERE / "leaning.json"
    path.write_text(json.dumps(round_all(found), indent=1) + "\n")
    print(path)


def judge(zoo: str, ratio: float) -> dict[str, Any]:
    """Equal and leaning Linear over a zoo's pairs, and the one over the other."""
    pairs = read_pairs(zoo)
    equal = np.array([gains[1] for _, _, _, gains in pairs])
    lean = np.array([take(moved, gains, ratio) for _, _, moved, gains in pairs])
    weights = resample([one for one, *_ in pairs], [two for _, two, *_ in pairs], SEED)
    return {
        "pairs": len(pairs),
        "equal": spread(equal.mean(axis=1), weights)
        | {"lost": float((equal.min(axis=1) < LOST).mean())},
        "leaning": spread(lean.mean(axis=1), weights)
        | {"lost": float((lean.min(axis=1) < LOST).mean())},
        "over": spread((lean - equal).mean(axis=1), weights),
        "leaned": float(np.mean([abs(moved) > -math.log(ratio) for _, _, moved, _ in pairs])),
    }


def read_pairs(zoo: str) -> list[tuple[str, str, float, Floats]]:
    """The pairs of which both tasks can be judged: both names, ln of the ratio of their deltas,
    [3 arms, 2 tasks] shares of the gaps closed."""
    features = load_features(TABLES / f"{ZOOS[zoo]}-features.jsonl.gz")
    place = features.names.index(MOVED)
    pairs: dict[frozenset[str], dict[str, Outcome]] = {}
    for row in load_outcomes(TABLES / f"{zoo}.jsonl.gz").rows:
        if row.gap >= SMALLEST_GAP and row.key in features.rows:
            pairs.setdefault(frozenset((row.expert, row.auxiliary)), {})[row.expert] = row
    both = [sorted(rows.items()) for rows in pairs.values() if len(rows) == 2]
    return [
        (one.expert, two.expert, float(features.rows[one.key][place]), gains_of(one, two))
        for (_, one), (_, two) in both
    ]


def gains_of(one: Outcome, two: Outcome) -> Floats:
    """[arms, tasks]; an arm's weights are the first model's first."""
    return np.array(
        [
            (gap_closed(one, one.utilities[arm]), gap_closed(two, two.utilities[turned]))
            for arm, turned in zip(ARMS, ARMS[::-1], strict=True)
        ]
    )


def take(moved: float, gains: Floats, ratio: float) -> Floats:
    """[tasks] of the arm that the rule takes; with a ratio of 1 it always leans."""
    return gains[1 if abs(moved) < -math.log(ratio) else 0 if moved < 0 else 2]


if __name__ == "__main__":
    main()
