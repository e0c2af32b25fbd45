"""The registry: what an operator is, how one is declared, found and called.

An operator is two pure functions on tensors. `statistics(chunks)` reduces a tensor of every model
to a few numbers (norms, an angle, thresholds); `combine(chunk, statistics)` is arithmetic on a
chunk of whole rows. The same two run on weights as they stream past and on the sampled rows of a
signature, so an operator exists once. Knows nothing about files, models or the Hub.

To add one: write the function in the file of its family under `@operator(...)`. Its name is the
operator's name, its docstring's first line the summary, its keyword-only arguments the parameters.
A function that asks for an argument called `place` is told where the chunk lies.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints
from uuid import uuid4

from simmerge_hub.errors import OperatorError
from simmerge_hub.names import suggest
from simmerge_hub.operators.regression.inputs import LayerInputs

if TYPE_CHECKING:
    from torch import Tensor

Chunks = Iterable["Tensor"]
"""Chunks of one tensor: each float32 [inputs, rows, cols]; may be iterated more than once."""
Space = Literal["weight", "delta", "anchored"]
PerModel = float | Sequence[float]
"""A parameter that is one number for all models or one for each."""
SPACES: Mapping[tuple[str, Any], Space] = {("origin", "zero"): "weight", ("others", "sum"): "delta"}
"""Values of parameters that decide what an operator works on, whatever it says of itself."""

WORDS_OF_TYPES = {**vars(typing), "PerModel": PerModel}
"""Names in annotations that are known even where a file imports them for type checkers only."""
GLOBAL = ("origin", "trim", "others", "inputs")
"""Parameters that say what an operator sees; the same for all tensors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a chunk lies, for operators that draw random numbers or look at a tensor's shape.

    `models` are the inputs' names in order, `shape` the whole tensor's, `low` the index of the
    chunk's first row. `seen` holds for each model what the tensor's matrices were fed (one, or one
    for each expert): () for a tensor that nothing is fed through, None where nobody looked.
    """

    tensor: str = ""
    models: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    low: int = 0
    seed: int = 0
    seen: tuple[Sequence[LayerInputs], ...] | None = None


HERE = Place()
"""A tensor that is merged for itself: no name, first row, seed 0."""
UNFED = Place(seen=())
"""The same of a tensor that nothing is fed through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One way to merge.

    `space` says what chunks hold and what comes out: "weight", the models' tensors; "delta", their
    differences from the base (and the result is one); "anchored", the base's tensor and then the
    models', giving weights. `models` is the least and greatest number of inputs (None: any).
    `choices` are the words a parameter may be, `per_model` the parameters that may be one number
    for each model. `exact_on_samples`: merging sampled rows gives the sampled rows of the merge;
    where it is False they are an estimate (of a statistic, or because random numbers differ).
    `activations`: the statistics are of what the models' layers are fed, not of chunks. `all_rows`:
    they are of how all rows lie together, of which sampled ones say nothing. `unread`: annotations,
    by parameter, that name what only a type checker sees.
    """

    name: str
    summary: str
    space: Space
    models: tuple[int, int | None]
    paper: str
    parameters: Mapping[str, Any]
    combine: Callable[..., Tensor] = field(repr=False)
    statistics: Callable[..., Any] | None = field(repr=False, default=None)
    exact_on_samples: bool = True
    choices: Mapping[str, tuple[Any, ...]] = field(repr=False, default_factory=dict)
    per_model: frozenset[str] = field(repr=False, default=frozenset())
    activations: bool = False
    all_rows: bool = False
    unread: Mapping[str, str] = field(repr=False, default_factory=dict)

    @property
    def on_samples(self) -> bool:
        """Whether merging sampled rows tells anything of the merge."""
        return not self.activations and not self.all_rows

    @property
    def needs_base(self) -> bool:
        """Whether there is nothing to merge without a base."""
        return self.space != "weight"


OPERATORS: dict[str, Operator] = {}
PACKAGE = "simmerge_hub."
"""How the modules of the package's own operators begin."""
OWN_OPERATOR = (
    "simmerge-hub operators lists them; one of your own is known if the file that declares it is "
    "run in place of simmerge-hub: python larger.py push …"
)
"""What is said of a name that is like none of the package's."""


def operator(
    *,
    space: Space,
    paper: str,
    models: tuple[int, int | None] = (1, None),
    statistics: Callable[..., Any] | None = None,
    exact_on_samples: bool = True,
    activations: bool = False,
    all_rows: bool = False,
) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Declare the decorated function `combine(chunk, statistics, *, ...)` to be an operator."""

    def register(combine: Callable[..., Tensor]) -> Callable[..., Tensor]:
        name = combine.__name__
        kinds, unread = _kinds(combine)
        OPERATORS[name] = Operator(
            name=name,
            summary=(inspect.getdoc(combine) or "").partition("\n")[0],
            space=space,
            models=models,
            paper=paper,
            parameters={key: p.default for key, p in keywords(combine).items()},
            combine=combine,
            statistics=statistics,
            exact_on_samples=exact_on_samples,
            choices={k: get_args(a) for k, a in kinds.items() if get_origin(a) is Literal},
            per_model=frozenset(k for k, a in kinds.items() if _may_be_a_list(a)),
            activations=activations,
            all_rows=all_rows,
            unread=unread,
        )
        return combine

    return register


def find(name: str) -> Operator:
    """The operator called `name`. Raises OperatorError with the nearest names otherwise."""
    if name in OPERATORS:
        return OPERATORS[name]
    raise OperatorError(
        f"there is no operator {name!r}", hint=suggest(name, OPERATORS) or OWN_OPERATOR
    )


def is_own(name: str) -> bool:
    """Whether an operator was declared outside the package: other processes do not know it."""
    return not find(name).combine.__module__.startswith(PACKAGE)


def own_code(names: Iterable[str]) -> str:
    """A digest of the files that declare those of these operators that are not the package's.

    "" if all are; where a file cannot be read, another one every time.
    """
    declared = [find(name).combine for name in names]
    own = [each for each in declared if not each.__module__.startswith(PACKAGE)]
    return " ".join(sorted({_digest_file(each) for each in own}))


def _digest_file(declares: Callable[..., Any]) -> str:
    try:
        return sha256(Path(inspect.getfile(declares)).read_bytes()).hexdigest()
    except (TypeError, OSError):
        return uuid4().hex


def space_of(op: Operator, parameters: Mapping[str, Any]) -> Space:
    """What the operator works on with these parameters."""
    for (key, value), space in SPACES.items():
        if key in op.parameters and parameters.get(key, op.parameters[key]) == value:
            return space
    return op.space


def measures_model(op: Operator, parameters: Mapping[str, Any]) -> bool:
    """Whether the statistics are of all tensors together: then `measure` takes all their chunks."""
    return parameters.get("trim", op.parameters.get("trim")) == "model"


def measure(
    op: Operator, chunks: Chunks, parameters: Mapping[str, Any], place: Place = HERE
) -> Any:
    """The statistics of one tensor, or None for an operator that needs none.

    `chunks` are the tensor's from its first row to its last, and are read only as often as the
    statistics need; `place` says which tensor (its `low` is ignored).
    """
    if op.statistics is None:
        return None
    wanted = keywords(op.statistics)
    given = {key: value for key, value in parameters.items() if key in wanted}
    where = {"place": place} if _asks_place(op.statistics) else {}
    return op.statistics(chunks, **where, **given)


def combine(
    op: Operator,
    chunk: Tensor,
    statistics: Any,
    parameters: Mapping[str, Any],
    place: Place = HERE,
) -> Tensor:
    """The merged rows of one chunk: float32 [rows, cols]; `place.low` is the first one's index."""
    where = {"place": place} if _asks_place(op.combine) else {}
    return op.combine(chunk, statistics, **where, **parameters)


def per_model(value: PerModel | None, models: int) -> list[float]:
    """One number for each model: `value` itself, or repeated; 1 where there is none."""
    if value is None:
        return [1.0] * models
    return list(value) if isinstance(value, Sequence) else [value] * models


@cache
def keywords(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """The keyword-only arguments of a function."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}


@cache
def _asks_place(function: Callable[..., Any]) -> bool:
    return "place" in inspect.signature(function).parameters


def _kinds(function: Callable[..., Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Parameter -> what its annotation says, also where annotations are kept as text; and the text
    of those that name what is not imported when the file runs."""
    known = {**WORDS_OF_TYPES, **getattr(inspect.unwrap(function), "__globals__", {})}
    kinds: dict[str, Any] = {}
    unread: dict[str, str] = {}
    for key, parameter in keywords(function).items():
        stated = SimpleNamespace(__annotations__={key: parameter.annotation})
        try:
            kinds |= get_type_hints(stated, known)
        except (NameError, AttributeError, SyntaxError, TypeError):
            unread[key] = str(parameter.annotation)
    return kinds, unread


def _may_be_a_list(annotation: Any) -> bool:
    return any(get_origin(kind) is Sequence for kind in (annotation, *get_args(annotation)))
