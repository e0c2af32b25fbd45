"""The predictor: features of a pair and a task -> every arm's utility, with interval and reason.

Knows nothing about how it was trained, about models or about files (`selector.predictor.archive`
writes it).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from simmerge_hub.errors import PredictorError
from simmerge_hub.operators import Arm, find
from simmerge_hub.selector.models import conditioned, heads, multiway
from simmerge_hub.selector.models.conformal import WIDEST, Radii
from simmerge_hub.selector.models.linear import Linear
from simmerge_hub.selector.models.multiway import MultiwayModel
from simmerge_hub.selector.predictor import wording
from simmerge_hub.selector.predictor.measured.pairs import Measured
from simmerge_hub.selector.predictor.novelty import Familiar, Novelty, judge
from simmerge_hub.selector.predictor.ranking import Contribution, Prediction, Ranking
from simmerge_hub.selector.predictor.record import Record
from simmerge_hub.selector.predictor.scorer import (
    ConditionedForest,
    Scorer,
    digest_array,
    digest_forests,
)
from simmerge_hub.selector.predictor.trust import Grounds
from simmerge_hub.selector.tables.availability import missing, spell
from simmerge_hub.selector.tables.merges import Merges
from simmerge_hub.selector.tables.rows import Floats
from simmerge_hub.signatures.measures.remembered import remember

if TYPE_CHECKING:
    from simmerge_hub.signatures.features.vector import Features

NOT_ASKED = "not asked for"
"""Why an arm that was trained is not ranked where others were named."""
CONTRIBUTIONS_KEPT = 5
"""Features named as the reason for a choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictor:
    """A trained selector, as it is stored.

    Args:
        arms: what it was trained on.
        names: the features it reads, in order.
        features: the schema of those features.
        line: what the heads start from.
        heads: XGBoost's JSON, one per arm.
        conditioned: one forest for all arms, trained or not.
        alpha: intervals hold a share of 1 − alpha of outcomes.
        radii: half-widths by pattern of missing features (`complete`, `without base`, …).
        familiar: what the training data looked like.
        means: each arm's mean share of the gap closed in training.
        regimes: the zoos trained on, with their numbers of rows.
        training: sha256 of the rows trained on.
        report: how it did on held-out models (`selector.training.report`).
        record: what was predicted of held-out pairs near and far, and what came of it.
        beyond: what fixed arms reached farther away than any of them.
        many: for merges of three models and more; None if none were measured.
    """

    arms: tuple[Arm, ...]
    names: tuple[str, ...]
    features: int
    line: Linear = field(repr=False)
    heads: tuple[str, ...] = field(repr=False)
    conditioned: ConditionedForest = field(repr=False)
    alpha: float
    radii: Mapping[str, Radii]
    familiar: Familiar = field(repr=False)
    means: tuple[float, ...]
    regimes: Mapping[str, int]
    training: str
    report: Mapping[str, Any] = field(repr=False)
    record: Record = field(repr=False)
    beyond: Measured = field(repr=False)
    many: MultiwayModel | None = None

    @property
    def _scorer(self) -> Scorer:
        return Scorer(
            arms=self.arms, line=self.line, heads=self.heads, conditioned=self.conditioned
        )

    def predict(
        self,
        features: "Features",
        *,
        task: str,
        arms: Sequence[Arm] | None = None,
        effects: Mapping[str, Floats] = MappingProxyType({}),
        parameters: int | None = None,
    ) -> Ranking:
        """Rank the arms for one ordered pair (expert, auxiliary) on one task.

        Args:
            features: of the pair and the task, of the schema this predictor was trained on.
            task: the task's name.
            arms: the arms to rank; all that were trained by default. One that was not trained
                needs effects, and its interval is that of operators left out of training.
            effects: arm label -> what the arm does to the pair (`signatures.merged.effects`).
            parameters: how many the base has. Where nobody says, no held-out pair counts as being
                as far away, and the safe arm is chosen.

        Raises:
            PredictorError: other features than trained on, effects are missing, or no arm is left.
        """
        values = self._vector(features)
        rejected = self._reject(values, arms, effects)
        gone = {a.label for a, _ in rejected}
        left = [a for a in (self.arms if arms is None else arms) if a.label not in gone]
        if not left:
            raise PredictorError(
                "no arm is left: " + "; ".join(f"{a.label}: {why}" for a, why in rejected),
                hint="name a base with --base, or allow other arms",
            )
        novelty = self.judge(values, parameters)
        by_arm = {arm.label: self._arm_effects(arm, effects) for arm in left}
        kept = self._predictions(
            values, np.stack([by_arm[a.label] for a in left]), task, left, novelty
        )
        grounds = self._grounds(values, novelty, parameters)
        leads = {p.arm.label: kept[0].gain - p.gain for p in kept}
        trust = grounds.weigh(list(leads), leads, both=False)
        contributions = self._contributions(values, by_arm, kept)
        return Ranking(
            task=task,
            status=novelty.status,
            kept=kept,
            rejected=rejected,
            reason=wording.sentence(_values(kept), contributions, novelty, trust=trust),
            contributions=contributions,
            novelty=novelty,
            usual=self.familiar.limits.get(grounds.pattern),
            trust=trust,
            grounds=grounds,
        )

    def judge(self, values: Floats, parameters: int | None) -> Novelty:
        """How far a pair is from training; `abstained` if too few held-out models were as far.

        Args:
            values: [features], in the order of `names`.
            parameters: of the pair's base.
        """
        novelty = judge(self.familiar, values, self.names, parameters=parameters)
        enough = self._grounds(values, novelty, parameters).is_enough
        return novelty if enough else replace(novelty, status="abstained")

    def bulk(self, values: Floats, effects: Floats, arms: Sequence[Arm]) -> tuple[Floats, Floats]:
        """Gains of many pairs at once, and the half-widths of their intervals.

        No pair is judged for novelty and no reason is given: for a search, whose result is then
        explained by `predict`.

        Args:
            values: [pairs, features], in the order of `names`.
            effects: [pairs, arms, effects], what each arm does to each pair.
            arms: what to score, seen from the pair's expert; need not have been trained.

        Returns:
            [pairs, arms] each; gains in [-1, 1.5].
        """
        gains = self._scorer.gains(values, effects, arms)
        radii = [self.radii.get(spell(missing(row, self.names))) for row in values]
        widths = [[self._width(each, arm, first=False) for arm in arms] for each in radii]
        return gains, np.array(widths, dtype=np.float64).reshape(gains.shape)

    def of_many(self, merges: Merges) -> tuple[Floats, Floats]:
        """Gains of merges of three models and more, and the half-widths of their intervals.

        What never saw such merges sees each as one of two, the task's expert and all the others.

        Args:
            merges: their gains are not read.

        Returns:
            [merges] each; gains in [-1, 1.5].
        """
        trained = conditioned.operators(self.arms)
        if self.many is None:
            read = [merges.effect_names.index(name) for name in self.conditioned.effects]
            unseen = replace(merges, effects=merges.effects[:, read])
            forest = heads.booster(self.conditioned.forest)
            gains = conditioned.predict_lines(forest, multiway.pair_lines(unseen, trained))
            return gains, np.full(len(merges), self.conditioned.unmeasured)
        was_run = np.isfinite(merges.likeness).any(axis=1)
        return (
            _remember_gains(self.many, merges, trained),
            np.where(was_run, self.many.run, self.many.unrun),
        )

    def reads_effects(self, arms: Sequence[Arm]) -> bool:
        """Whether `predict` must be told what these arms do to the pair."""
        return self.conditioned.share > 0 or any(self._scorer.place(arm) is None for arm in arms)

    def check(self, names: Sequence[str], schema: int) -> None:
        """PredictorError unless it reads these features."""
        if schema != self.features or tuple(names) != self.names:
            raise PredictorError(
                f"the predictor reads {len(self.names)} features of schema {self.features}, "
                f"but is given {len(names)} of schema {schema}",
                hint="use the version of simmerge-hub that trained it, or train one with this "
                "version",
            )

    def _vector(self, features: "Features") -> Floats:
        self.check(features.names, features.schema)
        return np.asarray(features.values, dtype=np.float64)

    def _grounds(self, values: Floats, novelty: Novelty, parameters: int | None) -> Grounds:
        return Grounds(
            record=self.record,
            beyond=self.beyond,
            pattern=spell(missing(values, self.names)),
            coordinates=novelty.coordinates,
            parameters=parameters,
            alpha=self.alpha,
            far=novelty.reason,
        )

    def _reject(
        self, values: Floats, arms: Sequence[Arm] | None, effects: Mapping[str, Floats]
    ) -> tuple[tuple[Arm, str], ...]:
        known = {a.label for a in self.arms}
        asked = known if arms is None else {a.label for a in arms}
        without_base = "base" in missing(values, self.names)
        everything = [*self.arms, *(a for a in arms or () if a.label not in known)]
        rejected = []
        for one in everything:
            if one.label not in asked:
                rejected.append((one, NOT_ASKED))
            elif without_base and find(one.operator).space == "delta":
                rejected.append((one, "works on deltas, and there is no common base"))
            elif one.label not in known and one.label not in effects:
                rejected.append((one, "not trained"))
        return tuple(rejected)

    def _arm_effects(self, arm: Arm, effects: Mapping[str, Floats]) -> Floats:
        """The arm's effects [effects]; NaN if they are not given and nothing reads them."""
        wanted = len(self.conditioned.effects)
        if arm.label not in effects:
            if wanted and self.conditioned.share:
                raise PredictorError(
                    f"the predictor must be told what {arm.label} does to the pair",
                    hint="give effects=, as simmerge_hub.signatures.merged.effects computes them",
                )
            return np.full(wanted, np.nan)
        numbers = np.asarray(effects[arm.label], dtype=np.float64)
        if numbers.shape != (wanted,):
            raise PredictorError(
                f"the predictor reads {wanted} effects of an arm, but is given {numbers.size}",
                hint="train it again on signatures made by this version",
            )
        return numbers

    def _predictions(
        self, values: Floats, effects: Floats, task: str, left: Sequence[Arm], novelty: Novelty
    ) -> tuple[Prediction, ...]:
        gains = self._scorer.gains(values[None], effects[None], left)[0]
        known = novelty.status != "abstained"
        radii = self.radii.get(spell(missing(values, self.names))) if known else None
        order = np.argsort(-gains, kind="stable")
        widths = [self._width(radii, left[i], first=i == order[0]) for i in order]
        return tuple(
            Prediction(arm=left[i], task=task, gain=float(gains[i]), width=width)
            for i, width in zip(order, widths, strict=True)
        )

    def _width(self, radii: Radii | None, arm: Arm, *, first: bool) -> float:
        place = self._scorer.place(arm)
        if radii is None:
            return WIDEST
        if place is None:
            return self.conditioned.unmeasured
        return radii.chosen if first else radii.arms[place]

    def _contributions(
        self, values: Floats, effects: Mapping[str, Floats], kept: Sequence[Prediction]
    ) -> tuple[Contribution, ...]:
        best, rival = kept[0].arm, wording.rival(_values(kept))
        of_best = lead = self._scorer.shap(values, effects[best.label], best)
        if rival is not None:
            other = next(p.arm for p in kept if p.arm.label == rival[0])
            lead = of_best - self._scorer.shap(values, effects[other.label], other)
        names = (*self.names, *self.conditioned.effects)
        seen = np.concatenate([values, effects[best.label]])
        strongest = np.argsort(-np.abs(lead), kind="stable")[:CONTRIBUTIONS_KEPT]
        return tuple(
            Contribution(
                feature=names[i],
                value=float(seen[i]),
                gain=float(of_best[i]),
                lead=float(lead[i]),
                says=wording.says(names[i], float(seen[i]), self.familiar.knots[i : i + 1]),
            )
            for i in strongest
            if lead[i] != 0
        )


def _remember_gains(many: MultiwayModel, merges: Merges, trained: Sequence[str]) -> Floats:
    """[n]: what the model of merges of many predicts; kept on the disk, as a pair's gains are."""
    nets = [layer for net in many.networks.networks for _, layer in sorted(net.items())]
    arrays = (multiway.matrix(merges, trained), many.networks.knots, *nets)
    return remember(
        "many",
        (),
        [digest_forests((many.forest,)), *map(digest_array, arrays)],
        (len(merges),),
        lambda: multiway.predict(heads.booster(many.forest), many.networks, merges, trained),
    )


def _values(kept: Sequence[Prediction]) -> list[tuple[str, float]]:
    return [(each.arm.label, each.gain) for each in kept]
