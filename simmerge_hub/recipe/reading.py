"""YAML text -> Recipe: nothing but a recipe gets through."""

import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simmerge_hub.documents import DocumentError, SeveralDocuments, anchored_keys, read_yaml
from simmerge_hub.errors import RecipeError
from simmerge_hub.hub.reference import ModelRef, home_path
from simmerge_hub.recipe.calibration import ANSWER_TOKENS, FILES, Calibration, Prompts
from simmerge_hub.recipe.checks import check_recipe, recipe_error
from simmerge_hub.recipe.recipe import (
    OPTIONAL_FIELDS,
    RECIPE_VERSION,
    SHARD_SIZE,
    Recipe,
    Slice,
    Source,
    Step,
)
from simmerge_hub.recipe.why import Why, read_why

RECIPE_KEYS = {"simmerge", "base", "models", "steps", "slices", "dtype", "tokenizer", "seed",
               "shard_size", "calibration", "why", *OPTIONAL_FIELDS}  # fmt: skip
SCHEDULE_DEPTH = 5
"""A list of filters of gradients; anything deeper is no schedule, and aliases may be cyclic."""
_SHORT = reprlib.Repr()
"""For messages: YAML aliases make a few lines unfold into gigabytes."""
_SHORT.maxlevel = 2


def parse(text: str, where: str, *, folder: Path | None = None) -> tuple[Recipe, Why | None]:
    """A recipe from YAML text, and its `why`; None if it has none or was edited since.

    Args:
        text: the YAML.
        where: what to call it in messages.
        folder: what relative paths start from.
    """
    data = yaml_mapping(text, where)
    if "simmerge" not in data:
        raise recipe_error(where, "it has no `simmerge: 1` line")
    version = data["simmerge"]
    if type(version) is not int or version != RECIPE_VERSION:
        raise RecipeError(
            f"{where} has recipe version {_SHORT.repr(version)}; this release reads "
            f"{RECIPE_VERSION}",
            hint="run it with a newer version of simmerge-hub",
        )
    recipe = _recipe(data, where, folder or Path(), RECIPE_KEYS | anchored_keys(text))
    return recipe, read_why(data.get("why"), recipe.fingerprint)


def yaml_mapping(text: str, where: str) -> dict[Any, Any]:
    """The mapping a YAML text is; {} for any other value."""
    try:
        data = read_yaml(text)
    except SeveralDocuments:
        raise RecipeError(
            f"{where} holds several documents, as for mergekit-multi",
            hint="write one recipe with several `steps:`; they need no models in between on disk",
        ) from None
    except DocumentError as error:
        raise RecipeError(
            f"{where} cannot be read as YAML: {error}", hint="correct that line; a key stands once"
        ) from None
    return data if isinstance(data, dict) else {}


def _recipe(data: dict[Any, Any], where: str, folder: Path, known: set[str]) -> Recipe:
    if extra := data.keys() - known:
        raise recipe_error(where, f"it has unknown keys: {', '.join(sorted(map(str, extra)))}")
    slices = data.get("slices") or []
    steps = data.get("steps", [] if slices else None)
    if not all(isinstance(entries, list) for entries in (data.get("models"), steps, slices)):
        raise recipe_error(where, "it needs `models:` and `steps:`, each a list")
    base = data.get("base")
    recipe = Recipe(
        base=_source(base, where, folder) if base else None,
        models=tuple(_source(m, where, folder) for m in data["models"]),
        steps=tuple(_step(s, where) for s in steps or ()),
        slices=tuple(_slice(s, where) for s in slices),
        dtype=_text(data, "dtype", where),
        tokenizer=_text(data, "tokenizer", where) or "auto",
        chat_template=_text(data, "chat_template", where),
        unmatched=_text(data, "unmatched", where) or "refuse",
        custom_code=_flag(data, "custom_code", where),
        output=_text(data, "output", where) or "model",
        rank=_whole(data.get("rank", 0), "rank", where),
        seed=_whole(data.get("seed", 0), "seed", where),
        shard_size=_whole(data.get("shard_size", SHARD_SIZE), "shard_size", where),
        calibration=_calibration(data.get("calibration"), where, folder),
    )
    check_recipe(recipe, where)
    return recipe


def _source(entry: Any, where: str, folder: Path) -> Source:
    if isinstance(entry, str):
        here = folder / Path(entry)
        ref = ModelRef(folder=here) if entry.startswith(".") else ModelRef.parse(entry)
        return Source(name=ref.name, repo=ref.repo, commit=ref.revision or "", folder=ref.folder)
    fields = {"model", "commit", "name", "folder", "digest"}
    if not isinstance(entry, dict) or entry.keys() - fields:
        raise recipe_error(where, f"a model is written as {_SHORT.repr(entry)}")
    repo, commit, name, path, digest = (
        _text(entry, key, where) for key in ("model", "commit", "name", "folder", "digest")
    )
    if repo.startswith((".", "/", "~")):
        seen = f"`model:` names a repository, and {repo} is a path"
        raise recipe_error(where, seen, f"write `folder: {repo}` instead of `model: {repo}`")
    name = name or repo or Path(path).name
    if not name:
        raise recipe_error(where, f"the model {entry!r} has neither `model:` nor `folder:`")
    place = folder / home_path(path) if path else None
    return Source(name=name, repo=repo, commit=commit, folder=place, digest=digest)


def _calibration(entry: Any, where: str, folder: Path) -> Calibration | None:
    if entry is None:
        return None
    sets = entry.get("prompts") if isinstance(entry, dict) else None
    if (
        not isinstance(sets, dict)
        or entry.keys() - {"answers", "prompts"}
        or not all(isinstance(name, str) for name in sets)
    ):
        raise recipe_error(where, f"calibration is written as {_SHORT.repr(entry)}")
    return Calibration(
        prompts={name: _prompts(each, where, folder) for name, each in sets.items()},
        answers=_whole(entry.get("answers", ANSWER_TOKENS), "answers", where),
    )


def _prompts(entry: Any, where: str, folder: Path) -> tuple[Prompts, ...]:
    prompts = []
    for each in entry if isinstance(entry, list) else [entry]:
        stated = {"source": each} if isinstance(each, str) else each
        if not isinstance(stated, dict) or stated.keys() - {"source", "digest"}:
            raise recipe_error(where, f"prompts are written as {_SHORT.repr(each)}")
        source = _text(stated, "source", where)
        if not source:
            raise recipe_error(where, f"prompts without a `source:`: {_SHORT.repr(each)}")
        here = str(folder / home_path(source)) if source.endswith(FILES) else source
        prompts.append(Prompts(source=here, digest=_text(stated, "digest", where)))
    return tuple(prompts)


def _slice(entry: Any, where: str) -> Slice:
    layers = entry.get("layers") if isinstance(entry, dict) else None
    steps = (entry.get("steps") or []) if isinstance(entry, dict) else None
    if (
        not isinstance(layers, dict)
        or not isinstance(steps, list)
        or entry.keys() - {"layers", "steps"}
        or not all(isinstance(name, str) and _is_span(span) for name, span in layers.items())
    ):
        raise recipe_error(where, f"a slice is written as {_SHORT.repr(entry)}")
    return Slice(
        layers={name: (span[0], span[1]) for name, span in layers.items()},
        steps=tuple(_step(s, where) for s in steps),
    )


def _is_span(span: Any) -> bool:
    return isinstance(span, list) and len(span) == 2 and all(type(n) is int for n in span)


def _step(entry: Any, where: str) -> Step:
    fields = {"operator", "models", "parameters", "name"}
    if not isinstance(entry, dict) or entry.keys() - fields or "operator" not in entry:
        raise recipe_error(where, f"a step is written as {_SHORT.repr(entry)}")
    models, parameters = entry.get("models") or [], entry.get("parameters") or {}
    if not isinstance(models, list) or not all(isinstance(name, str) for name in models):
        raise recipe_error(
            where, f"the models of a step are {_SHORT.repr(models)}: write a list of names"
        )
    if not isinstance(parameters, dict) or not all(isinstance(key, str) for key in parameters):
        raise recipe_error(
            where, f"parameters are {_SHORT.repr(parameters)}: write `name: value` lines"
        )
    return Step(
        operator=_text(entry, "operator", where),
        models=tuple(models),
        parameters={key: freeze(value) for key, value in parameters.items()},
        name=_text(entry, "name", where),
    )


def freeze(value: Any, depth: int = 0, seen: dict[tuple[int, int], Any] | None = None) -> Any:
    """Lists as tuples, down to the depth a schedule has; what YAML's aliases share stays shared."""
    seen = {} if seen is None else seen
    if depth > SCHEDULE_DEPTH or not isinstance(value, list | dict):
        return value
    key = (id(value), depth)
    if key not in seen:
        if isinstance(value, list):
            seen[key] = tuple(freeze(each, depth + 1, seen) for each in value)
        else:
            seen[key] = {name: freeze(each, depth + 1, seen) for name, each in value.items()}
    return seen[key]


def _text(entry: Mapping[str, Any], key: str, where: str) -> str:
    value = entry.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise recipe_error(where, f"{key} is {_SHORT.repr(value)}: write it as text, in quotes")
    return value


def _flag(entry: Mapping[str, Any], key: str, where: str) -> bool:
    value = entry.get(key, False)
    if type(value) is not bool:
        raise recipe_error(where, f"{key} is {_SHORT.repr(value)}: write true or false")
    return value


def _whole(value: Any, key: str, where: str) -> int:
    if type(value) is not int or value < 0:
        raise recipe_error(where, f"{key} is {_SHORT.repr(value)}, and must be a whole number")
    return value
