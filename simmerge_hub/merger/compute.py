"""The rows of one output tensor: read, run the steps, in float32.

Steps are composed lazily: a block of rows of the result asks the last step for it, which asks the
steps before. A step's statistics are measured once a tensor. Results between steps are kept only
where work would grow faster than their number (`kept`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from math import isfinite
from threading import RLock
from typing import Any

import torch
from torch import Tensor

from simmerge_hub import operators
from simmerge_hub.errors import CheckpointError
from simmerge_hub.merger.work.kept import keep
from simmerge_hub.operators import Operator, Place
from simmerge_hub.recipe import Step, schedule
from simmerge_hub.signatures.probing.feeding import Fed
from simmerge_hub.weights.shapes import matrix_shape, row_blocks
from simmerge_hub.weights.stream import Rows

BLOCK_ENTRIES = 2**18
"""Entries of a tensor merged at a time (at least one row): float32 scratch stays in cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One output tensor to compute.

    `name` and `depth` are what parameters are evaluated at, `inputs` the tensor's rows by source,
    `base` the name of the source deltas are taken from. `fed` says for each model what passes
    through the tensor ({}: nothing does; None: nobody looked), and `solved` keeps what was computed
    from that for all tensors that share it, which one thread merges.
    """

    name: str
    steps: Sequence[Step]
    inputs: Mapping[str, Rows]
    base: str | None = None
    depth: float = 0.0
    seed: int = 0
    fed: Mapping[str, Fed] | None = None
    solved: dict[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WholeModel:
    """Statistics over all tensors together, measured when the first tensor asks for them.

    `jobs` gives every tensor's job anew each time it is iterated; `known` are statistics by the
    number of their step.
    """

    jobs: Iterable[Job]
    known: dict[int, Any] = field(default_factory=dict)
    _lock: Any = field(default_factory=RLock)

    def statistics(self, number: int) -> Any:
        """Those of the step with this number in every job that has it."""
        with self._lock:
            if number not in self.known:
                self.known[number] = _measure_all(self, number)
            return self.known[number]


def blocks(shape: Sequence[int]) -> list[tuple[int, int]]:
    """The row ranges a tensor of this shape is merged in; they depend on the shape alone."""
    return row_blocks(shape, BLOCK_ENTRIES)


def merge_rows(job: Job, whole: WholeModel | None = None) -> Rows:
    """One tensor of a recipe's output, as rows computed when they are read."""
    return _step_results(job, whole)[-1]


def transpose(tensor: Rows) -> Rows:
    """The columns of a matrix as rows; it is read whole when the first is asked for.

    Of a tensor of three dimensions, whose rows are matrices, each is transposed when it is read.
    """
    if len(tensor.shape) == 3:
        return _transpose_each(tensor)

    @cache
    def whole() -> Tensor:
        return tensor.read(0, tensor.shape[0]).T.contiguous()

    def read(low: int, high: int, out: Tensor | None = None) -> Tensor:
        rows = whole()[low:high]
        return rows.clone() if out is None else out.copy_(rows)

    return Rows(shape=tuple(reversed(tensor.shape)), read=read, release=tensor.release)


def _transpose_each(tensor: Rows) -> Rows:
    count, *matrix = tensor.shape

    def read(low: int, high: int, out: Tensor | None = None) -> Tensor:
        rows = tensor.read(low, high).reshape(-1, *matrix).transpose(1, 2).flatten(1)
        return rows if out is None else out.copy_(rows)

    return Rows(shape=(count, *reversed(matrix)), read=read, release=tensor.release)


def refuse_nonfinite(tensor: Rows, source: str, name: str) -> Rows:
    """The same rows, but NaN and Inf are refused: a trim or a mask would hide them.

    A tensor is read once or twice, in the same blocks; each is looked at the first time.
    """
    seen: set[tuple[int, int]] = set()

    def read(low: int, high: int, out: Tensor | None = None) -> Tensor:
        rows = tensor.read(low, high, out)
        if (low, high) in seen:
            return rows
        if not is_finite(rows):
            raise CheckpointError(
                f"{source} has NaN or Inf in {name}",
                hint="leave this model out: it is damaged or its training diverged",
            )
        seen.add((low, high))
        return rows

    return Rows(shape=tensor.shape, read=read, release=tensor.release)


def is_finite(rows: Tensor) -> bool:
    """Whether there is no NaN and no Inf.

    Either shows in the sum, which is the quickest to find; but a sum may overflow without them.
    """
    if not rows.numel() or isfinite(rows.sum().item()):
        return True
    return all(isfinite(bound.item()) for bound in torch.aminmax(rows))


def _step_results(job: Job, whole: WholeModel | None, until: int | None = None) -> list[Rows]:
    """The result of every step, or of those before step number `until`."""
    known = dict(job.inputs)
    results: list[Rows] = []
    for number, step in enumerate(job.steps[:until]):
        applied = _apply(job, step, known)
        rows = applied.rows(number, whole)
        later = [name for other in job.steps[number + 1 :] for name in other.models]
        results.append(
            keep(
                rows,
                used=later.count(step.name),
                steps=len(job.steps),
                read_last=[known[m] for m in {*step.models} - {*job.inputs, *later}],
            )
        )
        known[step.name] = results[-1]
    return results


def _measure_all(whole: WholeModel, number: int) -> Any:
    """The statistics of one step over the chunks of all tensors, one after the other."""
    parts = [_apply_at(job, number, whole) for job in whole.jobs]
    first = parts[0]
    return operators.measure(first.operator, _Chain(parts), first.parameters, first.where)


def _apply_at(job: Job, number: int, whole: WholeModel) -> "_Application":
    before = _step_results(job, whole, number)
    named = zip((step.name for step in job.steps), before, strict=False)
    return _apply(job, job.steps[number], {**job.inputs, **dict(named)})


def _apply(job: Job, step: Step, known: Mapping[str, Rows]) -> "_Application":
    base = job.inputs[job.base] if job.base else None
    operator, parameters = check_operator(step, job.name, job.depth, base is not None)
    models = [known[each] for each in step.models]
    where = Place(tensor=job.name, models=step.models, shape=models[0].shape, seed=job.seed)
    if not operator.activations or job.fed is None:
        return _Application(operator, parameters, base, models, where)
    fed = [job.fed[each] for each in step.models] if job.fed else []
    where = replace(where, seen=tuple(each.matrices for each in fed))
    if not any(each.transposed for each in fed):
        return _Application(operator, parameters, base, models, where, job.solved)
    turned = [transpose(each) for each in models]
    where = replace(where, shape=turned[0].shape)
    around = transpose(base) if base else None
    return _Application(operator, parameters, around, turned, where, job.solved, turned=True)


def check_operator(
    step: Step, tensor: str, depth: float, base: bool
) -> tuple[Operator, dict[str, Any]]:
    """The operator of a step and its parameters for one tensor, checked.

    Raises:
        OperatorError: it does not take them.
    """
    parameters = schedule.evaluate(step.parameters, tensor, depth)
    return _check_cached(step.operator, _as_key(parameters), len(step.models), base), parameters


@lru_cache(maxsize=4096)
def _check_cached(name: str, parameters: tuple[tuple[str, Any], ...], models: int, base: bool):
    """Checked once for all tensors that have the same parameters."""
    return operators.check(name, dict(parameters), models, base=base)


def _as_key(parameters: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple((k, tuple(v) if isinstance(v, list) else v) for k, v in parameters.items())


@dataclass(frozen=True, slots=True)
class _Application:
    """One step on one tensor. Iterated: its chunks, read anew each time."""

    operator: Operator
    parameters: Mapping[str, Any]
    base: Rows | None
    models: list[Rows]
    where: Place
    solved: dict[Any, Any] = field(default_factory=dict)
    turned: bool = False

    def __iter__(self) -> Iterator[Tensor]:
        for low, high in blocks(self.where.shape):
            yield self._chunk(low, high)[0]

    def rows(self, number: int, whole: WholeModel | None) -> Rows:
        """The step's result."""

        @cache
        def statistics() -> Any:
            if whole is not None and operators.measures_model(self.operator, self.parameters):
                return whole.statistics(number)
            if self.operator.activations:
                return self._solve_once()
            return operators.measure(self.operator, self, self.parameters, self.where)

        def read(low: int, high: int, out: Tensor | None = None) -> Tensor:
            chunk, origin = self._chunk(low, high)
            here = replace(self.where, low=low)
            merged = operators.combine(self.operator, chunk, statistics(), self.parameters, here)
            if origin is not None:
                merged.add_(origin)
            return merged if out is None else out.copy_(merged)

        merged = Rows(shape=self.where.shape, read=read)
        return transpose(merged) if self.turned else merged

    def _solve_once(self) -> Any:
        """What follows from activations: the same for all tensors of a group."""
        key = self.operator.name, self.where.models, _as_key(self.parameters), bool(self.where.seen)
        if key not in self.solved:
            solved = operators.measure(self.operator, self, self.parameters, self.where)
            self.solved[key] = solved
        return self.solved[key]

    def _chunk(self, low: int, high: int) -> tuple[Tensor, Tensor | None]:
        """Rows [low, high) of the models stacked, as the operator wants them; the base's."""
        anchored = self.operator.space == "anchored" and self.base is not None
        inputs = [self.base, *self.models] if anchored and self.base else self.models
        chunk = torch.empty(len(inputs), high - low, matrix_shape(self.where.shape)[1])
        for each, out in zip(inputs, chunk, strict=True):
            each.read(low, high, out)
        if self.operator.space != "delta":
            return chunk, None
        assert self.base is not None
        origin = self.base.read(low, high)
        return chunk.sub_(origin), origin


@dataclass(frozen=True, slots=True)
class _Chain:
    """The chunks of several tensors, one after the other."""

    parts: Sequence[_Application]

    def __iter__(self) -> Iterator[Tensor]:
        for part in self.parts:
            yield from part
