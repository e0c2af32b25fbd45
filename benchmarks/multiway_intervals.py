"""Means over sets with their intervals: models, or groups of them, are drawn anew."""

from collections.abc import Sequence

import numpy as np
from multiway_sets import SEED

from simmerge_hub.selector.models import multiway


def resample(chosen: Sequence[tuple[str, ...]], whole: bool) -> np.ndarray:
    """[2000, sets]: how often each set is drawn with its models.

    Either `whole` groups of models are drawn anew (no set is in two), or models one by one: a set
    then counts as often as all of its models together, which gives wider intervals.
    """
    units = multiway.groups(chosen)
    if not whole:
        units = [{model} for model in sorted(frozenset().union(*units))]
    belongs = np.array([[bool(unit & set(models)) for unit in units] for models in chosen])
    random = np.random.default_rng(SEED)
    drawn = random.integers(len(units), size=(2000, len(units)))
    counts = np.stack([np.bincount(row, minlength=len(units)) for row in drawn])
    weights = np.stack([counts[:, own].prod(axis=1) for own in belongs], axis=1)
    return weights[weights.sum(axis=1) > 0]


def spread(chosen: Sequence[tuple[str, ...]], values: Sequence[float]) -> dict[str, float]:
    """Mean with 95 % intervals: from drawing models anew, and from drawing groups of them."""
    return spread_share(chosen, values, np.ones(len(chosen)))


def spread_share(
    chosen: Sequence[tuple[str, ...]], values: Sequence[float], of: Sequence[float]
) -> dict[str, float]:
    """The same of a ratio of sums: what share `values` are of `of`, where that is not 0."""
    above, below = np.asarray(values), np.asarray(of)
    numbers = {"mean": round_off(above.sum() / below.sum())}
    for whole, prefix in ((False, ""), (True, "group_")):
        weights = resample(chosen, whole)
        weights = weights[weights @ below > 0]
        low, high = np.quantile((weights @ above) / (weights @ below), (0.025, 0.975))
        numbers |= {f"{prefix}low": round_off(low), f"{prefix}high": round_off(high)}
    return numbers


def round_off(value: float) -> float:
    """To what the JSON states."""
    return round(float(value), 4)
