"""What is expected of merges by what layers are fed: what other folds' sets reached on average.

A plan ranks such a merge at what merges of so many models reached, the same for any models
(`selector/predictor/measured/at_once.py`). The numbers in the package come from sets of this same
zoo, drawn without folds; here they come from the tested sets of the other folds, which share no
model with the set that is planned.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from multiway_sets import FED, FOLDS, fed_trees, folds, relative, tasks_of

from simmerge_hub.selector.tables.outcomes import HIGHEST
from simmerge_hub.zoo.manifest import Manifest

Rows = Mapping[tuple[str, ...], Mapping[str, Any]]
"""Set -> what was measured of it."""
Plans = Mapping[str, Sequence[Sequence[float]]]
"""Label of a merge -> by task: mean and standard deviation of what is expected."""
Gains = dict[int, dict[str, float]]
"""Fold -> label of an arm -> the mean share of the gap that is closed in the other folds' sets."""


def held_out_gains(manifest: Manifest, measured: Rows, chosen: Iterable[tuple[str, ...]]) -> Gains:
    """What is expected of a fold's sets; `chosen` are the tested sets of one size."""
    place, chosen = folds(manifest), list(chosen)
    gains = {models: _gains(manifest, models, measured[models]["fed"]) for models in chosen}
    return {
        fold: {
            arm.label: round(float(np.mean([g for m in others for g in gains[m][arm.label]])), 4)
            for arm in FED
        }
        for fold in range(FOLDS)
        if (others := [models for models in chosen if place[models[0]] != fold])
    }


def expect(manifest: Manifest, models: tuple[str, ...], gains: Gains) -> Plans:
    """What a plan expects of these merges of a set.

    No deviation is stated: the caution that is due to the best of many forecasts is not taken off.
    """
    own = gains[folds(manifest)[models[0]]]
    levels = _levels(manifest, models)
    return {
        tree.label: [[level + own[arm.label] * (1 - level), 0.0] for level in levels]
        for arm, tree in zip(FED, fed_trees(models), strict=True)
    }


def _gains(
    manifest: Manifest, models: tuple[str, ...], utilities: Mapping[str, Sequence[float]]
) -> dict[str, list[float]]:
    """Arm -> the share of the gap between expert and others that is closed, by task."""
    levels = _levels(manifest, models)
    return {
        arm.label: [
            min(HIGHEST, max(-1.0, (value - level) / (1 - level)))
            for value, level in zip(utilities[tree.label], levels, strict=True)
        ]
        for arm, tree in zip(FED, fed_trees(models), strict=True)
    }


def _levels(manifest: Manifest, models: Sequence[str]) -> list[float]:
    """By task: what the mean of the other models keeps of the expert's score."""
    return [
        float(np.mean([relative(manifest, m, expert, task) for m in models if m != expert]))
        for task, expert in tasks_of(manifest, models).items()
    ]
