"""Rows put together from those of other tensors: each is a row of one, or the mean of several.

What follows on each other in every tensor is one read, so an order that hardly changes costs hardly
more than none.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from simmerge_hub.weights.shapes import matrix_shape
from simmerge_hub.weights.stream import Read, Rows


def gather_rows(sources: Sequence[Rows], origins: Tensor, *, release: Callable[[], None]) -> Rows:
    """A tensor whose every row is the mean of the rows named for it.

    Args:
        sources: tensors [Vᵢ, …] or vectors [Vᵢ], alike but for their first dimension.
        origins: int64 [sources, size]: the row of each for each row of the result, or -1 where it
            has no part. A row in which none has a part is zero.
        release: called when the result will not be read again.

    Returns:
        The tensor [size, …]. The mean is computed in float32, in the order of `sources`.
    """
    reads, runs, size = [source.read for source in sources], _cut_runs(origins), origins.shape[1]
    shape = sources[0].shape
    if len(shape) < 2:
        read = partial(_read_vector, reads, runs, size)
    else:
        read = partial(_read_rows, reads, runs, matrix_shape(shape)[1])
    return Rows(shape=(size, *shape[1:]), read=read, release=release)


def fill_origins(table: Tensor, place: int, base: int | None) -> Tensor:
    """Origins of one model's rows, where others stand in for what it lacks.

    Args:
        table: int64 [models, size]: each model's row for each of the output's, or -1.
        place: whose rows are meant.
        base: which model's row is preferred, if there is one; else the mean of all that have it.

    Returns:
        int64 [models, size], for `gather_rows`.
    """
    fallback = (
        table if base is None else torch.where(table[base] >= 0, _keep_only(table, base), table)
    )
    return torch.where(table[place] >= 0, _keep_only(table, place), fallback)


def _keep_only(table: Tensor, place: int) -> Tensor:
    kept = torch.full_like(table, -1)
    kept[place] = table[place]
    return kept


@dataclass(frozen=True, slots=True, kw_only=True)
class _Runs:
    """Where runs of rows begin in the output, and [models, runs] the first row of each, or -1."""

    starts: list[int]
    firsts: Tensor


def _cut_runs(chosen: Tensor) -> _Runs:
    """Cut the output's rows where any model's do not follow on each other."""
    before, after = chosen[:, :-1], chosen[:, 1:]
    follows = ((before >= 0) & (after == before + 1)) | ((before < 0) & (after < 0))
    cuts = torch.nonzero(~follows.all(0)).flatten() + 1
    starts = torch.cat([torch.zeros(1, dtype=torch.long), cuts])
    return _Runs(starts=starts.tolist(), firsts=chosen[:, starts])


def _read_rows(
    reads: Sequence[Read], runs: _Runs, cols: int, low: int, high: int, out: Tensor | None = None
) -> Tensor:
    rows = torch.empty(high - low, cols) if out is None else out
    if high == low:
        return rows
    first, last = bisect_right(runs.starts, low) - 1, bisect_left(runs.starts, high)
    starts = runs.starts[first:last]
    ends = [*starts[1:], high]
    for start, end, origins in zip(
        starts, ends, runs.firsts[:, first:last].T.tolist(), strict=True
    ):
        begin = max(start, low)
        parts = [(r, o + begin - start) for r, o in zip(reads, origins, strict=True) if o >= 0]
        _fill_mean(parts, rows[begin - low : end - low])
    return rows


def _fill_mean(parts: Sequence[tuple[Read, int]], out: Tensor) -> None:
    """Fill `out` with the mean, in float32 and in this order, of runs of rows; zero of none."""
    if not parts:
        out.zero_()
        return
    (read, row), *others = parts
    read(row, row + len(out), out)
    for read, row in others:
        out.add_(read(row, row + len(out)))
    if others:
        out.div_(len(parts))


def _read_vector(
    reads: Sequence[Read], runs: _Runs, size: int, low: int, high: int, out: Tensor | None = None
) -> Tensor:
    """A vector is one row: its columns are what is rearranged."""
    row = torch.empty(high - low, size) if out is None else out
    if high > low:
        used = (runs.firsts >= 0).any(1).tolist()
        columns = [_as_column(read) if u else read for read, u in zip(reads, used, strict=True)]
        _read_rows(columns, runs, 1, 0, size, row.T)
    return row


def _as_column(read: Read) -> Read:
    """Entries of a vector, read once, as rows of one."""
    held = read(0, 1).T

    def entries(low: int, high: int, out: Tensor | None = None) -> Tensor:
        return held[low:high] if out is None else out.copy_(held[low:high])

    return entries
