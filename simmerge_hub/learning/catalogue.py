"""A recipe -> its models, pinned and signed, and the features of their pairs on every task."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simmerge_hub.errors import RequestError
from simmerge_hub.hub import listing
from simmerge_hub.hub.resolve import Checkpoint, resolve
from simmerge_hub.learning.recipe import LearnRecipe
from simmerge_hub.names import list_first
from simmerge_hub.operators import Arm
from simmerge_hub.planning.ask.options import Sources
from simmerge_hub.planning.ask.tasks import Task
from simmerge_hub.planning.evidence import Evidence, SignAll, sign_all
from simmerge_hub.planning.find.candidates import (
    NAMES_SHOWN,
    group_reasons,
    most_named,
    too_few,
    try_each,
)
from simmerge_hub.planning.inputs import Inputs, check_names, notes_of_tokens
from simmerge_hub.progress import Note, Say
from simmerge_hub.selector.tables.availability import Floats
from simmerge_hub.selector.tables.features import FeatureTable
from simmerge_hub.selector.tables.outcomes import Key
from simmerge_hub.signatures.features.vector import FEATURE_SCHEMA, names_of
from simmerge_hub.signatures.merged.effects import EFFECT_NAMES, effects
from simmerge_hub.signatures.probing.probe import probe_set
from simmerge_hub.weights.alignment.align import align_strict
from simmerge_hub.weights.alignment.lineage import common_base
from simmerge_hub.weights.loaded.conform import conform

FEWEST = 2
"""Models that make a pair."""


def open_catalogue(recipe: LearnRecipe) -> Inputs:
    """The recipe's models, pinned, aligned with each other and their base: of weights headers only.

    What of a collection cannot be read is left out, with a note that says why.
    Every task has the first model as its expert here: who really is, evaluations say.

    Raises:
        SimmergeError: the models cannot be merged with each other, or the prompts of a task not
            be had.
    """
    models, left_out = _checkpoints(recipe)
    if len(models) < FEWEST:
        raise RequestError(
            f"{len(models)} model makes no pair", hint="name two fine-tunes of one base or more"
        )
    check_names(models, None)
    base = common_base(models, recipe.base)
    if base is None:
        raise RequestError(
            "the models' base is not known, and what a merge loses is measured from it",
            hint="name it: --base org/base, or `base: org/base` in a recipe",
        )
    check_names(models, base)
    alike = conform(models, base)
    words = align_strict(alike.models, alike.base).vocabulary
    expert = alike.models[0].name
    for task in recipe.tasks:  # or it is found when all models are evaluated
        probe_set(task.name, task.probes)
    tasks = tuple(
        Task(name=task.name, expert=expert, probes=task.probes, scores={}) for task in recipe.tasks
    )
    return Inputs(
        models=alike.models,
        base=alike.base,
        tasks=tasks,
        dropped={},
        notes=(*left_out, *alike.notes, *notes_of_tokens(words)),
        vocabulary=words,
    )


def base_of(inputs: Inputs) -> Checkpoint:
    """The base of what `open_catalogue` gives, which there always is."""
    assert inputs.base is not None
    return inputs.base


def _checkpoints(recipe: LearnRecipe) -> tuple[list[Checkpoint], list[str]]:
    """The models; of a collection without their base, and what is left out, in sentences."""
    if recipe.collection is None:
        return [resolve(model) for model in recipe.models], []
    listed = listing.collection(recipe.collection)
    read, unread = try_each(listed.references, resolve)
    dropped = {**listed.dropped, **unread}
    if len(read) < FEWEST:
        raise too_few(listed.place, read, dropped)
    base = resolve(recipe.base) if recipe.base else most_named(listed.place, read)
    models = [m for m in read if m.name != base.name and m.location != base.location]
    if len(models) < FEWEST:
        raise too_few(listed.place, models, dropped)
    reasons = group_reasons(dropped).items()
    return models, [f"left out: {list_first(names, NAMES_SHOWN)}: {why}" for why, names in reasons]


def sign_catalogue(
    inputs: Inputs, *, progress: Say, note: Note | None, spread: SignAll | None = None
) -> Evidence:
    """One signature per model, on the probes of every task; from caches where they are there."""
    return sign_all(
        inputs, Sources(), names=names_of([]), progress=progress, note=note, spread=spread
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFeatures:
    """What training sees of pairs: features and effects of (expert, auxiliary, task)."""

    inputs: Inputs
    evidence: Evidence
    arms: tuple[Arm, ...]

    def table(self, keys: Sequence[Key]) -> FeatureTable:
        """The features of these rows."""
        moved: dict[tuple[str, str], dict[str, Floats]] = {}
        for expert, auxiliary, _ in keys:
            if (expert, auxiliary) not in moved:
                moved[expert, auxiliary] = self._effects(expert, auxiliary)
        return FeatureTable(
            names=self.evidence.names,
            schema=FEATURE_SCHEMA,
            rows={key: self.evidence.compare(*key).values for key in keys},
            effect_names=EFFECT_NAMES,
            effects={key: moved[key[0], key[1]] for key in keys},
        )

    def points(self, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Floats]:
        """Pair -> [features]: the mean over both directions and all tasks."""
        tasks = [task.name for task in self.inputs.tasks]
        return {pair: self._point(pair, tasks) for pair in pairs}

    def _point(self, pair: tuple[str, str], tasks: Sequence[str]) -> Floats:
        import warnings

        first, second = pair
        keys = [key for task in tasks for key in ((first, second, task), (second, first, task))]
        rows = np.stack([self.evidence.compare(*key).values for key in keys])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a feature that no task has
            return np.nanmean(rows, axis=0)

    def _effects(self, expert: str, auxiliary: str) -> dict[str, Floats]:
        known = self.evidence.signatures
        seen = effects(known[expert], known[auxiliary], self.evidence.base, self.arms)
        return {arm.label: values for arm, values in zip(self.arms, seen, strict=True)}
