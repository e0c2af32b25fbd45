"""The YAML of mergekit as data: what every part of it says, before it means anything here."""

import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from simmerge_hub.documents import DocumentError, SeveralDocuments, anchored_keys, read_yaml
from simmerge_hub.errors import RecipeError
from simmerge_hub.names import suggest
from simmerge_hub.recipe.mergekit.parameters import METHODS, PARAMETER_NAMES
from simmerge_hub.recipe.mergekit.references import Reference, parse_reference
from simmerge_hub.recipe.mergekit.refusals import Refusals
from simmerge_hub.recipe.mergekit.settings import Settings
from simmerge_hub.recipe.reading import yaml_mapping
from simmerge_hub.weights.tokens.speech import is_template

DOCUMENT_KEYS = {"merge_method", "base_model", "models", "slices", "parameters", "dtype",
                 "out_dtype", "tokenizer_source", "tokenizer", "chat_template",
                 "name"}  # fmt: skip
"""At the top. `name` is what mergekit-multi calls a document; a single one may have it."""
INPUTS = ("models", "slices", "modules")
MERGEKIT_DTYPES = ("float32", "float16", "bfloat16")
REFUSED_KEYS = {
    "modules": "merge one module at a time, with `models:` or `slices:`",
    "chat_template": "leave it out for the one that the models share, or write the template itself "
    "there, in Jinja",
    "tokens": "leave it out: rows of new tokens come from the models that have them",
    "pad_to_multiple_of": "leave it out, and pad with resize_token_embeddings() afterwards",
    "residual_weight": "leave it out: mergekit 0.1.5 ignores it too",
}
"""Keys of mergekit that a recipe here has nothing for, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One input of a slice, or of the whole: then without a span."""

    model: Reference
    settings: Settings = field(default_factory=dict)
    span: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One slice, or the whole."""

    entries: tuple[Entry, ...]
    base: Reference | None = None
    settings: Settings = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A recipe of mergekit. `tokenizer` is union, base, a model, or None: the base's, as it is."""

    where: str
    method: str
    base: Reference | None
    parts: tuple[Part, ...]
    sliced: bool
    settings: Settings
    dtype: str
    tokenizer: str | Reference | None
    chat_template: str = ""


def is_mergekit(text: str) -> bool:
    """Whether a text is a recipe of mergekit: a YAML mapping with `merge_method`.

    Cheap for any text; never raises.
    """
    if "merge_method" not in text:
        return False
    try:
        data = read_yaml(text)
    except SeveralDocuments:
        return True
    except DocumentError:
        return False
    return isinstance(data, dict) and "merge_method" in data


def parse(text: str, where: str, refusals: Refusals) -> Document:
    """The document a text is; keys that have no counterpart here are added to `refusals`.

    Raises:
        RecipeError: it is none that mergekit reads. Or its method is unknown or it has no inputs
            that could be looked at: then `refusals` are settled.
    """
    data = yaml_mapping(text, where)
    template = _template(data, refusals)
    _check_keys(data, DOCUMENT_KEYS | anchored_keys(text), "", refusals)
    method = _method(data.get("merge_method"), refusals)
    parts = _parts(data, refusals, where)
    document = Document(
        where=where,
        method=method,
        base=_reference(data, "base_model", "base_model", refusals, where),
        parts=parts,
        sliced=bool(data.get("slices")),
        settings=_settings(data, "", refusals, where),
        dtype=_dtype(data, refusals),
        tokenizer=_tokenizer(data, refusals, where),
        chat_template=template,
    )
    if not (document.method and document.parts):
        refusals.settle()
    return document


def document_error(where: str, seen: str, hint: str = "") -> RecipeError:
    """The error for a text that mergekit would refuse as well."""
    return RecipeError(
        f"{where} is no mergekit recipe: {seen}", hint=hint or "docs/reference/mergekit.md"
    )


def _method(name: Any, refusals: Refusals) -> str:
    if isinstance(name, str) and name in METHODS:
        return name
    advice = suggest(str(name), METHODS) or f"one of {', '.join(METHODS)}"
    refusals.add(f"merge_method {reprlib.repr(name)}", advice)
    return ""


def _parts(data: Mapping[str, Any], refusals: Refusals, where: str) -> tuple[Part, ...]:
    given = [key for key in INPUTS if data.get(key)]
    if len(given) != 1:
        seen = f"it has {' and '.join(given)}" if given else "it has neither `models` nor `slices`"
        odd = [str(key) for key in data if key not in DOCUMENT_KEYS]
        near = "".join(f"; {key}: {m}" for key in odd if (m := suggest(key, INPUTS[:2])))
        raise document_error(where, seen, f"write exactly one of `models:` and `slices:`{near}")
    if given == ["models"]:
        return (Part(entries=_entries(data["models"], "models", False, refusals, where)),)
    slices = _list(data.get("slices") or [], "slices", where)
    return tuple(_slice(part, f"slices[{i}]", refusals, where) for i, part in enumerate(slices))


def _slice(part: Any, key: str, refusals: Refusals, where: str) -> Part:
    part = _mapping(part, key, where)
    _check_keys(part, {"sources", "base_model", "parameters"}, key, refusals)
    return Part(
        entries=_entries(part.get("sources"), f"{key}.sources", True, refusals, where),
        base=_reference(part, "base_model", f"{key}.base_model", refusals, where),
        settings=_settings(part, key, refusals, where),
    )


def _entries(
    value: Any, key: str, sliced: bool, refusals: Refusals, where: str
) -> tuple[Entry, ...]:
    entries: list[Entry] = []
    for index, entry in enumerate(_list(value, key, where)):
        at = f"{key}[{index}]"
        entry = _mapping(entry, at, where)
        _check_keys(entry, {"model", "parameters", *(["layer_range"] * sliced)}, at, refusals)
        model = parse_reference(entry.get("model"), f"{at}.model", refusals, where)
        if any(model == other.model for other in entries):
            raise document_error(where, f"{key} has {model} twice", "merge each model once")
        span = _span(entry.get("layer_range"), at, where) if sliced else None
        settings = _settings(entry, at, refusals, where)
        entries.append(Entry(model=model, settings=settings, span=span))
    if not entries:
        raise document_error(where, f"{key} is empty")
    return tuple(entries)


def _span(value: Any, key: str, where: str) -> tuple[int, int]:
    if isinstance(value, list) and len(value) == 2 and all(type(n) is int for n in value):
        return value[0], value[1]
    seen = f"{key}.layer_range is {reprlib.repr(value)}"
    raise document_error(where, seen, "write [first, last]; the last is not included")


def _settings(holder: Mapping[str, Any], key: str, refusals: Refusals, where: str) -> Settings:
    at = f"{key}.parameters" if key else "parameters"
    value = holder.get("parameters")
    settings = _mapping(value, at, where) if value is not None else {}
    _check_keys(settings, PARAMETER_NAMES, at, refusals)
    return settings


def _check_keys(mapping: Mapping[Any, Any], known: set[str], at: str, refusals: Refusals) -> None:
    """Note keys that are not known. mergekit would pass over them: a slip of the pen is lost."""
    for key in map(str, mapping):
        if key in known:
            continue
        advice = _advise(key, known)
        refusals.add(f"{at}.{key}" if at else key, REFUSED_KEYS.get(key, advice))


def _reference(
    data: Mapping[str, Any], key: str, at: str, refusals: Refusals, where: str
) -> Reference | None:
    value = data.get(key)
    return None if value is None else parse_reference(value, at, refusals, where)


def _dtype(data: Mapping[str, Any], refusals: Refusals) -> str:
    """What the output is stored in. All arithmetic is in float32 here, so `dtype` alone is that."""
    for key in ("dtype", "out_dtype"):
        name = str(data.get(key) or MERGEKIT_DTYPES[0]).removeprefix("torch.")
        if name not in MERGEKIT_DTYPES:
            refusals.add(f"{key} {reprlib.repr(name)}", f"one of {', '.join(MERGEKIT_DTYPES)}")
    return str(data.get("out_dtype") or data.get("dtype") or "").removeprefix("torch.")


def _template(data: Mapping[str, Any], refusals: Refusals) -> str:
    """A template in Jinja as it stands; "" for `auto`, that which comes with the tokenizer."""
    chosen = data.get("chat_template")
    named = data.get("tokenizer_source") or data.get("tokenizer")
    if chosen is None or (chosen == "auto" and not named):
        return ""
    if isinstance(chosen, str) and is_template(chosen):
        return chosen
    refusals.add("chat_template", REFUSED_KEYS["chat_template"])
    return ""


def _tokenizer(data: Mapping[str, Any], refusals: Refusals, where: str) -> str | Reference | None:
    said, full = data.get("tokenizer_source"), data.get("tokenizer")
    if said and full:
        raise document_error(where, "it has tokenizer_source and tokenizer", "keep one of the two")
    at = "tokenizer_source"
    if full is not None:
        full, at = _mapping(full, "tokenizer", where), "tokenizer.source"
        for key in ("tokens", "pad_to_multiple_of"):
            if full.get(key):
                refusals.add(f"tokenizer.{key}", REFUSED_KEYS[key])
        _check_keys(full, {"source", "tokens", "pad_to_multiple_of"}, "tokenizer", refusals)
        said = full.get("source", "union")
    if said in ("union", "base", None):
        return said
    return parse_reference(said, at, refusals, where)


def _mapping(value: Any, key: str, where: str) -> dict[Any, Any]:
    if isinstance(value, dict):
        return value
    raise document_error(
        where, f"{key} is {reprlib.repr(value)}", f"write {key} as `name: value` lines"
    )


def _list(value: Any, key: str, where: str) -> Iterable[Any]:
    if isinstance(value, list):
        return value
    raise document_error(where, f"{key} is {reprlib.repr(value)}", f"write {key} as a list")


def _advise(key: str, known: set[str]) -> str:
    if meant := suggest(key, known):
        return meant
    if key in PARAMETER_NAMES:
        return "write it under `parameters:`"
    if key.isdecimal():
        return "write numbers with a point: 0.5, not 0,5"
    return "leave it out: it is no key of mergekit"
