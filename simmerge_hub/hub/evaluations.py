"""Scores that models' cards state: evaluation results, as `model-index` holds them."""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

from simmerge_hub.hub.resolve import Checkpoint

LONGEST_NAME = 80
"""Characters of a task's name."""
BENCHMARKS = {
    "humaneval": "code", "openai_humaneval": "code", "humanevalplus": "code", "mbpp": "code",
    "mbppplus": "code", "livecodebench": "code", "bigcodebench": "code",
    "gsm8k": "math", "math": "math", "competition_math": "math", "hendrycks_math": "math",
    "math-500": "math", "math_500": "math", "math_hard": "math", "aime": "math",
    "mgsm": "multilingual", "flores": "multilingual", "belebele": "multilingual",
    "mmmlu": "multilingual",
    "squad": "rag", "squad_v2": "rag", "nq": "rag", "nq_open": "rag", "triviaqa": "rag",
    "trivia_qa": "rag", "hotpotqa": "rag", "hotpot_qa": "rag", "ragbench": "rag",
    "ifeval": "instruct", "mt-bench": "instruct", "mt_bench": "instruct", "alpacaeval": "instruct",
    "alpaca_eval": "instruct",
    "nano_code": "code", "nano_math": "math", "nano_multilingual": "multilingual",
    "nano_rag": "rag", "nano_instruct": "instruct",
}  # fmt: skip
"""Well-known benchmarks, and our own tasks, and the domain whose probes stand for them."""
SHARES = re.compile(
    r"(?<![a-z])(acc_norm|acc|accuracy|exact[ _-]?match|em|f1|pass@\d+|mc[12]_?targets|mc[12]"
    r"|strict_acc|(?:inst|prompt)_level_(?:strict|loose)_acc|win[ _-]?rate|normalized accuracy"
    r"|pass_rate|precision|recall)(?![a-z])"
)
"""Metrics that are shares of a whole, 0 to 1 or in percent, as cards spell them."""
ERROR = "_stderr"
"""How the harness calls the standard error of a metric, which is no score."""
SPELLINGS = {
    "accuracy": "acc", "exactmatch": "acc", "em": "acc", "normalizedaccuracy": "accnorm",
    "mc1targets": "mc1", "mc2targets": "mc2",
}  # fmt: skip
"""Other names for a share, without blanks and lines; the share of right answers has several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What the cards of some models say of one task.

    Args:
        scores: model -> its score, on a scale of 0 to 1, all by one metric; the first that its card
            states.
        dataset: what the models were evaluated on, as the first card calls it.
        benchmark: whether that is a well-known benchmark.
        card: the first model whose card says so.
        apart: whether other models state what cannot be compared: by another metric, or on another
            benchmark of the domain.
    """

    scores: dict[str, float]
    dataset: str
    benchmark: bool
    card: str = ""
    apart: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CardScore:
    """A score that a card states, on a scale of 0 to 1; `task` is called as in plans."""

    task: str
    dataset: str
    metric: str
    value: float


def card_scores(card: Mapping[str, Any]) -> tuple[CardScore, ...]:
    """The scores on a card's front matter (`model-index`), in its order; only shares of a whole."""
    return tuple(
        CardScore(
            task=BENCHMARKS.get(_benchmark(dataset)) or name,
            dataset=dataset,
            metric=metric,
            value=score,
        )
        for name, dataset, metric, score in _results(card)
        if score is not None
    )


def read_evaluations(models: Sequence[Checkpoint]) -> dict[str, Evaluation]:
    """The evaluation results (`model-index`) on the models' cards, by task.

    A task is called by the domain that its benchmark stands for, else by its dataset's name. Where
    cards state several benchmarks of a domain, or several metrics, it is the one that most models
    state: scores on different ones are not compared.
    """
    by_dataset: dict[tuple[str, str, str], Evaluation] = {}
    for model in models:
        for name, dataset, metric, score in _results(model.card):
            domain = BENCHMARKS.get(_benchmark(dataset))
            if score is None:
                continue
            new = Evaluation(
                scores={}, dataset=dataset, benchmark=domain is not None, card=model.name
            )
            place = (domain or name, _benchmark(dataset) if domain else "", _measure(metric))
            by_dataset.setdefault(place, new).scores.setdefault(model.name, score)
    tasks: dict[str, Evaluation] = {}
    stating: dict[str, set[str]] = {}
    for (task, *_), evaluation in by_dataset.items():
        stating.setdefault(task, set()).update(evaluation.scores)
        if task not in tasks or len(evaluation.scores) > len(tasks[task].scores):
            tasks[task] = evaluation
    return {t: replace(each, apart=stating[t] > each.scores.keys()) for t, each in tasks.items()}


def unread_evaluations(models: Sequence[Checkpoint]) -> dict[str, str]:
    """The tasks on the cards whose scores cannot be compared, and why."""
    known, unread = read_evaluations(models), dict[str, str]()
    for model in models:
        for name, dataset, metric, score in _results(model.card):
            task = BENCHMARKS.get(_benchmark(dataset)) or name
            if score is None and task not in known:
                said = f"the card of {model.name} states {metric!r}, which is no share that we know"
                unread.setdefault(task, said)
    return unread


def _benchmark(dataset: str) -> str:
    return dataset.rpartition("/")[2].lower()


def _measure(metric: str) -> str:
    """What a metric that is a share measures, by one name for all its spellings."""
    known = SHARES.search(metric)
    plain = re.sub("[ _-]", "", known[1]) if known else ""
    return SPELLINGS.get(plain, plain)


def _results(card: Mapping[str, Any]) -> list[tuple[str, str, str, float | None]]:
    """(task name, dataset, metric, score in 0–1 or None) of every evaluation result on a card.

    One source writes either shares or percent: leaderboards have 0.76 % beside 35.2 %.
    """
    results: list[tuple[str, str, str, str, float | None]] = []
    for entry in _dicts(card.get("model-index")):
        for result in _dicts(entry.get("results")):
            dataset = result.get("dataset")
            metrics = [m for m in _dicts(result.get("metrics")) if _is_score(m.get("value"))]
            if isinstance(dataset, dict) and metrics:
                kind = str(dataset.get("type") or dataset.get("name") or "")
                name = _readable(str(dataset.get("name") or kind)).lower().replace(" ", "-")
                results += [(_source(result), name, kind, *each) for each in _shares(metrics)]
    percent = {source for source, *_, value in results if source and value and value > 1}
    return [
        (name, kind, said, _as_share(value, percent=source in percent))
        for source, name, kind, said, value in results
    ]


def _as_share(value: float | None, *, percent: bool) -> float | None:
    return value / 100 if value and (value > 1 or percent) else value


def _source(result: Mapping[str, Any]) -> str:
    """Who says so; "" where that is not said."""
    source = result.get("source")
    return str(source.get("name") or source.get("url") or "") if isinstance(source, dict) else ""


def _shares(metrics: Sequence[Mapping[str, Any]]) -> list[tuple[str, float | None]]:
    """The metrics that are shares, and their values in 0–1 or percent; without one the first, and
    None."""
    shares: list[tuple[str, float | None]] = []
    for metric in metrics:
        said = f"{metric.get('type') or ''} {metric.get('name') or ''}".strip().lower()
        value = float(metric["value"])
        if (not said or SHARES.search(said)) and ERROR not in said and 0 <= value <= 100:
            shares.append((said, value))
    first = metrics[0]
    said = _readable(str(first.get("type") or first.get("name") or first.get("value")))
    return shares or [(said, None)]


def _readable(name: str) -> str:
    """What a card calls a dataset, without what would move a terminal's cursor."""
    return "".join(filter(str.isprintable, name))[:LONGEST_NAME]


def _is_score(value: Any) -> TypeGuard[int | float]:
    number = isinstance(value, int | float) and type(value) is not bool
    return number and abs(value) <= sys.float_info.max  # NaN and 10**400 are none


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []
