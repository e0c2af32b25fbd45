"""A stand-in for the harness: scores that follow from a model's bytes, at once."""

import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from simmerge_hub.errors import EvaluationError
from simmerge_hub.evaluation.results import TaskResult
from simmerge_hub.hub.digest import digest
from simmerge_hub.hub.resolve import Checkpoint


class Killed(BaseException):
    """What a process does not survive."""


class StandIn:
    """Scores that follow from the model: the expert's is 1, others' little, a merge's by chance."""

    def __init__(self, dies_at: int = 0, fails_at: int = 0) -> None:
        self.asked, self.dies_at, self.fails_at = list[str](), dies_at, fails_at

    def __call__(
        self, model: Checkpoint, tasks: Sequence[str], **_: Any
    ) -> dict[str, tuple[TaskResult, ...]]:
        if model.name == "merge":
            self.asked.append(", ".join(tasks))
            if len(self.asked) == self.dies_at:
                raise Killed
            if len(self.asked) == self.fails_at:
                raise EvaluationError("the GPU is on fire")
        return {task: (self.score(model, task),) for task in tasks}

    def score(self, model: Checkpoint, task: str) -> TaskResult:
        name = task.removeprefix("nano_")
        score = 1.0 if model.name == name else 0.0
        if model.name == "merge":
            content = hashlib.sha256((digest(model) + name).encode()).hexdigest()
            score = int(content[:4], 16) / 2**16
        metrics = {"acc": score}
        return TaskResult(
            task=task, version="1", dataset="", metrics=metrics, rising=("acc",),
            harness=version("lm_eval"),
        )  # fmt: skip
