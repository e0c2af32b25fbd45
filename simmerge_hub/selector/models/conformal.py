"""Intervals from residuals on models that were held out, per arm and for the arm that is chosen.

Residuals come from splits in which the predictor never saw either model of a row, because pairs
that share a model are not exchangeable. The highest of several noisy predictions is optimistic, so
the chosen arm's residuals are kept apart. Each pattern of missing features has its own.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simmerge_hub.operators import Arm, find
from simmerge_hub.selector.tables.availability import Pattern
from simmerge_hub.selector.tables.outcomes import HIGHEST, LOWEST
from simmerge_hub.selector.tables.rows import Floats

WIDEST = HIGHEST - LOWEST
"""A half-width that covers every possible outcome: used where residuals are too few to say less."""
WITHIN = 1.645
"""Standard deviations of a normal error that an interval of 90 % reaches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Radii:
    """Half-widths of intervals, in shares of the gap.

    Args:
        arms: one per arm.
        chosen: for the arm with the highest prediction.
        rows: how many residuals they come from.
    """

    arms: tuple[float, ...]
    chosen: float
    rows: int


def radius(residuals: Floats, alpha: float) -> float:
    """q̂: the ⌈(n+1)(1−α)⌉-th smallest of n absolute residuals (split conformal; Lei et al. 2018).

    Too few residuals for the level give the half-width that always covers.
    """
    place = math.ceil((len(residuals) + 1) * (1 - alpha))
    if place > len(residuals):
        return WIDEST
    return min(WIDEST, float(np.sort(residuals)[place - 1]))


def calibrate(predicted: Floats, gains: Floats, usable: NDArray[np.bool_], alpha: float) -> Radii:
    """Half-widths from held-out predictions.

    Args:
        predicted: [n, arms], each row predicted without either of its models.
        gains: [n, arms], what was measured.
        usable: [arms], the arms that can be chosen.
        alpha: the share of outcomes that may fall outside.
    """
    residuals = np.abs(predicted - gains)
    best = choose(predicted, usable)
    return Radii(
        arms=tuple(radius(column, alpha) for column in residuals.T),
        chosen=radius(np.take_along_axis(residuals, best[:, None], axis=1)[:, 0], alpha),
        rows=len(gains),
    )


def choose(predicted: Floats, usable: NDArray[np.bool_]) -> NDArray[np.intp]:
    """[n]: the usable arm with the highest prediction in each row of [n, arms]."""
    return np.argmax(np.where(usable, predicted, -np.inf), axis=1)


def usable_arms(arms: tuple[Arm, ...], pattern: Pattern) -> NDArray[np.bool_]:
    """[arms]: an arm on deltas needs a base."""
    return np.array(["base" not in pattern or find(a.operator).space == "weight" for a in arms])
