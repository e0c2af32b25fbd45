"""What a recipe is, and what makes one impossible before any input is read."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from simmerge_hub import operators
from simmerge_hub.errors import OperatorError, RecipeError
from simmerge_hub.recipe import schedule
from simmerge_hub.recipe.writing import dump_yaml, plain
from simmerge_hub.weights.shards import CODES

SHARD_SIZE = 5_000_000_000
"""Bytes of tensor data per file, as transformers writes them by default."""
UNPRINTED = set("`|<>")
"""Characters that names must not have: they mean something on a card."""
UNMATCHED = ("refuse", "drop", "keep")
OUTPUTS = ("model", "adapter")


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

    `dtype` is the output's ("" until it is known); `tokenizer` "base", "union" or a model's name;
    `shard_size` in bytes. `unmatched` says what happens to tensors that not all models have:
    "refuse"; "drop": the output has the tensors of the base (or first model), copied from it where
    a model lacks them; "keep": and those that only others have, copied from the first that has
    them. `custom_code` carries over the base's own Python files. With `output` "adapter" LoRA
    adapters are merged into one of rank `rank` (0: the sum of theirs).
    """

    base: Source | None
    models: tuple[Source, ...]
    steps: tuple[Step, ...] = ()
    slices: tuple[Slice, ...] = ()
    dtype: str = ""
    tokenizer: str = "base"
    unmatched: str = "refuse"
    custom_code: bool = False
    output: str = "model"
    rank: int = 0
    seed: int = 0
    shard_size: int = SHARD_SIZE

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
    def operators(self) -> tuple[str, ...]:
        """The operators used, each once, in order."""
        return tuple(dict.fromkeys(step.operator for step in chain(*self.programs)))

    def to_yaml(self, *, published: bool = False) -> str:
        """The recipe as text; `published` leaves out where folders lie on this machine."""
        return dump_yaml(plain(self, published))

    @property
    def fingerprint(self) -> str:
        """sha256 of the published text."""
        return hashlib.sha256(self.to_yaml(published=True).encode()).hexdigest()


def check(recipe: Recipe, where: str = "the recipe") -> None:
    """Refuse what cannot be run: unknown names, operators or parameters. Reads no input."""
    names = [s.name for s in recipe.sources]
    if len(set(names)) != len(names):
        raise bad(where, f"two inputs are called the same ({', '.join(names)}): give one a `name:`")
    for program in recipe.programs:
        based = recipe.base is not None or recipe.output == "adapter"
        _check_program(program, names, based, where)
    for part in recipe.slices:
        _check_slice(part, recipe, names, where)
    _check_used(recipe, where)
    _check_words(recipe, where)


def bad(where: str, seen: str) -> RecipeError:
    """The error for a text that is no recipe."""
    return RecipeError(f"{where} is no recipe: {seen}", hint="docs/reference/recipe.md shows one")


def _check_program(steps: tuple[Step, ...], names: list[str], base: bool, where: str) -> None:
    if not steps:
        raise bad(where, "it has no step")
    known = list(names)
    for step in steps:
        _check_step(step, known, base, where)
        known += [step.name] if step.name else []
    for step in steps[:-1]:
        if not any(step.name in other.models for other in steps):
            raise bad(where, f"no step uses {step.name or 'the result of a step without a name'}")
    for name in known:
        if not name.isprintable() or set(name) & UNPRINTED:
            raise bad(where, f"the name {name!r} would not print well: choose another")


def _check_step(step: Step, known: list[str], base: bool, where: str) -> None:
    for name in step.models:
        if name not in known:
            raise bad(where, f"a step uses {name!r}, which is no model and no earlier step")
    if step.name in known:
        raise bad(where, f"a step is called {step.name!r}, as is something before it")
    _check_parameters(step, where)
    scheduled = any(map(schedule.is_scheduled, step.parameters.values()))
    for parameters in schedule.extremes(step.parameters):
        found = operators.check(
            step.operator, parameters, len(step.models), tried=not scheduled
        )  # values that never meet are not tried together: the layout tries those that do
        if found.needs_base and not base:
            raise RecipeError(
                f"{where}: {found.name} merges differences from a base, and there is no base",
                hint="add a `base:` to the recipe, or name one with --base",
            )


def _check_parameters(step: Step, where: str) -> None:
    known = operators.find(step.operator).parameters
    for key, value in step.parameters.items():
        if key in known:
            schedule.refuse_malformed(value, f"{where}: {step.operator}: {key} is no parameter")
        if key == "density" and step.parameters.get("trim") == "model":
            _refuse_scheduled_share(value)
        if key in operators.GLOBAL and schedule.is_scheduled(value):
            raise OperatorError(
                f"{step.operator}: {key} is the same for all tensors",
                hint="give one value without gradient or filter",
            )


def _refuse_scheduled_share(value: Any) -> None:
    if schedule.is_scheduled(value):
        raise OperatorError(
            "a share of the whole model (trim: model) cannot differ between tensors",
            hint="give density without gradient or filter, or trim: tensor",
        )


def _check_slice(part: Slice, recipe: Recipe, names: list[str], where: str) -> None:
    if any(s.parameters.get("trim") == "model" for s in part.steps or recipe.steps):
        raise bad(where, "trim: model looks at a whole model, and the recipe has slices")
    lengths = {last - first for first, last in part.layers.values()}
    if len(lengths) != 1 or min(lengths) < 1 or any(f < 0 for f, _ in part.layers.values()):
        shown = ", ".join(f"{name} {list(span)}" for name, span in part.layers.items())
        raise bad(where, f"a slice takes different numbers of layers: {shown or 'none'}")
    used = {name for step in part.steps or recipe.steps for name in step.models}
    for name in part.layers:
        if name not in names:
            raise bad(where, f"a slice takes layers of {name!r}, which is no model")
    for name in names:
        if name in used and name not in part.layers and name != recipe.reference:
            raise bad(where, f"a slice uses {name}, and does not say which layers of it")


def _check_used(recipe: Recipe, where: str) -> None:
    used = {name for program in recipe.programs for step in program for name in step.models}
    for model in recipe.models:
        if model.name not in used:
            raise bad(where, f"no step uses {model.name}")


def _check_words(recipe: Recipe, where: str) -> None:
    if recipe.dtype and recipe.dtype not in CODES:
        raise bad(where, f"dtype is {recipe.dtype!r}; write one of {', '.join(CODES)}")
    if recipe.tokenizer not in {"base", "union", *(m.name for m in recipe.models)}:
        raise bad(where, f"tokenizer is {recipe.tokenizer!r}; write base, union or a model's name")
    if recipe.unmatched not in UNMATCHED:
        raise bad(where, f"unmatched is {recipe.unmatched!r}; write {', '.join(UNMATCHED)}")
    if recipe.output not in OUTPUTS:
        raise bad(where, f"output is {recipe.output!r}; write {' or '.join(OUTPUTS)}")
    if recipe.rank and recipe.output != "adapter":
        raise bad(where, f"rank is {recipe.rank}, which only `output: adapter` has")
    if recipe.output == "adapter":
        _check_adapter(recipe, where)


def _check_adapter(recipe: Recipe, where: str) -> None:
    """Adapters are merged in one step, with the same parameters everywhere."""
    if len(recipe.steps) != 1 or recipe.slices:
        raise bad(where, "with `output: adapter` it has one step and no slices")
    if any(map(schedule.is_scheduled, recipe.steps[0].parameters.values())):
        raise bad(where, "with `output: adapter` parameters are the same for all tensors")
