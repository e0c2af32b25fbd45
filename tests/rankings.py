"""Rankings of two models as a predictor would give them, and the inputs they are of."""

from collections.abc import Mapping
from typing import Any

from simmerge_hub.hub.files.ranges import Location
from simmerge_hub.hub.resolve import Checkpoint, ModelRef
from simmerge_hub.operators import Arm, arm
from simmerge_hub.planning.ask.tasks import Task
from simmerge_hub.planning.inputs import Inputs
from simmerge_hub.selector.predictor.novelty import Limits, Novelty, Status
from simmerge_hub.selector.predictor.ranking import Contribution, Prediction, Ranking

LINEAR, TIES, SCALED = arm("linear"), arm("ties", density=0.2), arm("task_arithmetic", scale=0.7)
MORE, LESS = arm("linear", weights=(0.7, 0.3)), arm("linear", weights=(0.3, 0.7))
ARMS: dict[str, Arm] = {
    "linear": LINEAR, "ties": TIES, "scaled": SCALED, "more": MORE, "less": LESS,
}  # fmt: skip
DECIDED = Contribution(feature="f", value=1.0, gain=0.1, lead=0.08, says="the delta is small")


def ranking(
    task: str,
    status: Status = "calibrated",
    *,
    reason: str = "because",
    width: float = 0.1,
    contributions: tuple[Contribution, ...] = (),
    **gains: float,
) -> Ranking:
    """A ranking of the arms that have a gain; an arm's first model is the task's expert."""
    kept = tuple(
        Prediction(arm=ARMS[name], task=task, gain=gain, width=width)
        for name, gain in sorted(gains.items(), key=lambda item: -item[1])
    )
    return Ranking(
        task=task,
        status=status,
        kept=kept,
        rejected=(),
        reason=reason,
        contributions=() if status == "abstained" else contributions,
        novelty=Novelty(status=status, reason=reason, distance=0.1, outside=0.02, strange=("g",)),
        usual=Limits(distance=0.25, outside=0.01),
    )


def inputs(
    experts: Mapping[str, str],
    scores: Mapping[str, Mapping[str, float]] | None = None,
    names: tuple[str, ...] = ("first", "second"),
) -> Inputs:
    """Models by name, and task -> its expert, as the user says; `scores` by task."""
    tasks = tuple(
        Task(name=t, expert=expert, probes=None, scores=(scores or {}).get(t, {}), named=True)
        for t, expert in experts.items()
    )
    return Inputs(models=tuple(map(checkpoint, names)), base=None, tasks=tasks, dropped={})


def checkpoint(name: str, **card: Any) -> Checkpoint:
    """A model without weights."""
    return Checkpoint(
        ref=ModelRef(repo=name),
        location=Location(repo=name, commit="0"),
        commit="0",
        kind="full",
        config={},
        files={},
        tensors={},
        card=card,
    )
