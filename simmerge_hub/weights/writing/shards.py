"""Rows -> safetensors shards with an index, at offsets known beforehand.

The header is written first and every row lands at its final place, so memory does not grow with
the model, tensors may be written in any order, and a shard can be continued after a crash.
"""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from simmerge_hub.errors import OutputError
from simmerge_hub.hub.files.hashes import hash_span
from simmerge_hub.hub.files.headers import (
    BITS,
    LENGTH_BYTES,
    TensorHeader,
    compose_header,
    parse_header,
)
from simmerge_hub.hub.weight_files import INDEX

Entry = tuple[str, tuple[int, ...]]
"""A tensor to write: its safetensors dtype and shape."""


class Write(Protocol):
    """Store rows [n, cols] of a tensor from row `low` on.

    Weights are in the output's torch dtype already; a buffer is given as uint8 [1, bytes].
    """

    def __call__(self, name: str, low: int, rows: Tensor) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One file to write: its name, header bytes, and where each tensor's data begins."""

    file: str
    header: bytes
    starts: Mapping[str, int]
    size: int

    @property
    def tensors(self) -> dict[str, TensorHeader]:
        """What its header says of its tensors."""
        return parse_header(self.header[LENGTH_BYTES:], self.size, self.file)

    @property
    def spans(self) -> Iterator[tuple[str, int, int]]:
        """Each tensor with the first and the last (exclusive) byte of its data."""
        ends = [*list(self.starts.values())[1:], self.size]
        for (name, start), end in zip(self.starts.items(), ends, strict=True):
            yield name, start, end


def plan_shards(
    entries: Mapping[str, Entry], limit: int, metadata: Mapping[str, str]
) -> list[Shard]:
    """Cut the tensors, in order, into files of at most `limit` bytes of data each.

    A tensor larger than `limit` gets a file of its own.
    """
    groups: list[dict[str, Entry]] = [{}]
    room = limit
    for name, entry in entries.items():
        size = _data_size(entry)
        if groups[-1] and size > room:
            groups.append({})
            room = limit
        groups[-1][name] = entry
        room -= size
    names = _file_names(len(groups))
    return [_shard(f, g, metadata) for f, g in zip(names, groups, strict=True)]


@contextmanager
def open_shards(folder: Path, shards: Sequence[Shard]) -> Iterator[Write]:
    """Create or continue the shards in `folder`; yields what stores rows at their places.

    The function may be called from several threads.
    """
    with _open_all(folder, shards, begin_shard) as write:
        yield write
    write_index(folder, shards)


def open_begun_shards(folder: Path, shards: Sequence[Shard]) -> AbstractContextManager[Write]:
    """Shards that another process has begun; yields what stores rows at their places.

    They are opened for nothing but writing, so that a network file system sends the bytes that are
    written and no others of the same page.

    Raises:
        OutputError: one is not there, or has another size.
    """
    return _open_all(folder, shards, _open_begun)


@contextmanager
def _open_all(
    folder: Path, shards: Sequence[Shard], opened: Callable[[Path, Shard], int]
) -> Iterator[Write]:
    """What stores rows at their places, in files of which `opened` gives a descriptor."""
    with ExitStack() as stack:
        places: dict[str, tuple[int, int, int]] = {}
        for shard in shards:
            handle = opened(folder / shard.file, shard)
            stack.callback(os.close, handle)
            places |= {name: (handle, start, end) for name, start, end in shard.spans}

        def write(name: str, low: int, rows: Tensor) -> None:
            handle, start, end = places[name]
            write_rows(handle, name, rows, low, start, end)

        yield write


def _open_begun(path: Path, shard: Shard) -> int:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        handle = -1
    if handle >= 0 and os.fstat(handle).st_size == shard.size:
        return handle
    if handle >= 0:
        os.close(handle)
    raise OutputError(
        f"{path.parent} is no folder that all machines share: {path.name} is not as it was begun",
        hint="write to a file system that every node has at the same path",
    )


def begin_shard(path: Path, shard: Shard) -> int:
    """A descriptor of a shard's file, of its size and with its header; data that is there stays."""
    if path.is_symlink():  # nobody's file is written into through a link
        path.unlink()
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        _reserve(handle, shard.size)
        os.pwrite(handle, shard.header, 0)
    except BaseException:
        os.close(handle)
        raise
    return handle


def write_rows(handle: int, name: str, rows: Tensor, low: int, start: int, end: int) -> None:
    """Store rows of a tensor from row `low` on, whose data lie at [start, end) of a file."""
    if not rows.numel():
        return
    data = rows.contiguous().view(torch.uint8).numpy()
    place = start + low * data.shape[1]
    if place + data.nbytes > end:
        raise ValueError(f"{name} has no room for rows {low} to {low + len(rows)}")
    _pwrite(handle, data.data.cast("B"), place)


def clear_beside(folder: Path, shards: Sequence[Shard]) -> None:
    """Delete what an earlier run left beside the weights: it is written anew, of inputs as they
    are now. What is hidden belongs to the run."""
    weights = {shard.file for shard in shards}
    for path in folder.iterdir():
        if path.name not in weights and not path.name.startswith("."):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def write_index(folder: Path, shards: Sequence[Shard]) -> None:
    """The file that says which shard a tensor is in, where there are several."""
    if len(shards) > 1:
        (folder / INDEX).write_text(_index(shards))


def written_digests(shards: list[Shard]) -> Callable[[Path, str], str]:
    """What gives the BLAKE3 of a tensor's data as it lies in a folder; "" where it cannot be there.

    It cannot where the shard is missing, is no plain file, or has another size than it was given.
    """
    places = {name: (shard, start, end) for shard in shards for name, start, end in shard.spans}

    def digest(folder: Path, name: str) -> str:
        shard, start, end = places[name]
        path = folder / shard.file
        if path.is_symlink() or not path.is_file() or path.stat().st_size != shard.size:
            return ""
        with open(path, "rb", buffering=0) as handle:
            return hash_span(handle, start, end)

    return digest


def _data_size(entry: Entry) -> int:
    """Bytes of a tensor's data."""
    code, shape = entry
    return prod(shape) * BITS[code] // 8


def _reserve(handle: int, size: int) -> None:
    """Give the file its size, with its blocks where the platform and file system can."""
    try:
        os.posix_fallocate(handle, 0, size)
    except AttributeError:  # macOS has no such call
        os.truncate(handle, size)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        os.truncate(handle, size)  # some file systems refuse it


def _file_names(count: int) -> list[str]:
    if count == 1:
        return ["model.safetensors"]
    return [f"model-{i:05}-of-{count:05}.safetensors" for i in range(1, count + 1)]


def _shard(file: str, group: Mapping[str, Entry], metadata: Mapping[str, str]) -> Shard:
    entries: dict[str, object] = {"__metadata__": dict(metadata)}
    at = 0
    offsets: dict[str, int] = {}
    for name, entry in group.items():
        end = at + _data_size(entry)
        code, shape = entry
        entries[name] = {"dtype": code, "shape": list(shape), "data_offsets": [at, end]}
        offsets[name], at = at, end
    header = compose_header(entries)
    return Shard(
        file=file,
        header=header,
        starts={name: len(header) + offset for name, offset in offsets.items()},
        size=len(header) + at,
    )


def _index(shards: Sequence[Shard]) -> str:
    weight_map = {name: shard.file for shard in shards for name in shard.starts}
    total = sum(shard.size - len(shard.header) for shard in shards)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    return json.dumps(index, indent=2, sort_keys=True) + "\n"


def _pwrite(handle: int, data: memoryview, at: int) -> None:
    while data:
        done = os.pwrite(handle, data, at)
        data, at = data[done:], at + done
