"""How mergekit names models: `path`, `path@revision`, `base+lora`, or the same as mappings."""

import reprlib
from collections.abc import Iterable
from typing import Any, NamedTuple

from simmerge_hub.errors import RecipeError
from simmerge_hub.hub.reference import ModelRef, local_folder
from simmerge_hub.recipe.mergekit.refusals import Refusals
from simmerge_hub.recipe.recipe import Source


class Place(NamedTuple):
    """A folder or repository, with the revision asked for or ""."""

    path: str
    revision: str = ""

    def __str__(self) -> str:
        return f"{self.path}@{self.revision}" if self.revision else self.path


class Reference(NamedTuple):
    """A model, perhaps with a LoRA adapter on it. Equal references are one model to mergekit."""

    model: Place
    lora: Place | None = None

    def __str__(self) -> str:
        return f"{self.model}+{self.lora}" if self.lora else str(self.model)


def parse_reference(value: Any, key: str, refusals: Refusals, where: str) -> Reference:
    """What a reference names. Raises RecipeError if mergekit would not read it either."""
    if isinstance(value, str):
        model, plus, lora = value.partition("+")
        if "+" not in lora and model and (lora or not plus):
            return Reference(_place(model, key, where), _place(lora, key, where) if lora else None)
    elif isinstance(value, dict) and value.keys() <= {"model", "lora", "override_architecture"}:
        if value.get("override_architecture"):
            refusals.add(f"{key}.override_architecture", "set it in that model's own config.json")
        lora = value.get("lora")
        return Reference(
            _place(value.get("model"), key, where), _place(lora, key, where) if lora else None
        )
    raise _reference_error(value, key, where)


def sources(references: Iterable[Reference], reserved: Iterable[str]) -> dict[Reference, Source]:
    """A source for every reference, each once, with names that differ from each other.

    Folders are called what they are called themselves and repositories by their full name, and
    then by number. Of `base+lora` the source is the adapter. Names in `reserved` are not given.
    """
    by_reference: dict[Reference, Source] = {}
    taken = set(reserved)
    for reference in dict.fromkeys(references):
        source = _source(reference.lora or reference.model)
        name, number = source.name, 1
        while name in taken:
            number += 1
            name = f"{source.name} ({number})"
        taken.add(name)
        by_reference[reference] = Source(
            name=name, repo=source.repo, commit=source.commit, folder=source.folder
        )
    return by_reference


def _source(place: Place) -> Source:
    folder = local_folder(place.path)  # one that is not there yet as well
    ref = ModelRef.parse(place.path) if folder is None else ModelRef(folder=folder)
    commit = "" if ref.folder else place.revision  # mergekit's too ignores that of a folder
    return Source(name=ref.name, repo=ref.repo, commit=commit, folder=ref.folder)


def _place(value: Any, key: str, where: str) -> Place:
    if isinstance(value, dict) and value.keys() <= {"path", "revision"}:
        path, revision = value.get("path"), value.get("revision") or ""
        if isinstance(path, str) and path and isinstance(revision, str):
            return Place(path, revision)
    elif isinstance(value, str) and value.count("@") <= 1:
        path, _, revision = value.partition("@")
        if path:
            return Place(path, revision)
    raise _reference_error(value, key, where)


def _reference_error(value: Any, key: str, where: str) -> RecipeError:
    return RecipeError(
        f"{where}: {key} is {reprlib.repr(value)}",
        hint="name a model as org/name, org/name@revision, a folder's path, or base+lora",
    )
