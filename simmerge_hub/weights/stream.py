"""Tensors as rows: read a few whole rows of any tensor of a full model or an adapter.

Nothing here holds a whole model; what is read is what is asked for.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from simmerge_hub.errors import CheckpointError
from simmerge_hub.hub.files.cached import local_file
from simmerge_hub.hub.files.headers import BITS, TensorHeader
from simmerge_hub.hub.files.location import Location
from simmerge_hub.hub.files.ranges import read_spans
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.weights import adapters
from simmerge_hub.weights.numbers import decode, scale_grid
from simmerge_hub.weights.shapes import LARGEST_BUFFER, full_model, matrix_shape, shapes
from simmerge_hub.weights.shelf import Shelf
from simmerge_hub.weights.writing.shards import Shard

ONE_READ = 2**30
"""Bytes asked for in one call at most, where what is read is copied once more."""
RowRange = tuple[int, int]
"""Rows [low, high) of a tensor."""


class Read(Protocol):
    """Reads rows of a tensor; see `Rows`."""

    def __call__(self, low: int, high: int, out: Tensor | None = None, /) -> Tensor: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """One tensor of one model.

    `read(low, high)` gives its rows as float32 [high − low, cols]; `read(low, high, out)` fills
    `out` with them. `release()` says that it will not be read again.
    """

    shape: tuple[int, ...]
    read: Read
    release: Callable[[], None] = lambda: None


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
    stored = _read_stored(full_model(checkpoint, base), wanted)
    if checkpoint.kind == "full":
        return stored
    folds = adapters.folds(checkpoint, read_whole(checkpoint), shapes(checkpoint, base))
    return {
        name: torch.cat(_fold_ranges(rows, wanted[name], folds[name])) if name in folds else rows
        for name, rows in stored.items()
    }


def read_whole(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Every tensor as it is stored, float32 in its own shape: for adapters, which are small."""
    checkpoint = download(checkpoint)
    wanted = {n: [(0, matrix_shape(h.shape)[0])] for n, h in checkpoint.tensors.items()}
    stored = _read_stored(checkpoint, wanted)
    return {name: t.reshape(checkpoint.tensors[name].shape) for name, t in stored.items()}


def download(checkpoint: Checkpoint) -> Checkpoint:
    """The same with its weights here, whole, and each held against the digest the Hub states."""
    files = sorted({header.file for header in checkpoint.tensors.values()})
    folders = [local_file(checkpoint.weights, file).parent for file in files]
    return replace(checkpoint, converted=Location(folder=folders[0])) if folders else checkpoint


@contextmanager
def open_tensors(
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
    whole = full_model(checkpoint, base)
    wanted = list(whole.tensors if names is None else names)
    with Shelf(whole, wanted, evict=evict) as shelf:
        rows = {name: _stored_rows(shelf, name, whole.tensors[name]) for name in wanted}
        if checkpoint.kind == "adapter":
            folds = adapters.folds(checkpoint, read_whole(checkpoint), shapes(whole))
            rows |= {n: _adapted_rows(rows[n], fold) for n, fold in folds.items() if n in rows}
        yield rows


@contextmanager
def open_shards_to_read(
    folder: Path, shards: Sequence[Shard], files: "OpenFiles | None" = None
) -> Iterator[dict[str, Rows]]:
    """The tensors of shards that are being written: a row can be read once it is there.

    Args:
        folder: where the shards are.
        shards: all of them.
        files: what opens them; the caller's, if it deletes some meanwhile.
    """
    files = files or OpenFiles(folder)
    try:
        yield {
            name: _stored_rows(files, name, header)
            for shard in shards
            for name, header in shard.tensors.items()
        }
    finally:
        files.close()


class OpenFiles:
    """Descriptors of the files of a folder, each opened when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._handles, self._lock = folder, dict[str, int](), threading.Lock()

    def handle(self, file: str) -> int:
        """The descriptor of a file."""
        with self._lock:
            if file not in self._handles:
                self._handles[file] = os.open(self._folder / file, os.O_RDONLY)
            return self._handles[file]

    def release(self, name: str) -> None:
        """All stay open until the end."""

    def forget(self, file: str) -> None:
        """Close a file that will be deleted: an open one would keep its bytes on the disk."""
        with self._lock:
            handle = self._handles.pop(file, None)
        if handle is not None:
            os.close(handle)

    def close(self) -> None:
        """Close all."""
        for handle in self._handles.values():
            os.close(handle)
        self._handles.clear()


def read_buffer(checkpoint: Checkpoint, name: str) -> bytes:
    """The stored bytes of one of `checkpoint.buffers`, whole; its file is downloaded.

    Raises:
        CheckpointError: it is larger than any buffer should be.
    """
    header = checkpoint.buffers[name]
    size = header.end - header.start
    if size > LARGEST_BUFFER:
        raise CheckpointError(
            f"{checkpoint.name}: {name} is {header.dtype} and has {size:,} bytes, too many for a "
            "buffer",
            hint="whole numbers are copied, not merged; if these are packed weights, use the "
            "unquantised original",
        )
    folder = Location(folder=local_file(checkpoint.weights, header.file).parent)
    (data,) = read_spans(folder, header.file, [(header.start, header.end)])
    return data


def _read_stored(
    checkpoint: Checkpoint, wanted: Mapping[str, Sequence[RowRange]]
) -> dict[str, Tensor]:
    """Rows and scales of one file are asked for together, so that near ones are one request."""
    headers = {name: checkpoint.tensors[name] for name in wanted}
    places = [(h.file, _span(h, r)) for n, h in headers.items() for r in wanted[n]]
    places += [(s.file, (s.start, s.end)) for h in headers.values() if (s := h.scale)]
    by_file: dict[str, list[tuple[int, int]]] = {}
    for file, span in dict.fromkeys(places):
        by_file.setdefault(file, []).append(span)
    data = {
        (file, span): content
        for file, spans in by_file.items()
        for span, content in zip(spans, read_spans(checkpoint.weights, file, spans), strict=True)
    }
    rows: dict[str, Tensor] = {}
    for name, header in headers.items():
        scale = header.scale
        grid = scale_grid(header, data[scale.file, (scale.start, scale.end)]) if scale else None
        parts = [
            decode(bytearray(data[header.file, _span(header, r)]), header, grid, r[0])
            for r in wanted[name]
        ]
        rows[name] = torch.cat(parts)
    return rows


def _span(header: TensorHeader, rows: RowRange) -> tuple[int, int]:
    width = matrix_shape(header.shape)[1] * BITS[header.dtype] // 8
    return header.start + rows[0] * width, header.start + rows[1] * width


_scratch = threading.local()


def _buffer(size: int) -> memoryview:
    """A buffer of this thread of `size` bytes; what was in it is overwritten."""
    buffer = getattr(_scratch, "buffer", None)
    if buffer is None or len(buffer) < size:
        buffer = _scratch.buffer = bytearray(size)
    return memoryview(buffer)[:size]


def _stored_rows(shelf: Shelf | OpenFiles, name: str, header: TensorHeader) -> Rows:
    cols = matrix_shape(header.shape)[1]
    scale = _scale_reader(shelf, header)

    def read(low: int, high: int, out: Tensor | None = None) -> Tensor:
        grid = scale()
        start, end = _span(header, (low, high))
        data = _buffer(end - start)
        _read_all(shelf.handle(header.file), data, start, header.file)
        rows = torch.empty(high - low, cols) if out is None else out
        return decode(data, header, grid, low, rows)

    return Rows(shape=header.shape, read=read, release=lambda: shelf.release(name))


def _scale_reader(shelf: Shelf | OpenFiles, header: TensorHeader) -> Callable[[], Tensor | None]:
    """What gives a tensor's scale: read at the first call, whichever thread makes it."""
    scale, lock = header.scale, threading.Lock()
    if scale is None:
        return lambda: None

    @cache
    def read_grid() -> Tensor:
        data = bytearray(scale.end - scale.start)
        _read_all(shelf.handle(scale.file), memoryview(data), scale.start, scale.file)
        return scale_grid(header, data)

    def grid() -> Tensor:
        with lock:
            return read_grid()

    return grid


def _read_all(handle: int, data: memoryview, start: int, file: str) -> None:
    while data:
        got = _read_into(handle, data, start)
        if not got:
            raise CheckpointError(f"{file} ended early", hint="the file is damaged; fetch it again")
        data, start = data[got:], start + got


def _read_into(handle: int, data: memoryview, start: int) -> int:
    """How many bytes one system call read; some builds of Python for macOS have only pread."""
    if hasattr(os, "preadv"):
        return os.preadv(handle, [data], start)
    part = os.pread(handle, min(len(data), ONE_READ), start)
    data[: len(part)] = part
    return len(part)


def _adapted_rows(base: Rows, fold: adapters.Fold) -> Rows:
    def read(low: int, high: int, out: Tensor | None = None) -> Tensor:
        adapted = fold(base.read(low, high), low)
        return adapted if out is None else out.copy_(adapted)

    return Rows(shape=base.shape, read=read, release=base.release)


def _fold_ranges(rows: Tensor, ranges: Sequence[RowRange], fold: adapters.Fold) -> list[Tensor]:
    parts = rows.split([high - low for low, high in ranges])
    return [fold(part, low) for part, (low, _) in zip(parts, ranges, strict=True)]
