"""What to merge and how: YAML <-> Recipe. Knows nothing of who chose it.

A recipe is the truth about a merge: pinned inputs, steps, dtype. It is written beside the weights,
into their safetensors metadata and on the card, and redoes the merge bit for bit. A plan is a
recipe with a `why:`; editing the recipe by hand voids that `why:`.
"""

import hashlib
import json
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from simmerge_hub import operators
from simmerge_hub.errors import RecipeError
from simmerge_hub.hub.ranges import local_file
from simmerge_hub.hub.resolve import Checkpoint, ModelRef, digest, resolve, resolve_files
from simmerge_hub.weights.shards import CODES

VERSION = 1
SHARD_SIZE = 5_000_000_000
"""Bytes of tensor data per file, as transformers writes them by default."""
WHY = {"recipe", "choice", "status", "reason", "coverage", "predictor", "tasks", "predictions"}
"""What a `why:` must hold to be believed."""
WHY_PARTS = 100_000
"""A `why` has some hundred values; YAML aliases make a few lines unfold into gigabytes."""
STATUSES = ("calibrated", "extrapolated", "abstained")
UNPRINTED = set("`|<>")
"""Characters that names must not have: they mean something on a card."""
FILE = "simmerge.yaml"
"""The recipe's name beside the weights it made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One input: a repository at a commit, or a folder known by its digest.

    `name` is what steps call it. `folder` is where it lies here, and is never published.
    """

    name: str
    repo: str = ""
    commit: str = ""
    folder: Path | None = None
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Merge the named models (or results of earlier steps) with one operator; call it `name`."""

    operator: str
    models: tuple[str, ...]
    parameters: Mapping[str, Any]
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything a merge needs. The last step's result is the output.

    `dtype` is the output's ("" until it is known), `tokenizer` "base" or a model's name,
    `shard_size` in bytes.
    """

    base: Source | None
    models: tuple[Source, ...]
    steps: tuple[Step, ...]
    dtype: str = ""
    tokenizer: str = "base"
    seed: int = 0
    shard_size: int = SHARD_SIZE

    @property
    def sources(self) -> tuple[Source, ...]:
        """The base, if any, and the models."""
        return (self.base, *self.models) if self.base else self.models

    def to_yaml(self, *, published: bool = False) -> str:
        """The recipe as text; `published` leaves out where folders lie on this machine."""
        return dump_yaml(_plain(self, published))

    @property
    def fingerprint(self) -> str:
        """sha256 of the published text."""
        return hashlib.sha256(self.to_yaml(published=True).encode()).hexdigest()


def source(checkpoint: Checkpoint) -> Source:
    """How a recipe names this checkpoint: by commit, or by digest if it is a folder."""
    if checkpoint.ref.folder is None:
        return Source(
            name=checkpoint.name, repo=checkpoint.location.repo, commit=checkpoint.commit or ""
        )
    folder = checkpoint.ref.folder.resolve()
    return Source(name=checkpoint.name, folder=folder, digest=digest(checkpoint))


def fetch(wanted: Source) -> Checkpoint:
    """The checkpoint a source names, pinned and checked against its digest."""
    if wanted.folder is None and not wanted.repo:
        raise RecipeError(
            f"{wanted.name} was a folder on another machine (digest {wanted.digest[:12]})",
            hint="add `folder: <path>` to its entry if you have it; the digest will be checked",
        )
    ref = ModelRef(repo=wanted.repo, revision=wanted.commit or None, folder=wanted.folder)
    found = resolve(ref)
    if wanted.digest and digest(found) != wanted.digest:
        raise RecipeError(
            f"{wanted.folder or wanted.name} is not what the recipe was made from: digest "
            f"{digest(found)[:12]}, expected {wanted.digest[:12]}",
            hint="restore that version of the model, or plan again",
        )
    return found


def load(reference: str | Path) -> tuple[Recipe, dict[str, Any]]:
    """A recipe, and its `why` ({} if it has none or the recipe was edited since).

    Args:
        reference: a YAML file, a merged folder, or a repository whose card holds a recipe.
    """
    path = Path(reference).expanduser()
    path = path / FILE if (path / FILE).is_file() else path
    if path.is_file():
        text = path.read_text(encoding="utf-8", errors="replace")
        return parse(text, str(path), folder=path.parent)
    if path.suffix in (".yaml", ".yml"):
        raise RecipeError(f"there is no file {path}", hint="simmerge-hub plan -o writes one")
    return _from_elsewhere(_from_card(str(reference)), f"the card of {reference}")


def parse(text: str, where: str, *, folder: Path | None = None) -> tuple[Recipe, dict[str, Any]]:
    """A recipe from YAML text; `where` is for messages, `folder` for relative paths."""
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RecipeError(f"{where} is not YAML: {error}", hint="check its indentation") from None
    if not isinstance(data, dict) or "simmerge" not in data:
        raise _bad(where, "it has no `simmerge: 1` line")
    version = data["simmerge"]
    if type(version) is not int or version != VERSION:
        raise RecipeError(
            f"{where} has recipe version {_SHORT.repr(version)}; this release reads {VERSION}",
            hint="upgrade: pip install -U simmerge-hub",
        )
    recipe = _recipe(data, where, folder or Path())
    why = data.get("why")
    if isinstance(why, dict) and _believed(why, recipe):
        return recipe, why
    return recipe, {}


def sealed(why: Mapping[str, Any]) -> dict[str, Any]:
    """The `why` with a `seal`: sha256 of the rest as canonical JSON, so that edits show.

    It guards against accidents and careless hands, not against someone who computes it anew.
    """
    rest = {key: value for key, value in why.items() if key != "seal"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return rest | {"seal": hashlib.sha256(text.encode()).hexdigest()}


def _believed(why: dict[str, Any], recipe: Recipe) -> bool:
    """Whether a `why` is of this recipe, unedited, and has what a card prints."""
    if not why.keys() >= WHY or why["recipe"] != recipe.fingerprint:
        return False
    try:
        parts = json.JSONEncoder().iterencode(why)
        small = sum(1 for _ in islice(parts, WHY_PARTS)) < WHY_PARTS
        return small and why.get("seal") == sealed(why)["seal"] and _printable(why)
    except (TypeError, ValueError, RecursionError):  # dates, cycles, keys of several kinds
        return False


def _printable(why: dict[str, Any]) -> bool:
    tasks, predictions = why["tasks"], why["predictions"]
    return (
        _are_texts(why, "choice", "status", "reason", "predictor")
        and why["status"] in STATUSES
        and _is_number(why["coverage"])
        and isinstance(tasks, list)
        and all(_are_texts(task, "task", "expert", "probes") for task in tasks)
        and isinstance(predictions, list)
        and all(_is_prediction(one, [task["task"] for task in tasks]) for one in predictions)
    )


def _is_prediction(entry: Any, tasks: list[str]) -> bool:
    return (
        _are_texts(entry, "arm")
        and isinstance(entry.get("tasks"), dict)
        and all(
            isinstance(spread, list) and len(spread) == 3 and all(map(_is_number, spread))
            for spread in (entry.get("mean"), *map(entry["tasks"].get, tasks))
        )
    )


def _are_texts(entry: Any, *keys: str) -> bool:
    return isinstance(entry, dict) and all(isinstance(entry.get(key), str) for key in keys)


def _is_number(value: Any) -> bool:
    """A float, or a whole number that becomes one without overflow."""
    return isinstance(value, float) or (type(value) is int and abs(value) < 2**53)


def dump_yaml(data: Mapping[str, Any]) -> str:
    """YAML in the order given, one line per leaf list."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100, indent=2)


class _Dumper(yaml.SafeDumper):
    """Short lists and plain mappings of scalars on one line."""


def _flow_list(dumper: yaml.SafeDumper, value: Any) -> yaml.Node:
    flat = all(not isinstance(v, dict | list | tuple) for v in value)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=flat)


_SHORT = reprlib.Repr()
"""For messages: YAML aliases make a few lines unfold into gigabytes."""
_SHORT.maxlevel = 2

for _kind in (list, tuple):
    _Dumper.add_representer(_kind, _flow_list)


def _from_card(reference: str) -> str:
    ref = ModelRef.parse(reference)
    location, files = resolve_files(ref)
    if "README.md" in files:
        card = local_file(location, "README.md").read_text(encoding="utf-8")
        _, heading, below = f"\n{card}".rpartition("\n## Redo it\n")
        block = re.search(r"^```yaml\n(simmerge:.*?)^```$", below, re.DOTALL | re.MULTILINE)
        if heading and block:
            return block[1]
    raise RecipeError(
        f"{reference} has no recipe on its card",
        hint="only models pushed by simmerge-hub can be redone; to merge models, plan first",
    )


def _from_elsewhere(text: str, where: str) -> tuple[Recipe, dict[str, Any]]:
    recipe, why = parse(text, where)
    for wanted in recipe.sources:
        if wanted.folder is not None:
            raise RecipeError(
                f"{where} asks for the folder {wanted.folder} of this machine",
                hint="copy the recipe into a file if that is what you want",
            )
    return recipe, why


def _plain(recipe: Recipe, published: bool) -> dict[str, Any]:
    data: dict[str, Any] = {"simmerge": VERSION}
    if recipe.base:
        data["base"] = _plain_source(recipe.base, published)
    data["models"] = [_plain_source(m, published) for m in recipe.models]
    data["steps"] = [_plain_step(s) for s in recipe.steps]
    data |= {"dtype": recipe.dtype} if recipe.dtype else {}
    data |= {"tokenizer": recipe.tokenizer, "seed": recipe.seed, "shard_size": recipe.shard_size}
    return data


def _plain_source(wanted: Source, published: bool) -> dict[str, str]:
    path = None if published or wanted.folder is None else str(wanted.folder)
    fields = {
        "model": wanted.repo,
        "commit": wanted.commit,
        "name": "" if wanted.name == wanted.repo else wanted.name,
        "folder": path,
        "digest": wanted.digest,
    }
    return {key: value for key, value in fields.items() if value}


def _plain_step(step: Step) -> dict[str, Any]:
    parameters = {k: list(v) if isinstance(v, tuple) else v for k, v in step.parameters.items()}
    data: dict[str, Any] = {"operator": step.operator, "models": list(step.models)}
    data |= {"parameters": parameters} if parameters else {}
    return data | ({"name": step.name} if step.name else {})


def _recipe(data: dict[str, Any], where: str, folder: Path) -> Recipe:
    known = {"simmerge", "base", "models", "steps", "why"} | {
        "dtype", "tokenizer", "seed", "shard_size"
    }  # fmt: skip
    if extra := data.keys() - known:
        raise _bad(where, f"it has unknown keys: {', '.join(sorted(map(str, extra)))}")
    if not isinstance(data.get("models"), list) or not isinstance(data.get("steps"), list):
        raise _bad(where, "it needs `models:` and `steps:`, each a list")
    base = data.get("base")
    recipe = Recipe(
        base=_source(base, where, folder) if base else None,
        models=tuple(_source(m, where, folder) for m in data["models"]),
        steps=tuple(_step(s, where) for s in data["steps"]),
        dtype=_text(data, "dtype", where),
        tokenizer=_text(data, "tokenizer", where) or "base",
        seed=_whole(data.get("seed", 0), "seed", where),
        shard_size=_whole(data.get("shard_size", SHARD_SIZE), "shard_size", where),
    )
    check(recipe, where)
    return recipe


def _source(entry: Any, where: str, folder: Path) -> Source:
    if isinstance(entry, str):
        here = folder / Path(entry)
        ref = ModelRef(folder=here) if entry.startswith(".") else ModelRef.parse(entry)
        return Source(name=ref.name, repo=ref.repo, commit=ref.revision or "", folder=ref.folder)
    fields = {"model", "commit", "name", "folder", "digest"}
    if not isinstance(entry, dict) or entry.keys() - fields:
        raise _bad(where, f"a model is written as {_SHORT.repr(entry)}")
    repo, commit, name, path, digest = (
        _text(entry, key, where) for key in ("model", "commit", "name", "folder", "digest")
    )
    name = name or repo or Path(path).name
    if not name:
        raise _bad(where, f"the model {entry!r} has neither `model:` nor `folder:`")
    place = folder / Path(path).expanduser() if path else None
    return Source(name=name, repo=repo, commit=commit, folder=place, digest=digest)


def _step(entry: Any, where: str) -> Step:
    fields = {"operator", "models", "parameters", "name"}
    if not isinstance(entry, dict) or entry.keys() - fields or "operator" not in entry:
        raise _bad(where, f"a step is written as {_SHORT.repr(entry)}")
    models, parameters = entry.get("models") or [], entry.get("parameters") or {}
    if not isinstance(models, list) or not all(isinstance(name, str) for name in models):
        raise _bad(where, f"the models of a step are {_SHORT.repr(models)}: write a list of names")
    if not isinstance(parameters, dict) or not all(isinstance(key, str) for key in parameters):
        raise _bad(where, f"parameters are {_SHORT.repr(parameters)}: write `name: value` lines")
    return Step(
        operator=_text(entry, "operator", where),
        models=tuple(models),
        parameters={k: tuple(v) if isinstance(v, list) else v for k, v in parameters.items()},
        name=_text(entry, "name", where),
    )


def check(recipe: Recipe, where: str = "the recipe") -> None:
    """Refuse what cannot be run: unknown names, operators or parameters. Reads no input."""
    known = [s.name for s in recipe.sources]
    if len(set(known)) != len(known):
        raise _bad(
            where, f"two inputs are called the same ({', '.join(known)}): give one a `name:`"
        )
    if not recipe.steps:
        raise _bad(where, "it has no step")
    for step in recipe.steps:
        _check_step(step, known, recipe.base is not None, where)
        known += [step.name] if step.name else []
    for name in (*(m.name for m in recipe.models), *(s.name for s in recipe.steps[:-1])):
        if not any(name in step.models for step in recipe.steps):
            raise _bad(where, f"no step uses {name or 'the result of a step without a name'}")
    for name in known:
        if not name.isprintable() or set(name) & UNPRINTED:
            raise _bad(where, f"the name {name!r} would not print well: choose another")
    if recipe.dtype and recipe.dtype not in CODES:
        raise _bad(where, f"dtype is {recipe.dtype!r}; write one of {', '.join(CODES)}")
    if recipe.tokenizer not in {"base", *(m.name for m in recipe.models)}:
        raise _bad(where, f"tokenizer is {recipe.tokenizer!r}; write base or a model's name")


def _check_step(step: Step, known: list[str], base: bool, where: str) -> None:
    for name in step.models:
        if name not in known:
            raise _bad(where, f"a step uses {name!r}, which is no model and no earlier step")
    if step.name in known:
        raise _bad(where, f"a step is called {step.name!r}, as is something before it")
    found = operators.check(step.operator, step.parameters, len(step.models))
    if found.needs_base and not base:
        raise RecipeError(
            f"{where}: {found.name} merges differences from a base, and there is no base",
            hint="add a `base:` to the recipe, or name one with --base",
        )


def pinned(recipe: Recipe, checkpoints: Mapping[str, Checkpoint], dtype: str) -> Recipe:
    """The recipe with every input at the commit or digest that was found, and its dtype."""
    pins = {name: replace(source(c), name=name) for name, c in checkpoints.items()}
    return replace(
        recipe,
        base=pins[recipe.base.name] if recipe.base else None,
        models=tuple(pins[m.name] for m in recipe.models),
        dtype=recipe.dtype or dtype,
    )


def _text(entry: Mapping[str, Any], key: str, where: str) -> str:
    value = entry.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _bad(where, f"{key} is {_SHORT.repr(value)}: write it as text, in quotes")
    return value


def _whole(value: Any, key: str, where: str) -> int:
    if type(value) is not int or value < 0:
        raise _bad(where, f"{key} is {_SHORT.repr(value)}, and must be a whole number")
    return value


def _bad(where: str, seen: str) -> RecipeError:
    return RecipeError(f"{where} is no recipe: {seen}", hint="docs/reference/recipe.md shows one")
