"""How much rows of one's own count beside those of others.

A catalogue of one's own has tens of rows, what others measured a thousand; rows that count alike
leave the catalogue unheard. How much its rows count is decided as all else is, on its own models
left out.
"""

from collections.abc import Sequence

import numpy as np

from simmerge_hub.selector.models import mixture
from simmerge_hub.selector.models.mixture import INNER_FOLDS, Size, advantage
from simmerge_hub.selector.tables.rows import Floats, Rows, Split, splits, stack

WEIGHTS = (1.0, 4.0, 16.0, 64.0)
"""How much a row of one's own may count, a row of others being 1."""


def weigh(own: Rows, others: Rows, *, size: Size | None = None, seed: int) -> float:
    """The weight of a row of `own` with which its models are predicted best when left out.

    Judged by the squared error of the advantage, as the share of the forest is
    (`mixture.contest`). Of weights that make more of `own` than of all others the largest is the
    first; 1 where no model can be left out.

    Args:
        own: what is predicted for.
        others: of the same arms, features and effects.
        size: of the predictors that are tried; the default one if None.
        seed: of folds and fitting.
    """
    parts = splits(own, INNER_FOLDS, seed=seed, across=False)
    if not parts:
        return WEIGHTS[0]
    enough = next((i for i, w in enumerate(WEIGHTS) if w * len(own) >= len(others)), len(WEIGHTS))
    candidates = WEIGHTS[: enough + 1]
    if len(candidates) == 1:
        return candidates[0]
    errors = np.zeros((len(candidates), len(parts)))

    def judge(place: tuple[int, int]) -> None:
        weight, part = candidates[place[0]], parts[place[1]]
        errors[place] = _error(own, others, part, weight, size, seed)

    mixture.run_in_parallel(judge, list(np.ndindex(*errors.shape)))
    return candidates[int(np.argmin(errors.sum(axis=1)))]


def combine(own: Rows, others: Sequence[Rows], weight: float) -> Rows:
    """All rows, those of `own` first and counting `weight` times as much."""
    return stack([own.weighed(weight), *others])


def _error(
    own: Rows, others: Rows, part: Split, weight: float, size: Size | None, seed: int
) -> float:
    test = own.take(part.test)
    known = combine(own.take(part.train), [others], weight)
    fitted = mixture.fit(known, size or Size(), seed=seed)
    predicted: Floats = mixture.predict(fitted, test.values, test.effects)
    return float(np.square(advantage(predicted) - advantage(test.gains)).sum())
