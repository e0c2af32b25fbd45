"""A merge, what it is expected to keep on every task, and which of two comes first.

*Utility* has one meaning: the share of the task expert's score that a merge keeps, 1 = as good as
the expert. Predictors are trained on gains, shares of the gap between the expert and the rest;
`Gap` is the one place where a gain becomes a utility.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

from simmerge_hub.planning.ask.objective import Objective
from simmerge_hub.planning.tree import Tree, leaf
from simmerge_hub.selector.models.conformal import WITHIN
from simmerge_hub.selector.tables.outcomes import HIGHEST, SMALLEST_GAP
from simmerge_hub.units import Spread

CAUTION = 1.0
"""Standard deviations below the mean at which merges of a search are judged: the best of many
guesses is too good to be true."""
IDLE = 0.05
"""Utility that a model must add which is the best at no task; chosen on sets to learn from, with
models planted that mostly do harm (docs/log.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """What is expected on a task: the mean utility, and its variance."""

    mean: float
    variance: float = 0.0

    def spread(self, deviations: float = WITHIN) -> Spread:
        """(middle, low, high), so many standard deviations around the mean, in [0, 1.5]."""
        width = deviations * self.variance**0.5
        low, middle, high = (
            min(HIGHEST, max(0.0, value))
            for value in (self.mean - width, self.mean, self.mean + width)
        )
        return middle, low, high


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """What a task's best model is ahead of the others, in shares of the task expert's score.

    Models that are less than SMALLEST_GAP apart do not differ: predictors never learned from such
    pairs, so no gain means anything there, and any merge is expected in the middle between them.

    Args:
        best, level: utilities of the best model and of the others; where no score of the others is
            known, their level is 0.
    """

    best: float = 1.0
    level: float = 0.0

    @property
    def size(self) -> float:
        """The utility that a gain of 1 is worth; 0 where the models do not differ."""
        size = self.best - self.level
        return size if size >= SMALLEST_GAP else 0.0

    def belief(self, gain: float, width: float) -> Belief:
        """A predicted gain as a utility: level + gain · (best − level), which is never below 0.

        Args:
            gain: share of the gap that the merge closes, in [-1, 1.5].
            width: half-width of its 90 % interval.
        """
        if not self.size:
            return self.middle
        mean = min(HIGHEST, max(0.0, self.level + gain * self.size))
        deviation = self.size * width / WITHIN
        return Belief(mean=float(mean), variance=float(deviation**2))

    @property
    def middle(self) -> Belief:
        """What is expected where the models do not differ."""
        return Belief(mean=(self.best + self.level) / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A merge and what is expected of it.

    Args:
        tree: what is merged with what; of two models one step.
        beliefs: task -> what is expected.
        label: how it is called: the arm for two models, the tree for more.
        idle: those of its models that are the best of all at no task.
        typical: what is expected is what such merges reached on average, the same for any models:
            it may well come out otherwise, but it was not picked as the best of many guesses.
    """

    tree: Tree
    beliefs: Mapping[str, Belief]
    label: str
    idle: frozenset[str] = frozenset()
    typical: bool = False

    def spreads(self, deviations: float = WITHIN) -> dict[str, Spread]:
        """Task -> (middle, low, high)."""
        return {task: belief.spread(deviations) for task, belief in self.beliefs.items()}

    @property
    def mean(self) -> float:
        """The plain mean over tasks."""
        return fmean(belief.mean for belief in self.beliefs.values())

    def dominates(self, other: "Choice") -> bool:
        """Whether it is at least as good on every task, and better on one."""
        leads = [self.beliefs[task].mean - each.mean for task, each in other.beliefs.items()]
        return min(leads) >= 0 and max(leads) > 0


def model_alone(model: str, known: Mapping[str, Mapping[str, float]]) -> Choice:
    """A model by itself; `known`: task -> model -> utility, 0 where nothing is stated."""
    beliefs = {task: Belief(mean=own.get(model, 0.0)) for task, own in known.items()}
    return Choice(tree=leaf(model), beliefs=beliefs, label=model)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What merges are put in order by.

    Args:
        objective: what a merge is judged by.
        caution: so many standard deviations below the mean of every task, of forecasts.
    """

    objective: Objective
    caution: float

    def value(self, choice: Choice) -> float:
        """The objective's value; of a forecast with caution."""
        caution = 0.0 if choice.typical else self.caution
        return self.objective.value(choice.spreads(caution))[1]

    def missing(self, choice: Choice) -> dict[str, float]:
        """Task -> how much it falls short of what must be kept."""
        return self.objective.missing(choice.spreads(self.caution))

    def sort(self, choices: Iterable[Choice]) -> list[Choice]:
        """Best first: by what must be kept, then the value, less IDLE for every model that is the
        best at no task, then the mean, then the label."""

        def place(choice: Choice) -> tuple[float, float, float, str]:
            short = math.fsum(self.missing(choice).values())
            value = self.value(choice) - IDLE * len(choice.idle)
            return short, -value, -choice.mean, choice.label

        return sorted(choices, key=place)
