"""What `plan` takes, once with what learned from one's own merges and once with what did not.

A plan does more than take the arm that is ranked first: it takes another than the safe one only
where held-out pairs at least as far from training bear it out. Far from what the packaged predictor
knows it therefore takes the safe arm; a predictor that learned from models like these may follow
its own ranking. Here the pairs of a catalogue are planned for both ways; `learned.py` writes it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from belief import counts

from simmerge_hub.operators import Arm
from simmerge_hub.selector.models import conditioned, mixture
from simmerge_hub.selector.models.mixture import Size
from simmerge_hub.selector.models.resampling import resample, spread
from simmerge_hub.selector.predictor import novelty
from simmerge_hub.selector.predictor.measured import pairs
from simmerge_hub.selector.predictor.record import Cases, Record
from simmerge_hub.selector.predictor.trust import Grounds, Trust
from simmerge_hub.selector.tables.availability import hide, patterns
from simmerge_hub.selector.tables.rows import Floats, Places, Rows, splits
from simmerge_hub.selector.training import scenarios, weighing
from simmerge_hub.selector.training.report import HeldOut
from simmerge_hub.selector.training.train import FOLDS

ALPHA, SEED = 0.1, 0
COMPLETE = "complete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a predictor says of n rows, and what a plan holds it against.

    Args:
        record: held-out pairs of what it learned from.
        models: their models, by the numbers in `record`.
        predicted: [n, arms].
        distances: [n, 3], how far each row is from what it was predicted by.
        sizes: [n], parameters of each row's base.
    """

    record: Record
    models: tuple[str, ...]
    predicted: Floats
    distances: Floats
    sizes: Floats


Sized = tuple[Rows, Floats]
"""Rows, and the parameters of the base of each."""


def tell_both(
    own: Sized,
    others: Sized,
    folds: Sequence[tuple[Places, Places]],
    predictions: Mapping[str, Floats],
    size: Size,
) -> dict[str, Told]:
    """What is told of one's `own` rows by what learned from `others` alone, and by what learned
    from both.

    Args:
        own, others: measured rows.
        folds: places in `own` that were tested, and those that were learned from then.
        predictions: `packaged` and `learned` -> [own rows, arms].
        size: of the predictors.
    """
    (rows, sizes), (more, more_sizes) = own, others
    weight = weighing.weigh(rows, more, size=size, seed=SEED)
    both = (weighing.combine(rows, [more], weight), np.concatenate([sizes, more_sizes]))
    at = len(rows) + np.arange(len(more))
    seen = [(asked, np.concatenate([train, at])) for asked, train in folds]
    whole = [(np.arange(len(rows)), np.arange(len(more)))]
    return {
        "packaged": tell(others, own, whole, predictions["packaged"], size),
        "learned": tell(both, own, seen, predictions["learned"], size),
    }


def tell(
    known: Sized, test: Sized, folds: Sequence[tuple[Places, Places]], predicted: Floats, size: Size
) -> Told:
    """The record of what is `known`, as training keeps it, and how far each row of `test` is.

    Args:
        known: all that is learned from.
        test: the rows to plan for.
        folds: places in `test`, and those in `known` that predicted them.
        predicted: [test rows, arms].
        size: of the predictors that are fitted for the record.
    """
    (rows, sizes), (tested, test_sizes) = known, test
    distances = np.full((len(tested), 3), np.nan)
    for asked, learned in folds:
        seen = np.unique(sizes[learned]).tolist()
        scale = [novelty.scale(each, seen) for each in test_sizes[asked].tolist()]
        far = novelty.distances(rows.take(learned), tested.take(asked), ())
        distances[asked] = np.column_stack([np.round(scale, novelty.DECIMALS), far])
    return Told(
        record=scenarios.collect(rows, sizes, hold_out(rows, size), size, seed=SEED),
        models=rows.models,
        predicted=predicted,
        distances=distances,
        sizes=test_sizes,
    )


def hold_out(rows: Rows, size: Size) -> HeldOut:
    """Every row predicted without its models, by predictors of one size."""
    parts = splits(rows, FOLDS, seed=SEED)
    predicted = np.full((len(patterns(rows.names)), *rows.gains.shape), np.nan)

    def predict(place: int) -> None:
        test = rows.take(parts[place].test)
        fitted = mixture.fit(rows.take(parts[place].train), size, seed=SEED)
        for i, pattern in enumerate(patterns(rows.names)):
            values = hide(test.values, rows.names, pattern)
            effects = conditioned.hide_effects(test.effects, rows.effect_names, pattern)
            predicted[i, parts[place].test] = mixture.predict(fitted, values, effects)

    mixture.run_in_parallel(predict, range(len(parts)))
    nothing = np.full(rows.gains.shape, np.nan)
    return HeldOut(
        rows=rows, splits=tuple(parts), predicted=predicted, single={}, shuffled=nothing,
        unmeasured=nothing, sizes=(size,) * len(parts),
    )  # fmt: skip


def judge_plans(
    rows: Rows, told: Mapping[str, Sequence[tuple[Places, Told]]], arms: Sequence[Arm]
) -> dict[str, Any]:
    """Gap closed by the plans of each, on the expert's task and on both tasks of a pair.

    Args:
        rows: the rows that were planned for.
        told: who -> what it says of the rows at these places; the same places for each.
        arms: what is chosen between.
    """
    result: dict[str, Any] = {}
    for what in ("both tasks", "expert's task"):
        taken = {
            who: [_plans(rows, places, each, arms, what) for places, each in parts]
            for who, parts in told.items()
        }
        cases = [case for each in taken["packaged"] for case in each]
        for parts in taken.values():
            same = [(c.first, c.second) for each in parts for c in each]
            assert same == [(c.first, c.second) for c in cases], "other cases, or in another order"
        weights = resample([c.first for c in cases], [c.second for c in cases], SEED)
        gains = {
            who: np.array([case.gain for each in parts for case in each])
            for who, parts in taken.items()
        }
        result[what] = {
            **{who: spread(each, weights) for who, each in gains.items()},
            "learned over packaged": spread(gains["learned"] - gains["packaged"], weights),
            "cases": len(cases),
            "models": len({name for c in cases for name in (c.first, c.second)}),
        }
        for who, parts in taken.items():
            trusts = [case.trust for each in parts for case in each]
            other = [trust for trust in trusts if trust.first != trust.safe]
            result[what] |= {
                f"{who}: followed": sum(t.followed for t in other) / len(trusts),
                f"{who}: another arm first": len(other) / len(trusts),
                f"{who}: safe arms": counts([trust.safe for trust in trusts]),
            }
    return result


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A pair, what a plan does about it, and what that came to."""

    first: str
    second: str
    trust: Trust
    gain: float


def _plans(rows: Rows, places: Places, told: Told, arms: Sequence[Arm], what: str) -> list[Planned]:
    """A plan for every case of the rows at `places`, by evidence without the case's two models."""
    some = rows.take(places)
    names = tuple(dict.fromkeys((*told.models, *some.models)))
    asked = _view(_as_record(some, told, names), what)
    known = _view(told.record, what)
    labels = {arm.label: i for i, arm in enumerate(rows.arms)}
    chosen = {arm.label: labels[arm.label] for arm in arms}
    plans, beyond = [], pairs.read()
    for i, pair in enumerate(zip(asked.first.tolist(), asked.second.tolist(), strict=True)):
        apart = known.take(~(np.isin(known.first, pair) | np.isin(known.second, pair)))
        grounds = Grounds(
            record=told.record, beyond=beyond, pattern=COMPLETE,
            coordinates=asked.distances[i], parameters=float(asked.sizes[i]), alpha=ALPHA,
        )  # fmt: skip
        said = {label: float(asked.predicted[i, place]) for label, place in chosen.items()}
        order = sorted(said, key=lambda label: -said[label])
        trust = grounds.by(apart, order, {label: said[order[0]] - said[label] for label in order})
        gain = float(asked.gains[i, labels[trust.chosen]])
        first, second = (names[number] for number in pair)
        plans.append(Planned(first=first, second=second, trust=trust, gain=gain))
    return plans


def _as_record(rows: Rows, told: Told, names: tuple[str, ...]) -> Record:
    numbers = {name: number for number, name in enumerate(names)}
    return Record(
        arms=rows.arms,
        kinds=("asked",) * len(rows),
        experts=np.array([numbers[name] for name in rows.experts]),
        auxiliaries=np.array([numbers[name] for name in rows.auxiliaries]),
        gains=rows.gains,
        predicted={COMPLETE: told.predicted},
        distances={COMPLETE: told.distances},
        sizes=told.sizes,
    )


def _view(record: Record, what: str) -> Cases:
    both = what == "both tasks"
    return record.both_tasks(COMPLETE) if both else record.each_task(COMPLETE)
