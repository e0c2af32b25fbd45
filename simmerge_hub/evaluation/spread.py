"""Several models on several tasks: here, or on the nodes of a cluster by the same function.

What nodes measure is kept on this machine, each result as it comes, so that a run which was cut off
goes on with what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from simmerge_hub.errors import EvaluationError
from simmerge_hub.evaluation.harness import (
    DEFAULT_MACHINE,
    DEFAULT_PROTOCOL,
    Machine,
    check_installed,
    evaluate,
)
from simmerge_hub.evaluation.known import base_of, keep, look_up
from simmerge_hub.evaluation.results import Protocol, TaskResult
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.progress import Progress
from simmerge_hub.workers.here import HERE, Lost, Workers

Piece = tuple[Checkpoint, str]
"""A model, and the task that it is evaluated on."""


def evaluate_all(
    models: Sequence[Checkpoint],
    tasks: Sequence[str],
    *,
    workers: Workers = HERE,
    protocol: Protocol = DEFAULT_PROTOCOL,
    machine: Machine = DEFAULT_MACHINE,
    base: Checkpoint | None = None,
    include: Path | None = None,
    unsafe_code: bool | None = None,
    tell: Progress = lambda what, done, total: None,
) -> list[dict[str, tuple[TaskResult, ...]]]:
    """What each of `models` scores on each of `tasks`, as `evaluate` gives it, in their order.

    Here a model is loaded once for all tasks; on a cluster each model and task is a piece of work.

    Args:
        models, tasks, protocol, machine, base, include, unsafe_code: as of `evaluate`. On a
            cluster, folders among them must lie under the same path on every node.
        workers: this process, or the nodes of a cluster.
        tell: called with (model and task, how many are done, of how many).

    Raises:
        SimmergeError: as of `evaluate`.
        EvaluationError: a node has other tasks or another harness, or whoever tried a piece died.
    """
    check_installed()
    where: dict[str, Any] = {"protocol": protocol, "base": base, "include": include}
    how = {**where, "machine": machine, "unsafe_code": unsafe_code}
    if workers.elsewhere:
        missing = _find_missing(models, tasks, where)
        largest = max((_stored_bytes(m, base) for m, _ in missing.values()), default=0)
        _measure(workers.sized(largest, machine.device), missing, where, how, tell)
    every = []
    for number, model in enumerate(models):
        if not workers.elsewhere:
            tell(model.name, number, len(models))
        every.append(evaluate(model, tasks, **how))
    return every


def evaluate_piece(
    piece: Piece, *, where: Mapping[str, Any], how: Mapping[str, Any]
) -> tuple[str, tuple[TaskResult, ...]]:
    """The results of a model on a task, and the key that this machine keeps them under."""
    model, task = piece
    results = evaluate(model, [task], **how)[task]
    return look_up(model, [task], **where)[task].key, results


def _find_missing(
    models: Sequence[Checkpoint], tasks: Sequence[str], where: Mapping[str, Any]
) -> dict[str, Piece]:
    """What is not known yet, by the key that it will be kept under."""
    missing: dict[str, Piece] = {}
    for model in models:
        for task, known in look_up(model, tasks, **where).items():
            if known.results is None:
                missing.setdefault(known.key, (model, task))  # a model that is named twice: once
    return missing


def _measure(
    workers: Workers,
    missing: Mapping[str, Piece],
    where: Mapping[str, Any],
    how: Mapping[str, Any],
    tell: Progress,
) -> None:
    """Evaluate what is missing, and keep each result as it comes."""
    keys, pieces = list(missing), list(missing.values())
    work = partial(evaluate_piece, where=where, how=how)
    for done, (place, result) in enumerate(workers.spread(work, pieces), 1):
        model, task = pieces[place]
        if isinstance(result, Lost):
            raise EvaluationError(
                f"a worker died, again and again, evaluating {model.name} on {task}: "
                f"{result.reason}",
                hint="give it more memory, or a smaller --batch-size",
            )
        key, results = result
        if key != keys[place]:
            raise EvaluationError(
                f"a node has another lm-evaluation-harness than this machine, or other files of "
                f"{task}",
                hint="install the same versions on all nodes, and give them the same folders",
            )
        keep(key, model, task, results)
        tell(f"{model.name}: {task}", done, len(pieces))


def _stored_bytes(model: Checkpoint, base: Checkpoint | None) -> int:
    """Of a model as it is stored; of an adapter with its base."""
    both = [each for each in (model, base_of(model, base)) if each]
    return sum(header.end - header.start for each in both for header in each.tensors.values())
