"""What a merge would do and what it would cost, from headers alone: nothing is run, no weight read.

The time is that of the arithmetic, measured here on one block of random numbers with every program
of the recipe; reading, writing and downloading come on top, and their bytes are stated.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import prod
from time import perf_counter

import torch

from simmerge_hub.errors import RecipeError
from simmerge_hub.hub.files.cached import is_cached
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.merger.activations.cost import Passes, count_passes
from simmerge_hub.merger.activations.prompts import read_prompts
from simmerge_hub.merger.compute import BLOCK_ENTRIES, Job, merge_rows
from simmerge_hub.merger.files import check_config
from simmerge_hub.merger.layout import Layout, lay_out
from simmerge_hub.merger.work.crew import cores
from simmerge_hub.merger.work.kept import LONG, WHOLE_ENTRIES
from simmerge_hub.operators import find
from simmerge_hub.operators.regression.deltas import SOLVES_AT_ONCE, solve_bytes
from simmerge_hub.recipe import Recipe, Step, check_recipe, fetch_all
from simmerge_hub.weights.alignment.matching import Rejection
from simmerge_hub.weights.loaded.memory import MEMORY_SHARE, free_memory
from simmerge_hub.weights.shapes import matrix_shape
from simmerge_hub.weights.stream import Rows

PROCESS_BYTES = 320 * 2**20
"""Bytes that Python and torch take before the first tensor."""
BLOCK_WIDTH = 1024
"""Columns of the block that a merge's time is estimated from."""
SCRATCH_BLOCKS = 6
"""float32 blocks that one thread holds besides one for each input, whatever the operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one input would cost: bytes of its weight files, those to download, the largest."""

    name: str
    size: int
    download: int
    largest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """The answer of `check`: whether it fits, and the cost. All sizes in bytes.

    `disk` counts the output and what is downloaded; `disk_evicting` the same with --evict, which
    keeps two files of an input at most. `seconds` is the arithmetic on `threads` threads. `passes`
    says what of it is for running the models, where the merge sees activations.
    """

    layout: Layout
    rejected: tuple[Rejection, ...]
    needs: tuple[Need, ...]
    output: int
    memory: int
    seconds: float
    threads: int
    passes: Passes | None = None

    @property
    def download(self) -> int:
        """Bytes that are not in the cache yet."""
        return sum(need.download for need in self.needs)

    @property
    def disk(self) -> int:
        """Bytes of disk for the output and the downloads."""
        return self.output + self.download

    @property
    def disk_evicting(self) -> int:
        """The same if every downloaded file is deleted after use."""
        return self.output + sum(min(2 * n.largest, n.download) for n in self.needs)


def check(recipe: Recipe, *, threads: int | None = None) -> Preflight:
    """Look at everything a recipe needs without reading a weight.

    Args:
        recipe: what would be merged.
        threads: for the estimates; `default_threads` by default.

    Raises:
        SimmergeError: an input cannot be resolved, or the recipe cannot be run at all. Tensors
            that do not fit are not raised but listed in `rejected`.
    """
    check_recipe(recipe)
    if recipe.output == "adapter":
        raise RecipeError(
            "`check` looks at merges into a model, and the recipe says `output: adapter`",
            hint="run it: merge checks the headers of all adapters before it computes anything",
        )
    checkpoints = fetch_all(recipe, hashed=False)
    recipe, prompts = read_prompts(recipe)
    layout = lay_out(recipe, checkpoints, pins=False)
    layout = check_config(layout)
    count = threads or default_threads(layout)
    wanted = layout.tensors_to_read(layout.tensors)
    for name in _whole(layout, prompts):
        wanted[name] = list(layout.checkpoints[name].tensors)
    passes = count_passes(layout, prompts, count)
    return Preflight(
        layout=layout,
        rejected=layout.alignment.rejected,
        needs=tuple(_need(name, c, wanted[name]) for name, c in layout.checkpoints.items()),
        output=sum(_output_bytes(layout, shape) for shape in layout.alignment.shapes.values()),
        memory=memory_bytes(layout, count) + (passes.memory if passes else 0),
        seconds=_arithmetic_seconds(layout, count) + (passes.seconds if passes else 0),
        threads=count,
        passes=passes,
    )


def _whole(layout: Layout, models: Iterable[str]) -> set[str]:
    """The inputs that are read whole, for they are run; of an adapter also the base."""
    run = set(models)
    if any(layout.checkpoints[name].kind == "adapter" for name in run) and layout.recipe.base:
        run.add(layout.recipe.base.name)
    return run


def _need(name: str, checkpoint: Checkpoint, wanted: list[str]) -> Need:
    """Of the files that hold these tensors and their scales; an adapter's one is always read."""
    everything = list(checkpoint.tensors.values())
    everything += [header.scale for header in everything if header.scale]
    sizes: dict[str, int] = {}
    for header in everything:
        sizes[header.file] = max(sizes.get(header.file, 0), header.end)
    if checkpoint.kind == "full":
        read = [checkpoint.tensors[tensor] for tensor in wanted]
        files = {h.file for h in read} | {h.scale.file for h in read if h.scale}
        sizes = {file: size for file, size in sizes.items() if file in files}
    missing = [size for file, size in sizes.items() if not is_cached(checkpoint.weights, file)]
    return Need(
        name=name,
        size=sum(sizes.values()),
        download=sum(missing),
        largest=max(missing, default=0),
    )


def _output_bytes(layout: Layout, shape: tuple[int, ...]) -> int:
    return prod(shape) * (4 if layout.recipe.dtype == "float32" else 2)


def memory_bytes(layout: Layout, threads: int) -> int:
    """Peak resident bytes: the process, blocks in flight, adapters, which are held whole."""
    widest = max((matrix_shape(s)[1] for s in layout.alignment.shapes.values()), default=1)
    blocks = threads * (len(layout.checkpoints) + SCRATCH_BLOCKS) * max(BLOCK_ENTRIES, widest) * 4
    held = sum(
        header.entries * 4
        for checkpoint in layout.checkpoints.values()
        if checkpoint.kind == "adapter"
        for header in checkpoint.tensors.values()
    )
    solving = _solve_bytes(layout, threads)
    return PROCESS_BYTES + blocks + held + threads * _kept_bytes(layout) + solving


def default_threads(layout: Layout) -> int:
    """All cores; fewer where the memory that they take together is not free now.

    Steps that look at all rows of a tensor hold matrices as wide as it is, each thread its own.
    """
    count, room = cores(), MEMORY_SHARE * free_memory()
    while count > 1 and memory_bytes(layout, count) > room:
        count -= 1
    return count


def _solve_bytes(layout: Layout, threads: int) -> int:
    """What steps hold that look at all rows of a tensor together: each of them, until it is
    written."""
    programs = layout.recipe.programs
    counts = [[len(s.models) for s in steps if find(s.operator).all_rows] for steps in programs]
    shapes = layout.alignment.shapes.values()
    sizes = [[solve_bytes(shape, n) for n in models] for models in counts for shape in shapes]
    held = max((sum(held for held, _ in each) for each in sizes), default=0)
    solve = max((solve for _, solve in chain(*sizes)), default=0)
    return threads * held + min(threads, SOLVES_AT_ONCE) * solve


def _kept_bytes(layout: Layout) -> int:
    """Results between steps: two at a time, of the largest tensor of which they are kept."""
    sizes = [prod(s) for n, s in layout.alignment.shapes.items() if len(layout.steps(n)) > LONG]
    return 2 * 4 * max((size for size in sizes if size <= WHOLE_ENTRIES), default=0)


def _arithmetic_seconds(layout: Layout, threads: int) -> float:
    """Seconds for all tensors, from one block of each program; few threads solve at a time."""
    entries = [0.0] * len(layout.recipe.programs)
    wide = [_solves(steps) for steps in layout.recipe.programs]
    for match in layout.tensors.values():
        if not match.copied:
            by_width = wide[match.slice] and len(match.shape) == 2
            share = match.shape[1] / BLOCK_WIDTH if by_width else 1.0
            entries[match.slice] += prod(match.shape) * share
    at_once = [min(threads, SOLVES_AT_ONCE) if solves else threads for solves in wide]
    return sum(n * _seconds_per_entry(layout, i) / at_once[i] for i, n in enumerate(entries) if n)


def _solves(steps: Sequence[Step]) -> bool:
    """Whether a step looks at all rows together: its work grows with the width of a tensor."""
    return any(find(step.operator).all_rows for step in steps)


def _seconds_per_entry(layout: Layout, program: int) -> float:
    """Seconds for each entry: the better of two runs on a block of the output's dtype."""
    steps = layout.recipe.programs[program]
    dtype = getattr(torch, layout.recipe.dtype)
    rows = BLOCK_WIDTH if _solves(steps) else BLOCK_ENTRIES // BLOCK_WIDTH
    stored: Mapping[str, torch.Tensor] = {
        name: torch.randn(rows, BLOCK_WIDTH, generator=torch.Generator().manual_seed(i)).to(dtype)
        for i, name in enumerate(layout.checkpoints)
    }
    base = layout.recipe.base.name if layout.recipe.base else None
    job = Job(name="", steps=steps, inputs={n: _rows(t) for n, t in stored.items()}, base=base,
              fed={})  # fmt: skip
    before, took = torch.get_num_threads(), list[float]()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            for _ in range(2):
                began = perf_counter()
                merge_rows(job).read(0, rows).to(dtype)
                took.append(perf_counter() - began)
    finally:
        torch.set_num_threads(before)
    return min(took) / (rows * BLOCK_WIDTH)


def _rows(stored: torch.Tensor) -> Rows:
    def read(low: int, high: int, out: torch.Tensor | None = None) -> torch.Tensor:
        rows = stored[low:high].to(torch.float32)
        return rows if out is None else out.copy_(rows)

    return Rows(shape=tuple(stored.shape), read=read)
