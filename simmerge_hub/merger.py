"""Recipe -> a model folder that transformers loads. Never asks who chose the recipe.

Tensors stream: a block of rows of every model is read, merged in float32, rounded once to the
output dtype and written to its final place. Memory does not grow with the model, and the bytes
depend on the recipe alone: not on threads, on block sizes, or on a crash in between.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from shutil import copyfile
from threading import Event, Lock
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from simmerge_hub import operators
from simmerge_hub.errors import CheckpointError, OutputError, RecipeError
from simmerge_hub.hub.ranges import local_file
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.operators import Operator, Place
from simmerge_hub.recipe import FILE, Recipe, Step, check, fetch, pinned
from simmerge_hub.weights.align import aligned
from simmerge_hub.weights.partial import Partial, partial_folder
from simmerge_hub.weights.shards import CODES, Write, plan_shards, writing
from simmerge_hub.weights.stream import Rows, matrix_shape, opened

BLOCK = 2**18
"""Entries of a tensor merged at a time (at least one row): float32 scratch stays in cache."""
TRANSFORMERS_FILES = ("generation_config.json", "preprocessor_config.json", "processor_config.json")
Progress = Callable[[str, int, int], None]
"""Called with (tensor name, tensors done, tensors in all)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeReport:
    """What a merge did: the pinned recipe, where it lies, and what it cost.

    `size` is bytes of tensor data written; `checkpoints` the inputs as they were resolved.
    """

    recipe: Recipe
    folder: Path
    checkpoints: Mapping[str, Checkpoint]
    tensors: int
    size: int
    seconds: float
    versions: Mapping[str, str]


def merge(
    recipe: Recipe,
    output: str | Path,
    *,
    overwrite: bool = False,
    threads: int | None = None,
    evict: bool = False,
    durable: bool = True,
    notes: str = "",
    page: "Callable[[MergeReport], str] | None" = None,
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
        page: writes the README.md of the folder.
        progress: called after every tensor.

    Raises:
        SimmergeError: before the first weight byte is read wherever headers can tell.
    """
    began = perf_counter()
    check(recipe)
    checkpoints = {s.name: fetch(s) for s in recipe.sources}
    base = checkpoints[recipe.base.name] if recipe.base else None
    models = [checkpoints[m.name] for m in recipe.models]
    shapes = aligned(models, base).shapes
    _check_tokenizer(recipe, checkpoints)
    _check_replaceable(Path(output))
    found = pinned(recipe, checkpoints, common_dtype(base or models[0]))
    shards = plan_shards(
        shapes,
        found.dtype,
        found.shard_size,
        {"format": "pt", "simmerge": found.to_yaml(published=True)},
    )
    size = sum(shard.size for shard in shards)
    versions = {name: version(name) for name in ("simmerge-hub", "torch")}
    identity = sha256(repr((shards, versions)).encode()).hexdigest()
    with partial_folder(
        Path(output), identity=identity, size=size, overwrite=overwrite, durable=durable
    ) as partial:
        left = [name for name in shapes if name not in partial.done]
        with ExitStack() as stack:
            tensors = _open(found, checkpoints, left, evict, stack)
            write = stack.enter_context(writing(partial.folder, shards, found.dtype))
            finished = _Finished(partial, len(shapes), progress)
            _stream(
                left, lambda name: _merge_tensor(found, tensors, name, write), finished, threads
            )
        _carry_over(found, checkpoints, partial.folder)
        (partial.folder / FILE).write_text(found.to_yaml(published=True) + notes, encoding="utf-8")
        report = MergeReport(
            recipe=found,
            folder=Path(output),
            checkpoints=checkpoints,
            tensors=len(shapes),
            size=size,
            seconds=perf_counter() - began,
            versions=versions,
        )
        if page is not None:
            (partial.folder / "README.md").write_text(page(report), encoding="utf-8")
    return report


def blocks(shape: Sequence[int]) -> list[tuple[int, int]]:
    """The row ranges a tensor of this shape is merged in; they depend on the shape alone."""
    rows, cols = matrix_shape(shape)
    step = max(1, BLOCK // max(1, cols))
    return [(low, min(low + step, rows)) for low in range(0, rows, step)]


def _open(
    recipe: Recipe,
    checkpoints: Mapping[str, Checkpoint],
    names: Sequence[str],
    evict: bool,
    stack: ExitStack,
) -> dict[str, dict[str, Rows]]:
    """Input name -> tensor name -> rows; adapters as models folded into the base."""
    base = checkpoints[recipe.base.name] if recipe.base else None
    return {
        name: stack.enter_context(opened(c, base, names=names, evict=evict))
        for name, c in checkpoints.items()
    }


class _Finished:
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


def _stream(
    names: Sequence[str],
    merge_one: Callable[[str], None],
    finished: Callable[[str], None],
    threads: int | None,
) -> None:
    """Merge the tensors in order, several at a time; each is computed by one thread alone.

    One thread's reading and writing overlaps with another's arithmetic, and what is in flight is
    bounded by the number of threads.
    """
    waiting, lock, stop = iter(names), Lock(), Event()

    def work() -> None:
        with torch.inference_mode():
            while not stop.is_set():
                with lock:
                    name = next(waiting, None)
                if name is None:
                    return
                merge_one(name)
                finished(name)

    def guarded() -> None:
        try:
            work()
        finally:
            stop.set()

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    count = threads or os.cpu_count() or 1
    try:
        with ThreadPoolExecutor(count, thread_name_prefix="merge") as pool:
            running = [pool.submit(guarded) for _ in range(count)]
            try:
                for each in running:
                    each.result()
            finally:
                stop.set()
    finally:
        torch.set_num_threads(before)


def _merge_tensor(
    recipe: Recipe, tensors: Mapping[str, Mapping[str, Rows]], name: str, write: Write
) -> None:
    inputs = {source: _sound(rows[name], source, name) for source, rows in tensors.items()}
    merged = merged_rows(recipe, name, inputs)
    dtype = getattr(torch, recipe.dtype)
    for low, high in blocks(merged.shape):
        rounded = merged.read(low, high).to(dtype)
        if not _finite(rounded):
            raise RecipeError(
                f"merging {name} overflows {recipe.dtype}",
                hint="use smaller weights or a smaller scale, or write a wider `dtype:`",
            )
        write(name, low, rounded)
    for rows in inputs.values():
        rows.done()


def merged_rows(recipe: Recipe, name: str, inputs: Mapping[str, Rows]) -> Rows:
    """One tensor of the recipe's output, as rows computed when they are read.

    Args:
        recipe: the steps.
        name: the tensor's, which random numbers belong to.
        inputs: the tensor in every source, by the source's name.
    """
    known = dict(inputs)
    result: Rows | None = None
    base = inputs[recipe.base.name] if recipe.base else None
    for step in recipe.steps:
        models = [known[each] for each in step.models]
        where = Place(tensor=name, models=step.models, shape=models[0].shape, seed=recipe.seed)
        result = _step_rows(step, base, models, where)
        known[step.name] = result
    assert result is not None
    return result


def _step_rows(step: Step, base: Rows | None, models: list[Rows], where: Place) -> Rows:
    operator = operators.check(step.operator, step.parameters, len(models), base=base is not None)
    chunks = _Chunks(operator, base, models)

    @cache
    def statistics() -> Any:
        return operators.measure(operator, chunks, step.parameters, where)

    def read(low: int, high: int, out: Tensor | None = None) -> Tensor:
        chunk, origin = _chunk(operator, base, models, low, high)
        here = replace(where, low=low)
        merged = operators.combine(operator, chunk, statistics(), step.parameters, here)
        if origin is not None:
            merged.add_(origin)
        return merged if out is None else out.copy_(merged)

    return Rows(shape=where.shape, read=read)


@dataclass(frozen=True, slots=True)
class _Chunks:
    """The chunks of one tensor, read anew each time they are iterated."""

    operator: Operator
    base: Rows | None
    models: list[Rows]

    def __iter__(self) -> Iterator[Tensor]:
        for low, high in blocks(self.models[0].shape):
            yield _chunk(self.operator, self.base, self.models, low, high)[0]


def _chunk(
    operator: Operator, base: Rows | None, models: list[Rows], low: int, high: int
) -> tuple[Tensor, Tensor | None]:
    """Rows [low, high) of the models stacked, as deltas if the operator wants them; the base's."""
    inputs = [base, *models] if operator.space == "anchored" and base is not None else models
    cols = matrix_shape(models[0].shape)[1]
    chunk = torch.empty(len(inputs), high - low, cols)
    for each, out in zip(inputs, chunk, strict=True):
        each.read(low, high, out)
    if operator.space != "delta":
        return chunk, None
    assert base is not None
    origin = base.read(low, high)
    return chunk.sub_(origin), origin


def _sound(tensor: Rows, source: str, name: str) -> Rows:
    """The same rows, but NaN and Inf are refused: a trim or a mask would hide them."""

    def read(low: int, high: int, out: Tensor | None = None) -> Tensor:
        found = tensor.read(low, high, out)
        if not _finite(found):
            raise CheckpointError(
                f"{source} has NaN or Inf in {name}",
                hint="leave this model out: it is damaged or its training diverged",
            )
        return found

    return Rows(shape=tensor.shape, read=read, done=tensor.done)


def _finite(rows: Tensor) -> bool:
    return not rows.numel() or all(torch.isfinite(torch.stack(torch.aminmax(rows))))


def common_dtype(checkpoint: Checkpoint) -> str:
    """The dtype most of a checkpoint's entries are stored in, of those that can be written."""
    entries = dict.fromkeys(CODES, 0)
    codes = {code: name for name, code in CODES.items()}
    for header in checkpoint.tensors.values():
        entries[codes.get(header.dtype, "float32")] += header.entries
    return max(entries, key=lambda name: entries[name])


def _check_tokenizer(recipe: Recipe, checkpoints: Mapping[str, Checkpoint]) -> None:
    if recipe.tokenizer != "base" and not checkpoints[recipe.tokenizer].tokenizer_files:
        raise RecipeError(
            f"{recipe.tokenizer} has no tokenizer files",
            hint="name another model under `tokenizer:`, or base",
        )


def _check_replaceable(output: Path) -> None:
    """Only what a merge made is ever replaced: --overwrite must not delete a folder of work."""
    if output.exists() and not (output / FILE).is_file() and not _is_empty(output):
        raise OutputError(
            f"{output} exists already, and is not a folder that a merge made",
            hint="choose another folder, or delete it yourself",
        )


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _carry_over(recipe: Recipe, checkpoints: Mapping[str, Checkpoint], folder: Path) -> None:
    """config.json with the output's dtype, generation and processor configs, the tokenizer."""
    first = recipe.base.name if recipe.base else recipe.models[0].name
    main = checkpoints[first]
    config = {k: v for k, v in main.config.items() if k not in ("torch_dtype", "_name_or_path")}
    config["dtype"] = recipe.dtype
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    chosen = checkpoints[first if recipe.tokenizer == "base" else recipe.tokenizer]
    names = [f for f in main.files if f in TRANSFORMERS_FILES]
    for source, name in [(main, n) for n in names] + [(chosen, n) for n in chosen.tokenizer_files]:
        copyfile(local_file(source.location, name), folder / name)
