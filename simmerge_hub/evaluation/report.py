"""A report of lm-evaluation-harness -> what a model scored on a task."""

import math
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from simmerge_hub.evaluation.results import TaskResult, choose_primary


def read_result(report: Any, task: str, seconds: float, backend: str) -> TaskResult:
    """What a report says of one task.

    Args:
        report: what `simple_evaluate` returns.
        task: its name there.
        seconds: what evaluating took.
        backend: what ran the model.
    """
    entry, config = report["results"][task], report["configs"].get(task, {})
    metrics = {_name(k): float(v) for k, v in entry.items() if _is_metric(k, v, stderr=False)}
    stderr = {
        _name(k).replace("_stderr", ""): float(v)
        for k, v in entry.items()
        if _is_metric(k, v, stderr=True)
    }
    better = report["higher_is_better"].get(task, {})
    rising = tuple(sorted(name for name, more in better.items() if more))
    counts = report["n-samples"].get(task, {})
    return TaskResult(
        task=task,
        version=str(report["versions"].get(task, "")),
        dataset=str(config.get("dataset_path") or ""),
        metrics=metrics,
        stderr=stderr,
        rising=rising,
        halves=_halves(report.get("samples", {}).get(task, ()), choose_primary(metrics, rising)),
        samples=int(counts.get("effective", 0)),
        seconds=round(seconds, 2),
        harness=version("lm_eval"),
        backend=backend,
    )


def _is_metric(key: str, value: Any, *, stderr: bool) -> bool:
    """Whether an entry is a number that a metric has, or the standard error of one."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return "," in key and ("_stderr" in key) is stderr and number and math.isfinite(value)


def _name(key: str) -> str:
    """`acc,none` -> `acc`; another filter stays named."""
    return key.removesuffix(",none")


def _halves(samples: Sequence[Mapping[str, Any]], primary: str) -> tuple[float, float] | None:
    """The mean over even and over odd prompts; None if prompts have no value of their own."""
    metric, _, chosen = primary.partition(",")
    asked = [s for s in samples if s.get("filter", "none") == (chosen or "none")]
    values = [s.get(metric) for s in sorted(asked, key=lambda s: s["doc_id"])]
    numbers = [float(v) for v in values if isinstance(v, int | float)]
    if len(numbers) < 2 or len(numbers) < len(values):
        return None
    even, odd = numbers[::2], numbers[1::2]
    return round(sum(even) / len(even), 6), round(sum(odd) / len(odd), 6)
