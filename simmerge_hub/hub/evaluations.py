"""Scores that models' cards state: evaluation results, as `model-index` holds them."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from simmerge_hub.hub.resolve import Checkpoint

LONGEST_NAME = 80
"""Characters of a task's name."""
BENCHMARKS = {
    "humaneval": "code", "mbpp": "code", "livecodebench": "code", "bigcodebench": "code",
    "gsm8k": "math", "math": "math", "aime": "math", "mgsm": "multilingual",
    "flores": "multilingual", "belebele": "multilingual", "mmmlu": "multilingual",
    "squad": "rag", "nq": "rag", "triviaqa": "rag", "hotpotqa": "rag", "ragbench": "rag",
    "ifeval": "instruct", "mt-bench": "instruct", "alpacaeval": "instruct",
}  # fmt: skip
"""Well-known benchmarks and the domain whose probes stand for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What the cards of some models say of one task.

    Args:
        scores: model -> its score, on a scale of 0 to 1; the first that its card states.
        dataset: what the models were evaluated on, as the first card calls it.
        benchmark: whether that is a well-known benchmark.
    """

    scores: dict[str, float]
    dataset: str
    benchmark: bool


def read_evaluations(models: Sequence[Checkpoint]) -> dict[str, Evaluation]:
    """The evaluation results (`model-index`) on the models' cards, by task.

    A task is called by the domain that its benchmark stands for, else by its data set's name.
    """
    tasks: dict[str, Evaluation] = {}
    for model in models:
        for name, dataset, score in _results(model.card):
            domain = BENCHMARKS.get(dataset.rpartition("/")[2].lower())
            new = Evaluation(scores={}, dataset=dataset, benchmark=domain is not None)
            tasks.setdefault(domain or name, new).scores.setdefault(model.name, score)
    return tasks


def _results(card: Mapping[str, Any]) -> list[tuple[str, str, float]]:
    """(task name, dataset, score in 0–1) of every evaluation result on a card."""
    results: list[tuple[str, str, float]] = []
    for entry in _dicts(card.get("model-index")):
        for result in _dicts(entry.get("results")):
            dataset = result.get("dataset")
            values = [m.get("value") for m in _dicts(result.get("metrics"))]
            numbers = [v for v in values if _is_score(v)]
            if isinstance(dataset, dict) and numbers:
                kind = str(dataset.get("type") or dataset.get("name") or "")
                name = _readable(str(dataset.get("name") or kind)).lower().replace(" ", "-")
                score = numbers[0] / 100 if numbers[0] > 1.5 else numbers[0]
                results.append((name, kind, float(score)))
    return results


def _readable(name: str) -> str:
    """What a card calls a data set, without what would move a terminal's cursor."""
    return "".join(filter(str.isprintable, name))[:LONGEST_NAME]


def _is_score(value: Any) -> TypeGuard[int | float]:
    number = isinstance(value, int | float) and type(value) is not bool
    return number and abs(value) <= sys.float_info.max  # NaN and 10**400 are none


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []
