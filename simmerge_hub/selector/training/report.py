"""What a predictor is worth on models it has not seen, beside everything simpler.

All numbers come from held-out predictions: neither model of a row was in the rows that made the
prediction, or that chose the best fixed arm it is compared with. Spread comes from resampling
*models*, because a few models make all the pairs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from simmerge_hub.operators import BALANCED, PAPER_ARMS, Arm
from simmerge_hub.selector.models.conformal import calibrate, choose, usable_arms
from simmerge_hub.selector.models.mixture import Size, advantage
from simmerge_hub.selector.models.resampling import resample, spread
from simmerge_hub.selector.predictor.wording import TIE
from simmerge_hub.selector.tables.availability import patterns, spell
from simmerge_hub.selector.tables.rows import Floats, Rows, Split, leave_pairs_out, split_half
from simmerge_hub.selector.training.baselines import BASELINES
from simmerge_hub.selector.training.objectives import Cases, both_tasks, each_task

LEAST_HEADROOM = 0.005
"""Where best fixed and oracle are nearer than this, there is nothing to capture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Predictions for n rows, each made without either of the row's models.

    Args:
        rows: the n rows.
        splits: what was trained on and tested, as places in `rows`.
        predicted: [patterns, n, arms], with the families of each pattern hidden.
        single: `heads` and `conditioned` -> [n, arms], by that model alone, all features there.
        shuffled: [n, arms], trained and asked with other rows' features.
        unmeasured: [n, arms], by what never saw the arm's operator; NaN where not tried.
        sizes: what won the contest inside each split.
    """

    rows: Rows
    splits: tuple[Split, ...]
    predicted: Floats
    single: Mapping[str, Floats]
    shuffled: Floats
    unmeasured: Floats
    sizes: tuple[Size, ...]


def report(held: HeldOut, *, seed: int, alpha: float) -> dict[str, Any]:
    """The report as plain data, every number rounded to four places.

    `sets` holds one table per set of arms (`all`, and where they were measured `balanced`, those
    that treat both models alike, and the `paper`'s three), judged on the expert's task; `pairs` the
    same judged on the mean over both models' tasks, which is what a merge is for. A table is the
    mean share of the gap closed by every strategy with its 95 % interval, pooled and by regime.
    `coverage` says what share of outcomes the intervals hold, `unmeasured` how arms are ranked
    whose operator was left out of training.
    """
    rows = held.rows
    tasks, pairs = {}, {}
    for name, columns in _sets(rows).items():
        chosen = rows.only(columns)
        scores = _scores(chosen, held, columns)
        tasks[name] = judge(each_task(chosen, scores), chosen.arms, seed)
        both = both_tasks(chosen, scores)
        if both is not None:
            pairs[name] = judge(both, chosen.arms, seed)
    fields = {
        "rows": len(rows),
        "models": len(rows.models),
        "regimes": _counts(rows.regimes),
        "splits": len(held.splits),
        "contest": _counts([_spell(size) for size in held.sizes]),
        "base closes": float(rows.base_gains.mean()),
        "sets": tasks,
        "pairs": pairs,
        "coverage": _coverage(held, alpha, resample(rows.experts, rows.auxiliaries, seed)),
    }
    return _round(fields | {"unmeasured": _unmeasured_accuracy(held)})


def _sets(rows: Rows) -> dict[str, list[int]]:
    """The sets of arms that are judged, as columns."""
    sets = {"all": list(range(len(rows.arms)))}
    for name, arms in (("balanced", BALANCED), ("paper", PAPER_ARMS)):
        members = {a.label for a in arms}
        columns = [i for i, a in enumerate(rows.arms) if a.label in members]
        if len(columns) > 1 and columns not in sets.values():
            sets[name] = columns
    return sets


def _scores(rows: Rows, held: HeldOut, columns: Sequence[int]) -> dict[str, Floats]:
    """Strategy -> [n, arms], from rows that share no model with a row."""
    scores: dict[str, Floats] = {}
    for name, baseline in BASELINES.items():
        scores[name] = np.empty_like(rows.gains)
        for part in held.splits:
            scores[name][part.test] = baseline(rows.take(part.train), rows.take(part.test))
    scores["xgboost"] = held.predicted[0][:, columns]
    scores |= {f"xgboost, {name}": part[:, columns] for name, part in held.single.items()}
    scores["xgboost, shuffled features"] = held.shuffled[:, columns]
    return scores


def judge(cases: Cases, arms: Sequence[Arm], seed: int) -> dict[str, Any]:
    """Every strategy's result, and what is left to win."""
    weights = resample(cases.first, cases.second, seed)
    achieved = _strategy_gains(cases, arms)
    top = achieved.get("oracle by halves", achieved["oracle"])
    best, mine = achieved["best fixed"], achieved["xgboost"]
    return {
        "cases": len(cases.gains),
        "arms": [a.label for a in arms],
        "strategies": {name: spread(gains, weights) for name, gains in achieved.items()},
        "regimes": {
            regime: {name: float(gains[inside].mean()) for name, gains in achieved.items()}
            for regime in sorted(set(cases.regimes))
            for inside in [np.array(cases.regimes) == regime]
        },
        "over best fixed": spread(mine - best, weights),
        "headroom": float(top.mean() - best.mean()),
        "headroom captured": _ratio(mine - best, top - best, weights),
        "regret": spread(achieved["oracle"] - mine, weights),
        "tie share": _tie_share(cases.gains, np.sort(cases.gains, axis=1)[:, -2]),
        "right or tied": _tie_share(cases.gains, mine),
        "advantage r2": _advantage(cases.scores["xgboost"], cases.gains),
    }


def _strategy_gains(cases: Cases, arms: Sequence[Arm]) -> dict[str, Floats]:
    """Strategy -> [m], the share of the gap closed by what it chooses."""
    gains = {"random": cases.gains.mean(axis=1)}
    gains |= {f"always {a.label}": cases.gains[:, i] for i, a in enumerate(arms)}
    gains |= {name: _chosen_gains(cases.gains, scores) for name, scores in cases.scores.items()}
    if np.isfinite(cases.halves).all():
        gains["oracle by halves"] = split_half(cases.halves)
    gains["oracle"] = cases.gains.max(axis=1)
    return gains


def _coverage(held: HeldOut, alpha: float, weights: Floats) -> dict[str, Any]:
    """Per pattern: intervals from the rows that share no model with a row, tried on that row."""
    coverage = {}
    for pattern, predicted in zip(patterns(held.rows.names), held.predicted, strict=True):
        usable = usable_arms(held.rows.arms, pattern)
        if usable.any() and np.isfinite(predicted).all():
            coverage[spell(pattern)] = _pattern_coverage(
                held.rows, predicted, usable, alpha, weights
            )
    return coverage


def _pattern_coverage(
    rows: Rows, predicted: Floats, usable: np.ndarray, alpha: float, weights: Floats
) -> dict[str, Any]:
    residuals, best = np.abs(predicted - rows.gains), choose(predicted, usable)
    arms, chosen, width = np.zeros(len(rows)), np.zeros(len(rows)), np.zeros(len(rows))
    for places, others in leave_pairs_out(rows):
        radii = calibrate(predicted[others], rows.gains[others], usable, alpha)
        arms[places] = (residuals[places] <= radii.arms).mean(axis=1)
        chosen[places] = residuals[places, best[places]] <= radii.chosen
        width[places] = 2 * radii.chosen
    return {
        "arms": spread(arms, weights),
        "chosen": spread(chosen, weights),
        "width": float(width.mean()),
    }


def _unmeasured_accuracy(held: HeldOut) -> dict[str, Any]:
    """Per operator left out of training: how often its arms are ranked right against the others.

    Counted are pairs of an arm of the operator and one of another that differ by more than a tie;
    chance is one half.
    """
    rows, accuracy = held.rows, {}
    tried = np.isfinite(held.unmeasured).all(axis=1)
    known = held.single["conditioned"]
    for name in sorted({a.operator for a in rows.arms}):
        own = [i for i, a in enumerate(rows.arms) if a.operator == name]
        others = [i for i, a in enumerate(rows.arms) if a.operator != name]
        if not tried.any() or not others:
            continue
        truth = rows.gains[tried][:, own, None] - rows.gains[tried][:, None, others]
        guess = held.unmeasured[tried][:, own, None] - known[tried][:, None, others]
        apart_by = np.abs(truth) > TIE
        if apart_by.any():
            right = (np.sign(guess) == np.sign(truth))[apart_by]
            accuracy[name] = {"compared": int(apart_by.sum()), "right": float(right.mean())}
    return accuracy


def _spell(size: Size) -> str:
    own = f"penalty {size.penalty:g}, {size.heads} trees a head"
    return f"{own}; forest of {size.conditioned} trees, share {size.share:g}"


def _chosen_gains(gains: Floats, scores: Floats) -> Floats:
    return np.take_along_axis(gains, scores.argmax(axis=1)[:, None], axis=1)[:, 0]


def _advantage(predicted: Floats, gains: Floats) -> float:
    """R² after taking from each row its mean over arms: what is known about *which* arm."""
    truth = advantage(gains)
    error = advantage(predicted) - truth
    return float(1 - np.square(error).sum() / max(np.square(truth).sum(), 1e-12))


def _tie_share(gains: Floats, reached: Floats) -> float:
    """The share of rows in which `reached` [n] is within 0.02 of the best arm."""
    return float((gains.max(axis=1) - reached <= TIE).mean())


def _ratio(part: Floats, whole: Floats, weights: Floats) -> dict[str, float] | None:
    if whole.mean() < LEAST_HEADROOM:
        return None
    wholes = weights @ whole
    enough = wholes > LEAST_HEADROOM * weights.sum(axis=1)
    low, high = np.quantile((weights @ part)[enough] / wholes[enough], (0.025, 0.975))
    return {"mean": float(part.mean() / whole.mean()), "low": float(low), "high": float(high)}


def _counts(names: Sequence[str]) -> dict[str, int]:
    return {name: names.count(name) for name in sorted(set(names))}


def _round(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _round(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_round(inner) for inner in value]
    return round(value, 4) if isinstance(value, float) else value
