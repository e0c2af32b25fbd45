"""How far a pair is from the training data, in three coordinates that have no common unit.

* *Scale*: by what factor its base is larger or smaller than the nearest base in training, as the
  absolute logarithm of the ratio of parameters; 0 for one of about its size.
* *Range*: what share of its features lies outside the range seen in training (a feature counts in
  part, and in full from one width of the range away)?
* *Company*: among the features inside the range, how far is the nearest training row? Features are
  compared by rank, so none counts more for its unit.

A pair is at least as far as another if it is in no coordinate nearer. Features alone do not warn:
on a real language model of a hundred times the size they looked ordinary (docs/log.md). What is
usual is measured between training rows that share no model; a pair beyond it extrapolates.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simmerge_hub.recipe.why import Status
from simmerge_hub.selector.predictor.record import alike
from simmerge_hub.selector.tables.availability import Pattern, hide, missing, patterns, spell
from simmerge_hub.selector.tables.rows import Floats, Rows, leave_pairs_out

STRANGE, ALONE = 0.05, 0.01
"""The shares of ordinary pairs that the range may call strange, and the company alone."""
NEAREST = 3
"""Training rows that make up the company of a pair."""
KNOTS = 65
REFERENCES = 400
DECIMALS = 4
"""Decimals of a coordinate: pairs that differ by less are equally far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is usual for one pattern of missing features: the 99 % and the 95 % point."""

    distance: float
    outside: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Novelty:
    """Where a pair stands: `distance` in mean ranks [0, 1], `outside` as a share of its features.

    `scale` is the absolute logarithm of the ratio of parameters to the nearest size in training,
    infinite if either is not known. `strange` names the features outside the training range,
    farthest first.
    """

    status: Status
    distance: float
    outside: float
    strange: tuple[str, ...]
    reason: str
    scale: float = 0.0

    @property
    def coordinates(self) -> Floats:
        """[3]: scale, range, company."""
        coordinates = np.array([self.scale, self.outside, self.distance], dtype=np.float64)
        return np.round(coordinates, DECIMALS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Familiar:
    """What the training data looked like.

    Args:
        knots: [features, 65], each feature's quantiles from its least to its greatest value.
        references: [m, features], ranks in [0, 1] of up to 400 training rows, NaN = missing.
        limits: by pattern of missing features, as `availability.spell` writes it.
        parameters: the sizes of the bases trained on, ascending, where known.
    """

    knots: Floats
    references: Floats
    limits: Mapping[str, Limits]
    parameters: tuple[int, ...] | None = None


def survey(rows: Rows, *, parameters: tuple[int, ...] | None = None) -> Familiar:
    """Learn what is usual from the training rows."""
    knots = _quantiles(rows.values)
    ranks = np.round(_ranks(rows.values, knots), 2)
    kept = _reference_rows(len(rows))
    by_pattern = {spell(p): _limits(rows, ranks, kept, p) for p in patterns(rows.names)}
    limits = {name: limit for name, limit in by_pattern.items() if limit is not None}
    return Familiar(knots=knots, references=ranks[kept], limits=limits, parameters=parameters)


def judge(
    familiar: Familiar, values: Floats, names: Sequence[str], *, parameters: int | None = None
) -> Novelty:
    """Where the pair with these features stands.

    Args:
        familiar: what the training data looked like.
        values: [features], NaN = missing.
        names: of the features.
        parameters: of the pair's base, where known; without them it is infinitely far in scale.
    """
    low, high = familiar.knots[:, 0], familiar.knots[:, -1]
    beyond = _beyond(values, low, high)
    strange = np.flatnonzero(beyond > 0)
    outside = _share(values[None], low, high)[0]
    ranks = np.where(beyond > 0, np.nan, _ranks(values[None], familiar.knots)[0])
    distance = _company(ranks, familiar.references)
    size = scale(parameters, familiar.parameters)
    usual = familiar.limits.get(spell(missing(values, names)))
    status, reason = "calibrated", "like the pairs seen in training"
    if usual is None:
        status = "abstained"
        reason = f"pairs {spell(missing(values, names))} features were never seen in training"
    elif size > 0:
        status, reason = "extrapolated", _size(parameters, familiar.parameters)
    elif beyond_usual := _unusual(usual, distance, outside):
        status, reason = "extrapolated", beyond_usual
    ordered = strange[np.argsort(-beyond[strange], kind="stable")]
    return Novelty(
        status=status,
        distance=distance,
        outside=outside,
        strange=tuple(names[int(i)] for i in ordered),
        reason=reason,
        scale=size,
    )


def scale(parameters: float | None, trained: Sequence[float] | None) -> float:
    """|log| of how many times larger or smaller than the nearest base in training; 0 for one of
    about that size (`record.SAME_SIZE`).

    Infinite if either is not known.
    """
    if parameters is None or not trained:
        return math.inf
    if alike(np.array(trained), parameters).any():
        return 0.0
    return min(abs(math.log(parameters / size)) for size in trained)


def distances(known: Rows, asked: Rows, pattern: Pattern) -> Floats:
    """[asked rows, 2]: range and company as seen from `known`, the families of `pattern` hidden.

    Args:
        known: what is trained on.
        asked: rows that share no model with it.
        pattern: the families of features that are missing.
    """
    knots = _quantiles(known.values)
    kept = _reference_rows(len(known))
    references = np.round(_ranks(known.values[kept], knots), 2)
    values = hide(asked.values, asked.names, pattern)
    low, high = knots[:, 0], knots[:, -1]
    ranks = np.where(_beyond(values, low, high) > 0, np.nan, _ranks(values, knots))
    company = [_company(row, references) for row in ranks]
    coordinates = np.array([_share(values, low, high), company], dtype=np.float64)
    return np.round(coordinates.T, DECIMALS)


def _reference_rows(rows: int) -> NDArray[np.bool_]:
    """Which of so many rows are kept to compare with."""
    return np.arange(rows) % -(-rows // REFERENCES) == 0


def _size(parameters: int | None, trained: Sequence[int] | None) -> str:
    if parameters is None or not trained:
        return f"how many parameters {'its base' if trained else 'training'} had is unknown"
    return f"models of {parameters:,} parameters; training saw {spell_sizes(trained)}"


def spell_sizes(sizes: Sequence[int]) -> str:
    """Sizes of bases in words: the least and the most where there are many."""
    few = [f"{size:,}" for size in sizes]
    return " and ".join(few) if len(few) <= 2 else f"{len(few)} sizes from {few[0]} to {few[-1]}"


def _unusual(usual: Limits, distance: float, outside: float) -> str:
    """Where its features are farther than those of ordinary pairs, in words."""
    if outside > usual.outside:
        return (
            f"{outside:.1%} of what was compared lies outside the range seen in training, more "
            f"than the usual {usual.outside:.1%}"
        )
    if distance > usual.distance:
        return (
            f"the most similar pair in training is {distance:.2f} away (0 = alike), more than the "
            f"usual {usual.distance:.2f}"
        )
    return ""


def _limits(rows: Rows, ranks: Floats, kept: NDArray[np.bool_], pattern: Pattern) -> Limits | None:
    """The usual measures of a row against the rows that share no model with it."""
    values = hide(rows.values, rows.names, pattern)
    seen = np.array([missing(row, rows.names) == pattern for row in values])
    ranks = hide(ranks, rows.names, pattern)
    distances, outside = [], []
    for places, others in leave_pairs_out(rows):
        asked, others = places[seen[places]], others & seen
        if not len(asked) or not (others & kept).any():
            continue
        low, high = _span(values[others])
        outside.extend(_share(values[asked], low, high))
        inside = np.where(_beyond(values[asked], low, high) > 0, np.nan, ranks[asked])
        distances.extend(_company(row, ranks[others & kept]) for row in inside)
    if not distances:
        return None
    return Limits(distance=_usual(distances, ALONE), outside=_usual(outside, STRANGE))


def _usual(measures: list[float], level: float) -> float:
    """The ⌈(n+1)(1−level)⌉-th smallest, or the largest where there are too few."""
    place = min(len(measures), int(np.ceil((len(measures) + 1) * (1 - level))))
    return float(np.sort(measures)[place - 1])


def _quantiles(values: Floats) -> Floats:
    """[features, 65]; zeros for a feature that was never there."""
    there = np.isfinite(values).any(axis=0)
    knots = np.zeros((values.shape[1], KNOTS))
    knots[there] = np.nanquantile(values[:, there], np.linspace(0, 1, KNOTS), axis=0).T
    return knots


def _ranks(values: Floats, knots: Floats) -> Floats:
    """The place in [0, 1] of each value [n, features] among training's; ties in the middle."""
    columns = zip(values.T, knots, strict=True)
    both = [(np.searchsorted(k, v), np.searchsorted(k, v, side="right")) for v, k in columns]
    ranks = np.array([(left + right) / (2 * KNOTS) for left, right in both]).T
    return np.where(np.isfinite(values), ranks, np.nan)


def _span(values: Floats) -> tuple[Floats, Floats]:
    there = np.isfinite(values).any(axis=0)
    low, high = np.zeros(values.shape[1]), np.zeros(values.shape[1])
    low[there], high[there] = (
        np.nanmin(values[:, there], axis=0),
        np.nanmax(values[:, there], axis=0),
    )
    return low, high


def _beyond(values: Floats, low: Floats, high: Floats) -> Floats:
    """How many widths each value lies outside [low, high]; 0 inside or missing."""
    width = np.maximum(high - low, 1e-9)
    return np.nan_to_num(np.maximum(np.maximum(low - values, values - high), 0) / width)


def _share(values: Floats, low: Floats, high: Floats) -> list[float]:
    """Per row of [n, features], the share of its features that lies outside; 1 without features."""
    outside = np.minimum(_beyond(values, low, high), 1).sum(axis=1)
    counted = np.isfinite(values).sum(axis=1)
    return np.where(counted > 0, outside / np.maximum(1, counted), 1.0).tolist()


def _company(ranks: Floats, references: Floats) -> float:
    """Mean over the nearest rows of the mean absolute difference in rank over shared features.

    0 without any feature to compare: then the range has the say.
    """
    if not np.isfinite(ranks).any():
        return 0.0
    apart_by = np.abs(references - ranks)
    known = np.isfinite(apart_by)
    counted = known.sum(axis=1)
    total = np.where(known, apart_by, 0).sum(axis=1)
    means = np.where(counted > 0, total / np.maximum(1, counted), 1.0)
    return float(np.sort(means)[:NEAREST].mean())
