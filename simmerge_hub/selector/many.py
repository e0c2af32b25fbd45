"""Merges of three models and more: one forest that reads the whole merge, however it is made.

A merge of many is seen, on each task, as the pair of the task's expert and the plain mean of all
the others: the pair's features, where the merge lies between the two (`signatures.effects`), what
the last step's arm is, and, if the merge was really run on the probes, how much it behaves like the
expert (`signatures.likeness`). The forest learns from measured pairs and from measured merges of
many; those of which nothing was run are what it mostly sees.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from simmerge_hub.errors import PredictorError
from simmerge_hub.operators import Arm
from simmerge_hub.selector import conditioned, heads
from simmerge_hub.selector.availability import PATTERNS, hide_each
from simmerge_hub.selector.conformal import radius
from simmerge_hub.selector.outcomes import (
    HIGHEST,
    LOWEST,
    SMALLEST_GAP,
    arm_entry,
    arm_from,
    check_header,
)
from simmerge_hub.selector.rows import Floats, Places, Rows
from simmerge_hub.selector.table import numbers, plain
from simmerge_hub.signatures import likeness

if TYPE_CHECKING:
    from xgboost import Booster

FORMAT = "simmerge-hub merges"
SCHEMA = 1
DIGITS = 5
"""Significant digits kept in the table."""
TREES = 300
FOLDS = 4


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


@dataclass(frozen=True, slots=True, kw_only=True)
class OfMany:
    """The forest for merges of three models and more, as it is stored.

    Args:
        forest: XGBoost's JSON.
        likeness: the names of what it reads of a merge that was run, in order.
        unrun: half-width of the interval of a merge that was not run on the probes.
        run: of one that was.
        merges: how many measured merges it learned from, each on one task.
        models: of how many models the largest of them are.
    """

    forest: str = field(repr=False)
    likeness: tuple[str, ...]
    unrun: float
    run: float
    merges: int
    models: int


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
        header, *entries = [json.loads(line) for line in path.read_text().splitlines()]
    except (OSError, ValueError) as error:
        raise PredictorError(f"{path} is not a table of merges: {error}") from error
    check_header(header, FORMAT, SCHEMA, path)
    try:
        return _merges(header, entries)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise PredictorError(f"{path} is not a table of merges: {error!r}") from error


def header(names: Sequence[str], effects: Sequence[str]) -> dict[str, Any]:
    """The first line of a table of merges."""
    return {
        "format": FORMAT,
        "schema": SCHEMA,
        "names": list(names),
        "effects": list(effects),
        "likeness": list(likeness.NAMES),
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


def learn(rows: Rows, merges: Merges, *, seed: int, alpha: float) -> OfMany:
    """What predicts merges of three models and more, with its intervals.

    Raises:
        PredictorError: the merges were described by other features than the pairs.
    """
    if (merges.names, merges.effect_names) != (rows.names, rows.effect_names):
        raise PredictorError(
            "the table of merges has other features than that of pairs",
            hint="write both with the same version of simmerge-hub",
        )
    unrun, run = half_widths(rows, merges, seed=seed, alpha=alpha)
    return OfMany(
        forest=heads.text(fit(rows, merges, seed=seed)),
        likeness=likeness.NAMES,
        unrun=unrun,
        run=run,
        merges=len(merges),
        models=max(map(len, merges.models)),
    )


def fit(rows: Rows, merges: Merges, *, seed: int) -> "Booster":
    """One forest on pairs and merges of many; both also with families of features hidden.

    Args:
        rows: measured pairs; their merges were not run on the probes.
        merges: measured merges of the same features; two thirds of what is learned from them is as
            if they had not been run.
        seed: of subsampling and of what is hidden.
    """
    from xgboost import DMatrix, train

    operators = conditioned.operators(rows.arms)
    known, gains = conditioned.examples(rows, seed)
    unseen = np.full((len(known), len(likeness.NAMES)), np.nan)
    blind = np.random.default_rng(seed).integers(1, len(PATTERNS), len(merges))
    inputs = [
        np.concatenate([known, unseen], axis=1),
        matrix(merges, operators),
        matrix(_unrun(merges), operators),
        matrix(_hidden(merges, blind), operators),
    ]
    labels = [gains, merges.gains, merges.gains, merges.gains]
    data = DMatrix(np.concatenate(inputs), label=np.concatenate(labels), nthread=1)
    settings = conditioned.SETTINGS | {"seed": seed}
    return train(settings, data, num_boost_round=TREES)


def matrix(merges: Merges, operators: Sequence[str]) -> Floats:
    """[n, features + effects + what the arms are + likeness]."""
    told = {a.label: conditioned.describe(a, operators) for a in merges.arms}
    arms = np.array([told[a.label] for a in merges.arms])
    return np.concatenate([merges.values, merges.effects, arms, merges.likeness], axis=1)


def predict(forest: "Booster", merges: Merges, trained: Sequence[str]) -> Floats:
    """[n]: the share of the gap each merge is predicted to close, in [-1, 1.5].

    Args:
        forest: as `fit` or `heads.booster` gives it.
        merges: their gains are not read.
        trained: the operators of the pairs, as `conditioned.operators` names them.
    """
    from xgboost import DMatrix

    found = forest.predict(DMatrix(matrix(merges, trained), nthread=1))
    return np.clip(found.astype(np.float64), LOWEST, HIGHEST)


def half_widths(rows: Rows, merges: Merges, *, seed: int, alpha: float) -> tuple[float, float]:
    """What 90 % intervals need if alpha is 0.1: of merges that were not run, and of those run.

    From residuals on merges none of whose models was trained on.
    """
    operators = conditioned.operators(rows.arms)
    unrun: list[Floats] = []
    run: list[Floats] = []
    for tested in _deal(groups(merges.models)):
        apart = [
            i
            for i, pair in enumerate(zip(rows.experts, rows.auxiliaries, strict=True))
            if not tested & set(pair)
        ]
        inside = np.array([bool(tested & set(models)) for models in merges.models])
        test, known = (merges.take(np.flatnonzero(part)) for part in (inside, ~inside))
        if not apart or not len(known):
            continue
        forest = fit(rows.take(np.array(apart)), known, seed=seed)
        unrun.append(np.abs(predict(forest, _unrun(test), operators) - test.gains))
        run.append(np.abs(predict(forest, test, operators) - test.gains))
    none = np.empty(0)
    return radius(np.concatenate([none, *unrun]), alpha), radius(
        np.concatenate([none, *run]), alpha
    )


def groups(sets: Sequence[Sequence[str]]) -> list[frozenset[str]]:
    """Models that share a set, directly or through others': no set is in two groups."""
    found: list[frozenset[str]] = []
    for models in dict.fromkeys(map(tuple, sets)):
        touched = [group for group in found if group & set(models)]
        found = [group for group in found if group not in touched]
        found.append(frozenset(models).union(*touched))
    return sorted(found, key=sorted)


def _deal(found: Sequence[frozenset[str]]) -> list[frozenset[str]]:
    """The groups, put together into at most FOLDS."""
    dealt = [found[i::FOLDS] for i in range(min(FOLDS, len(found)))]
    return [frozenset().union(*part) for part in dealt]


def _unrun(merges: Merges) -> Merges:
    return replace(merges, likeness=np.full_like(merges.likeness, np.nan))


def _hidden(merges: Merges, patterns: Places) -> Merges:
    """As if not run, with a pattern of families hidden from each."""
    return replace(
        _unrun(merges),
        values=hide_each(merges.values, merges.names, patterns),
        effects=conditioned.hidden_each(merges.effects, merges.effect_names, patterns),
    )


def _merges(header: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> Merges:
    if tuple(header["likeness"]) != likeness.NAMES:
        raise ValueError("it was made by another version")
    models, tasks, arms, gains = [], [], [], []
    values, effects, seen = [], [], []
    for line in entries:
        level = float(line["level"])
        if 1 - level < SMALLEST_GAP:
            continue
        own = _counted(line["values"], len(header["names"]))
        for one in line["merges"]:
            models.append(tuple(str(name) for name in line["models"]))
            tasks.append(str(line["task"]))
            arms.append(arm_from(one["arm"]))
            values.append(own)
            effects.append(_counted(one["effects"], len(header["effects"])))
            seen.append(_counted(one["likeness"], len(likeness.NAMES)))
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


def _counted(given: Sequence[float | None], count: int) -> Floats:
    found = numbers(given)
    if len(found) != count or np.isinf(found).any():
        raise ValueError(f"{count} finite or missing numbers are needed")
    return found
