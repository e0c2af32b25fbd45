"""Run a recipe: stream every tensor of the layout into a folder that appears whole or not at all.

A block of rows of every model is read, merged in float32, rounded once to the output dtype and
written to its final place. Memory does not grow with the model, and the bytes depend on the recipe
alone: not on threads, on block sizes, or on a crash in between.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Lock
from time import perf_counter

from simmerge_hub.hub.files.checksums import write_checksums
from simmerge_hub.hub.reference import home_path
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.merger.activations.prompts import read_prompts
from simmerge_hub.merger.adapter import write_merged_adapter
from simmerge_hub.merger.files import carry_over, check_config, check_output
from simmerge_hub.merger.layout import Layout, lay_out
from simmerge_hub.merger.preflight import default_threads
from simmerge_hub.merger.report import (
    MergeReport,
    Page,
    identify,
    versions,
    write_texts,
)
from simmerge_hub.merger.work.split import Split, check_split, write_split
from simmerge_hub.merger.work.tensors import Writing, write_tensors
from simmerge_hub.progress import Progress, Say
from simmerge_hub.recipe import Recipe, check_recipe, fetch_all
from simmerge_hub.signatures.probing.probe import ProbeSet
from simmerge_hub.weights.alignment.align import refuse_rejections
from simmerge_hub.weights.stream import open_shards_to_read
from simmerge_hub.weights.writing.partial import Partial, partial_folder
from simmerge_hub.weights.writing.shards import (
    Shard,
    clear_beside,
    open_shards,
    plan_shards,
    written_digests,
)
from simmerge_hub.workers.here import HERE, Workers


def merge(
    recipe: Recipe,
    output: str | Path,
    *,
    overwrite: bool = False,
    threads: int | None = None,
    evict: bool = False,
    durable: bool = True,
    spare: bool = False,
    notes: str = "",
    page: Page | None = None,
    progress: Progress | None = None,
    workers: Workers = HERE,
    say: Say = lambda text: None,
) -> MergeReport:
    """Run a recipe. A run that was cut off is continued by running it again, and one that a plan
    has tried and kept is taken over.

    Args:
        recipe: what to merge; inputs without a commit are pinned to what they are now.
        output: the folder to make; it appears complete or not at all.
        overwrite: replace an existing folder at the end.
        threads: tensors merged at a time; by default all cores, or fewer where their memory is not
            free. The bytes do not depend on it.
        evict: delete shards that were downloaded for this as soon as they are merged.
        durable: flush to the disk before the folder appears.
        spare: leave beside the folder what it takes to keep it for another merge of the same.
        notes: YAML appended to the recipe beside the weights (a plan's `why:`).
        page: the README.md, and texts that belong to it, by file name.
        progress: called after every tensor.
        workers: the nodes of a cluster, over which it is split; by default it is merged here. The
            bytes do not depend on it, and a run may be continued either way.
        say: told how the work is spread over nodes.

    Raises:
        SimmergeError: before the first weight byte is read wherever headers can tell.
    """
    began = perf_counter()
    check_recipe(recipe)
    if workers.elsewhere:
        check_split(recipe)
    target = home_path(output).resolve()  # a link stays; what it points to is made
    check_output(recipe, target, overwrite)
    checkpoints = fetch_all(recipe)
    recipe, prompts = read_prompts(recipe)
    if recipe.output == "adapter":
        report = write_merged_adapter(
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
        return replace(report, folder=Path(output))
    layout, shards = prepare(recipe, checkpoints)
    with partial_folder(
        target,
        identity=identify(layout.recipe, shards),
        size=sum(shard.size for shard in shards),
        digest=written_digests(shards),
        overwrite=overwrite,
        durable=durable,
        spare=spare,
        shared=workers.elsewhere,
    ) as partial:
        clear_beside(partial.folder, shards)
        carry_over(layout, partial.folder)  # small, and what cannot be had is known at once
        finished = FinishTensor(partial.finish, len(partial.done), len(layout.entries), progress)
        with open_shards(partial.folder, shards):
            pass  # begun, for nodes to write into; headers of an earlier run are written again
        if partial.notes is not None and partial.done >= layout.entries.keys():
            decided = partial.notes  # an earlier run came to its end: not even a model is run
        elif workers.elsewhere:
            split = Split(layout=layout, shards=shards, folder=partial.folder)
            write_split(split, partial.done, finished, workers, say)
            decided = ()
        else:
            count = threads or default_threads(layout)
            decided = _write_here(layout, shards, partial, finished, prompts, evict, count)
        partial.conclude(decided)
        report = report_on(layout, Path(output), shards, began, decided)
        report = replace(report, taken_over=len(partial.done))
        write_texts(report, partial.folder, notes, page)
        digests = write_checksums(partial.folder)
    return replace(report, digests=digests)


def _write_here(
    layout: Layout,
    shards: list[Shard],
    partial: Partial,
    finished: Callable[[str], None],
    prompts: Mapping[str, Sequence[ProbeSet]],
    evict: bool,
    threads: int,
) -> tuple[str, ...]:
    """All tensors on this machine; what was decided about activations, in sentences."""
    with (
        open_shards(partial.folder, shards) as write,
        open_shards_to_read(partial.folder, shards) as written,
    ):
        writing = Writing(
            layout=layout,
            done=partial.done,
            write=write,
            written=written,
            finished=finished,
            evict=evict,
            threads=threads,
        )
        return write_tensors(writing, prompts)


def report_on(
    layout: Layout, folder: Path, shards: list[Shard], began: float, decided: tuple[str, ...]
) -> MergeReport:
    """What a merge into a model was, before digests are known; `began` by `perf_counter`."""
    return MergeReport(
        recipe=layout.recipe,
        folder=folder,
        checkpoints=layout.checkpoints,
        tensors=len(layout.entries),
        size=sum(shard.size for shard in shards),
        seconds=perf_counter() - began,
        versions=versions(),
        notes=(*layout.notes, *decided),
    )


def prepare(recipe: Recipe, checkpoints: Mapping[str, Checkpoint]) -> tuple[Layout, list[Shard]]:
    """The layout of a merge into a model, in which all fits, and the weight files it will write.

    Raises:
        SimmergeError: something does not fit, as far as headers tell.
    """
    layout = lay_out(recipe, checkpoints)
    refuse_rejections(layout.alignment)
    layout = check_config(layout)
    metadata = {"format": "pt", "simmerge": layout.recipe.to_yaml(published=True)}
    return layout, plan_shards(layout.entries, layout.recipe.shard_size, metadata)


class FinishTensor:
    """Called when a tensor is written: notes it by `finish`, and tells whoever watches."""

    def __init__(
        self, finish: Callable[..., None], done: int, total: int, progress: Progress | None
    ) -> None:
        self._finish, self._done, self._total, self._progress = finish, done, total, progress
        self._lock = Lock()

    def __call__(self, name: str, *computed: str) -> None:
        self._finish(name, *computed)
        with self._lock:
            self._done += 1
            if self._progress:
                self._progress(name, self._done, self._total)
