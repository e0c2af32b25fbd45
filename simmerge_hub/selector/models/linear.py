"""Ridge regression on standardised features, one per arm: where the heads start from.

With a few dozen models most of what can be learned is linear, and trees find lines only in steps.
Missing values count as the training mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simmerge_hub.selector.tables.rows import Floats, Rows, Split

PENALTIES = (10.0, 100.0, 1000.0, 10000.0)
"""Penalties that compete inside the training rows."""
CUTOFF = 5.0
"""Values are cut off so many standard deviations from the training mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """One line per arm, in units of the training rows' spread.

    Args:
        mean, spread: [features] of the training rows; spread 1 where there is none.
        weights: [features, arms].
        intercept: [arms], the training rows' mean gains.
    """

    mean: Floats
    spread: Floats
    weights: Floats
    intercept: Floats


def fit(rows: Rows, penalty: float) -> Linear:
    """Least squares with `penalty` times the squared weights (Hoerl and Kennard 1970).

    Rows count by their weights, whose mean is taken to be 1.
    """
    shares = rows.shares[:, None]
    mean, spread = _moments(rows.values, shares)
    known = standardise(rows.values, mean, spread)
    intercept = (shares * rows.gains).sum(axis=0) / len(rows)
    gram = known.T @ (shares * known) + penalty * np.eye(known.shape[1])
    weights = np.linalg.solve(gram, known.T @ (shares * (rows.gains - intercept)))
    return Linear(mean=mean, spread=spread, weights=weights, intercept=intercept)


def _moments(values: Floats, shares: Floats) -> tuple[Floats, Floats]:
    """[features] each: mean and standard deviation of what is there; of nothing, 0 and 1."""
    there = np.isfinite(values)
    counts = np.maximum((shares * there).sum(axis=0), np.finfo(float).tiny)
    mean = (shares * np.where(there, values, 0.0)).sum(axis=0) / counts
    centred = np.where(there, values - mean, 0.0)
    spread = np.sqrt((shares * np.square(centred)).sum(axis=0) / counts)
    spread[spread <= 0] = 1.0
    return mean, spread


def predict(line: Linear, values: Floats) -> Floats:
    """[rows, arms] from values [rows, features]; not clipped."""
    return line.intercept + standardise(values, line.mean, line.spread) @ line.weights


def contributions(line: Linear, values: Floats) -> Floats:
    """[features, arms]: what each feature of `values` [features] adds to each arm's prediction."""
    return standardise(values, line.mean, line.spread)[:, None] * line.weights


def best_penalty(rows: Rows, inner: Sequence[Split]) -> float:
    """The penalty with the least squared error on the test rows of splits of `rows`."""
    errors = np.zeros(len(PENALTIES))
    for split in inner:
        known, test = rows.take(split.train), rows.take(split.test)
        for i, penalty in enumerate(PENALTIES):
            guess = predict(fit(known, penalty), test.values)
            errors[i] += (test.weights[:, None] * np.square(guess - test.gains)).sum()
    return PENALTIES[int(np.argmin(errors))]


def standardise(values: Floats, mean: Floats, spread: Floats) -> Floats:
    """`values` [..., features] in units of spread from the mean, cut off; missing: 0."""
    return np.clip(np.nan_to_num((values - mean) / spread), -CUTOFF, CUTOFF)
