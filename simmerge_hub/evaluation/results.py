"""What a model scored on a task, and where that is kept: a score is measured once.

Knows nothing of the harness.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from simmerge_hub.documents import read_json_object
from simmerge_hub.hub.assets import assets_folder, replace_file

SCHEMA = 1
"""Raised when results of before are no longer what would be measured now."""
KIND = "evaluations"
PRIMARY = ("exact_match", "acc_norm", "acc", "pass@1", "prompt_level_strict_acc", "em", "f1")
"""Metrics that stand for a task, the first that it has; else its first of those from 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How a task is put: what a score depends on besides the model and the task.

    Args:
        limit: prompts of each task at most; all by default.
        seed: which prompts are drawn where there is a limit; None: the first ones. Larger limits
            with the same seed contain smaller ones.
        fewshot: solved examples before each prompt; None: what the task says.
        chat_template: whether prompts are put into the tokenizer's chat template.
        dtype: of the weights that are run, as torch calls it; `auto`: as they are stored.
    """

    limit: int | None = None
    seed: int | None = None
    fewshot: int | None = None
    chat_template: bool = False
    dtype: str = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult:
    """What one model scored on one task.

    Args:
        task: its name in the harness.
        version: of the task, as its YAML states it.
        dataset: the dataset on the Hub that it asks from; "" where it has none.
        metrics: metric -> value; `metric,filter` where a filter is not the default.
        stderr: metric -> its standard error, where known.
        rising: the metrics of which more is better.
        halves: the primary metric on the even and on the odd prompts, where each prompt has one.
        samples: prompts asked.
        seconds: it took.
        harness: its version.
        backend: what ran the model: `hf` or `vllm`.
        group: whether it is a group's aggregate, not a task's own.
    """

    task: str
    version: str
    dataset: str
    metrics: Mapping[str, float]
    stderr: Mapping[str, float] = field(default_factory=dict)
    rising: tuple[str, ...] = ()
    halves: tuple[float, float] | None = None
    samples: int = 0
    seconds: float = 0.0
    harness: str = ""
    backend: str = "hf"
    group: bool = False

    @property
    def primary(self) -> str:
        """The metric that stands for the task; "" if it has none from 0 to 1."""
        return choose_primary(self.metrics, self.rising)

    @property
    def score(self) -> float | None:
        """The primary metric's value, 0 to 1."""
        return self.metrics[self.primary] if self.primary else None


def choose_primary(metrics: Mapping[str, float], rising: tuple[str, ...]) -> str:
    """Of metrics by name (with or without a filter) the one that stands for a task, or ""."""
    shares = [m for m, v in metrics.items() if 0 <= v <= 1 and m.partition(",")[0] in rising]
    known = [m for name in PRIMARY for m in shares if m.partition(",")[0] == name]
    return next(iter([*known, *shares]), "")


def result_key(identity: str, task: str, protocol: Protocol, tools: str) -> str:
    """sha256 of what a score follows from.

    Args:
        identity: digest of the model's content.
        task: as it was asked for; a YAML by its content, wherever it lies.
        protocol: how it is put.
        tools: what tells versions of the task apart: the harness's, and a digest of own tasks.
    """
    parts = [SCHEMA, identity, task, asdict(protocol), tools]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def load_results(key: str) -> tuple[TaskResult, ...] | None:
    """The results that are kept under a key; None if there are none, or they cannot be read."""
    try:
        entry = read_json_object(_path(key).read_text("utf-8"))
        return tuple(_from_plain(each) for each in entry["results"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def save_results(key: str, results: tuple[TaskResult, ...], origin: Mapping[str, Any]) -> None:
    """Keep results under a key, with where they come from, for people who look."""
    entry = {"origin": dict(origin), "results": [asdict(each) for each in results]}
    replace_file(_path(key), json.dumps(entry, indent=1).encode())


def _path(key: str) -> Path:
    return assets_folder(KIND, key[:2]) / f"{key}.json"


def _from_plain(entry: Mapping[str, Any]) -> TaskResult:
    halves = tuple(entry["halves"]) if entry["halves"] else None
    result = TaskResult(**{**entry, "rising": tuple(entry["rising"]), "halves": halves})
    if not all(math.isfinite(value) for value in result.metrics.values()):
        raise ValueError("a metric is no number")
    return result
