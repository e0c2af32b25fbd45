"""Merges that were judged -> an order, with the reasons people are told.

Utilities are shares of the task expert's score that a merge keeps; how they were predicted is not
known here.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from simmerge_hub.errors import ObjectiveError
from simmerge_hub.planning.ask.objective import MEAN, Objective
from simmerge_hub.planning.choice import IDLE, Choice
from simmerge_hub.recipe.why import Spread, Status
from simmerge_hub.selector.predictor.novelty import Limits, Novelty
from simmerge_hub.selector.predictor.ranking import Contribution
from simmerge_hub.selector.predictor.trust import Trust

STATUSES: tuple[Status, ...] = ("calibrated", "extrapolated", "abstained")
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
class Verdict:
    """Merges, best first; why; what was decided against; how far to believe it.

    Args:
        choices: best first.
        status: `calibrated`, `extrapolated` (the intervals do not hold here) or `abstained` (the
            ranking is not followed).
        because: why the first is first.
        objective: what they are ordered by, at `caution` standard deviations below the mean.
        standings: by task.
        left_out: arms, models and tasks that were dropped -> the reason.
        parts: label of a merge inside the chosen tree -> what is expected of it.
        suggested: task -> the id of a bandit's suggestion, if one was asked.
        tried: labels of the merges that were really made and run on the probes.
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
    tried: tuple[str, ...] = ()
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
    return STATUSES[max((STATUSES.index(status) for status in statuses), default=0)]


def reasons(
    ranked: Sequence[Choice], objective: Objective, caution: float, models: Sequence[Choice]
) -> tuple[str, ...]:
    """Why the first is first, in sentences without their full stops.

    Args:
        ranked: best first.
        objective, caution: what they are in order by.
        models: every model by itself.

    Raises:
        ObjectiveError: not even the first keeps what must be kept.
    """
    best = ranked[0]
    spreads = best.spreads(caution)
    if objective.missing(spreads):
        raise _unmet(objective, best)
    middle, value, _ = objective.value(spreads)
    cautious = caution > 0
    said = [
        f"{best.label} is predicted to have {objective.describe(best.beliefs)} "
        f"of {len(ranked)} {'merge' if len(ranked) == 1 else 'merges'}: {middle:.2f}"
        + (f" ({value:.2f} with one standard deviation taken off)" if cautious else "")
        + _others(ranked, objective, caution)
    ]
    said += _overlap(ranked, objective) if not cautious else []
    said += _disagreement(ranked)
    if lost := [task for task, belief in best.beliefs.items() if belief.mean < LOST]:
        said.append(f"Next to nothing is expected to be kept of {', '.join(lost)}")
    said += _idle(ranked, objective, caution)
    alone = {model.label: objective.value(model.spreads())[0] for model in models}
    single = max(sorted(alone), key=lambda model: alone[model])
    if alone[single] >= value:
        careful = " with caution" if cautious else ""
        said.append(
            f"{single} alone has {alone[single]:.2f}: no merge is predicted to be better{careful}"
        )
    return tuple(said)


def leave_out(
    ranked: Sequence[Choice], objective: Objective, names: Sequence[str], caution: float
) -> dict[str, str]:
    """Models that the best merge does without, with what the best merge with them would reach."""
    best, reasons = ranked[0], {}
    own = objective.value(best.spreads(caution))[1]
    for name in names:
        if name in best.tree.models:
            continue
        other = next((c for c in ranked if name in c.tree.models), None)
        if len(ranked) == 1:
            reasons[name] = "nothing is predicted, and the experts of the first tasks are taken"
            continue
        if other is None:
            reasons[name] = "no merge with it was among the best of its size"
            continue
        value = objective.value(other.spreads(caution))[1]
        reasons[name] = (
            f"with caution, the best merge with it is predicted to reach {value:.2f}, "
            f"without {own:.2f}"
        )
        if name in other.idle and own <= value <= own + IDLE * len(other.idle):
            reasons[name] += f"; it is the best at no task, and must add {IDLE}"
    return reasons


def _unmet(objective: Objective, closest: Choice) -> ObjectiveError:
    wanted = " and ".join(f"{least:g} on {task}" for task, least in objective.keep.items())
    reached = {task: closest.spreads()[task][0] for task in objective.keep}
    seen = ", ".join(f"{utility:.2f} on {task}" for task, utility in reached.items())
    possible = {task: math.floor(100 * utility) / 100 for task, utility in reached.items()}
    less = " ".join(f"--keep {task}={share:g}" for task, share in possible.items())
    some = f"ask for less ({less}), or" if min(possible.values()) > 0 else "ask for less, or"
    task = next(iter(objective.missing(closest.spreads())))
    return ObjectiveError(
        f"no merge is predicted to keep {wanted}; the closest is {closest.label} with {seen}",
        hint=f"{some} favour a task without a demand: --weight {task}=2",
    )


def _others(ranked: Sequence[Choice], objective: Objective, caution: float) -> str:
    """The next best, and the best of other shapes."""
    best, rest = ranked[0], [c for c in ranked[1:] if not objective.missing(c.spreads(caution))]
    if len(ranked) == 1:
        return "; no other can be predicted for every task"
    if not rest:
        return "; no other keeps as much"
    shapes = {choice.tree.shape: choice for choice in reversed(rest)}
    said = [f"next {rest[0].label}, {objective.value(rest[0].spreads(caution))[1]:.2f}"]
    said += [
        f"the best {SHAPES[shape]} {objective.value(choice.spreads(caution))[1]:.2f}"
        for shape, choice in sorted(shapes.items())
        if shape not in (best.tree.shape, rest[0].tree.shape)
    ]
    return f"; {', '.join(said)}"


def _overlap(ranked: Sequence[Choice], objective: Objective) -> list[str]:
    rest = [c for c in ranked[1:] if not objective.missing(c.spreads())]
    low = objective.value(ranked[0].spreads())[1]
    if rest and objective.value(rest[0].spreads())[2] > low:
        return ["The intervals overlap: on one pair, another may turn out better"]
    return []


def _disagreement(ranked: Sequence[Choice]) -> list[str]:
    """Which merge each task would take, where that is not the same one."""
    best = ranked[0]
    if len(best.beliefs) < 2 or len(ranked) < 2:
        return []
    wanted = {task: max(ranked, key=lambda c: c.beliefs[task].mean) for task in best.beliefs}
    others = [
        f"{task} alone would take {c.label} ({c.spreads()[task][0]:.2f} against "
        f"{best.spreads()[task][0]:.2f})"
        for task, c in wanted.items()
        if c.beliefs[task].mean > best.beliefs[task].mean
    ]
    if others:
        return [f"The tasks disagree: {'; '.join(others)}"]
    return ["It is the best on every task"]


def _idle(ranked: Sequence[Choice], objective: Objective, caution: float) -> list[str]:
    """What would be first if a model that is the best at no task counted like any other."""
    values = {c.label: objective.value(c.spreads(caution))[1] for c in ranked if c.idle}
    label = max(values, key=lambda label: values[label], default="")
    own = objective.value(ranked[0].spreads(caution))[1]
    if not label or own >= values[label] or ranked[0].idle:
        return []
    return [
        f"{label} has {values[label]:.2f}, but holds a model that is the best at no task, and "
        f"which must add {IDLE}"
    ]
