"""What predicts: the heads, the arm-conditioned forest, or their mean; settled by a contest.

The heads know their own arm best, the arm-conditioned forest learns from all arms about each. The
penalty of the line that heads start from, how many trees each model has, and what share of the
prediction the forest gets are decided on models held out of the training rows; the forest is
fitted in any case, for arms that were never measured.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from simmerge_hub.operators import Arm
from simmerge_hub.selector.models import conditioned, heads, linear
from simmerge_hub.selector.models.linear import Linear
from simmerge_hub.selector.tables.rows import Floats, Rows, Split, splits

if TYPE_CHECKING:
    from xgboost import Booster

SHARES = (0.0, 0.5, 1.0)
"""Shares of the arm-conditioned forest that compete."""
INNER_FOLDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What won: penalty of the line, trees of a head and of the forest, and that one's share."""

    penalty: float = 100.0
    heads: int = 50
    conditioned: int = 300
    share: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """Both models, fitted on the same rows.

    Args:
        arms: what was trained, one head each.
        line: what the heads start from.
        heads: one forest per arm.
        forest: the arm-conditioned one.
        share: its share of a trained arm's prediction, in [0, 1].
    """

    arms: tuple[Arm, ...]
    line: Linear
    heads: "tuple[Booster, ...]"
    forest: "Booster"
    share: float


def contest(rows: Rows, *, seed: int) -> Size:
    """Decide on models held out of `rows`: penalty and trees by squared error, then the share.

    The share is judged by the squared error of the *advantage*, what is left of an arm's gain after
    taking the row's mean over arms: a choice between arms depends on nothing else.
    """
    inner = splits(rows, INNER_FOLDS, seed=seed, across=False)
    if not inner:
        return Size()
    penalty = linear.best_penalty(rows, inner)
    by_heads = np.full((len(heads.TREE_COUNTS), *rows.gains.shape), np.nan)
    by_forest = np.full((len(conditioned.TREE_COUNTS), *rows.gains.shape), np.nan)

    def one(split: Split) -> None:
        known, test = rows.take(split.train), rows.take(split.test)
        line = linear.fit(known, penalty)
        own = heads.fit(known, line, trees=heads.TREE_COUNTS[-1], seed=seed)
        for i, trees in enumerate(heads.TREE_COUNTS):
            by_heads[i, split.test] = heads.predict(own, line, test.values, trees=trees)
        forest = conditioned.fit(known, trees=conditioned.TREE_COUNTS[-1], seed=seed)
        trained = conditioned.operators(known.arms)
        for i, trees in enumerate(conditioned.TREE_COUNTS):
            by_forest[i, split.test] = conditioned.predict(
                forest, test.values, test.effects, test.arms, trained, trees=trees
            )

    run_in_parallel(one, inner)
    best = [_best_candidate(each, rows.gains, rows.weights) for each in (by_heads, by_forest)]
    mixed = np.stack([_mix(by_heads[best[0]], by_forest[best[1]], share) for share in SHARES])
    return Size(
        penalty=penalty,
        heads=heads.TREE_COUNTS[best[0]],
        conditioned=conditioned.TREE_COUNTS[best[1]],
        share=SHARES[_best_candidate(advantage(mixed), advantage(rows.gains), rows.weights)],
    )


def fit(rows: Rows, size: Size, *, seed: int) -> Mixture:
    """Both models on all of `rows`."""
    line = linear.fit(rows, size.penalty)
    return Mixture(
        arms=rows.arms,
        line=line,
        heads=tuple(heads.fit(rows, line, trees=size.heads, seed=seed)),
        forest=conditioned.fit(rows, trees=size.conditioned, seed=seed),
        share=size.share,
    )


def predict(mixture: Mixture, values: Floats, effects: Floats) -> Floats:
    """[rows, arms]: the share of the gap each trained arm is predicted to close, in [-1, 1.5].

    Args:
        mixture: as `fit` gives it.
        values: [rows, features].
        effects: [rows, arms, effects], of the arms trained.
    """
    return _mix(*parts(mixture, values, effects), mixture.share)


def parts(mixture: Mixture, values: Floats, effects: Floats) -> tuple[Floats, Floats]:
    """The same from the heads alone, and from the arm-conditioned forest alone."""
    return (
        heads.predict(mixture.heads, mixture.line, values),
        predict_arms(mixture, values, effects, mixture.arms),
    )


def predict_arms(mixture: Mixture, values: Floats, effects: Floats, arms: Sequence[Arm]) -> Floats:
    """[rows, arms]: predictions for any arms, measured or not, from what they do to the pair."""
    trained = conditioned.operators(mixture.arms)
    return conditioned.predict(mixture.forest, values, effects, arms, trained)


def advantage(gains: Floats) -> Floats:
    """[..., arms] less its mean over arms: what is known about *which* arm."""
    return gains - gains.mean(axis=-1, keepdims=True)


def run_in_parallel(work, splits: Sequence[Any]) -> None:
    """Do `work` for every split; forests are fitted outside the interpreter's lock."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(work, splits))


def _mix(by_heads: Floats, by_forest: Floats, share: float) -> Floats:
    return (1 - share) * by_heads + share * by_forest


def _best_candidate(candidates: Floats, truth: Floats, weights: Floats) -> int:
    """The candidate [candidates, rows, arms] with the least squared error, rows counting by their
    weights; NaN: not tested."""
    errors = weights[:, None] * np.square(candidates - truth)
    return int(np.argmin(np.nansum(errors, axis=(1, 2))))
