"""The `why:` of a plan: the predictions its recipe was chosen by, sealed against edits."""

import hashlib
import json
from collections.abc import Mapping
from itertools import islice
from typing import Any

WHY = {
    "recipe", "choice", "status", "objective", "reason", "coverage", "predictor", "predictor_from",
    "tasks", "predictions",
}  # fmt: skip
"""What a `why:` must hold to be believed."""
WHY_PARTS = 100_000
"""A `why` has some hundred values; YAML aliases make a few lines unfold into gigabytes."""
STATUSES = ("calibrated", "extrapolated", "abstained")


def sealed(why: Mapping[str, Any]) -> dict[str, Any]:
    """The `why` with a `seal`: sha256 of the rest as canonical JSON, so that edits show.

    It guards against accidents and careless hands, not against someone who computes it anew.
    """
    rest = {key: value for key, value in why.items() if key != "seal"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return rest | {"seal": hashlib.sha256(text.encode()).hexdigest()}


def believed(why: dict[str, Any], fingerprint: str) -> bool:
    """Whether it is of the recipe with this fingerprint, unedited, and has what a card prints."""
    if not why.keys() >= WHY or why["recipe"] != fingerprint:
        return False
    try:
        parts = json.JSONEncoder().iterencode(why)
        small = sum(1 for _ in islice(parts, WHY_PARTS)) < WHY_PARTS
        return small and why.get("seal") == sealed(why)["seal"] and _printable(why)
    except (TypeError, ValueError, RecursionError):  # dates, cycles, keys of several kinds
        return False


def _printable(why: dict[str, Any]) -> bool:
    tasks, predictions = why["tasks"], why["predictions"]
    return (
        _are_texts(why, "choice", "status", "reason", "predictor", "predictor_from")
        and _are_texts(why["objective"], "heading", "description")
        and why["status"] in STATUSES
        and _is_number(why["coverage"])
        and isinstance(tasks, list)
        and all(_are_texts(task, "task", "expert", "probes") for task in tasks)
        and isinstance(predictions, list)
        and all(_is_prediction(one, [task["task"] for task in tasks]) for one in predictions)
    )


def _is_prediction(entry: Any, tasks: list[str]) -> bool:
    return (
        _are_texts(entry, "arm")
        and isinstance(entry.get("pareto"), bool)
        and isinstance(entry.get("tasks"), dict)
        and all(
            isinstance(spread, list) and len(spread) == 3 and all(map(_is_number, spread))
            for spread in (entry.get("score"), *map(entry["tasks"].get, tasks))
        )
    )


def _are_texts(entry: Any, *keys: str) -> bool:
    return isinstance(entry, dict) and all(isinstance(entry.get(key), str) for key in keys)


def _is_number(value: Any) -> bool:
    """A float, or a whole number that becomes one without overflow."""
    return isinstance(value, float) or (type(value) is int and abs(value) < 2**53)
