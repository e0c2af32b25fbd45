"""The structural part: a few whole rows of every tensor, the same ones in every model.

Which rows is decided by a tensor's name, its shape and one quota, so that two models of one
architecture are sampled alike without knowing of each other. Rows are taken in a few runs spread
over the tensor: whole rows because operators work on them, runs because a run is one byte range.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.weights.shapes import Shapes, matrix_shape, shapes

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_ENTRIES = 16_000_000
"""Entries sampled from a model at most, by default."""
BIG_MODEL = 250_000_000
"""Entries from which a model counts as big: 1 GB in float32, half of that in bfloat16."""
BIG_PART = 200
"""Of a big model, one entry in 200 is sampled at most; with what ranges bridge, under 1 %."""
RUNS_PER_TENSOR = 4
"""A tensor's rows are sampled in this many runs, one in each quarter of the tensor."""

Ranges = dict[str, tuple[tuple[int, int], ...]]


def choose_rows(sizes: Shapes, *, entries: int = SAMPLE_ENTRIES) -> Ranges:
    """Which rows of each tensor to sample.

    Args:
        sizes: tensor name -> shape of the full model.
        entries: the number of entries to stay under; for a big model at most 1/200 of its own.

    Returns:
        Tensor name -> row ranges [low, high), ascending. Tensors within the quota are whole. One
        whose single row exceeds four quotas (fused experts of a big model) is left out.
    """
    quota = _quota(sizes, entries)
    chosen = {name: _rows(name, shape, quota) for name, shape in sizes.items()}
    return {name: rows for name, rows in chosen.items() if rows}


def read_sample(
    checkpoint: Checkpoint, base: Checkpoint | None = None, *, entries: int = SAMPLE_ENTRIES
) -> dict[str, Tensor]:
    """Tensor name -> float32 [sampled rows, cols]; only those rows' bytes are read."""
    from simmerge_hub.weights.stream import read_rows

    return read_rows(checkpoint, choose_rows(shapes(checkpoint, base), entries=entries), base)


def _quota(sizes: Shapes, entries: int) -> int:
    """Entries a tensor may have in the sample: a power of two.

    Rounded so that models that differ a little in size (a few more tokens) are sampled alike.
    """
    counts = sorted(_entries(shape) for shape in sizes.values())
    total = sum(counts)
    left = min(entries, total // BIG_PART) if total >= BIG_MODEL else entries
    for place, count in enumerate(counts):
        share = left // (len(counts) - place)
        if count > share:
            return 1 << max(0, share.bit_length() - 1)
        left -= count
    return 1 << counts[-1].bit_length() if counts else 1


def _rows(name: str, shape: Sequence[int], quota: int) -> tuple[tuple[int, int], ...]:
    rows, cols = matrix_shape(shape)
    if rows * cols <= quota:
        return ((0, rows),) if rows * cols else ()
    if cols > 4 * quota:
        return ()
    wanted = max(1, quota // cols)
    runs = min(RUNS_PER_TENSOR, wanted)
    ranges = []
    for run in range(runs):
        low, high = rows * run // runs, rows * (run + 1) // runs
        length = wanted * (run + 1) // runs - wanted * run // runs
        length = min(length, high - low)
        start = low + _draw(f"{name} {rows}x{cols} {run}", high - low - length + 1)
        ranges.append((start, start + length))
    return tuple(ranges)


def _draw(text: str, below: int) -> int:
    """A number in [0, below) that `text` decides, the same in every version of Python."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) % below


def _entries(shape: Sequence[int]) -> int:
    rows, cols = matrix_shape(shape)
    return rows * cols
