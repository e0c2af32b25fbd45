"""Hashes of whole files here: each is computed once, that of a large file kept until it changes."""

import hashlib
import os
import re
import threading
from functools import cache
from pathlib import Path
from typing import BinaryIO, Literal

from blake3 import blake3

from simmerge_hub.hub.assets import assets_folder

REMEMBERED = 16 * 2**20
"""Bytes from which the hash of a local file is kept in the assets cache."""
BLOCK_BYTES = 2**22
"""Bytes that are hashed at a time."""
Kind = Literal["sha256", "blake3", "git"]
"""`git`: the SHA-1 that git names a file's content by."""


def hash_path(file: Path, kind: Kind) -> str:
    """The hash of a whole file in hexadecimal digits."""
    path = file.resolve()
    status = path.stat()
    return _hash(path, kind, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


@cache
def _hash(path: Path, kind: Kind, size: int, mtime: int, ctime: int, inode: int) -> str:
    """The hash of a file; that of a large one is remembered until the file changes."""
    if size < REMEMBERED:
        return hash_contents(path, kind)
    identity = f"{path} {size} {mtime} {ctime} {inode}"
    folder = assets_folder(kind, hashlib.sha256(identity.encode()).hexdigest())
    note = folder / kind
    if note.is_file() and re.fullmatch("[0-9a-f]{40,64}", known := note.read_text()):
        return known
    computed = hash_contents(path, kind)
    part = folder / f"part-{os.getpid()}-{threading.get_ident()}"
    part.write_text(computed)
    part.replace(note)
    return computed


def hash_contents(path: Path, kind: Kind) -> str:
    """The hash of a whole file, read now whatever is remembered of it."""
    with open(path, "rb", buffering=0) as handle:
        if kind == "sha256":
            return hashlib.file_digest(handle, "sha256").hexdigest()
        size = path.stat().st_size
        if kind == "git":
            state = hashlib.sha1(b"blob %d\0" % size)
            return hashlib.file_digest(handle, lambda: state).hexdigest()
        return hash_span(handle, 0, size)


def hash_span(handle: BinaryIO, start: int, end: int) -> str:
    """The BLAKE3 of bytes [start, end) of an open file, or of those of them that there are."""
    state, buffer = blake3(), memoryview(bytearray(min(BLOCK_BYTES, end - start)))
    handle.seek(start)
    while start < end and (size := handle.readinto(buffer[: end - start])):  # type: ignore[attr-defined]
        state.update(buffer[:size])
        start += size
    return state.hexdigest()
