"""Results between steps that are kept, so that the work grows with the number of steps.

A result that several steps read would be computed for each, and those before it again: twice the
work with every step. One that a step reads twice, for its statistics and for its rows, would be
computed twice, with all statistics before it: work that grows with the square of the steps.
"""

from collections.abc import Sequence
from math import prod

from torch import Tensor

from simmerge_hub.weights.shapes import matrix_shape
from simmerge_hub.weights.stream import Rows

WHOLE_ENTRIES = 2**24
"""Of the largest tensor whose results between steps are kept whole, float32; two at a time."""
LONG = 3
"""Up to so many steps are cheaper to compute anew than to keep."""


def keep(rows: Rows, *, used: int, steps: int, read_last: Sequence[Rows]) -> Rows:
    """The rows of a step's result, kept as far as it pays.

    Args:
        rows: computed when they are read. A job is one thread's.
        used: how often later steps read it.
        steps: of the whole program.
        read_last: results of earlier steps that no later one reads; released once all is here.
    """
    if not used:
        return rows
    if steps > LONG and prod(rows.shape) <= WHOLE_ENTRIES:
        return _keep_whole(rows, read_last)
    return _keep_block(rows) if used > 1 else rows


def _keep_block(rows: Rows) -> Rows:
    """The last block that was read is kept for the other steps that read it."""
    kept: dict[tuple[int, int], Tensor] = {}

    def read(low: int, high: int, out: Tensor | None = None) -> Tensor:
        if (low, high) not in kept:
            block = rows.read(low, high)
            kept.clear()
            kept[low, high] = block
        block = kept[low, high]
        return block.clone() if out is None else out.copy_(block)

    return Rows(shape=rows.shape, read=read, release=rows.release)


def _keep_whole(rows: Rows, read_last: Sequence[Rows]) -> Rows:
    """Every block is kept, until it is released."""
    kept: dict[tuple[int, int], Tensor] = {}
    count = matrix_shape(rows.shape)[0]

    def read(low: int, high: int, out: Tensor | None = None) -> Tensor:
        if (low, high) not in kept:
            kept[low, high] = rows.read(low, high)
            if sum(end - start for start, end in kept) >= count:
                for each in read_last:
                    each.release()
        block = kept[low, high]
        return block.clone() if out is None else out.copy_(block)

    return Rows(shape=rows.shape, read=read, release=kept.clear)
