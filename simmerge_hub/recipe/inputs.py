"""Between a recipe's sources and the checkpoints they name."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from simmerge_hub.errors import RecipeError
from simmerge_hub.hub.digest import digest, folder_digest, hash_together
from simmerge_hub.hub.resolve import Checkpoint, ModelRef, resolve
from simmerge_hub.recipe.recipe import Recipe, Source

SOURCES_AT_ONCE = 8
"""Sources that are resolved at the same time: it is mostly waiting for the network."""


def source(checkpoint: Checkpoint) -> Source:
    """How a recipe names this checkpoint: by commit, or by digest if it is a folder."""
    if checkpoint.ref.folder is None:
        return Source(
            name=checkpoint.name, repo=checkpoint.location.repo, commit=checkpoint.commit or ""
        )
    folder = checkpoint.ref.folder.resolve()
    return Source(name=checkpoint.name, folder=folder, digest=folder_digest(checkpoint))


def fetch_all(recipe: Recipe, *, hashed: bool = True) -> dict[str, Checkpoint]:
    """Every source's checkpoint by its name: resolved side by side, hashed side by side.

    Unless `hashed`, no folder is compared with the digest the recipe states.
    """
    with ThreadPoolExecutor(SOURCES_AT_ONCE) as pool:
        checkpoints = list(pool.map(_resolve, recipe.sources))
    if not hashed:
        return dict(zip((s.name for s in recipe.sources), checkpoints, strict=True))
    hash_together(checkpoints)
    return {s.name: _verify(s, c) for s, c in zip(recipe.sources, checkpoints, strict=True)}


def fetch(wanted: Source) -> Checkpoint:
    """The checkpoint a source names, pinned and checked against its digest."""
    return _verify(wanted, _resolve(wanted))


def pin(recipe: Recipe, checkpoints: Mapping[str, Checkpoint], dtype: str) -> Recipe:
    """The recipe with every input at the commit or digest that was found, and its dtype."""
    pins = {name: replace(source(c), name=name) for name, c in checkpoints.items()}
    return replace(
        recipe,
        base=pins[recipe.base.name] if recipe.base else None,
        models=tuple(pins[m.name] for m in recipe.models),
        dtype=recipe.dtype or dtype,
    )


def _resolve(wanted: Source) -> Checkpoint:
    if wanted.folder is None and not wanted.repo:
        raise RecipeError(
            f"{wanted.name} was a folder, and recipes keep no path of one "
            f"(digest {wanted.digest[:19]})",
            hint="if you have it, copy the recipe into a file and add `folder: PATH` to its entry "
            "there; the digest will be checked",
        )
    return resolve(ModelRef(repo=wanted.repo, revision=wanted.commit or None, folder=wanted.folder))


def _verify(wanted: Source, checkpoint: Checkpoint) -> Checkpoint:
    if not wanted.digest:
        return checkpoint
    actual = (
        folder_digest(checkpoint) if wanted.digest.startswith("blake3:") else digest(checkpoint)
    )
    if actual != wanted.digest:
        raise RecipeError(
            f"{wanted.folder or wanted.name} is not what the recipe was made from: digest "
            f"{actual[:19]}, expected {wanted.digest[:19]}",
            hint="restore that version of the model, or plan again",
        )
    return checkpoint
