"""What a recipe is, and its text."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from simmerge_hub import operators
from simmerge_hub.operators.regression.regmean import feeds_merge
from simmerge_hub.recipe import calibration as calibrating
from simmerge_hub.recipe.calibration import Calibration
from simmerge_hub.recipe.writing import dump_yaml, to_plain

SHARD_SIZE = 5_000_000_000
"""Bytes of tensor data per file, as transformers writes them by default."""
RECIPE_VERSION = 1
"""Of the format, in the first line of a recipe."""
OPTIONAL_FIELDS = {"unmatched": "refuse", "custom_code": False, "output": "model", "rank": 0,
                   "chat_template": ""}  # fmt: skip
"""Fields that are written only where they say something."""


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
    """Merge the named models (or results of earlier steps) with one operator; call it `name`.

    A parameter may change over depth and by tensor name: see `recipe.schedule`.
    """

    operator: str
    models: tuple[str, ...]
    parameters: Mapping[str, Any]
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Consecutive layers of the output, made from layers [first, last) of some models.

    All ranges are equally long; a base that is not named takes the range of the first. `steps` are
    its own, or () for those of the recipe.
    """

    layers: Mapping[str, tuple[int, int]]
    steps: tuple[Step, ...] = ()

    @property
    def depth(self) -> int:
        """How many layers it has."""
        return next((last - first for first, last in self.layers.values()), 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything a merge needs. The last step's result is the output.

    `dtype` is the output's ("" until it is known); `tokenizer` "auto" (that of the merged
    models where they share one, else the base's), "base", "union" or a model's name; `shard_size`
    in bytes. `unmatched` says what happens to tensors that not all models have:
    "refuse"; "drop": the output has the tensors of the base (or first model), copied from it where
    a model lacks them; "keep": and those that only others have, copied from the first that has
    them. `custom_code` carries over the base's own Python files. With `output` "adapter" LoRA
    adapters are merged into one of rank `rank` (0: the sum of theirs). `calibration` says what
    operators that look at activations feed the models. `chat_template` is "" (that which comes with
    the tokenizer), "base", a model's name, or a template in Jinja.
    """

    base: Source | None
    models: tuple[Source, ...]
    steps: tuple[Step, ...] = ()
    slices: tuple[Slice, ...] = ()
    dtype: str = ""
    tokenizer: str = "auto"
    chat_template: str = ""
    unmatched: str = "refuse"
    custom_code: bool = False
    output: str = "model"
    rank: int = 0
    seed: int = 0
    shard_size: int = SHARD_SIZE
    calibration: Calibration | None = None

    @property
    def sources(self) -> tuple[Source, ...]:
        """The base, if any, and the models."""
        return (self.base, *self.models) if self.base else self.models

    @property
    def reference(self) -> str:
        """The name of the source whose tensors, config and files the output has."""
        return self.sources[0].name

    @property
    def programs(self) -> tuple[tuple[Step, ...], ...]:
        """The steps of each slice, or those of the whole."""
        return tuple(s.steps or self.steps for s in self.slices) or (self.steps,)

    @property
    def sees_activations(self) -> bool:
        """Whether a step looks at what the models' layers are fed."""
        steps = chain(*self.programs)
        return any(operators.find(step.operator).activations for step in steps)

    @property
    def feeds_merge(self) -> bool:
        """Whether each layer is fed what the merge's own layers before it leave."""
        steps = chain(*self.programs)
        return any(feeds_merge(step.parameters) for step in steps)

    @property
    def operators(self) -> tuple[str, ...]:
        """The operators used, each once, in order."""
        return tuple(dict.fromkeys(step.operator for step in chain(*self.programs)))

    def to_yaml(self, *, published: bool = False) -> str:
        """The recipe as text; `published` leaves out where folders lie on this machine."""
        return dump_yaml(_to_data(self, published))

    @property
    def fingerprint(self) -> str:
        """sha256 of the published text."""
        return hashlib.sha256(self.to_yaml(published=True).encode()).hexdigest()


def _to_data(recipe: Recipe, published: bool) -> dict[str, Any]:
    data: dict[str, Any] = {"simmerge": RECIPE_VERSION}
    if recipe.base:
        data["base"] = _source_data(recipe.base, published)
    data["models"] = [_source_data(m, published) for m in recipe.models]
    data |= {"steps": [_step_data(s) for s in recipe.steps]} if recipe.steps else {}
    data |= {"slices": [_slice_data(s) for s in recipe.slices]} if recipe.slices else {}
    data |= {"dtype": recipe.dtype} if recipe.dtype else {}
    if recipe.calibration:
        data["calibration"] = calibrating.to_data(recipe.calibration, published)
    data["tokenizer"] = recipe.tokenizer
    data |= {k: getattr(recipe, k) for k, v in OPTIONAL_FIELDS.items() if getattr(recipe, k) != v}
    return data | {"seed": recipe.seed, "shard_size": recipe.shard_size}


def _source_data(source: Source, published: bool) -> dict[str, str]:
    path = None if published or source.folder is None else str(source.folder)
    fields = {
        "model": source.repo,
        "commit": source.commit,
        "name": "" if source.name == source.repo else source.name,
        "folder": path,
        "digest": source.digest,
    }
    return {key: value for key, value in fields.items() if value}


def _slice_data(part: Slice) -> dict[str, Any]:
    data: dict[str, Any] = {"layers": {name: list(span) for name, span in part.layers.items()}}
    return data | ({"steps": [_step_data(s) for s in part.steps]} if part.steps else {})


def _step_data(step: Step) -> dict[str, Any]:
    parameters = {k: to_plain(v) for k, v in step.parameters.items()}
    data: dict[str, Any] = {"operator": step.operator, "models": list(step.models)}
    data |= {"parameters": parameters} if parameters else {}
    return data | ({"name": step.name} if step.name else {})
