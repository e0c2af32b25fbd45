"""What measuring a catalogue will take, known from headers before anything is downloaded."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from simmerge_hub.errors import OutputError
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.learning.catalogue import base_of
from simmerge_hub.learning.design import all_pairs
from simmerge_hub.learning.recipe import LearnRecipe
from simmerge_hub.planning.inputs import Inputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a recipe will take at most, known from headers.

    Args:
        models: of the catalogue, the base not counted.
        pairs: unordered pairs that are merged, of `of`.
        merges: that are made.
        evaluations: of a model or merge on one task.
        prompts: that are answered in all.
        download: bytes of weights that are not here yet, at most.
        disk: bytes of one merge, the only one that is there at a time.
    """

    models: int
    pairs: int
    of: int
    merges: int
    evaluations: int
    prompts: int
    download: int
    disk: int


def estimate(recipe: LearnRecipe, inputs: Inputs) -> Cost:
    """What measuring will take at most; nothing is downloaded."""
    base = base_of(inputs)
    every = len(all_pairs(inputs.names))
    pairs = min(every, recipe.budget // len(recipe.arms))
    merges, tasks = pairs * len(recipe.arms), len(recipe.tasks)
    evaluations = (len(inputs.models) + 1 + merges) * tasks
    return Cost(
        models=len(inputs.models),
        pairs=pairs,
        of=every,
        merges=merges,
        evaluations=evaluations,
        prompts=evaluations * recipe.limit,
        download=sum(weight_bytes(m) for m in (*inputs.models, base) if not m.ref.folder),
        disk=weight_bytes(base),
    )


def weight_bytes(checkpoint: Checkpoint) -> int:
    """Bytes of the files that hold its weights."""
    return sum(checkpoint.files[file].size for file in checkpoint.weight_files)


def check_disk(folder: Path, needed: int) -> None:
    """Raise OutputError unless there is room for a merge of so many bytes."""
    free = shutil.disk_usage(folder).free
    if free < 2 * needed:
        raise OutputError(
            f"{folder} has {free:,} bytes free, and a merge of {needed:,} must fit twice",
            hint="free some, or name a folder on another disk: -o DIR",
        )
