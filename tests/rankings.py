"""Rankings of two models as a predictor would give them, and the inputs they are of."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from simmerge_hub.hub.files.location import Location
from simmerge_hub.hub.resolve import Checkpoint, ModelRef
from simmerge_hub.operators import Arm, arm
from simmerge_hub.planning.ask.tasks import Task
from simmerge_hub.planning.inputs import Inputs
from simmerge_hub.recipe.why import Status
from simmerge_hub.selector.predictor.measured.pairs import Measured
from simmerge_hub.selector.predictor.novelty import Limits, Novelty
from simmerge_hub.selector.predictor.ranking import Contribution, Prediction, Ranking
from simmerge_hub.selector.predictor.record import Record
from simmerge_hub.selector.predictor.trust import Grounds

FED = arm("regmean", alpha=0.98, inputs="merge")
LINEAR, TIES, SCALED = arm("linear"), arm("ties", density=0.2), arm("task_arithmetic", scale=0.7)
MORE, LESS = arm("linear", weights=(0.7, 0.3)), arm("linear", weights=(0.3, 0.7))
ARMS: dict[str, Arm] = {
    "linear": LINEAR, "ties": TIES, "scaled": SCALED, "more": MORE, "less": LESS,
    "fed": FED,
}  # fmt: skip
GIANTS = Measured(
    of="pairs of giants", origin="a test", parameters=10**9, pairs=3,
    gains={LINEAR.label: 0.4, TIES.label: 0.9},
)  # fmt: skip
DECIDED = Contribution(feature="f", value=1.0, gain=0.1, lead=0.08, says="the delta is small")


def ranking(
    task: str,
    status: Status = "calibrated",
    *,
    reason: str = "because",
    width: float = 0.1,
    contributions: tuple[Contribution, ...] = (),
    by: Grounds | None = None,
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
        contributions=contributions,
        novelty=Novelty(status=status, reason=reason, distance=0.1, outside=0.02, strange=("g",)),
        usual=Limits(distance=0.25, outside=0.01),
        grounds=by,
    )


def grounds(*, far: bool = False) -> Grounds:
    """Held-out pairs whose leads of 0.3 over linear, the best fixed arm, were too high by 0.3."""
    pairs = [(a, b) for a in range(12) for b in range(12) if a != b]
    rows = len(pairs)
    return Grounds(
        record=Record(
            arms=(LINEAR, TIES, MORE, LESS),
            kinds=("models",) * rows,
            experts=np.array([a for a, _ in pairs]),
            auxiliaries=np.array([b for _, b in pairs]),
            gains=np.tile([0.5, 0.5, 0.0, 0.0], (rows, 1)),
            predicted={"complete": np.tile([0.2, 0.5, 0.0, 0.0], (rows, 1))},
            distances={"complete": np.zeros((rows, 3))},
            sizes=np.full(rows, 1e6),
        ),
        beyond=GIANTS,
        pattern="complete",
        coordinates=np.array([5.0 if far else 0.0, 0.0, 0.0]),
        parameters=2.7e8 if far else 1e6,
        alpha=0.1,
        far="models of 270,000,000 parameters",
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
