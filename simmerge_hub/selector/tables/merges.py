"""The table of measured merges of three models and more, which training reads beside the pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from simmerge_hub.errors import PredictorError
from simmerge_hub.operators import Arm
from simmerge_hub.selector.tables.features import numbers, plain
from simmerge_hub.selector.tables.lines import read_lines
from simmerge_hub.selector.tables.outcomes import (
    HIGHEST,
    LOWEST,
    SMALLEST_GAP,
    arm_entry,
    arm_from,
    check_header,
)
from simmerge_hub.selector.tables.rows import Floats, Places
from simmerge_hub.signatures.merged import likeness

FORMAT = "simmerge-hub merges"
SCHEMA = 1
DIGITS = 5
"""Significant digits kept in the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merges:
    """Measured merges of three models and more: n of them, each on one task.

    Args:
        models: the models of each.
        tasks: n names.
        arms: what the last step of each is.
        names: f feature names.
        effect_names: e names.
        values: float64 [n, f], of the expert and the plain mean of the others; NaN = missing.
        effects: float64 [n, e], where the merge lies between those two.
        likeness: float64 [n, `likeness.NAMES`], what the merge did on the probes.
        gains: float64 [n], the share closed of the gap between the others' mean and the expert.
    """

    models: tuple[tuple[str, ...], ...]
    tasks: tuple[str, ...]
    arms: tuple[Arm, ...]
    names: tuple[str, ...]
    effect_names: tuple[str, ...]
    values: Floats
    effects: Floats
    likeness: Floats
    gains: Floats

    def __len__(self) -> int:
        return len(self.models)

    def take(self, places: Places) -> "Merges":
        """The merges at `places`, in that order."""
        return replace(
            self,
            models=tuple(self.models[i] for i in places),
            tasks=tuple(self.tasks[i] for i in places),
            arms=tuple(self.arms[i] for i in places),
            values=self.values[places],
            effects=self.effects[places],
            likeness=self.likeness[places],
            gains=self.gains[places],
        )


def load_merges(path: Path) -> Merges:
    """Read the table of merges at `path`: a header, then one line for a set of models and a task.

        {"format": "simmerge-hub merges", "schema": 1, "names": […], "effects": […],
         "likeness": […]}
        {"models": […], "task": "code/f", "level": 0.2, "values": […], "merges": [
          {"arm": {…}, "utility": 0.5, "effects": […], "likeness": […]}, …]}

    `level` is the others' mean utility relative to the expert's; null is missing.

    Raises:
        PredictorError: it is no such table.
    """
    try:
        header, *entries = [entry for _, entry in read_lines(path)]
    except ValueError as error:
        raise PredictorError(f"{path} is not a table of merges: {error}") from error
    check_header(header, FORMAT, SCHEMA, path)
    try:
        return _merges(header, entries)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise PredictorError(f"{path} is not a table of merges: {error!r}") from error


def header(names: Sequence[str], effects: Sequence[str]) -> dict[str, Any]:
    """The first line of a table of merges."""
    return {
        "format": FORMAT,
        "schema": SCHEMA,
        "names": list(names),
        "effects": list(effects),
        "likeness": list(likeness.LIKENESS_NAMES),
    }


def line(
    models: Sequence[str], task: str, level: float, values: Floats, merges: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """A line of such a table; `merges` as `entry` gives them."""
    return {
        "models": models,
        "task": task,
        "level": round(level, 4),
        "values": plain(values, DIGITS),
        "merges": merges,
    }


def entry(arm: Arm, utility: float, effects: Floats, seen: Floats) -> dict[str, Any]:
    """One merge in a line of such a table."""
    return {
        "arm": arm_entry(arm),
        "utility": round(utility, 4),
        "effects": plain(effects, DIGITS),
        "likeness": plain(seen, DIGITS),
    }


def _merges(header: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> Merges:
    if tuple(header["likeness"]) != likeness.LIKENESS_NAMES:
        raise ValueError("it was made by another version")
    models, tasks, arms, gains = [], [], [], []
    values, effects, seen = [], [], []
    for line in entries:
        level = float(line["level"])
        if 1 - level < SMALLEST_GAP:
            continue
        own = _vector(line["values"], len(header["names"]))
        for one in line["merges"]:
            models.append(tuple(str(name) for name in line["models"]))
            tasks.append(str(line["task"]))
            arms.append(arm_from(one["arm"]))
            values.append(own)
            effects.append(_vector(one["effects"], len(header["effects"])))
            seen.append(_vector(one["likeness"], len(likeness.LIKENESS_NAMES)))
            gains.append((float(one["utility"]) - level) / (1 - level))
    if not gains:
        raise ValueError("it holds no merge to learn from")
    return Merges(
        models=tuple(models),
        tasks=tuple(tasks),
        arms=tuple(arms),
        names=tuple(str(name) for name in header["names"]),
        effect_names=tuple(str(name) for name in header["effects"]),
        values=np.array(values),
        effects=np.array(effects),
        likeness=np.array(seen),
        gains=np.clip(np.array(gains), LOWEST, HIGHEST),
    )


def _vector(given: Sequence[float | None], count: int) -> Floats:
    vector = numbers(given)
    if len(vector) != count or np.isinf(vector).any():
        raise ValueError(f"{count} finite or missing numbers are needed")
    return vector
