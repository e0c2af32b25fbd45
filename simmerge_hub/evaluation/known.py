"""What is known of a model's scores: the keys they are kept under, and those that are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from simmerge_hub.evaluation.contents import check_folder, path_digest, task_content
from simmerge_hub.evaluation.results import (
    Protocol,
    TaskResult,
    load_results,
    result_key,
    save_results,
)
from simmerge_hub.hub.digest import answering_digest
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.weights.alignment.lineage import common_base

OWN_TASKS = Path(__file__).with_name("tasks")
"""Harness YAML of our own: `nano_code`, `nano_math`, …"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The key that a model's results on a task are kept under, and the results, if there are."""

    key: str
    results: tuple[TaskResult, ...] | None


def look_up(
    model: Checkpoint,
    tasks: Sequence[str],
    *,
    protocol: Protocol,
    base: Checkpoint | None = None,
    include: Path | None = None,
) -> dict[str, Known]:
    """Task -> what is known of `model` on it; arguments as of `evaluate`."""
    base = base_of(model, base)
    identity = "+".join(answering_digest(each) for each in (model, base) if each)
    tools = tools_of(include)
    asked = {name: task_content(name) or name for name in tasks}
    keys = {name: result_key(identity, what, protocol, tools) for name, what in asked.items()}
    return {name: Known(key=key, results=load_results(key)) for name, key in keys.items()}


def keep(key: str, model: Checkpoint, task: str, results: tuple[TaskResult, ...]) -> None:
    """Keep the results of a model on a task, with where they come from."""
    save_results(key, results, {"model": model.name, "commit": model.commit, "task": task})


def base_of(model: Checkpoint, base: Checkpoint | None) -> Checkpoint | None:
    """The model that an adapter belongs to, `base` or what it says; None of a full model."""
    return (base or common_base([model])) if model.kind == "adapter" else None


def tools_of(include: Path | None) -> str:
    """What tells versions of tasks apart: the harness's own version, and digests of folders.

    Raises:
        EvaluationError: there is no such folder.
    """
    check_folder(include)
    digests = [path_digest(folder) for folder in (OWN_TASKS, include) if folder]
    return "\n".join((f"lm_eval {version('lm_eval')}", *digests))
