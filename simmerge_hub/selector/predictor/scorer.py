"""Heads and the arm-conditioned forest, mixed: an arm's gain, and what each feature adds to it.

Knows nothing about intervals, novelty or which arm is taken (`predictor.predictor`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from importlib.metadata import version

import numpy as np

from simmerge_hub.operators import Arm
from simmerge_hub.selector.models import conditioned, heads, linear
from simmerge_hub.selector.models.linear import Linear
from simmerge_hub.selector.tables.rows import Floats
from simmerge_hub.signatures.measures.remembered import remember


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionedForest:
    """The arm-conditioned forest as it is stored, and what it is used for.

    Args:
        forest: XGBoost's JSON.
        effects: the names of the effects it reads, in order.
        share: its share of a trained arm's prediction; the rest is the arm's head's.
        unmeasured: half-width of the interval of an arm that was not trained.
    """

    forest: str = field(repr=False)
    effects: tuple[str, ...]
    share: float
    unmeasured: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorer:
    """What a predictor's gains come from.

    Args:
        arms: what was trained, one head each.
        line: what the heads start from.
        heads: XGBoost's JSON, one per arm.
        conditioned: one forest for all arms, trained or not.
    """

    arms: tuple[Arm, ...]
    line: Linear = field(repr=False)
    heads: tuple[str, ...] = field(repr=False)
    conditioned: ConditionedForest = field(repr=False)

    def gains(self, values: Floats, effects: Floats, arms: Sequence[Arm]) -> Floats:
        """[pairs, arms]: heads and forest mixed for trained arms, the forest alone for others.

        Kept on the disk: a plan that is made again need not wait for XGBoost.

        Args:
            values: [pairs, features].
            effects: [pairs, arms, effects].
            arms: what to score; need not have been trained.
        """
        return remember(
            "gains",
            (),
            [*self._digests(values, effects), *(arm.spelled for arm in arms)],
            (len(values), len(arms)),
            lambda: self._gains(values, effects, arms),
        )

    def _gains(self, values: Floats, effects: Floats, arms: Sequence[Arm]) -> Floats:
        own = np.array([self.place(arm) is not None for arm in arms])
        share = np.where(own, self.conditioned.share, 1.0)
        gains = np.zeros((len(values), len(arms)))
        if (share < 1).any():
            forests = [heads.booster(head) for head in self.heads]
            by_heads = heads.predict(forests, self.line, values)
            places = [place for arm in arms if (place := self.place(arm)) is not None]
            gains[:, own] = (1 - share[own]) * by_heads[:, places]
        if (share > 0).any():
            forest = heads.booster(self.conditioned.forest)
            trained = conditioned.operators(self.arms)
            gains += share * conditioned.predict(forest, values, effects, arms, trained)
        return gains

    def shap(self, values: Floats, effects: Floats, arm: Arm) -> Floats:
        """[features + effects]: what each adds to the arm's prediction.

        What the forest makes of the arm's own description is in neither, like the constant term.
        """
        return remember(
            "shap",
            (),
            [*self._digests(values, effects), arm.spelled],
            (len(values) + len(effects),),
            lambda: self._shap(values, effects, arm),
        )

    def _shap(self, values: Floats, effects: Floats, arm: Arm) -> Floats:
        place = self.place(arm)
        share = 1.0 if place is None else self.conditioned.share
        shap = np.zeros(len(values) + len(effects))
        if place is not None and share < 1:
            own = heads.contributions(heads.booster(self.heads[place]), values)
            own += linear.contributions(self.line, values)[:, place]
            shap[: len(values)] = (1 - share) * own
        if share > 0:
            forest = heads.booster(self.conditioned.forest)
            trained = conditioned.operators(self.arms)
            line = conditioned.matrix(values[None], effects[None, None], [arm], trained)[0]
            shap += share * heads.contributions(forest, line)[: len(shap)]
        return shap

    def place(self, arm: Arm) -> int | None:
        """Which of the trained arms it is; None for any other."""
        labels = [a.label for a in self.arms]
        return labels.index(arm.label) if arm.label in labels else None

    def _digests(self, *arrays: Floats) -> list[str]:
        """Of all that a prediction depends on, but for the arms it is for."""
        stored, line = self.conditioned, self.line
        return [
            *(arm.spelled for arm in self.arms),
            repr((stored.effects, stored.share)),
            digest_forests((*self.heads, stored.forest)),
            *map(digest_array, (line.mean, line.spread, line.weights, line.intercept, *arrays)),
        ]


def digest_array(array: Floats) -> str:
    """sha256 of an array's shape and numbers."""
    content = np.ascontiguousarray(array)
    return sha256(repr((content.dtype.str, content.shape)).encode() + content.tobytes()).hexdigest()


@lru_cache(maxsize=8)
def digest_forests(forests: tuple[str, ...]) -> str:
    """sha256 of forests' JSON and of the version of XGBoost that reads them."""
    whole = sha256(version("xgboost").encode())
    for forest in forests:
        whole.update(f"\0{len(forest)}\0{forest}".encode())
    return whole.hexdigest()
