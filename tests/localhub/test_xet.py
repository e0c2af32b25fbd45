"""The Xet formats, written by hand here and read by localhub."""

import io
import struct
from pathlib import Path

import lz4.frame
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simmerge_hub.localhub import xet
from simmerge_hub.localhub.errors import Refused
from simmerge_hub.localhub.store import storage

NAME = "0123456789abcdef" * 4
RAW = struct.pack("<4Q", *[0x0123456789ABCDEF] * 4)


def group(data: bytes) -> bytes:
    return b"".join(data[lane::4] for lane in range(4))


def chunk(data: bytes, scheme: int = 0) -> bytes:
    packed = {0: data, 1: lz4.frame.compress(data), 2: lz4.frame.compress(group(data))}[scheme]
    sizes = (len(packed).to_bytes(3, "little"), len(data).to_bytes(3, "little"))
    return b"\0" + sizes[0] + bytes([scheme]) + sizes[1] + packed


def shard(*rows: tuple[int, int, int], sha256: bytes = b"", verified: bool = True) -> bytes:
    flags = (xet.HAS_VERIFICATION if verified else 0) | (xet.HAS_SHA256 if sha256 else 0)
    body = struct.pack("<32s4I", b"f" * 32, flags, len(rows), 0, 0)
    body += b"".join(struct.pack("<32s4I", RAW, 0, size, first, last) for first, last, size in rows)
    body += bytes(48) * (len(rows) if verified else 0) + (
        sha256.ljust(48, b"\0") if sha256 else b""
    )
    return (
        xet.SHARD_TAG.ljust(48, b"\0") + body + xet.BOOKEND + bytes(16) + b"chunk index, not read"
    )


@pytest.fixture
def parts(tmp_path: Path) -> storage.Storage:
    parts = storage.prepare(tmp_path)
    data = chunk(b"stored") + chunk(b"packed " * 50, 1) + chunk(bytes(range(251)), 2)
    parts.xorbs.path(NAME).write_bytes(data + b"XETBLOB and a footer")
    return parts


def test_hashes_are_written_as_numbers() -> None:
    assert xet.hash_name(bytes(range(32)))[:16] == "0706050403020100"
    assert xet.hash_name(RAW) == NAME


@given(st.binary(max_size=300))
def test_ungrouping_undoes_grouping(data: bytes) -> None:
    assert xet.ungroup(group(data)) == data


@pytest.mark.parametrize("scheme", [0, 1, 2])
@given(data=st.binary(min_size=1, max_size=2000))
def test_chunks_survive(scheme: int, data: bytes) -> None:
    xorb = io.BytesIO(chunk(b"before") + chunk(data, scheme))
    entry = xet.chunk_table(xorb)[1]
    assert xet.decode(xorb.getvalue()[entry.offset : entry.offset + entry.packed], entry) == data


def test_a_file_is_put_together_from_ranges(parts: storage.Storage) -> None:
    (file,) = xet.read_shard(shard((1, 3, 350 + 251), (0, 1, 6)))
    name = parts.xorbs.rebuild(file, parts.blobs)
    assert parts.blobs.read(name) == b"packed " * 50 + bytes(range(251)) + b"stored"


@pytest.mark.parametrize("verified", [True, False])
def test_the_sha256_in_a_shard_is_checked(parts: storage.Storage, verified: bool) -> None:
    (file,) = xet.read_shard(shard((0, 1, 6), sha256=RAW, verified=verified))
    assert file.sha256 == NAME
    with pytest.raises(Refused, match="expected 6 with 0123"):
        parts.xorbs.rebuild(file, parts.blobs)


@pytest.mark.parametrize("rows", [(0, 4, 9), (2, 1, 9), (1, 1, 0), (0, 1, 7)])
def test_ranges_that_do_not_fit_are_refused(
    parts: storage.Storage, rows: tuple[int, int, int]
) -> None:
    (file,) = xet.read_shard(shard(rows))
    with pytest.raises(Refused):
        parts.xorbs.rebuild(file, parts.blobs)


def test_a_xorb_that_was_not_sent_is_refused(parts: storage.Storage) -> None:
    parts.xorbs.path(NAME).unlink()
    (file,) = xet.read_shard(shard((0, 1, 6)))
    with pytest.raises(Refused, match="was not uploaded"):
        parts.xorbs.rebuild(file, parts.blobs)


@pytest.mark.parametrize("cut", range(1, 200, 7))
def test_truncated_shards_are_refused(cut: int) -> None:
    whole = shard((0, 1, 6), (1, 2, 350), sha256=RAW)
    end = whole.index(xet.BOOKEND) + 48
    with pytest.raises(Refused):
        xet.read_shard(whole[: end - cut])


@given(st.binary(max_size=64))
def test_rubbish_is_refused_not_crashed_on(data: bytes) -> None:
    for read in (xet.read_shard, lambda data: xet.chunk_table(io.BytesIO(b"\1" + data))):
        with pytest.raises(Refused):
            read(data)


def test_damaged_chunks_are_refused() -> None:
    for packed, entry in (
        (b"not lz4", xet.Chunk(0, 7, 1, 100)),
        (b"abc", xet.Chunk(0, 3, 0, 4)),
        (b"abc", xet.Chunk(0, 3, 9, 3)),
        (lz4.frame.compress(b"abc"), xet.Chunk(0, 0, 2, 4)),
    ):
        with pytest.raises(Refused):
            xet.decode(packed, entry)


def test_byte_order_of_floats_is_kept() -> None:
    floats = np.arange(1000, dtype=np.float32).tobytes()
    assert xet.ungroup(group(floats)) == floats
