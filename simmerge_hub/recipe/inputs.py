"""Between a recipe's sources and the checkpoints they name."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from simmerge_hub.errors import RecipeError
from simmerge_hub.hub.digest import digest, folder_digest, hash_together
from simmerge_hub.hub.resolve import Checkpoint, ModelRef, resolve
from simmerge_hub.recipe.recipe import Recipe, Source

AT_ONCE = 8
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
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(_resolved, recipe.sources))
    if not hashed:
        return dict(zip((s.name for s in recipe.sources), found, strict=True))
    hash_together(found)
    return {s.name: _verified(s, c) for s, c in zip(recipe.sources, found, strict=True)}


def fetch(wanted: Source) -> Checkpoint:
    """The checkpoint a source names, pinned and checked against its digest."""
    return _verified(wanted, _resolved(wanted))


def pinned(recipe: Recipe, checkpoints: Mapping[str, Checkpoint], dtype: str) -> Recipe:
    """The recipe with every input at the commit or digest that was found, and its dtype."""
    pins = {name: replace(source(c), name=name) for name, c in checkpoints.items()}
    return replace(
        recipe,
        base=pins[recipe.base.name] if recipe.base else None,
        models=tuple(pins[m.name] for m in recipe.models),
        dtype=recipe.dtype or dtype,
    )


def _resolved(wanted: Source) -> Checkpoint:
    if wanted.folder is None and not wanted.repo:
        raise RecipeError(
            f"{wanted.name} was a folder on another machine (digest {wanted.digest[:19]})",
            hint="add `folder: <path>` to its entry if you have it; the digest will be checked",
        )
    return resolve(ModelRef(repo=wanted.repo, revision=wanted.commit or None, folder=wanted.folder))


def _verified(wanted: Source, found: Checkpoint) -> Checkpoint:
    if not wanted.digest:
        return found
    here = folder_digest(found) if wanted.digest.startswith("blake3:") else digest(found)
    if here != wanted.digest:
        raise RecipeError(
            f"{wanted.folder or wanted.name} is not what the recipe was made from: digest "
            f"{here[:19]}, expected {wanted.digest[:19]}",
            hint="restore that version of the model, or plan again",
        )
    return found
