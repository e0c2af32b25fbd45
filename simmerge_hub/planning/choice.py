"""A merge, what it is expected to keep on every task, and which of two comes first.

*Utility* has one meaning: the share of the task expert's score that a merge keeps, 1 = as good as
the expert. Predictors are trained on gains, shares of the gap between the expert and the rest;
`from_gain` is the one place where a gain becomes a utility.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

from simmerge_hub.planning.ask.objective import Objective
from simmerge_hub.planning.tree import Tree, leaf
from simmerge_hub.recipe.why import Spread
from simmerge_hub.selector.tables.outcomes import HIGHEST

WITHIN = 1.645
"""Standard deviations of a normal error that the predictor's 90 % intervals reach."""
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


def from_gain(gain: float, width: float, *, best: float = 1.0, level: float = 0.0) -> Belief:
    """A predicted gain as a utility: of a task's best model, which reaches `best`, and the others,
    which reach `level`, the merge reaches level + gain · (best − level).

    Args:
        gain: share of the gap that the merge closes, in [-1, 1.5].
        width: half-width of its 90 % interval.
        best, level: utilities; where no score of the others is known, their level is 0.
    """
    gap = best - level
    return Belief(mean=float(level + gain * gap), variance=float((gap * width / WITHIN) ** 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A merge and what is expected of it.

    Args:
        tree: what is merged with what; of two models one step.
        beliefs: task -> what is expected.
        label: how it is called: the arm for two models, the tree for more.
        idle: those of its models that are the best of all at no task.
    """

    tree: Tree
    beliefs: Mapping[str, Belief]
    label: str
    idle: frozenset[str] = frozenset()

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


def unmerged(model: str, known: Mapping[str, Mapping[str, float]]) -> Choice:
    """A model by itself; `known`: task -> model -> utility, 0 where nothing is stated."""
    beliefs = {task: Belief(mean=own.get(model, 0.0)) for task, own in known.items()}
    return Choice(tree=leaf(model), beliefs=beliefs, label=model)


def in_order(choices: Iterable[Choice], objective: Objective, caution: float) -> list[Choice]:
    """Best first: by what must be kept, then the objective with caution, less IDLE for every model
    that is the best at no task, then the mean, then the label."""

    def place(choice: Choice) -> tuple[float, float, float, str]:
        spreads = choice.spreads(caution)
        short = math.fsum(objective.missing(spreads).values())
        value = objective.value(spreads)[1] - IDLE * len(choice.idle)
        return short, -value, -choice.mean, choice.label

    return sorted(choices, key=place)
