"""Spread over *models*: a few of them make all the pairs, so they are what is drawn anew."""

from collections.abc import Sequence

import numpy as np

from simmerge_hub.selector.tables.rows import Floats

RESAMPLES = 1000


def resample(
    first: Sequence[str] | Sequence[int], second: Sequence[str] | Sequence[int], seed: int
) -> Floats:
    """[resamples, m]: how often each case occurs when the models are drawn with replacement."""
    models = {name: place for place, name in enumerate(sorted({*first, *second}))}
    random = np.random.default_rng(seed)
    drawn = random.multinomial(len(models), [1 / len(models)] * len(models), RESAMPLES)
    places = [np.array([models[name] for name in names]) for names in (first, second)]
    counts = (drawn[:, places[0]] * drawn[:, places[1]]).astype(np.float64)
    return counts[counts.sum(axis=1) > 0]


def spread(values: Floats, weights: Floats) -> dict[str, float]:
    """The mean of `values` [m], and its 95 % interval by `weights` [resamples, m]."""
    means = weights @ values / weights.sum(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return {"mean": float(values.mean()), "low": float(low), "high": float(high)}


def upper_bound(values: Floats, weights: Floats, alpha: float) -> float:
    """What the mean of `values` [m] exceeds with probability `alpha`: a one-sided upper bound."""
    return float(np.quantile(weights @ values / weights.sum(axis=1), 1 - alpha))
