"""What sentence-transformers keeps beside a model: how its vectors are pooled, and dense layers.

`modules.json` lists folders, of which some hold weights of their own. No recipe says how to merge
those: they are carried over where the models agree on them, and refused where they do not.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from simmerge_hub.documents import DocumentError, read_json
from simmerge_hub.errors import AlignmentError
from simmerge_hub.hub.digest import file_sha256
from simmerge_hub.hub.files.cached import local_file
from simmerge_hub.hub.resolve import Checkpoint

MODULES = "modules.json"
VERSIONED = "config_sentence_transformers.json"
"""Holds versions of libraries, which say nothing of what is computed."""
SETTINGS = (MODULES, VERSIONED, "sentence_bert_config.json")
FOLDER = re.compile(r"\d+_\w+")
"""What sentence-transformers calls the folder of a module."""
PARAMETERS = (".safetensors", ".bin")
LARGEST_LIST = 1_000_000
"""Bytes of modules.json."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Modules:
    """The files of the modules of a merge, the model they are of, and sentences about them."""

    model: Checkpoint
    files: tuple[str, ...]
    notes: tuple[str, ...]


def choose_modules(models: Sequence[Checkpoint]) -> Modules | None:
    """The modules that a merge of these models has: those of the first that has any.

    Args:
        models: in the order in which they are asked.

    Raises:
        AlignmentError: modules with weights of their own, which are not the same in all models.
    """
    full = {model.ref: model for model in models if MODULES in model.files}
    if not full:
        return None
    first, *others = full.values()
    files = tuple(_module_files(first))
    notes = [note for other in others for note in _compare(first, other)]
    return Modules(model=first, files=files, notes=tuple(notes))


def _compare(first: Checkpoint, other: Checkpoint) -> Iterator[str]:
    names = dict.fromkeys([*_module_files(first), *_module_files(other)])
    names.pop(VERSIONED, None)
    apart = [n for n in names if _digest(first, n) != _digest(other, n)]
    if weights := [name for name in apart if name.endswith(PARAMETERS)]:
        raise AlignmentError(
            f"{first.name} and {other.name} differ in {weights[0]}, a layer that "
            "sentence-transformers applies after the model, and that is not merged",
            hint="merge models that share it; or, to do without it, take its folder out of copies "
            f"of the models and out of their {MODULES}",
        )
    if apart:
        yield (
            f"{other.name} has another {apart[0]}: how sentences become vectors is as in "
            f"{first.name}"
        )


def _digest(model: Checkpoint, name: str) -> str:
    return file_sha256(model, name) if name in model.files else ""


def _module_files(model: Checkpoint) -> Iterator[str]:
    folders = set(_list_folders(model))
    for name in model.files:
        folder, _, file = name.rpartition("/")
        if name in SETTINGS or (folder in folders and file.endswith((*PARAMETERS, ".json"))):
            yield name


def _list_folders(model: Checkpoint) -> Iterator[str]:
    """The folders that modules.json names; none where it cannot be read."""
    if model.files[MODULES].size > LARGEST_LIST:
        return
    try:
        entries = read_json(local_file(model.location, MODULES).read_bytes())
    except (DocumentError, ValueError, RecursionError):
        return
    for entry in entries if isinstance(entries, list) else ():
        path = entry.get("path") if isinstance(entry, dict) else None
        if isinstance(path, str) and FOLDER.fullmatch(path):
            yield path
