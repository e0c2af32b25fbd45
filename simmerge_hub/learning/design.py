"""Which pairs of models are merged next: first spread over all, then where choices are unsure.

A pair is merged with every arm of the recipe: only whole rows can be learned from. What is chosen
depends on what was measured in earlier rounds and on the seed alone, so an interrupted run goes on
with the same pairs.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from simmerge_hub.selector.tables.availability import Floats
from simmerge_hub.selector.tables.rows import Rows

Pair = tuple[str, str]
ROUNDS = 4
"""Rounds of pairs after the first half of the budget."""
RESAMPLES = 8
"""Predictors that vote on where they disagree."""
TREES = 40
"""Of each of their forests: they are fitted anew in every round."""
PENALTY = 100.0
"""Of their lines."""


def round_sizes(pairs: int) -> list[int]:
    """How many pairs each round measures: half of them first, the rest in equal parts."""
    first = -(-pairs // 2)
    rest = pairs - first
    sizes = [first, *(rest * (i + 1) // ROUNDS - rest * i // ROUNDS for i in range(ROUNDS))]
    return [size for size in sizes if size]


def spread_out(points: Mapping[Pair, Floats], count: int, *, seed: int) -> list[Pair]:
    """Pairs far from each other: each is the one farthest from those before it.

    Args:
        points: pair -> [features]; NaN counts as usual there.
        count: how many pairs.
        seed: which pair is first among equals: nearest to the middle of all, then by the draw.
    """
    pairs = sorted(points)
    if not pairs:
        return []
    table = _standardise(np.stack([points[pair] for pair in pairs]))
    order = np.random.default_rng(seed).permutation(len(pairs))
    first = int(order[np.argmin(np.linalg.norm(table[order], axis=1))])
    chosen, distance = [first], np.linalg.norm(table - table[first], axis=1)
    while len(chosen) < min(count, len(pairs)):
        distance[chosen] = -1.0
        best = int(order[np.argmax(distance[order])])
        chosen.append(best)
        distance = np.minimum(distance, np.linalg.norm(table - table[best], axis=1))
    return [pairs[i] for i in chosen]


def least_sure(known: Rows, asked: Rows, *, seed: int) -> dict[Pair, float]:
    """Pair -> how far predictors fitted on resampled rows disagree about which arm leads on it.

    Args:
        known: what was measured, with tables of others.
        asked: rows of pairs that were not; their gains are not looked at.
        seed: of the resamples.
    """
    votes = np.stack([_vote(known, asked, seed + i) for i in range(RESAMPLES)])
    lead = votes - votes.mean(axis=2, keepdims=True)
    doubt = lead.std(axis=0).mean(axis=1)
    by_pair: dict[Pair, float] = {}
    for expert, auxiliary, value in zip(asked.experts, asked.auxiliaries, doubt, strict=True):
        first, second = sorted((expert, auxiliary))
        by_pair[first, second] = by_pair.get((first, second), 0.0) + float(value)
    return by_pair


def _vote(known: Rows, asked: Rows, seed: int) -> Floats:
    """[asked rows, arms]: predicted by what is fitted on rows drawn with replacement."""
    from simmerge_hub.selector.models import heads, linear

    drawn = np.random.default_rng(seed).integers(0, len(known), len(known))
    rows = known.take(drawn)
    line = linear.fit(rows, PENALTY)
    return heads.predict(heads.fit(rows, line, trees=TREES, seed=seed), line, asked.values)


def choose_pairs(doubts: Mapping[Pair, float], count: int) -> list[Pair]:
    """The pairs in most doubt, by name among equals."""
    return sorted(doubts, key=lambda pair: (-round(doubts[pair], 6), pair))[:count]


def _standardise(table: Floats) -> Floats:
    """[pairs, features] with mean 0 and spread 1; what is missing or the same everywhere is 0."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # columns that are missing everywhere
        centred = table - np.nanmean(table, axis=0)
        spread = np.nanstd(table, axis=0)
    return np.nan_to_num(centred / np.where(spread > 0, spread, 1.0))


def all_pairs(names: Sequence[str]) -> list[Pair]:
    """Every unordered pair, each sorted by name."""
    ordered = sorted(names)
    return [(a, b) for i, a in enumerate(ordered) for b in ordered[i + 1 :]]
