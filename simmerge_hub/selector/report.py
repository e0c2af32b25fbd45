"""What a predictor is worth on models it has not seen, beside everything simpler.

All numbers come from held-out predictions: neither model of a row was in the rows that made the
prediction, or that chose the best fixed arm it is compared with. Spread comes from resampling
*models*, because a few models make all the pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from simmerge_hub.operators import PAPER_ARMS
from simmerge_hub.selector.availability import PATTERNS, spell
from simmerge_hub.selector.baselines import BASELINES
from simmerge_hub.selector.conformal import calibrate, choose, usable_arms
from simmerge_hub.selector.predictor import TIE
from simmerge_hub.selector.rows import Floats, Places, Rows, Split, apart

RESAMPLES = 1000
LEAST_HEADROOM = 0.005
"""Where best fixed and oracle are nearer than this, there is nothing to capture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Predictions for n rows, each made without either of the row's models.

    Args:
        rows: the n rows.
        splits: what was trained on and tested, as places in `rows`.
        predicted: [patterns, n, arms], with the families of each pattern hidden.
        shuffled: [n, arms], by heads trained and asked with other rows' features.
        trees: the number of trees chosen inside each split.
    """

    rows: Rows
    splits: tuple[Split, ...]
    predicted: Floats
    shuffled: Floats
    trees: tuple[int, ...]


def report(held: HeldOut, *, seed: int, alpha: float) -> dict[str, Any]:
    """The report as plain data, every number rounded to four places.

    `sets` holds one table per set of arms (`all` and, where measured, the paper's three): mean
    share of the gap closed of every strategy with its 95 % interval, pooled and by regime;
    `coverage` what share of outcomes the intervals hold.
    """
    rows = held.rows
    weights = _resampled(rows, seed)
    paper = {a.label for a in PAPER_ARMS}
    sets = {"all": list(range(len(rows.arms)))}
    columns = [i for i, a in enumerate(rows.arms) if a.label in paper]
    if 1 < len(columns) < len(rows.arms):
        sets["paper"] = columns
    found = {
        "rows": len(rows),
        "models": len(rows.models),
        "regimes": _counts(rows.regimes),
        "splits": len(held.splits),
        "trees": sorted(held.trees),
        "base closes": float(rows.base_gains.mean()),
        "sets": {name: _table(held, chosen, weights) for name, chosen in sets.items()},
        "coverage": _coverage(held, alpha, weights),
    }
    return _rounded(found)


def _table(held: HeldOut, columns: Sequence[int], weights: Floats) -> dict[str, Any]:
    """Every strategy's result with the arms at `columns`."""
    rows, predicted = held.rows.only(columns), held.predicted[0][:, columns]
    achieved = _strategies(rows, held.splits, predicted, held.shuffled[:, columns])
    top = achieved.get("oracle by halves", achieved["oracle"])
    best, mine = achieved["best fixed"], achieved["xgboost"]
    gaps = top.mean() - best.mean()
    return {
        "arms": [a.label for a in rows.arms],
        "strategies": {name: _spread(gains, weights) for name, gains in achieved.items()},
        "regimes": {
            regime: {name: float(gains[inside].mean()) for name, gains in achieved.items()}
            for regime in sorted(set(rows.regimes))
            for inside in [np.array(rows.regimes) == regime]
        },
        "over best fixed": _spread(mine - best, weights),
        "headroom": float(gaps),
        "headroom captured": _ratio(mine - best, top - best, weights),
        "regret": _spread(achieved["oracle"] - mine, weights),
        "tie share": float(_tied(rows.gains, np.sort(rows.gains, axis=1)[:, -2])),
        "right or tied": float(_tied(rows.gains, mine)),
        "advantage r2": _advantage(predicted, rows.gains),
    }


def _strategies(
    rows: Rows, parts: Sequence[Split], predicted: Floats, shuffled: Floats
) -> dict[str, Floats]:
    """Name -> [n], the share of the gap closed by what each strategy chooses."""
    achieved = {"random": rows.gains.mean(axis=1)}
    achieved |= {f"always {a.label}": rows.gains[:, i] for i, a in enumerate(rows.arms)}
    for name, baseline in BASELINES.items():
        scores = np.empty_like(rows.gains)
        for part in parts:
            scores[part.test] = baseline(rows.take(part.train), rows.take(part.test))
        achieved[name] = _gained(rows.gains, scores)
    achieved["xgboost"] = _gained(rows.gains, predicted)
    achieved["xgboost, shuffled features"] = _gained(rows.gains, shuffled)
    if np.isfinite(rows.halves).all():
        even, odd = rows.halves[..., 0], rows.halves[..., 1]
        achieved["oracle by halves"] = (_gained(odd, even) + _gained(even, odd)) / 2
    achieved["oracle"] = rows.gains.max(axis=1)
    return achieved


def _coverage(held: HeldOut, alpha: float, weights: Floats) -> dict[str, Any]:
    """Per pattern: intervals from the rows that share no model with a row, tried on that row."""
    found = {}
    for pattern, predicted in zip(PATTERNS, held.predicted, strict=True):
        usable = usable_arms(held.rows.arms, pattern)
        if usable.any() and np.isfinite(predicted).all():
            found[spell(pattern)] = _held(held.rows, predicted, usable, alpha, weights)
    return found


def _held(
    rows: Rows, predicted: Floats, usable: np.ndarray, alpha: float, weights: Floats
) -> dict[str, Any]:
    residuals, best = np.abs(predicted - rows.gains), choose(predicted, usable)
    arms, chosen, width = np.zeros(len(rows)), np.zeros(len(rows)), np.zeros(len(rows))
    for places, others in apart(rows):
        radii = calibrate(predicted[others], rows.gains[others], usable, alpha)
        arms[places] = (residuals[places] <= radii.arms).mean(axis=1)
        chosen[places] = residuals[places, best[places]] <= radii.chosen
        width[places] = 2 * radii.chosen
    return {
        "arms": _spread(arms, weights),
        "chosen": _spread(chosen, weights),
        "width": float(width.mean()),
    }


def _gained(gains: Floats, scores: Floats) -> Floats:
    return np.take_along_axis(gains, scores.argmax(axis=1)[:, None], axis=1)[:, 0]


def _advantage(predicted: Floats, gains: Floats) -> float:
    """R² after taking from each row its mean over arms: what is known about *which* arm."""
    truth = gains - gains.mean(axis=1, keepdims=True)
    error = predicted - predicted.mean(axis=1, keepdims=True) - truth
    return float(1 - np.square(error).sum() / max(np.square(truth).sum(), 1e-12))


def _tied(gains: Floats, reached: Floats) -> float:
    """The share of rows in which `reached` [n] is within 0.02 of the best arm."""
    return float((gains.max(axis=1) - reached <= TIE).mean())


def _resampled(rows: Rows, seed: int) -> Floats:
    """[resamples, n]: how often each row occurs when the models are drawn with replacement."""
    models = {name: place for place, name in enumerate(rows.models)}
    random = np.random.default_rng(seed)
    drawn = random.multinomial(len(models), [1 / len(models)] * len(models), RESAMPLES)
    experts: Places = np.array([models[name] for name in rows.experts])
    auxiliaries: Places = np.array([models[name] for name in rows.auxiliaries])
    counts = (drawn[:, experts] * drawn[:, auxiliaries]).astype(np.float64)
    return counts[counts.sum(axis=1) > 0]


def _spread(values: Floats, weights: Floats) -> dict[str, float]:
    means = weights @ values / weights.sum(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return {"mean": float(values.mean()), "low": float(low), "high": float(high)}


def _ratio(part: Floats, whole: Floats, weights: Floats) -> dict[str, float] | None:
    if whole.mean() < LEAST_HEADROOM:
        return None
    wholes = weights @ whole
    enough = wholes > LEAST_HEADROOM * weights.sum(axis=1)
    low, high = np.quantile((weights @ part)[enough] / wholes[enough], (0.025, 0.975))
    return {"mean": float(part.mean() / whole.mean()), "low": float(low), "high": float(high)}


def _counts(names: Sequence[str]) -> dict[str, int]:
    return {name: names.count(name) for name in sorted(set(names))}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return round(value, 4) if isinstance(value, float) else value
