"""Xet uploads: files put together again from the compressed chunks the client sends.

The client cuts a file into chunks, packs chunks into *xorbs*, and sends a *shard* that says which
chunk ranges of which xorbs make up each file. localhub rebuilds each file at once and keeps it as
one plain blob; xorbs are kept only while the server runs, because the client may refer to them
again. Formats: https://huggingface.co/docs/xet (xorb, shard). Knows nothing about HTTP or
repositories.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import lz4.frame
import numpy as np

from simmerge_hub.localhub import names
from simmerge_hub.localhub.errors import Refused
from simmerge_hub.localhub.store.blobs import Blobs

XORB_LIMIT = 64 * 2**20
"""Bytes a xorb may have, serialized."""

CHUNK_HEADER = 8
FOOTER_MARK = b"XETBLOB"
SHARD_TAG = b"HFRepoMetaData"
SHARD_HEADER = 48
RECORD = struct.Struct("<32s4I")
BOOKEND = b"\xff" * 32
HAS_VERIFICATION, HAS_SHA256 = 1 << 31, 1 << 30


@dataclass(frozen=True, slots=True)
class Chunk:
    """Where a chunk is in a xorb: `packed` bytes at `offset`, `size` bytes once decoded."""

    offset: int
    packed: int
    scheme: int
    size: int


@dataclass(frozen=True, slots=True)
class Segment:
    """Chunks `first` to `last` (exclusive) of a xorb: `size` bytes of a file."""

    xorb: str
    first: int
    last: int
    size: int


@dataclass(frozen=True, slots=True)
class XetFile:
    """How to put a file together, and what its SHA-256 will be when the client said so."""

    segments: tuple[Segment, ...]
    sha256: str | None


def hash_name(raw: bytes) -> str:
    """A 32-byte hash as Xet writes it: four little-endian 64-bit numbers in hex."""
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", raw))


def read_shard(data: bytes) -> list[XetFile]:
    """The files a shard describes; the chunk index that follows them is not needed."""
    if not data.startswith(SHARD_TAG):
        raise Refused("not a Xet shard")
    return list(_files(data))


def _files(data: bytes) -> Iterator[XetFile]:
    body = data[SHARD_HEADER:]
    records = RECORD.iter_unpack(body[: len(body) // RECORD.size * RECORD.size])
    while True:
        [(name, flags, count, _, _)] = _take(records, 1)
        if name == BOOKEND:
            return
        rows = _take(records, count)
        segments = [
            Segment(hash_name(xorb), first, last, size) for xorb, _, size, first, last in rows
        ]
        _take(records, count if flags & HAS_VERIFICATION else 0)
        metadata = _take(records, 1 if flags & HAS_SHA256 else 0)
        yield XetFile(tuple(segments), hash_name(metadata[0][0]) if metadata else None)


def _take(records: Iterator[tuple], count: int) -> list[tuple]:
    taken = list(islice(records, count))
    if len(taken) < count:
        raise Refused("truncated Xet shard")
    return taken


def chunk_table(xorb: BinaryIO) -> list[Chunk]:
    """Where the chunks of a xorb are; Refused when it is not well formed."""
    end = xorb.seek(0, 2)
    table, offset = [], 0
    while offset < end:
        xorb.seek(offset)
        header = xorb.read(CHUNK_HEADER)
        if header.startswith(FOOTER_MARK):
            break
        chunk = _chunk(header, offset + CHUNK_HEADER)
        offset = chunk.offset + chunk.packed
        table.append(chunk)
        if offset > end:
            raise Refused("truncated Xet xorb")
    return table


def _chunk(header: bytes, offset: int) -> Chunk:
    if len(header) < CHUNK_HEADER or header[0] != 0:
        raise Refused("malformed chunk in Xet xorb")
    packed, size = (int.from_bytes(header[at : at + 3], "little") for at in (1, 5))
    return Chunk(offset, packed, header[4], size)


def decode(data: bytes, chunk: Chunk) -> bytes:
    """The bytes of a chunk: stored (scheme 0), LZ4 frame (1), or LZ4 of grouped bytes (2)."""
    if chunk.scheme not in (0, 1, 2):
        raise Refused(f"unknown Xet compression scheme {chunk.scheme}")
    try:
        plain = _unpack(data, chunk.size) if chunk.scheme else data
    except RuntimeError as error:
        raise Refused(f"damaged chunk in Xet xorb: {error}") from None
    if len(plain) != chunk.size:
        raise Refused(f"chunk of {len(plain)} bytes in Xet xorb, expected {chunk.size}")
    return ungroup(plain) if chunk.scheme == 2 else plain


def _unpack(data: bytes, size: int) -> bytes:
    """An LZ4 frame, as far as one byte more than it should have: a few bytes unfold into much."""
    return lz4.frame.LZ4FrameDecompressor().decompress(data, max_length=size + 1)


def ungroup(data: bytes) -> bytes:
    """Undo byte grouping: of every four bytes, all the first ones come first, then the second."""
    grouped = np.frombuffer(data, np.uint8)
    plain = np.empty_like(grouped)
    start = 0
    for lane in range(4):
        target = plain[lane::4]
        target[:] = grouped[start : start + target.size]
        start += target.size
    return plain.tobytes()


class Xorbs:
    """The xorbs one running server has received."""

    def __init__(self, root: Path):
        self._root = root

    def path(self, name: str) -> Path:
        """Where a xorb is, or would be."""
        return self._root / names.sha256(name)

    def rebuild(self, file: XetFile, blobs: Blobs) -> str:
        """Put a file together, check it, keep it as a blob, and return its SHA-256."""
        tables: dict[str, list[Chunk]] = {}
        with blobs.receive() as incoming:
            for segment in file.segments:
                for data in self._chunks(segment, tables):
                    incoming.write(data)
            return incoming.keep(sha256=file.sha256, size=sum(part.size for part in file.segments))

    def receive(self, name: str, staged: BinaryIO) -> None:
        """Keep a xorb that has been written to a staged file, if it is well formed."""
        chunk_table(staged)
        staged.flush()
        Path(staged.name).replace(self.path(name))  # not flushed to disk: a restart drops it anyway

    def _chunks(self, segment: Segment, tables: dict[str, list[Chunk]]) -> Iterator[bytes]:
        try:
            xorb = self.path(segment.xorb).open("rb")
        except FileNotFoundError:
            raise Refused(f"xorb {segment.xorb} was not uploaded") from None
        with xorb:
            if segment.xorb not in tables:
                tables[segment.xorb] = chunk_table(xorb)
            table = tables[segment.xorb]
            if not 0 <= segment.first < segment.last <= len(table):
                raise Refused(f"xorb {segment.xorb} has {len(table)} chunks, not {segment.last}")
            for chunk in table[segment.first : segment.last]:
                xorb.seek(chunk.offset)
                yield decode(xorb.read(chunk.packed), chunk)
