"""A layout's tensors, merged and written: all cores, or layer by layer where layers are run.

Where a tensor goes is the caller's to know; memory does not grow with the model.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch

from simmerge_hub.errors import RecipeError
from simmerge_hub.merger.activations.groups import Group, open_activations
from simmerge_hub.merger.compute import (
    Job,
    WholeModel,
    blocks,
    is_finite,
    merge_rows,
    refuse_nonfinite,
)
from simmerge_hub.merger.layout import Layout, step_measures_model
from simmerge_hub.merger.work.crew import work_through
from simmerge_hub.signatures.probing.feeding import Fed
from simmerge_hub.signatures.probing.probe import ProbeSet
from simmerge_hub.weights.alignment.buffers import VARIANCE
from simmerge_hub.weights.stream import Rows, open_tensors, read_buffer
from simmerge_hub.weights.tokens.origins import rearrange
from simmerge_hub.weights.writing.shards import Write


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """What writing tensors takes.

    Args:
        layout: what is written.
        done: tensors of an earlier run.
        write: stores rows at their place.
        written: the output's tensors, each read only once it is written.
        finished: called with every tensor that is written.
        evict: delete downloaded shards as soon as they are merged.
        threads: tensors at a time; all cores by default.
        pass_on: called between layers that are run: what was written before is not read any more.
        measured: for each slice what its steps measure over the whole model (`measure_wholes`);
            by default it is measured when the first tensor asks for it.
    """

    layout: Layout
    done: frozenset[str]
    write: Write
    written: Mapping[str, Rows]
    finished: Callable[[str], None]
    evict: bool
    threads: int | None
    pass_on: Callable[[], None] = lambda: None
    measured: Sequence[Mapping[int, Any]] = ()


def write_tensors(to: Writing, prompts: Mapping[str, Sequence[ProbeSet]]) -> tuple[str, ...]:
    """Merge and write what is left to do; what was decided about activations, in sentences.

    Raises:
        RecipeError: a tensor does not fit the output's dtype.
    """
    layout = to.layout
    left = [name for name in layout.tensors if name not in to.done]
    with ExitStack() as stack:
        all_are_read = layout.measures_model and not to.measured
        names = list(layout.tensors) if all_are_read else left
        inputs = _Inputs(layout, _open_inputs(layout, names, to.evict, stack))
        wholes = inputs.wholes(to.measured)

        def merge_group(group: Group, solved: dict[Any, Any]) -> None:
            for name, fed in group.items():
                whole = wholes[layout.tensors[name].slice]
                _write_tensor(layout, inputs.job(name, fed, solved), whole, to.write)
                to.finished(name)

        def merge_one(name: str) -> None:
            merge_group({name: {}}, {})

        notes: tuple[str, ...] = ()
        if prompts:
            known, layers = stack.enter_context(open_activations(layout, prompts, to.written))
            waiting = set(left)
            for groups in layers:
                to.pass_on()
                here = [{n: fed for n, fed in g.items() if n in waiting} for g in groups]
                work_through([g for g in here if g], lambda g: merge_group(g, {}), to.threads)
                waiting -= {name for group in here for name in group}
            to.pass_on()
            left, notes = [name for name in left if name in waiting], known.notes
        work_through(left, merge_one, to.threads)
    _write_buffers(to)
    return notes


def measure_wholes(layout: Layout) -> list[dict[int, Any]]:
    """For each slice: number of a step -> what it measures over all tensors of the slice."""
    merged = {match.slice for match in layout.tensors.values() if not match.copied}
    with ExitStack() as stack:
        inputs = _Inputs(layout, _open_inputs(layout, list(layout.tensors), False, stack))
        wholes = inputs.wholes()

        def measure(place: tuple[int, int]) -> None:
            wholes[place[0]].statistics(place[1])

        places = [
            (number, at)
            for number, steps in enumerate(layout.recipe.programs)
            for at, step in enumerate(steps)
            if number in merged and step_measures_model(step)
        ]
        work_through(places, measure, 1)
    return [whole.known for whole in wholes]


def _write_buffers(to: Writing) -> None:
    for name in [name for name in to.layout.buffers if name not in to.done]:
        stored = bytearray(read_buffer(to.layout.reference, name))
        if stored:
            to.write(name, 0, torch.frombuffer(stored, dtype=torch.uint8)[None])
        to.finished(name)


def _open_inputs(
    layout: Layout, names: Sequence[str], evict: bool, stack: ExitStack
) -> dict[str, dict[str, Rows]]:
    """Input name -> its tensor name -> rows; adapters as models folded into the base."""
    wanted = layout.tensors_to_read(names)
    return {
        source: stack.enter_context(
            open_tensors(layout.checkpoints[source], layout.base, names=mine, evict=evict)
        )
        for source, mine in wanted.items()
        if mine
    }


def _write_tensor(layout: Layout, job: Job, whole: WholeModel, write: Write) -> None:
    name = job.name
    rows = merge_rows(job, whole) if job.steps else job.inputs[layout.tensors[name].copied]
    dtype = getattr(torch, layout.recipe.dtype)
    for low, high in blocks(rows.shape):
        rounded = rows.read(low, high).to(dtype)
        if not is_finite(rounded):
            raise RecipeError(
                f"merging {name} overflows {layout.recipe.dtype}",
                hint="use smaller weights or a smaller scale, or write a wider `dtype:`",
            )
        if VARIANCE.fullmatch(name) and (rounded < 0).any():
            raise RecipeError(
                f"merging gives {name}, a running variance, values below zero",
                hint="take a mean: linear, with weights that are not negative",
            )
        write(name, low, rounded)
    for each in job.inputs.values():
        each.release()


@dataclass(frozen=True, slots=True)
class _Inputs:
    """The open inputs of a layout, as jobs for tensors."""

    layout: Layout
    opened: Mapping[str, Mapping[str, Rows]]

    def job(
        self, name: str, fed: Mapping[str, Fed] | None = None, solved: dict[Any, Any] | None = None
    ) -> Job:
        """What is needed to compute one output tensor; `fed` and `solved` as a job has them."""
        layout, match = self.layout, self.layout.tensors[name]
        rows = {source: self._read(name, source) for source in layout.readers(name)}
        words = layout.vocabulary
        base = layout.recipe.base.name if layout.recipe.base else None
        if words and name in words.tensors:
            rows = rearrange(words.origins, base, rows)
        return Job(
            name=name,
            steps=layout.steps(name),
            inputs=rows,
            base=base if base in rows and base in match.origins else None,
            depth=match.depth,
            seed=layout.recipe.seed,
            fed=fed,
            solved={} if solved is None else solved,
        )

    def _read(self, name: str, source: str) -> Rows:
        """The rows that a source has for an output tensor."""
        rows = self.opened[source][self.layout.stored_name(name, source)]
        return refuse_nonfinite(rows, source, name)

    def wholes(self, measured: Sequence[Mapping[int, Any]] = ()) -> list[WholeModel]:
        """What each slice is as a whole; `measured` as of `Writing`."""
        count = len(self.layout.recipe.programs)
        known = measured or [{}] * count
        return [WholeModel(self.in_slice(i), dict(known[i])) for i in range(count)]

    def in_slice(self, number: int) -> "_Slice":
        """The jobs of all tensors of one slice that are merged."""
        return _Slice(self, number)


@dataclass(frozen=True, slots=True)
class _Slice:
    """Iterated: a job for every merged tensor of one slice."""

    inputs: _Inputs
    number: int

    def __iter__(self) -> Iterator[Job]:
        for name, match in self.inputs.layout.tensors.items():
            if match.slice == self.number and not match.copied:
                yield self.inputs.job(name)
