"""What the features of one ordered pair are computed from; every part is made when first asked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from simmerge_hub.signatures.measures import deltas, geometry
from simmerge_hub.signatures.measures.comparison import Comparison, comparable, compare, drift
from simmerge_hub.signatures.measures.distributions import align_outcomes
from simmerge_hub.signatures.measures.sums import TensorSums
from simmerge_hub.signatures.probing.dosing.response import Cross, Response
from simmerge_hub.signatures.probing.sketch import Sketch
from simmerge_hub.signatures.signing.signature import Signature

Needs = Literal["base", "behaviour", "attention", "dose", "cross"]
"""What of a pair may be there or not."""
SIDES = ("expert", "auxiliary")


@dataclass(frozen=True, kw_only=True, eq=False)
class Pair:
    """An expert and an auxiliary for a task, with their base if there is one.

    `cross` has by side what the mean of both models makes of that side's answers, where it was run.
    """

    expert: Signature
    auxiliary: Signature
    base: Signature | None
    task: str
    cross: Mapping[str, Cross] = field(default_factory=dict)

    def model(self, side: str) -> Signature:
        """The model on a side: `expert` or `auxiliary`."""
        return self.expert if side == "expert" else self.auxiliary

    def other(self, side: str) -> Signature:
        """The model on the other side."""
        return self.auxiliary if side == "expert" else self.expert

    @cached_property
    def available(self) -> frozenset[Needs]:
        """What is there; where something a feature needs is not, the feature is missing."""
        models = [self.expert, self.auxiliary] + ([self.base] if self.base else [])
        sketches = [s.sketches.get(self.task) for s in models]
        needs: set[Needs] = {"base"} if self.base else set()
        if any(self.response(side) for side in SIDES):
            needs |= {"dose", "cross"} if self.cross else {"dose"}
        first, second = sketches[:2]
        if first is None or second is None or not comparable(first, second):
            return frozenset(needs)
        origin = sketches[-1] if self.base else None
        if self.base and (origin is None or not comparable(first, origin)):
            return frozenset(needs)
        needs.add("behaviour")
        if all(s is not None and s.attention.shape == first.attention.shape for s in sketches):
            needs |= {"attention"} if first.attention.size else set()
        return frozenset(needs)

    def sketch(self, side: str) -> Sketch:
        """The sketch of a side's model on the task."""
        return self.model(side).sketches[self.task]

    def response(self, side: str) -> Response | None:
        """The response of a side's model on the task to doses of its delta from this base."""
        response = self.model(side).responses.get(self.task)
        origin = self.base.digest if self.base else None
        return response if response and response.base == origin else None

    @property
    def base_sketch(self) -> Sketch:
        """The base's sketch on the task."""
        return self._base.sketches[self.task]

    @cached_property
    def between(self) -> Comparison:
        """The auxiliary's behaviour against the expert's."""
        return compare(self.sketch("expert"), self.sketch("auxiliary"))

    def drift(self, side: str) -> Comparison:
        """A side's behaviour against the base's."""
        return self._drifts[side]

    @cached_property
    def _drifts(self) -> dict[str, Comparison]:
        return {side: compare(self.base_sketch, self.sketch(side)) for side in SIDES}

    @cached_property
    def drift_cosine(self) -> np.ndarray:
        """float64 [L]: cosine of what both models' hidden states moved from the base's."""
        one, other = (drift(self.base_sketch, self.sketch(side)) for side in SIDES)
        return one.cosine(other)

    @cached_property
    def fisher_cosines(self) -> tuple[float, float]:
        """Cosine of both log-probability deltas weighted by the base; everywhere, at the ends."""
        base, *models = align_outcomes(
            [self.base_sketch, *(self.sketch(side) for side in SIDES)]
        ).logprobs
        weight = np.exp(0.5 * base)
        one, other = (weight * (model - base) for model in models)
        sums = [geometry.dot(a, b) for a, b in ((one, other), (one, one), (other, other))]
        ends = self.sketch("expert").ends
        cosines = [geometry.cosine_of(*(s[chosen].sum() for s in sums)) for chosen in (..., ends)]
        return float(cosines[0]), float(cosines[1])

    @cached_property
    def weights(self) -> TensorSums:
        """Sums over the models' weights, per tensor they share."""
        return deltas.weight_sums(*self._both)

    @cached_property
    def common(self) -> TensorSums:
        """Sums over both deltas, per tensor all share; the same whichever is the expert."""
        both = (deltas.delta(model, self._base) for model in self._both)
        return deltas.delta_sums(*both, self._base)

    def own(self, side: str) -> TensorSums:
        """Sums over one side's delta, per tensor all share."""
        return self._owns[side]

    @cached_property
    def _owns(self) -> dict[str, TensorSums]:
        names = self.common.names
        return {s: deltas.delta(self.model(s), self._base).sums.select(names) for s in SIDES}

    @property
    def _both(self) -> list[Signature]:
        """The two models in an order of their own: what is symmetric is computed once for both."""
        return sorted((self.expert, self.auxiliary), key=lambda model: model.digest)

    @property
    def _base(self) -> Signature:
        assert self.base is not None, "features that need a base are not computed without one"
        return self.base
