"""What a plan aims at: a merge has one set of weights, and its tasks may want different ones.

Everything here is about predicted utilities: shares of the task expert's score that a merge keeps,
1 = as good as the expert.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from simmerge_hub.errors import ObjectiveError
from simmerge_hub.names import suggest
from simmerge_hub.recipe.why import Aim
from simmerge_hub.units import Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What to make as large as it can be. Without arguments: the mean over tasks.

    Args:
        worst: judge a merge by its worst task instead of the mean.
        weights: task -> how much it counts in the mean, at least 0; 1 where nothing is said.
        keep: task -> the share of its expert's score, in (0, 1], that a merge must be predicted to
            keep; among those that do, the other tasks decide (all, if every one is to be kept).
    """

    worst: bool = False
    weights: Mapping[str, float] = field(default_factory=dict)
    keep: Mapping[str, float] = field(default_factory=dict)

    def check(self, tasks: Collection[str]) -> None:
        """Raise ObjectiveError if it makes no sense for these tasks."""
        for task in (*self.weights, *self.keep):
            if task not in tasks:
                raise ObjectiveError(
                    f"the objective names a task {task!r}, which is not one of this plan",
                    hint=suggest(task, tasks) or f"its tasks: {', '.join(tasks)}",
                )
        if self.worst and self.weights:
            raise ObjectiveError(
                "the worst task has no weights, and both are asked for",
                hint="leave out one of: --objective worst, --weight",
            )
        for task, weight in self.weights.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise ObjectiveError(
                    f"the weight of {task} is {weight:g}", hint="a weight is 0 or more: 2"
                )
        for task, share in self.keep.items():
            if not 0 < share <= 1:
                raise ObjectiveError(
                    f"{share:g} of the expert is to be kept on {task}",
                    hint="a share lies above 0, and 1 is as good as the expert: 0.8",
                )
        if not any(self._weight(task) for task in self.judged(tasks)):
            raise ObjectiveError(
                "no task has a weight above 0", hint="give one of them weight, or leave weights out"
            )

    def judged(self, tasks: Collection[str]) -> tuple[str, ...]:
        """The tasks that decide between arms: those not to be kept, or all if there are none."""
        return tuple(t for t in tasks if t not in self.keep) or tuple(tasks)

    def value(self, utilities: Mapping[str, Spread]) -> Spread:
        """An arm's utilities by task -> what it is judged by.

        Its bounds are made of the tasks' bounds in the same way; they are no calibrated interval.
        """
        judged = self.judged(utilities)
        columns = list(zip(*(utilities[t] for t in judged), strict=True))
        if self.worst:
            middle, low, high = map(min, columns)
        else:
            weights = [self._weight(t) for t in judged]
            middle, low, high = (
                math.fsum(w * v for w, v in zip(weights, column, strict=True)) / math.fsum(weights)
                for column in columns
            )
        return middle, low, high

    def missing(self, utilities: Mapping[str, Spread]) -> dict[str, float]:
        """Task -> how much an arm falls short of what must be kept; only where it does."""
        short = {task: least - utilities[task][0] for task, least in self.keep.items()}
        return {task: lack for task, lack in short.items() if lack > 0}

    def heading(self, tasks: Collection[str]) -> str:
        """What `value` is, in a word or two: `mean`, `weighted mean`, `worst`, `math`."""
        judged = self.judged(tasks)
        if len(judged) == 1:
            return judged[0]
        mean = "weighted mean" if self._weighted(judged) else "mean"
        what = "worst" if self.worst else mean
        return f"{what} of the others" if len(judged) < len(tasks) else what

    def describe(self, tasks: Collection[str]) -> str:
        """The objective in plain words, to follow "the arm with"."""
        judged = self.judged(tasks)
        names = ", ".join(judged)
        if len(judged) == 1:
            what = f"the highest utility on {names}"
        elif self.worst:
            what = f"the best worst task of {names}"
        elif self._weighted(judged):
            weights = ", ".join(f"{t} {self._weight(t):g}" for t in judged)
            what = f"the highest weighted mean ({weights})"
        else:
            what = f"the highest mean over {names}"
        kept = " and ".join(f"at least {least:g} on {t}" for t, least in self.keep.items())
        return f"{what}, of those that keep {kept}" if kept else what

    def aim(self, tasks: Collection[str]) -> Aim:
        """What a plan records of it."""
        return Aim(
            heading=self.heading(tasks),
            description=self.describe(tasks),
            worst=self.worst,
            weights=dict(self.weights),
            keep=dict(self.keep),
        )

    def _weighted(self, tasks: Collection[str]) -> bool:
        return len({self._weight(task) for task in tasks}) > 1

    def _weight(self, task: str) -> float:
        return self.weights.get(task, 1.0)


MEAN = Objective()
"""The mean over tasks."""
