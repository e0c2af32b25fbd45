"""Rankings of several tasks -> one decision: the arm that is predicted best for the objective.

A merge has one set of weights, so an arm is judged on all tasks at once; what by is
`planning.objective`'s. Whether the best is taken or the safe arm, `selector.trust` says, for the
farthest of the tasks.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from simmerge_hub.errors import ObjectiveError, PredictorError
from simmerge_hub.operators import Arm
from simmerge_hub.planning.objective import MEAN, Objective, Spread
from simmerge_hub.selector.ranking import Prediction, Ranking
from simmerge_hub.selector.status import Status, worst
from simmerge_hub.selector.trust import Trust, together


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """An arm, in the order of the plan's models, and the gap it should close.

    `tasks` holds (utility, low, high) per task, the predictor's intervals. `utility`, `low` and
    `high` are the objective's value of them (by default their means over tasks), not an interval
    calibrated for it. `missing` says on which tasks it falls short of what must be kept, and by how
    much. `pareto`: no other arm is at least as good on every task and better on one.
    """

    arm: Arm
    utility: float
    low: float
    high: float
    tasks: Mapping[str, Spread]
    missing: Mapping[str, float] = field(default_factory=dict)
    pareto: bool = True

    @property
    def mean(self) -> float:
        """The plain mean of its utilities over tasks."""
        return fmean(middle for middle, _, _ in self.tasks.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Choices, best first; what was rejected and why; how far to believe it.

    `status` is the worst of the rankings'; `trust` says whether the best is taken or the safe arm,
    and why (None: nothing to judge by was given). `because` says the same without the tasks' own
    reasons, which
    are in `rankings`; there an arm's first model is the task's expert. `suggested` maps tasks to
    the ids that a bandit's suggestion of the first has, if a bandit was asked.
    """

    choices: tuple[Choice, ...]
    rejected: Mapping[str, str]
    status: Status
    because: tuple[str, ...]
    rankings: Mapping[str, Ranking]
    objective: Objective = MEAN
    suggested: Mapping[str, str] = field(default_factory=dict)
    trust: Trust | None = None

    @property
    def best(self) -> Choice:
        """What to do."""
        return self.choices[0]

    @property
    def pareto(self) -> tuple[Choice, ...]:
        """The arms of which none is better than another on every task."""
        return tuple(choice for choice in self.choices if choice.pareto)

    @property
    def reason(self) -> str:
        """Why this arm, then each task's own ranking."""
        return ". ".join(
            [*self.because, *(f"For {t} alone: {r.reason}" for t, r in self.rankings.items())]
        )


def decide(
    rankings: Mapping[str, Ranking],
    first_is_expert: Mapping[str, bool],
    objective: Objective = MEAN,
) -> Decision:
    """Combine one ranking per task.

    Args:
        rankings: task -> its ranking, in which an arm's first model is the task's expert.
        first_is_expert: task -> whether that is the first model of the plan too.
        objective: what the choices are ordered by; those that keep too little come last. Where the
            order is not followed, the safe arm comes before all of them.

    Raises:
        PredictorError: no arm is left on every task.
        ObjectiveError: it makes no sense for these tasks, or no arm keeps what must be kept.
    """
    objective.check(rankings)
    found = _found(rankings, first_is_expert)
    choices = [
        _choice(arm, tasks, objective) for arm, tasks in found if len(tasks) == len(rankings)
    ]
    if not choices:
        raise PredictorError(
            "no operator is left that can be predicted for every task",
            hint="plan for fewer tasks: --expert TASK=MODEL names them",
        )
    ordered = sorted((replace(c, pareto=_on_the_front(c, choices)) for c in choices), key=_place)
    trust = _trust(rankings, first_is_expert, ordered)
    followed = trust is None or trust.followed
    if ordered[0].missing and followed:
        raise _unmet(objective, ordered[0])
    taken = ordered[0].arm.label if trust is None else trust.chosen
    because = _because(ordered, objective) if followed else ()
    ordered.sort(key=lambda choice: choice.arm.label != taken)
    return Decision(
        choices=tuple(ordered),
        rejected=_rejected(rankings, first_is_expert, {c.arm.label for c in ordered}),
        status=worst(r.status for r in rankings.values()),
        because=(*because, *_grounds(trust, objective)),
        rankings=rankings,
        objective=objective,
        trust=trust,
    )


def _trust(
    rankings: Mapping[str, Ranking],
    first_is_expert: Mapping[str, bool],
    ordered: Sequence[Choice],
) -> Trust | None:
    """Whether the first is taken, by the held-out pairs at least as far as the farthest task."""
    grounds = [r.grounds for r in rankings.values() if r.grounds is not None]
    if not grounds:
        return None
    leads = {choice.arm.label: _lead(ordered[0], choice) for choice in ordered}
    both = len(set(first_is_expert.values())) > 1
    return together(grounds).weigh(list(leads), leads, both=both)


def _lead(first: Choice, other: Choice) -> float:
    """By how much the first is ahead: in what must be kept, else in the objective's value."""
    short = math.fsum(other.missing.values()) - math.fsum(first.missing.values())
    return short if short > 0 else first.utility - other.utility


def _grounds(trust: Trust | None, objective: Objective) -> tuple[str, ...]:
    """What the choice stands on, in sentences without their full stops."""
    if trust is None:
        return ()
    asked = not trust.followed and (bool(objective.keep) or objective != MEAN)
    return (*trust.because, *(("Whether it meets the objective is not known",) if asked else ()))


def _found(
    rankings: Mapping[str, Ranking], first_is_expert: Mapping[str, bool]
) -> list[tuple[Arm, dict[str, Prediction]]]:
    """Every arm in the order of the plan's models, with its predictions by task."""
    found: dict[str, tuple[Arm, dict[str, Prediction]]] = {}
    for task, ranking in rankings.items():
        for prediction in ranking.kept:
            seen = _oriented(prediction.arm, first_is_expert[task])
            found.setdefault(seen.label, (seen, {}))[1][task] = prediction
    return list(found.values())


def _rejected(
    rankings: Mapping[str, Ranking], first_is_expert: Mapping[str, bool], kept: set[str]
) -> dict[str, str]:
    found = {
        _oriented(arm, first_is_expert[task]).label: why
        for task, ranking in rankings.items()
        for arm, why in ranking.rejected
    }
    return {label: why for label, why in found.items() if label not in kept}


def _oriented(arm: Arm, first_is_expert: bool) -> Arm:
    return arm if first_is_expert else arm.swapped()


def _choice(arm: Arm, predictions: Mapping[str, Prediction], objective: Objective) -> Choice:
    tasks = {task: (p.utility, p.low, p.high) for task, p in predictions.items()}
    utility, low, high = objective.value(tasks)
    return Choice(
        arm=arm,
        utility=utility,
        low=low,
        high=high,
        tasks=tasks,
        missing=objective.missing(tasks),
    )


def _on_the_front(choice: Choice, choices: Sequence[Choice]) -> bool:
    """Whether no other is at least as good on every task and better on one."""
    own = {task: spread[0] for task, spread in choice.tasks.items()}
    for other in choices:
        leads = [other.tasks[task][0] - utility for task, utility in own.items()]
        if min(leads) >= 0 and max(leads) > 0:
            return False
    return True


def _place(choice: Choice) -> tuple[float, float, float, str]:
    """Where a choice stands: what must be kept, the objective, the mean, then the name."""
    return math.fsum(choice.missing.values()), -choice.utility, -choice.mean, choice.arm.label


def _unmet(objective: Objective, closest: Choice) -> ObjectiveError:
    wanted = " and ".join(f"{least:g} on {task}" for task, least in objective.keep.items())
    reached = {task: closest.tasks[task][0] for task in objective.keep}
    seen = ", ".join(f"{utility:.2f} on {task}" for task, utility in reached.items())
    possible = {task: math.floor(100 * utility) / 100 for task, utility in reached.items()}
    less = " ".join(f"--keep {task}={share:g}" for task, share in possible.items())
    some = f"ask for less ({less}), or" if min(possible.values()) > 0 else "ask for less, or"
    task = next(iter(closest.missing))
    return ObjectiveError(
        f"no operator is predicted to keep {wanted}; "
        f"the closest is {closest.arm.label} with {seen}",
        hint=f"{some} favour a task without a demand: --weight {task}=2",
    )


def _because(ordered: Sequence[Choice], objective: Objective) -> tuple[str, ...]:
    """Why the first is first, in one to three sentences without their full stops."""
    best, rest = ordered[0], [c for c in ordered[1:] if not c.missing]
    if len(ordered) == 1:
        return (f"{best.arm.label} is the only operator that can be predicted for every task",)
    first = f"{best.arm.label} is predicted to have {objective.describe(best.tasks)}: "
    first += f"{best.utility:.2f}"
    if not rest:
        return (f"{first}; no other operator keeps as much",)
    first += f"; next {rest[0].arm.label}, {rest[0].utility:.2f}"
    overlap = "The intervals overlap: on one pair, another may turn out better"
    return (first, *((overlap,) if rest[0].high > best.low else ()), *_disagreement(ordered))


def _disagreement(ordered: Sequence[Choice]) -> tuple[str, ...]:
    """Which arm each task would take, where that is not the same one."""
    best = ordered[0]
    wanted = {t: max(ordered, key=lambda c: c.tasks[t][0]) for t in best.tasks}
    others = [
        f"{task} alone would take {c.arm.label} ({c.tasks[task][0]:.2f} against "
        f"{best.tasks[task][0]:.2f})"
        for task, c in wanted.items()
        if c.tasks[task][0] > best.tasks[task][0]
    ]
    if others:
        return (f"The tasks disagree: {'; '.join(others)}",)
    return ("It is the best on every task",) if len(best.tasks) > 1 else ()
