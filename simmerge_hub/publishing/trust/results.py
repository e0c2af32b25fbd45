"""What was predicted of a merge, task by task, beside what was measured since.

A measured score becomes a share of the expert's only where the expert was measured on the same
dataset by the same metric.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from simmerge_hub.hub.evaluations import CardScore
from simmerge_hub.recipe.why import Why
from simmerge_hub.units import Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One task: what the merge should keep of the expert's score, and what it was seen to keep.

    Args:
        task, expert: their names; `expert` is "" where nothing was predicted.
        predicted: (middle, low, high) as shares of the expert's score; None if there is none.
        score: of the merge, 0 to 1, on `dataset` by `metric`; None if it was not measured.
        expert_score: of the expert, on the same; None if that is not known.
        dataset, metric: what was measured, as the card calls them.
    """

    task: str
    expert: str = ""
    predicted: Spread | None = None
    score: float | None = None
    expert_score: float | None = None
    dataset: str = ""
    metric: str = ""

    @property
    def measured(self) -> float | None:
        """The share of the expert's score that the merge was seen to keep."""
        if self.score is None or not self.expert_score:
            return None
        return self.score / self.expert_score


def compare_results(
    why: Why | None, scores: Sequence[CardScore], experts: Mapping[str, Sequence[CardScore]]
) -> tuple[Kept, ...]:
    """Every task that was predicted or measured, those of the plan first.

    Args:
        why: the plan's, or None where nothing was predicted.
        scores: what the merge's card states.
        experts: model -> what its card states.
    """
    planned = {task.task: task.expert for task in why.tasks} if why else {}
    chosen = next((m.tasks for m in why.predictions if m.merge == why.choice), {}) if why else {}
    tasks = dict.fromkeys([*planned, *(score.task for score in scores)])
    return tuple(
        _compare(task, planned.get(task, ""), chosen.get(task), scores, experts) for task in tasks
    )


def _compare(
    task: str,
    expert: str,
    predicted: Spread | None,
    scores: Sequence[CardScore],
    experts: Mapping[str, Sequence[CardScore]],
) -> Kept:
    mine = [score for score in scores if score.task == task]
    theirs = {(s.dataset, s.metric): s.value for s in reversed(experts.get(expert, ()))}
    shared = [score for score in mine if (score.dataset, score.metric) in theirs]
    best = next(iter([*shared, *mine]), None)
    if best is None:
        return Kept(task=task, expert=expert, predicted=predicted)
    return Kept(
        task=task,
        expert=expert,
        predicted=predicted,
        score=best.value,
        expert_score=theirs.get((best.dataset, best.metric)),
        dataset=best.dataset,
        metric=best.metric,
    )
