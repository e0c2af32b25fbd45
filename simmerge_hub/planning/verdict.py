"""Merges that were judged -> an order, with the reasons people are told.

Utilities are shares of the task expert's score that a merge keeps; how they were predicted is not
known here.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from simmerge_hub.errors import ObjectiveError
from simmerge_hub.planning.ask.objective import MEAN, Objective
from simmerge_hub.planning.choice import IDLE, Choice, Order
from simmerge_hub.recipe.why import Status
from simmerge_hub.selector.predictor.novelty import Limits, Novelty
from simmerge_hub.selector.predictor.ranking import Contribution
from simmerge_hub.selector.predictor.trust import Trust
from simmerge_hub.signatures.merged.kept import Kept
from simmerge_hub.units import Spread, spell_count

STATUSES: tuple[Status, ...] = ("tried", "calibrated", "extrapolated", "abstained")
"""From the best to the worst."""
SHAPES = {"one step": "in one step", "chain": "chain", "balanced": "merge of merges"}
"""How the best trees of another shape are spoken of."""
LOST = 0.1
"""Who reaches less of an expert's score keeps next to nothing of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a plan stands on one task.

    Args:
        novelty: how far the models (of many, the most unfamiliar pair) are from the training data.
        usual: what is usual for training pairs; None if it is not known.
        best, next_best: of two models, the arms that are best for this task alone, named as the
            plan names them; the second is the first that is not tied with the best.
        lead: utility of the best over the next best.
        contributions: the features that decided, strongest first, with what each adds to the lead
            as a utility.
        reason: all of that in a sentence.
    """

    novelty: Novelty
    usual: Limits | None = None
    best: tuple[str, Spread] | None = None
    next_best: str = ""
    lead: float = 0.0
    contributions: tuple[Contribution, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A merge that was made and run on the probes.

    Args:
        kept: task -> what it keeps of the expert's own answers.
        predicted: task -> the utility that was predicted before.
    """

    kept: Mapping[str, Kept]
    predicted: Mapping[str, Spread]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Merges, best first; why; what was decided against; how far to believe it.

    Args:
        choices: best first.
        status: `tried` (the first was made and run), `calibrated`, `extrapolated` (the intervals
            do not hold here) or `abstained` (the ranking is not followed).
        because: why the first is first.
        objective: what they are ordered by.
        standings: by task.
        left_out: arms, models and tasks that were dropped -> the reason.
        parts: label of a merge inside the chosen tree -> what is expected of it.
        suggested: task -> the id of a bandit's suggestion, if one was asked.
        tried: label -> what was seen of a merge that was really made and run on the probes.
        scored: how many merges were predicted.
        trust: of two models, whether the ranking is followed or the safe arm taken, and why.
    """

    choices: tuple[Choice, ...]
    status: Status
    because: tuple[str, ...]
    standings: Mapping[str, Standing]
    objective: Objective = MEAN
    left_out: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[str, Choice] = field(default_factory=dict)
    suggested: Mapping[str, str] = field(default_factory=dict)
    tried: Mapping[str, Tried] = field(default_factory=dict)
    scored: int = 0
    trust: Trust | None = None

    @property
    def best(self) -> Choice:
        """What to do."""
        return self.choices[0]

    @property
    def pareto(self) -> tuple[Choice, ...]:
        """The merges of which none is better than another on every task."""
        return tuple(choice for choice in self.choices if self.on_front(choice))

    @property
    def reason(self) -> str:
        """Why the first is first, then each task's own reason."""
        own = (f"For {task} alone: {s.reason}" for task, s in self.standings.items() if s.reason)
        return ". ".join([*self.because, *own]) + "."

    def on_front(self, choice: Choice) -> bool:
        """Whether no other is at least as good on every task, and better on one."""
        return not any(other.dominates(choice) for other in self.choices)

    def value(self, choice: Choice) -> Spread:
        """What a choice is judged by; its bounds are made of the tasks', and not calibrated."""
        return self.objective.value(choice.spreads())

    def missing(self, choice: Choice) -> dict[str, float]:
        """Task -> how much it falls short of what must be kept."""
        return self.objective.missing(choice.spreads())


def worst(statuses: Sequence[Status]) -> Status:
    """The least to be believed; calibrated if there are none."""
    none = STATUSES.index("calibrated")
    return STATUSES[max((STATUSES.index(status) for status in statuses), default=none)]


def reasons(ranked: Sequence[Choice], order: Order, models: Sequence[Choice]) -> tuple[str, ...]:
    """Why the first is first, in sentences without their full stops.

    Args:
        ranked: best first.
        order: what they are in order by.
        models: every model by itself.

    Raises:
        ObjectiveError: not even the first keeps what must be kept.
    """
    best, objective = ranked[0], order.objective
    if order.missing(best):
        raise _unmet(objective, best)
    lost = ", ".join(task for task, belief in best.beliefs.items() if belief.mean < LOST)
    return (
        _first(ranked, order),
        *(_overlap(ranked, objective) if not order.caution else ()),
        *_disagreement(ranked),
        *([f"Next to nothing is expected to be kept of {lost}"] if lost else ()),
        *_idle(ranked, order),
        *_alone(best, order, models),
    )


def leave_out(ranked: Sequence[Choice], order: Order, names: Sequence[str]) -> dict[str, str]:
    """Models that the best merge does without, with what the best merge with them would reach."""
    without = [name for name in names if name not in ranked[0].tree.models]
    return {name: _why_without(name, ranked, order) for name in without}


def _why_without(name: str, ranked: Sequence[Choice], order: Order) -> str:
    if len(ranked) == 1:
        return "nothing is predicted, and the experts of the first tasks are taken"
    other = next((choice for choice in ranked if name in choice.tree.models), None)
    if other is None:
        return "no merge with it was among the best of its size"
    own, value = order.value(ranked[0]), order.value(other)
    idle = name in other.idle and own <= value <= own + IDLE * len(other.idle)
    return (
        f"with caution, the best merge with it is predicted to reach {value:.2f}, without {own:.2f}"
        + (f"; it is the best at no task, and must add {IDLE}" if idle else "")
    )


def _unmet(objective: Objective, closest: Choice) -> ObjectiveError:
    wanted = " and ".join(f"{least:g} on {task}" for task, least in objective.keep.items())
    reached = {task: closest.spreads()[task][0] for task in objective.keep}
    possible = {task: math.floor(100 * utility) / 100 for task, utility in reached.items()}
    seen = ", ".join(f"{share:.2f} on {task}" for task, share in possible.items())
    less = " ".join(f"--keep {task}={share:g}" for task, share in possible.items())
    some = f"ask for less ({less}), or" if min(possible.values()) > 0 else "ask for less, or"
    task = next(iter(objective.missing(closest.spreads())))
    return ObjectiveError(
        f"no merge is predicted to keep {wanted}; the closest is {closest.label} with {seen}",
        hint=f"{some} favour it instead of a demand: --weight {task}=2",
    )


def _first(ranked: Sequence[Choice], order: Order) -> str:
    """The first, by what it is judged, and who follows."""
    best, objective = ranked[0], order.objective
    taken_off = f" ({order.value(best):.2f} with one standard deviation taken off)"
    return (
        f"{best.label} is expected to have {objective.describe(best.beliefs)} "
        f"of {spell_count(len(ranked), 'merge')}: "
        f"{objective.value(best.spreads())[0]:.2f}"
        f"{taken_off if order.caution and not best.typical else ''}{_others(ranked, order)}"
    )


def _others(ranked: Sequence[Choice], order: Order) -> str:
    """The next best, and the best of other shapes."""
    best, rest = ranked[0], [choice for choice in ranked[1:] if not order.missing(choice)]
    if len(ranked) == 1:
        return "; no other can be predicted for every task"
    if not rest:
        return "; no other keeps as much"
    shapes = {choice.tree.shape: choice for choice in reversed(rest)}
    others = {f"next {rest[0].label},": rest[0]} | {
        f"the best {SHAPES[shape]}": choice
        for shape, choice in sorted(shapes.items())
        if shape not in (best.tree.shape, rest[0].tree.shape)
    }
    return "; " + ", ".join(f"{name} {order.value(each):.2f}" for name, each in others.items())


def _overlap(ranked: Sequence[Choice], objective: Objective) -> tuple[str, ...]:
    rest = [choice for choice in ranked[1:] if not objective.missing(choice.spreads())]
    low = objective.value(ranked[0].spreads())[1]
    if rest and objective.value(rest[0].spreads())[2] > low:
        return ("The intervals overlap: on one pair, another may turn out better",)
    return ()


def _disagreement(ranked: Sequence[Choice]) -> tuple[str, ...]:
    """Which merge each task would take, where that is not the same one."""
    best = ranked[0]
    if len(best.beliefs) < 2 or len(ranked) < 2:
        return ()
    wanted = {task: max(ranked, key=lambda c: c.beliefs[task].mean) for task in best.beliefs}
    others = [
        f"{task} alone would take {c.label} ({c.spreads()[task][0]:.2f} against "
        f"{best.spreads()[task][0]:.2f})"
        for task, c in wanted.items()
        if c.beliefs[task].mean > best.beliefs[task].mean
    ]
    return (
        f"The tasks disagree: {'; '.join(others)}" if others else "It is the best on every task",
    )


def _idle(ranked: Sequence[Choice], order: Order) -> tuple[str, ...]:
    """What would be first if a model that is the best at no task counted like any other."""
    idle = max((choice for choice in ranked if choice.idle), key=order.value, default=None)
    if idle is None or ranked[0].idle or order.value(idle) <= order.value(ranked[0]):
        return ()
    return (
        f"{idle.label} has {order.value(idle):.2f}, but holds a model that is the best at no task, "
        f"and which must add {IDLE}",
    )


def _alone(best: Choice, order: Order, models: Sequence[Choice]) -> tuple[str, ...]:
    """Whether the best model by itself, of which nothing is taken off, is as good."""
    values = {model.label: order.objective.value(model.spreads())[0] for model in models}
    single = max(sorted(values), key=lambda model: values[model])
    if values[single] < order.value(best):
        return ()
    careful = " with caution" if order.caution else ""
    return (
        f"{single} alone has {values[single]:.2f}: no merge is predicted to be better{careful}",
    )
