"""Tensors as rows: read a few whole rows of any tensor of a full model or an adapter.

A tensor is seen as rows × columns: scalars and vectors are one row, inner dimensions are joined.
Nothing here holds a whole model; what is read is what is asked for.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Protocol

import torch
from torch import Tensor

from simmerge_hub.errors import AlignmentError, CheckpointError
from simmerge_hub.hub.headers import BITS, TensorHeader
from simmerge_hub.hub.ranges import read_spans
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.weights import adapters
from simmerge_hub.weights.shelf import Shelf

DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
}  # fmt: skip
"""Stored dtypes that can be merged."""
RowRange = tuple[int, int]
"""Rows [low, high) of a tensor."""


class Read(Protocol):
    """Reads rows of a tensor; see `Rows`."""

    def __call__(self, low: int, high: int, out: Tensor | None = None, /) -> Tensor: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """One tensor of one model.

    `read(low, high)` gives its rows as float32 [high − low, cols]; `read(low, high, out)` fills
    `out` with them. `done()` says that it will not be read again.
    """

    shape: tuple[int, ...]
    read: Read
    done: Callable[[], None] = lambda: None


def matrix_shape(shape: Sequence[int]) -> tuple[int, int]:
    """(rows, columns) of a tensor of this shape."""
    return (1, prod(shape)) if len(shape) < 2 else (shape[0], prod(shape[1:]))


def shapes(checkpoint: Checkpoint, base: Checkpoint | None = None) -> dict[str, tuple[int, ...]]:
    """Tensor name -> shape of the full model; an adapter has those of its base."""
    return {name: header.shape for name, header in _whole(checkpoint, base).tensors.items()}


def read_rows(
    checkpoint: Checkpoint,
    wanted: Mapping[str, Sequence[RowRange]],
    base: Checkpoint | None = None,
) -> dict[str, Tensor]:
    """Some rows of some tensors, fetching only their bytes (over HTTP Range if remote).

    Args:
        checkpoint: a full model, or an adapter with its `base`.
        wanted: tensor name -> row ranges.
        base: the model an adapter belongs to.

    Returns:
        Tensor name -> float32 [rows, cols], the ranges in the order given; for an adapter the rows
        of base + delta.
    """
    found = _read_stored(_whole(checkpoint, base), wanted)
    if checkpoint.kind == "full":
        return found
    folds = adapters.folds(checkpoint, read_whole(checkpoint), shapes(checkpoint, base))
    return {
        name: torch.cat(_folded(rows, wanted[name], folds[name])) if name in folds else rows
        for name, rows in found.items()
    }


def read_whole(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Every tensor as it is stored, float32 in its own shape: for adapters, which are small."""
    wanted = {n: [(0, matrix_shape(h.shape)[0])] for n, h in checkpoint.tensors.items()}
    stored = _read_stored(checkpoint, wanted)
    return {name: t.reshape(checkpoint.tensors[name].shape) for name, t in stored.items()}


@contextmanager
def opened(
    checkpoint: Checkpoint,
    base: Checkpoint | None = None,
    *,
    names: Iterable[str] | None = None,
    evict: bool = False,
) -> Iterator[dict[str, Rows]]:
    """The tensors of a model as `Rows`, which can be read while inside, from any thread.

    Args:
        checkpoint: a full model, or an adapter with its `base`.
        base: the model an adapter belongs to.
        names: the tensors that will be read, in this order; all by default.
        evict: delete files that were downloaded for this as soon as they are not needed.
    """
    whole = _whole(checkpoint, base)
    wanted = list(whole.tensors if names is None else names)
    with Shelf(whole, wanted, evict=evict) as shelf:
        rows = {name: _stored_rows(shelf, name, whole.tensors[name]) for name in wanted}
        if checkpoint.kind == "adapter":
            folds = adapters.folds(checkpoint, read_whole(checkpoint), shapes(whole))
            rows |= {n: _folded_rows(rows[n], fold) for n, fold in folds.items() if n in rows}
        yield rows


def _whole(checkpoint: Checkpoint, base: Checkpoint | None) -> Checkpoint:
    """The checkpoint whose tensors are those of the full model."""
    if checkpoint.kind == "full":
        return checkpoint
    if base is None or base.kind != "full":
        raise AlignmentError(
            f"{checkpoint.name} is an adapter, and its base is not known",
            hint="name the model it was trained on with --base",
        )
    return base


def _read_stored(
    checkpoint: Checkpoint, wanted: Mapping[str, Sequence[RowRange]]
) -> dict[str, Tensor]:
    by_file: dict[str, list[tuple[str, RowRange]]] = {}
    for name, ranges in wanted.items():
        file = checkpoint.tensors[name].file
        by_file.setdefault(file, []).extend((name, r) for r in ranges)
    parts: dict[str, list[Tensor]] = {name: [] for name in wanted}
    for file, places in by_file.items():
        spans = [_span(checkpoint.tensors[name], r) for name, r in places]
        for (name, _), data in zip(
            places, read_spans(checkpoint.location, file, spans), strict=True
        ):
            parts[name].append(decode(bytearray(data), name, checkpoint.tensors[name]))
    return {name: torch.cat(found) for name, found in parts.items()}


def _span(header: TensorHeader, rows: RowRange) -> tuple[int, int]:
    width = matrix_shape(header.shape)[1] * BITS[header.dtype] // 8
    return header.start + rows[0] * width, header.start + rows[1] * width


def decode(data: bytearray, name: str, header: TensorHeader) -> Tensor:
    """Stored bytes of whole rows -> float32 [rows, cols]. Refuses dtypes that hold no weights."""
    if header.dtype not in DTYPES:
        raise CheckpointError(
            f"{name} is stored as {header.dtype}, which cannot be merged",
            hint="merge a checkpoint stored in float32, float16 or bfloat16",
        )
    cols = matrix_shape(header.shape)[1]
    if not data:
        return torch.empty(0, cols)
    flat = torch.frombuffer(data, dtype=DTYPES[header.dtype])
    return flat.reshape(-1, cols).to(torch.float32)


_scratch = threading.local()


def _buffer(size: int) -> memoryview:
    """A buffer of this thread of `size` bytes; what was in it is overwritten."""
    found = getattr(_scratch, "buffer", None)
    if found is None or len(found) < size:
        found = _scratch.buffer = bytearray(size)
    return memoryview(found)[:size]


def _stored_rows(shelf: Shelf, name: str, header: TensorHeader) -> Rows:
    cols = matrix_shape(header.shape)[1]
    width = cols * BITS[header.dtype] // 8

    def read(low: int, high: int, out: Tensor | None = None) -> Tensor:
        found = torch.empty(high - low, cols) if out is None else out
        if found.numel():
            data = _buffer((high - low) * width)
            start = header.start + low * width
            _read_all(shelf.handle(header.file), data, start, header.file)
            found.copy_(torch.frombuffer(data, dtype=DTYPES[header.dtype]).view(-1, cols))
        return found

    return Rows(shape=header.shape, read=read, done=lambda: shelf.done(name))


def _read_all(handle: int, data: memoryview, start: int, file: str) -> None:
    while data:
        got = os.preadv(handle, [data], start)
        if not got:
            raise CheckpointError(f"{file} ended early", hint="the file is damaged; fetch it again")
        data, start = data[got:], start + got


def _folded_rows(base: Rows, fold: adapters.Fold) -> Rows:
    def read(low: int, high: int, out: Tensor | None = None) -> Tensor:
        adapted = fold(base.read(low, high), low)
        return adapted if out is None else out.copy_(adapted)

    return Rows(shape=base.shape, read=read, done=base.done)


def _folded(rows: Tensor, ranges: Sequence[RowRange], fold: adapters.Fold) -> list[Tensor]:
    parts = rows.split([high - low for low, high in ranges])
    return [fold(part, low) for part, (low, _) in zip(parts, ranges, strict=True)]
