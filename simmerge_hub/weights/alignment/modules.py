"""What sentence-transformers keeps beside a model: how its vectors are pooled, and dense layers.

`modules.json` lists folders, of which some hold weights of their own. No recipe says how to merge
those: they are carried over where the models agree on them, and refused where they do not.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from simmerge_hub.errors import AlignmentError
from simmerge_hub.hub.digest import file_sha256
from simmerge_hub.hub.files.cached import read_stated
from simmerge_hub.hub.resolve import Checkpoint

MODULES = "modules.json"
SETTINGS = (MODULES, "config_sentence_transformers.json", "sentence_bert_config.json")
VERSIONS = "__version__"
"""Of libraries, which say nothing of what is computed."""
FOLDER = re.compile(r"\d+_\w+")
"""What sentence-transformers calls the folder of a module."""
PARAMETERS = (".safetensors", ".bin")
SETTING_SHOWN = 40
"""Characters of a setting that a note shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Modules:
    """The files of the modules of a merge, the model they are of, and sentences about them."""

    model: Checkpoint
    files: tuple[str, ...]
    notes: tuple[str, ...]


def choose_modules(
    models: Sequence[Checkpoint], others: Sequence[Checkpoint] = ()
) -> Modules | None:
    """The modules that a merge of these models has.

    Those that the merged models share, be the base's others; where they differ, those of the first
    of `others`, else of the models, that has any.

    Args:
        models: what is merged.
        others: whose tokenizer and config the output has, among the models or their base.

    Raises:
        AlignmentError: modules with weights of their own, which are not the same in all models.
    """
    merged = [model for model in models if MODULES in model.files]
    shared = bool(merged) and not any(list(_find_apart(merged[0], each)) for each in merged[1:])
    every = [*merged, *others] if shared else [*others, *merged]
    full = {model.ref: model for model in every if MODULES in model.files}
    if not full:
        return None
    first, *rest = full.values()
    refused = {model.ref for model in merged}
    notes = [note for m in rest for note in _compare(first, m, refuse=m.ref in refused)]
    notes += [
        f"{model.name} has no {MODULES}: how sentences become vectors is as in {first.name}"
        for model in models
        if MODULES not in model.files and model.kind == "full"
    ]
    return Modules(model=first, files=tuple(_module_files(first)), notes=tuple(notes))


def _compare(first: Checkpoint, other: Checkpoint, *, refuse: bool) -> Iterator[str]:
    apart = list(_find_apart(first, other))
    weights = [name for name in apart if name.endswith(PARAMETERS)]
    if weights and refuse:
        raise AlignmentError(
            f"{first.name} and {other.name} differ in {weights[0]}, a layer that "
            "sentence-transformers applies after the model, and that is not merged",
            hint="merge models that share it; or, to do without it, take its folder out of copies "
            f"of the models and out of their {MODULES}",
        )
    if apart:
        yield (
            f"{other.name} has another {apart[0]}{_describe(first, other, apart[0])}: how "
            f"sentences become vectors is as in {first.name}"
        )


def _find_apart(first: Checkpoint, other: Checkpoint) -> Iterator[str]:
    """The files of modules that are not the same, but for layout and versions of libraries."""
    for name in dict.fromkeys([*_module_files(first), *_module_files(other)]):
        if _digest(first, name) != _digest(other, name):
            said, wanted = _settings(other, name), _settings(first, name)
            if said is None or wanted is None or said != wanted:
                yield name


def _describe(first: Checkpoint, other: Checkpoint, name: str) -> str:
    """The first setting of a file that is not the same: ` (pooling_mode cls, there mean)`."""
    said, wanted = _settings(other, name), _settings(first, name)
    if not isinstance(said, dict) or not isinstance(wanted, dict):
        return ""
    key = next(key for key in {**wanted, **said} if wanted.get(key) != said.get(key))
    texts = [str(each.get(key))[:SETTING_SHOWN] for each in (said, wanted)]
    return f" ({key} {texts[0]}, not {texts[1]})"


def _settings(model: Checkpoint, name: str) -> Any:
    """What a JSON file says, without versions of libraries and what is null, which is as if it were
    not stated; None if it is none or not there."""
    if not name.endswith(".json"):
        return None
    read = read_stated(model.location, model.files, name)
    if not isinstance(read, dict):
        return read
    return {k: v for k, v in read.items() if k != VERSIONS and v is not None}


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
    entries = read_stated(model.location, model.files, MODULES)
    for entry in entries if isinstance(entries, list) else ():
        path = entry.get("path") if isinstance(entry, dict) else None
        if isinstance(path, str) and FOLDER.fullmatch(path):
            yield path
