"""The predictor: features of a pair and a task -> every arm's utility, with interval and reason.

Knows nothing about how it was trained, about models or about files (`selector.archive` writes it).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from simmerge_hub.errors import PredictorError
from simmerge_hub.operators import Arm, find
from simmerge_hub.selector import heads, wording
from simmerge_hub.selector.availability import missing, spell
from simmerge_hub.selector.conformal import WIDEST, Radii
from simmerge_hub.selector.novelty import Familiar, Limits, Novelty, Status, judge
from simmerge_hub.selector.outcomes import HIGHEST, LOWEST
from simmerge_hub.selector.rows import Floats
from simmerge_hub.selector.wording import TIE as TIE  # what reports count as equal, too

if TYPE_CHECKING:
    from xgboost import Booster

    from simmerge_hub.signatures.features import Features

NAMED = 5
"""Features named as the reason for a choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What an arm is expected to reach on a task.

    Args:
        arm: the arm.
        task: the task's name.
        utility: share of the expert–auxiliary gap closed, in [-1, 1.5]; 1 is as good as the expert,
            0 as good as the auxiliary.
        low, high: the interval that holds the true share with the predictor's confidence, if the
            ranking is calibrated.
    """

    arm: Arm
    task: str
    utility: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """What one feature adds: to the best arm's utility, and to its lead over the next one.

    The next one is the first arm that is not tied with the best. `says` is the value in plain
    words.
    """

    feature: str
    value: float
    utility: float
    lead: float
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """The arms for one task, best first, and how far to believe them.

    Args:
        task: the task's name.
        status: `calibrated`; `extrapolated`: the intervals do not hold here; `abstained`: the pair
            is unlike anything seen, and the one arm kept is the safe one.
        kept: predictions, highest utility first.
        rejected: arms left out, each with the reason.
        reason: why the first is first, in one sentence.
        contributions: the features that decided, strongest first; none after abstaining.
        novelty: how far the pair is from the training data.
        usual: what is usual for training pairs; None if such a pair was never seen.
    """

    task: str
    status: Status
    kept: tuple[Prediction, ...]
    rejected: tuple[tuple[Arm, str], ...]
    reason: str
    contributions: tuple[Contribution, ...]
    novelty: Novelty
    usual: Limits | None = None

    @property
    def best(self) -> Prediction:
        """The prediction to act on."""
        return self.kept[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictor:
    """A trained selector, as it is stored.

    Args:
        arms: what it chooses between.
        names: the features it reads, in order.
        features: the schema of those features.
        heads: XGBoost's JSON, one per arm.
        alpha: intervals hold a share of 1 − alpha of outcomes.
        radii: half-widths by pattern of missing features (`complete`, `without base`, …).
        familiar: what the training data looked like.
        means: each arm's mean share of the gap closed in training.
        safe: the arm to fall back on, as a place in `arms`.
        regimes: the zoos trained on, with their numbers of rows.
        training: sha256 of the rows trained on.
        report: how it did on held-out models (`selector.report`).
    """

    arms: tuple[Arm, ...]
    names: tuple[str, ...]
    features: int
    heads: tuple[str, ...] = field(repr=False)
    alpha: float
    radii: Mapping[str, Radii]
    familiar: Familiar = field(repr=False)
    means: tuple[float, ...]
    safe: int
    regimes: Mapping[str, int]
    training: str
    report: Mapping[str, Any] = field(repr=False)

    def predict(
        self,
        features: "Features",
        *,
        task: str,
        arms: Sequence[Arm] | None = None,
        parameters: int | None = None,
    ) -> Ranking:
        """Rank the arms for one ordered pair (expert, auxiliary) on one task.

        Args:
            features: of the pair and the task, of the schema this predictor was trained on.
            task: the task's name.
            arms: the arms to rank; all that were trained by default.
            parameters: how many the base has, where known: far from training's, it extrapolates.

        Raises:
            PredictorError: other features than trained on, or no arm is left.
        """
        values = self._aligned(features)
        rejected = self._rejected(values, arms)
        gone = {a.label for a, _ in rejected}
        columns = [i for i, a in enumerate(self.arms) if a.label not in gone]
        if not columns:
            raise PredictorError(
                "no arm is left: " + "; ".join(f"{a.label}: {why}" for a, why in rejected),
                hint="name a base with --base, or allow other arms",
            )
        novelty = judge(self.familiar, values, self.names, parameters=parameters)
        if novelty.status == "abstained":
            return self._abstained(task, columns, rejected, novelty, self._usual(values))
        kept = self._predictions(values, task, columns)
        contributions = self._contributions(values, kept[0], wording.rival(kept))
        return Ranking(
            task=task,
            status=novelty.status,
            kept=kept,
            rejected=rejected,
            reason=wording.sentence(kept, contributions, novelty),
            contributions=contributions,
            novelty=novelty,
            usual=self._usual(values),
        )

    def _aligned(self, features: "Features") -> Floats:
        if features.schema != self.features or features.names != self.names:
            raise PredictorError(
                f"the predictor reads {len(self.names)} features of schema {self.features}, "
                f"but is given {len(features.names)} of schema {features.schema}",
                hint="train it again on signatures made by this version",
            )
        return np.asarray(features.values, dtype=np.float64)

    def _usual(self, values: Floats) -> Limits | None:
        return self.familiar.limits.get(spell(missing(values, self.names)))

    def _rejected(self, values: Floats, arms: Sequence[Arm] | None) -> tuple[tuple[Arm, str], ...]:
        known = {a.label for a in self.arms}
        asked = known if arms is None else {a.label for a in arms}
        without_base = "base" in missing(values, self.names)
        found = [(a, "not trained") for a in arms or () if a.label not in known]
        for one in self.arms:
            if one.label not in asked:
                found.append((one, "not asked for"))
            elif without_base and find(one.operator).space == "delta":
                found.append((one, "works on deltas, and there is no common base"))
        return tuple(found)

    def _predictions(
        self, values: Floats, task: str, columns: Sequence[int]
    ) -> tuple[Prediction, ...]:
        chosen = [heads.booster(self.heads[i]) for i in columns]
        utilities = heads.predict(chosen, values[None])[0]
        radii = self.radii.get(spell(missing(values, self.names)))
        order = np.argsort(-utilities, kind="stable")
        widths = [_width(radii, columns[i], first=i == order[0]) for i in order]
        return tuple(
            _prediction(self.arms[columns[i]], task, float(utilities[i]), width)
            for i, width in zip(order, widths, strict=True)
        )

    def _abstained(
        self,
        task: str,
        columns: Sequence[int],
        rejected: tuple[tuple[Arm, str], ...],
        novelty: Novelty,
        usual: Limits | None,
    ) -> Ranking:
        safe = self.safe if self.safe in columns else max(columns, key=lambda i: self.means[i])
        others = tuple((self.arms[i], "not predicted for this pair") for i in columns if i != safe)
        return Ranking(
            task=task,
            status="abstained",
            kept=(_prediction(self.arms[safe], task, self.means[safe], WIDEST),),
            rejected=rejected + others,
            reason=f"{self.arms[safe].label} as the safe choice: {novelty.reason}",
            contributions=(),
            novelty=novelty,
            usual=usual,
        )

    def _contributions(
        self, values: Floats, best: Prediction, rival: Prediction | None
    ) -> tuple[Contribution, ...]:
        of_best = lead = heads.contributions(self._head(best), values)
        if rival is not None:
            lead = of_best - heads.contributions(self._head(rival), values)
        strongest = np.argsort(-np.abs(lead), kind="stable")[:NAMED]
        return tuple(
            Contribution(
                feature=self.names[i],
                value=float(values[i]),
                utility=float(of_best[i]),
                lead=float(lead[i]),
                says=wording.says(self.names[i], float(values[i]), self.familiar.knots[i]),
            )
            for i in strongest
            if lead[i] != 0
        )

    def _head(self, of: Prediction) -> "Booster":
        return heads.booster(self.heads[[a.label for a in self.arms].index(of.arm.label)])


def _width(radii: Radii | None, column: int, *, first: bool) -> float:
    if radii is None:
        return WIDEST
    return radii.chosen if first else radii.arms[column]


def _prediction(chosen: Arm, task: str, utility: float, width: float) -> Prediction:
    return Prediction(
        arm=chosen,
        task=task,
        utility=utility,
        low=max(LOWEST, utility - width),
        high=min(HIGHEST, utility + width),
    )
