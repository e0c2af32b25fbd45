"""Which tasks a set of models is merged for, and who is the expert for each.

The user names them, or the models' cards do: evaluation results (`model-index`) whose scores differ
between the models. Every task that is left out is left out for a stated reason.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from simmerge_hub.errors import ProbeError
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.signatures.probe import DOMAINS

SMALLEST_GAP = 0.05
"""Scores closer than this (on a 0–1 scale) name no expert."""
BENCHMARKS = {
    "humaneval": "code", "mbpp": "code", "livecodebench": "code", "bigcodebench": "code",
    "gsm8k": "math", "math": "math", "aime": "math", "mgsm": "multilingual",
    "flores": "multilingual", "belebele": "multilingual", "mmmlu": "multilingual",
    "squad": "rag", "nq": "rag", "triviaqa": "rag", "hotpotqa": "rag", "ragbench": "rag",
    "ifeval": "instruct", "mt-bench": "instruct", "alpacaeval": "instruct",
}  # fmt: skip
"""Well-known benchmarks and the domain whose probes stand for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task, its expert, and where its probes come from (None: the package).

    `scores` are the parents' own, 0–1, by model name, where a card states them.
    """

    name: str
    expert: str
    probes: str | None
    scores: Mapping[str, float]


def tasks_of(
    models: Sequence[Checkpoint],
    experts: Mapping[str, str] | None = None,
    probes: Mapping[str, str] | None = None,
) -> tuple[tuple[Task, ...], dict[str, str]]:
    """The tasks these models are merged for; and those left out, with the reason.

    Args:
        models: what is merged.
        experts: task -> the model that is good at it; replaces what the cards say.
        probes: task -> where its probes come from; replaces the default.

    Raises:
        ProbeError: nobody says who is good at what, or a named expert is not among the models.
    """
    stated = _stated(models)
    chosen = {t: _match(t, name, models) for t, name in (experts or {}).items()}
    dropped: dict[str, str] = {}
    if not chosen:
        chosen, dropped = _from_scores(stated)
    if not chosen:
        seen = f" ({'; '.join(f'{t}: {why}' for t, why in dropped.items())})" if dropped else ""
        raise ProbeError(
            f"nobody says which model is good at what: the cards have no telling scores{seen}",
            hint=f"name the experts: --expert code={models[0].name} --expert math=…",
        )
    tasks = tuple(
        Task(
            name=name,
            expert=expert,
            probes=(probes or {}).get(name) or _default_probes(name, stated),
            scores=stated[name].scores if name in stated else {},
        )
        for name, expert in chosen.items()
    )
    return tasks, dropped


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stated:
    """What the cards say of one task."""

    scores: dict[str, float]
    dataset: str
    benchmark: bool


def _stated(models: Sequence[Checkpoint]) -> dict[str, _Stated]:
    found: dict[str, _Stated] = {}
    for model in models:
        for name, dataset, score in _results(model.card):
            domain = BENCHMARKS.get(dataset.rpartition("/")[2].lower())
            task = found.setdefault(
                domain or name,
                _Stated(scores={}, dataset=dataset, benchmark=domain is not None),
            )
            task.scores.setdefault(model.name, score)
    return found


def _results(card: Mapping[str, Any]) -> list[tuple[str, str, float]]:
    """(task name, dataset, score in 0–1) of every evaluation result on a card."""
    found: list[tuple[str, str, float]] = []
    for entry in _dicts(card.get("model-index")):
        for result in _dicts(entry.get("results")):
            dataset = result.get("dataset")
            values = [m.get("value") for m in _dicts(result.get("metrics"))]
            numbers = [v for v in values if _is_score(v)]
            if isinstance(dataset, dict) and numbers:
                kind = str(dataset.get("type") or dataset.get("name") or "")
                name = str(dataset.get("name") or kind).lower().replace(" ", "-")
                score = numbers[0] / 100 if numbers[0] > 1.5 else numbers[0]
                found.append((name, kind, float(score)))
    return found


def _is_score(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and type(value) is not bool and math.isfinite(value)


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def _from_scores(stated: Mapping[str, _Stated]) -> tuple[dict[str, str], dict[str, str]]:
    chosen: dict[str, str] = {}
    dropped: dict[str, str] = {}
    for name, task in stated.items():
        ordered = sorted(task.scores.values(), reverse=True)
        if len(ordered) < 2:
            dropped[name] = "only one model states a score"
        elif ordered[0] - ordered[1] < SMALLEST_GAP:
            dropped[name] = f"the scores {ordered[0]:.2f} and {ordered[1]:.2f} are too close"
        else:
            chosen[name] = max(task.scores, key=lambda model: task.scores[model])
    return chosen, dropped


def _match(task: str, name: str, models: Sequence[Checkpoint]) -> str:
    """The model a user calls `name`: as it was given, by its name, or by the name's last part."""
    whole = [m for m in models if name in (m.name, str(m.ref)) or _same_folder(name, m)]
    found = whole or [m for m in models if name == m.name.rpartition("/")[2]]
    if len(found) == 1:
        return found[0].name
    seen = "several of the models" if found else "not among the models"
    raise ProbeError(
        f"the expert for {task} is said to be {name}, which is {seen}",
        hint=f"name one of: {', '.join(m.name for m in models)}",
    )


def _same_folder(name: str, model: Checkpoint) -> bool:
    return model.ref.folder is not None and Path(name).resolve() == model.ref.folder.resolve()


def _default_probes(name: str, stated: Mapping[str, _Stated]) -> str | None:
    """A dataset a card evaluates on, unless it is a benchmark or a domain of the package."""
    task = stated.get(name)
    if task is not None and not task.benchmark and "/" in task.dataset:
        return task.dataset
    if name in DOMAINS:
        return None
    raise ProbeError(
        f"there are no probes for the task {name!r}",
        hint=f"give a dataset of prompts: --probes {name}=org/dataset",
    )
