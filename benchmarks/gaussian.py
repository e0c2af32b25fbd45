"""A Gaussian process over the features that go with the choice: a learner for few models.

All arms are predicted at once, each the mean of what is known of it, moved by rows like the asked
one (Rasmussen and Williams 2006, equation 2.25). Likeness is squared exponential over the features
that go best with which arm gains; its length is 0.7 of how far two rows usually are apart. How many
features count, and how noisy gains are, is settled on models held out of the rows that are known.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from simmerge_hub.selector.models import mixture
from simmerge_hub.selector.models.linear import standardise
from simmerge_hub.selector.tables.rows import Floats, Places, Rows, splits

FEATURES = (20, 40)
NOISES = (0.3, 1.0, 3.0)
"""Variance of a gain's noise, in units of that of the process."""
INNER_FOLDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How many features count, and how noisy gains are."""

    features: int
    noise: float


SETTINGS = tuple(Setting(features=f, noise=n) for f, n in product(FEATURES, NOISES))


def ask(near: Rows, test: Rows, *, other: Rows | None = None, seed: int) -> Floats:
    """[test rows, arms]: the share of the gap each arm is predicted to close.

    Args:
        near: rows of models like those that are asked about. Features are chosen by them, and so is
            the setting, on models held out of them.
        test: what is asked about.
        other: rows of another world that are learned from as well.
        seed: of the folds.
    """
    return predict(near, test, other, contest(near, other, seed=seed))


def contest(near: Rows, other: Rows | None, *, seed: int) -> Setting:
    """The setting that errs least in the advantage of arms, as `mixture.contest` judges."""
    errors = np.zeros(len(SETTINGS))
    for split in splits(near, INNER_FOLDS, seed=seed, across=False):
        known, test = near.take(split.train), near.take(split.test)
        truth = mixture.advantage(test.gains)
        for i, setting in enumerate(SETTINGS):
            guess = mixture.advantage(predict(known, test, other, setting))
            errors[i] += np.square(guess - truth).sum()
    return SETTINGS[int(errors.argmin())]


def predict(near: Rows, test: Rows, other: Rows | None, setting: Setting) -> Floats:
    """The same in one setting."""
    chosen = screen(near, setting.features)
    known = near.values[:, chosen]
    mean, spread = np.nanmean(known, axis=0), np.nanstd(known, axis=0)
    learned = [near] if other is None else [near, other]
    points = np.concatenate([standardise(rows.values[:, chosen], mean, spread) for rows in learned])
    gains = np.concatenate([rows.gains for rows in learned])
    asked = standardise(test.values[:, chosen], mean, spread)
    middle = near.gains.mean(axis=0)
    likeness = like(points, points) + setting.noise * np.eye(len(points))
    return middle + like(asked, points) @ np.linalg.solve(likeness, gains - middle)


def like(one: Floats, two: Floats) -> Floats:
    """[n, m] from points [n, k] and [m, k], in standard deviations."""
    apart = np.square(one).sum(axis=1)[:, None] + np.square(two).sum(axis=1) - 2 * one @ two.T
    return np.exp(-apart / (2 * one.shape[1]))


def screen(rows: Rows, count: int) -> Places:
    """The places of the features whose ranks go best with those of arms' advantages, on average
    over arms; one that is nowhere known, or the same everywhere, is not among them."""
    advantages = np.stack([*ranks(mixture.advantage(rows.gains))], axis=1)
    features = np.stack([*ranks(rows.values)], axis=1)
    together = np.abs(features.T @ advantages / len(rows)).mean(axis=1)
    best = np.argsort(-together, kind="stable")[:count]
    return np.sort(best[together[best] > 0])


def ranks(columns: Floats) -> Iterator[Floats]:
    """Each column of [n, k] as ranks of mean 0 and variance 1, ties sharing one; missing: 0."""
    for column in columns.T:
        there = np.flatnonzero(np.isfinite(column))
        _, group, size = np.unique(column[there], return_inverse=True, return_counts=True)
        shared = (np.cumsum(size) - (size - 1) / 2)[group]
        told = np.zeros(len(column))
        if len(size) > 1:
            told[there] = (shared - shared.mean()) / shared.std()
        yield told
