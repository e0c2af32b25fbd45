"""Whether a ranking is acted on: only where held-out pairs at least as far away show that it pays.

The arm ranked first leads the *safe* one by some amount. On held-out pairs at least as far from
their training (in no coordinate nearer, and of those the nearest in scale that are enough; of a
size that was trained on, those of the pair's own), leads no larger were too high by some amount on
average. The ranking is followed if the lead
exceeds the upper confidence bound of that error, models drawn anew; else the safe arm is taken, the
fixed one that did best on those pairs. Where too few models were held out so far away nothing can
be shown, and the safe arm is the one that did best in the farthest outcomes there are
(`predictor.measured`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce

import numpy as np

from simmerge_hub.operators import Arm
from simmerge_hub.selector.models.resampling import resample, upper_bound
from simmerge_hub.selector.predictor.measured.pairs import Measured
from simmerge_hub.selector.predictor.record import Cases, Record
from simmerge_hub.selector.tables.rows import Floats

SURER = (
    "To be surer, let some merges be tried first (--try 4), or evaluate this merge, and one with "
    "another operator beside it"
)
"""What helps where the ranking is not followed."""
SEED = 0
"""Of the models that are drawn anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What is done about a ranking, and by which evidence.

    Args:
        followed: whether the arm ranked first is taken; else the safe one is.
        first, safe: labels of arms; they may be one arm.
        lead: of the first over the safe arm, as predicted.
        error: by how much such leads were too high on average, at most; infinite without evidence.
        cases, models: how many held-out cases are at least as far away, and of how many models.
        because: all of it in sentences, without their full stops.
        beyond: whether too few cases are as far away, and the safe arm is that of the farthest
            outcomes there are.
    """

    followed: bool
    first: str
    safe: str
    lead: float
    error: float
    cases: int
    models: int
    because: tuple[str, ...]
    beyond: bool = False

    @property
    def reason(self) -> str:
        """What it stands on, in words."""
        return ". ".join(self.because)

    @property
    def chosen(self) -> str:
        """The label of the arm to take."""
        return self.first if self.followed else self.safe


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounds:
    """What a ranking of one pair on one task can be judged by.

    Args:
        record: what was predicted and measured on held-out models.
        beyond: what fixed arms reached farther away than any of them.
        pattern: the families of features the pair lacks, as `availability.spell` writes it.
        coordinates: [3], how far the pair is from training.
        parameters: of the pair's base; None if nobody says.
        alpha: the error of leads may exceed its bound with this probability.
        far: why the pair counts as far, in words.
    """

    record: Record = field(repr=False)
    beyond: Measured = field(repr=False)
    pattern: str
    coordinates: Floats
    parameters: float | None
    alpha: float
    far: str = ""

    @property
    def is_enough(self) -> bool:
        """Whether anything can be shown so far away."""
        return self._reach(self.record.each_task(self.pattern)).models >= min_models(self.alpha)

    def weigh(self, ranked: Sequence[str], leads: Mapping[str, float], *, both: bool) -> Trust:
        """Whether the first of some arms is taken, or the safe one.

        Args:
            ranked: labels of the arms that can be used, best first.
            leads: label -> the predicted lead of the first over this arm.
            both: judge by pairs on both their tasks at once, instead of one task.
        """
        one = self.record.both_tasks if both else self.record.each_task
        return self.by(one(self.pattern), ranked, leads)

    def _reach(self, cases: Cases) -> Cases:
        return cases.beyond(self.coordinates, min_models(self.alpha), self.parameters)

    def by(self, known: Cases, ranked: Sequence[str], leads: Mapping[str, float]) -> Trust:
        """The same by those of `known` held-out cases that are at least as far."""
        cases = self._reach(known)
        arms = [(i, a) for i, a in enumerate(self.record.arms) if a.label in ranked]
        if cases.models < min_models(self.alpha) or not arms:
            return self._abstain(ranked, leads, cases)
        safe = self._safe(arms, cases)
        if safe == ranked[0]:
            return self._trust(ranked, leads, safe, cases, error=0.0, such=len(cases.first))
        error, such = _error(
            [i for i, _ in arms], self._place(safe), cases, leads[safe], self.alpha
        )
        return self._trust(ranked, leads, safe, cases, error=error, such=such)

    def _place(self, label: str) -> int:
        return [a.label for a in self.record.arms].index(label)

    def _safe(self, arms: Sequence[tuple[int, Arm]], cases: Cases) -> str:
        """The arm with the best mean, of those that treat both models alike if there are any."""
        alike = [(i, a) for i, a in arms if a == a.swapped()] or list(arms)
        return max(alike, key=lambda one: float(cases.gains[:, one[0]].mean()))[1].label

    def _trust(
        self,
        ranked: Sequence[str],
        leads: Mapping[str, float],
        safe: str,
        cases: Cases,
        *,
        error: float,
        such: int,
    ) -> Trust:
        first = ranked[0]
        trained = any(a.label == first for a in self.record.arms)
        followed = safe == first or (trained and leads[safe] > error)
        mean = float(cases.gains[:, self._place(safe)].mean())
        shown = f"{such} held-out cases at least as far from training"
        high = f"leads no larger were too high by {error:.2f} at most on {shown}"
        if safe == first:
            because = f"{first} is also the safe operator, with {mean:.2f} the best of {shown}"
        elif followed:
            because = f"It leads {safe}, the safe operator, by {leads[safe]:.2f}; {high}"
        elif not trained:
            because = f"{safe} is the safe choice, the best of {shown}: {first} was never measured"
        elif math.isinf(error):
            because = (
                f"{safe} is the safe choice: {first} is ranked first, {leads[safe]:.2f} ahead of "
                f"it, and leads so small were seen too rarely on held-out models to judge them"
            )
        else:
            because = (
                f"{safe} is the safe choice: {first} is ranked first, {leads[safe]:.2f} ahead of "
                f"it, but {high}"
            )
        return Trust(
            followed=followed,
            first=first,
            safe=safe,
            lead=leads[safe],
            error=error,
            cases=len(cases.first),
            models=cases.models,
            because=(because,),
        )

    def _abstain(self, ranked: Sequence[str], leads: Mapping[str, float], cases: Cases) -> Trust:
        safe = self.beyond.best(ranked)
        known = self.beyond.says(safe) if safe else "nothing that can be used here was measured"
        safe = safe or ranked[0]
        there = "no held-out pair was" if not cases.models else f"only {cases.models} models were"
        return Trust(
            followed=False,
            first=ranked[0],
            safe=safe,
            lead=leads[safe],
            error=math.inf,
            cases=len(cases.first),
            models=cases.models,
            because=(
                f"{safe} is the safe choice: {known}",
                f"The predictor's own ranking ({ranked[0]} first) is not followed: {there} as far "
                f"from training ({self.far})",
                SURER,
            ),
            beyond=True,
        )


def min_models(alpha: float) -> int:
    """The fewest models that a bound of this level can rest on.

    With n exchangeable errors, the next one exceeds the largest of them with probability 1/(n + 1):
    below 1/alpha − 1 not even the largest error seen is a bound.
    """
    return math.ceil(1 / alpha - 1 - 1e-9)


def combine(grounds: Sequence[Grounds]) -> Grounds:
    """What a choice for several tasks at once is judged by: in every coordinate the farthest, with
    the features that fewest of them have."""
    farthest = max(grounds, key=lambda each: (len(each.pattern), tuple(each.coordinates)))
    coordinates = reduce(np.maximum, (each.coordinates for each in grounds))
    far = next((g.far for g in grounds if not g.is_enough), farthest.far)
    return Grounds(
        record=farthest.record,
        beyond=farthest.beyond,
        pattern=farthest.pattern,
        coordinates=coordinates,
        parameters=farthest.parameters,
        alpha=farthest.alpha,
        far=far,
    )


def _error(
    arms: Sequence[int], safe: int, cases: Cases, lead: float, alpha: float
) -> tuple[float, int]:
    """By how much leads of at most `lead` were too high on average, at most; how many these are.

    Where the ranking agrees with the safe arm its lead is nil. Infinite if leads above nil are of
    too few models.
    """
    there = np.arange(len(cases.first))
    best = np.array(arms)[np.nan_to_num(cases.predicted[:, arms], nan=-np.inf).argmax(axis=1)]
    predicted = cases.predicted[there, best] - cases.predicted[:, safe]
    true = cases.gains[there, best] - cases.gains[:, safe]
    such = predicted <= lead
    few = cases.take(such)
    if cases.take(such & (predicted > 0)).models < min_models(alpha):
        return math.inf, len(few.first)
    weights = resample(few.first.tolist(), few.second.tolist(), SEED)
    return upper_bound((predicted - true)[such], weights, alpha), len(few.first)
