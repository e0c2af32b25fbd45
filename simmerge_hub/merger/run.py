"""Run a recipe: stream every tensor of the layout into a folder that appears whole or not at all.

A block of rows of every model is read, merged in float32, rounded once to the output dtype and
written to its final place. Memory does not grow with the model, and the bytes depend on the recipe
alone: not on threads, on block sizes, or on a crash in between.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import Lock
from time import perf_counter
from typing import Any

import torch

from simmerge_hub.errors import RecipeError
from simmerge_hub.hub.files.checksums import write_checksums
from simmerge_hub.hub.reference import home_path
from simmerge_hub.merger.activations.groups import Group, open_activations, read_prompts
from simmerge_hub.merger.adapter import write_merged_adapter
from simmerge_hub.merger.compute import (
    Job,
    WholeModel,
    blocks,
    is_finite,
    merge_rows,
    refuse_nonfinite,
)
from simmerge_hub.merger.crew import work_through
from simmerge_hub.merger.files import carry_over, check_config, check_output
from simmerge_hub.merger.layout import Layout, lay_out
from simmerge_hub.merger.report import MergeReport, Progress, versions
from simmerge_hub.recipe import RECIPE_FILE, Recipe, fetch_all
from simmerge_hub.recipe import check as check_recipe
from simmerge_hub.signatures.probing.feeding import Fed
from simmerge_hub.signatures.probing.probe import ProbeSet
from simmerge_hub.weights.alignment.align import refuse_rejections
from simmerge_hub.weights.stream import Rows, open_shards_to_read, open_tensors, read_buffer
from simmerge_hub.weights.tokens.vocabulary import rearrange
from simmerge_hub.weights.writing.partial import Partial, partial_folder
from simmerge_hub.weights.writing.shards import (
    Shard,
    Write,
    open_shards,
    plan_shards,
    written_digests,
)


def merge(
    recipe: Recipe,
    output: str | Path,
    *,
    overwrite: bool = False,
    threads: int | None = None,
    evict: bool = False,
    durable: bool = True,
    notes: str = "",
    page: "Callable[[MergeReport], Mapping[str, str]] | None" = None,
    progress: Progress | None = None,
) -> MergeReport:
    """Run a recipe. A run that was cut off is continued by running it again.

    Args:
        recipe: what to merge; inputs without a commit are pinned to what they are now.
        output: the folder to make; it appears complete or not at all.
        overwrite: replace an existing folder at the end.
        threads: tensors merged at a time; all cores by default. The bytes do not depend on it.
        evict: delete shards that were downloaded for this as soon as they are merged.
        durable: flush to the disk before the folder appears.
        notes: YAML appended to the recipe beside the weights (a plan's `why:`).
        page: the README.md, and texts that belong to it, by file name.
        progress: called after every tensor.

    Raises:
        SimmergeError: before the first weight byte is read wherever headers can tell.
    """
    began = perf_counter()
    check_recipe(recipe)
    target = home_path(output).resolve()  # a link stays; what it points to is made
    check_output(recipe, target, overwrite)
    checkpoints = fetch_all(recipe)
    recipe, prompts = read_prompts(recipe)
    if recipe.output == "adapter":
        return write_merged_adapter(
            recipe,
            checkpoints,
            target,
            overwrite=overwrite,
            durable=durable,
            notes=notes,
            page=page,
            progress=progress,
            prompts=prompts,
        )
    layout = lay_out(recipe, checkpoints)
    refuse_rejections(layout.alignment)
    check_config(layout)
    shards = shards_of(layout)
    size = sum(shard.size for shard in shards)
    identity = sha256(repr((shards, versions())).encode()).hexdigest()
    with partial_folder(
        target,
        identity=identity,
        size=size,
        digest=written_digests(shards),
        overwrite=overwrite,
        durable=durable,
    ) as partial:
        carry_over(layout, partial.folder)  # small, and what cannot be had is known at once
        finished = _FinishTensor(partial, len(layout.entries), progress)
        with (
            open_shards(partial.folder, shards) as write,
            open_shards_to_read(partial.folder, shards) as written,
        ):
            writing = _Writing(layout, partial.done, write, written, finished, evict, threads)
            notes_of_activations = _write_tensors(writing, prompts)
        text = layout.recipe.to_yaml(published=True) + notes
        (partial.folder / RECIPE_FILE).write_text(text, encoding="utf-8")
        report = MergeReport(
            recipe=layout.recipe,
            folder=Path(output),
            checkpoints=layout.checkpoints,
            tensors=len(layout.entries),
            size=size,
            seconds=perf_counter() - began,
            versions=versions(),
            notes=(*layout.notes, *notes_of_activations),
        )
        if page is not None:
            for name, content in page(report).items():
                (partial.folder / name).write_text(content, encoding="utf-8")
        write_checksums(partial.folder)
    return report


def shards_of(layout: Layout) -> list[Shard]:
    """The weight files a merge will write."""
    metadata = {"format": "pt", "simmerge": layout.recipe.to_yaml(published=True)}
    return plan_shards(layout.entries, layout.recipe.shard_size, metadata)


class _FinishTensor:
    """Called when a tensor is written: into the journal, and to whoever watches."""

    def __init__(self, partial: Partial, total: int, progress: Progress | None) -> None:
        self._partial, self._total, self._progress = partial, total, progress
        self._done = len(partial.done)
        self._lock = Lock()

    def __call__(self, name: str) -> None:
        self._partial.finish(name)
        with self._lock:
            self._done += 1
            if self._progress:
                self._progress(name, self._done, self._total)


@dataclass(frozen=True, slots=True)
class _Writing:
    """What writing tensors takes: see `merge`. `done` are those of an earlier run."""

    layout: Layout
    done: frozenset[str]
    write: Write
    written: Mapping[str, Rows]
    finished: Callable[[str], None]
    evict: bool
    threads: int | None


def _write_tensors(to: _Writing, prompts: Mapping[str, Sequence[ProbeSet]]) -> tuple[str, ...]:
    """Merge and write what is left to do; what was decided about activations, in sentences."""
    layout = to.layout
    for name in [name for name in layout.buffers if name not in to.done]:
        stored = bytearray(read_buffer(layout.reference, name))
        if stored:
            to.write(name, 0, torch.frombuffer(stored, dtype=torch.uint8)[None])
        to.finished(name)
    left = [name for name in layout.tensors if name not in to.done]
    with ExitStack() as stack:
        inputs = _Inputs(layout, _open_inputs(layout, left, to.evict, stack))
        wholes = [WholeModel(inputs.in_slice(i)) for i in range(len(layout.recipe.programs))]

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
                here = [{n: fed for n, fed in g.items() if n in waiting} for g in groups]
                work_through([g for g in here if g], lambda g: merge_group(g, {}), to.threads)
                waiting -= {name for group in here for name in group}
            left, notes = [name for name in left if name in waiting], known.notes
        work_through(left, merge_one, to.threads)
    return notes


def _open_inputs(
    layout: Layout, names: Sequence[str], evict: bool, stack: ExitStack
) -> dict[str, dict[str, Rows]]:
    """Input name -> its tensor name -> rows; adapters as models folded into the base."""
    wanted = layout.tensors_to_read(layout.tensors if layout.measures_model else names)
    return {
        source: stack.enter_context(
            open_tensors(layout.checkpoints[source], layout.base, names=mine, evict=evict)
        )
        for source, mine in wanted.items()
        if mine
    }


def _write_tensor(layout: Layout, job: Job, whole: WholeModel, write: Write) -> None:
    name = job.name
    rows = merge_rows(job, whole) if job.steps else next(iter(job.inputs.values()))
    dtype = getattr(torch, layout.recipe.dtype)
    for low, high in blocks(rows.shape):
        rounded = rows.read(low, high).to(dtype)
        if not is_finite(rounded):
            raise RecipeError(
                f"merging {name} overflows {layout.recipe.dtype}",
                hint="use smaller weights or a smaller scale, or write a wider `dtype:`",
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
        rows = {
            source: refuse_nonfinite(self.opened[source][match.origins[source]], source, name)
            for source in layout.readers(name)
        }
        words = layout.vocabulary
        base = layout.recipe.base.name if layout.recipe.base else None
        if words and name in words.tensors:
            rows = rearrange(words, base, rows)
        return Job(
            name=name,
            steps=layout.steps(name),
            inputs=rows,
            base=base if base in rows else None,
            depth=match.depth,
            seed=layout.recipe.seed,
            fed=fed,
            solved={} if solved is None else solved,
        )

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
