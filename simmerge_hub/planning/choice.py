"""Rankings of several tasks -> one decision: the arm that is predicted best for all of them.

A merge has one set of weights, so an arm is judged by its mean over tasks. Where one task's ranking
abstained, the whole decision abstains and takes the safe arm.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from simmerge_hub.errors import PredictorError
from simmerge_hub.operators import Arm
from simmerge_hub.selector.predictor import Prediction, Ranking

STATUSES = ("calibrated", "extrapolated", "abstained")
"""From the best to the worst."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """An arm, in the order of the plan's models, and the gap it should close.

    `tasks` holds (utility, low, high) per task, the predictor's intervals. `utility`, `low` and
    `high` are their means over tasks: a mean of bounds, not an interval calibrated for means.
    """

    arm: Arm
    utility: float
    low: float
    high: float
    tasks: Mapping[str, tuple[float, float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Choices, best first; what was rejected and why; how far to believe it.

    `status` is "calibrated", "extrapolated" (the intervals do not hold here) or "abstained" (the
    safe arm is taken).
    """

    choices: tuple[Choice, ...]
    rejected: Mapping[str, str]
    status: str
    reason: str

    @property
    def best(self) -> Choice:
        """What to do."""
        return self.choices[0]


def decide(rankings: Mapping[str, Ranking], first_is_expert: Mapping[str, bool]) -> Decision:
    """Combine one ranking per task.

    Args:
        rankings: task -> its ranking, in which an arm's first model is the task's expert.
        first_is_expert: task -> whether that is the first model of the plan too.

    Raises:
        PredictorError: no arm is left on every task.
    """
    worst = max((r.status for r in rankings.values()), key=STATUSES.index)
    by_task = {
        task: {_seen(p, first_is_expert[task]).label: p for p in ranking.kept}
        for task, ranking in rankings.items()
    }
    shared = set.intersection(*(set(found) for found in by_task.values()))
    arms = {_seen(p, first_is_expert[t]).label: _seen(p, first_is_expert[t])
            for t, ranking in rankings.items() for p in ranking.kept}  # fmt: skip
    choices = [_choice(arms[label], {t: by_task[t][label] for t in by_task}) for label in shared]
    if not choices:
        raise PredictorError(
            "no operator is left that can be predicted for every task",
            hint="plan for fewer tasks: --expert TASK=MODEL names them",
        )
    ordered = sorted(choices, key=lambda c: (-c.utility, c.arm.label))
    return Decision(
        choices=tuple(ordered),
        rejected={
            _oriented(arm, first_is_expert[task]).label: why
            for task, ranking in rankings.items()
            for arm, why in ranking.rejected
            if _oriented(arm, first_is_expert[task]).label not in shared
        },
        status=worst,
        reason=_reason(ordered, rankings, worst),
    )


def _seen(prediction: Prediction, first_is_expert: bool) -> Arm:
    return _oriented(prediction.arm, first_is_expert)


def _oriented(arm: Arm, first_is_expert: bool) -> Arm:
    return arm if first_is_expert else arm.swapped()


def _choice(arm: Arm, predictions: Mapping[str, Prediction]) -> Choice:
    tasks = {task: (p.utility, p.low, p.high) for task, p in predictions.items()}
    utility, low, high = (fmean(column) for column in zip(*tasks.values(), strict=True))
    return Choice(arm=arm, utility=utility, low=low, high=high, tasks=tasks)


def _reason(ordered: Sequence[Choice], rankings: Mapping[str, Ranking], status: str) -> str:
    """What the choice is best at, then each task's own ranking."""
    best = ordered[0]
    if status == "abstained":
        whole = f"{best.arm.label} is the safe choice"
    elif len(ordered) == 1:
        whole = f"{best.arm.label} is the only operator that can be predicted for every task"
    else:
        whole = (
            f"{best.arm.label} is expected to close the largest share of the gap on average, "
            f"{best.utility:.2f}; next {ordered[1].arm.label}, {ordered[1].utility:.2f}"
        )
        if ordered[1].high > best.low:
            whole += " (the intervals overlap: on one pair, another may turn out better)"
    return ". ".join([whole, *(f"For {t}: {r.reason}" for t, r in rankings.items())])
