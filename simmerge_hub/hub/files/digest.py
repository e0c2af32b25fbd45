"""What a checkpoint is by its content: equal content, equal digest, wherever it lies."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from blake3 import blake3

from simmerge_hub.hub.assets import assets_folder
from simmerge_hub.hub.files.ranges import Location, local_file

if TYPE_CHECKING:
    from simmerge_hub.hub.reference import FileEntry
    from simmerge_hub.hub.resolve import Checkpoint

REMEMBERED = 16 * 2**20
"""Bytes from which the hash of a local file is kept in the assets cache."""
AT_ONCE = 2**22
"""Bytes that are hashed at a time."""
Kind = Literal["sha256", "blake3"]


def digest(checkpoint: Checkpoint) -> str:
    """sha256 over the weight, config and tokenizer files: equal content, equal digest.

    Files in subfolders and hidden ones do not count: a folder's listing has neither. The
    Hub states the sha256 of large files; small ones are fetched, and a folder's files are read.
    A checkpoint stored in .bin files counts as it is stored, not as it is converted.
    """
    parts = (f"{name} {file_sha256(checkpoint, name)}\n" for name in _counted(checkpoint))
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def folder_digest(checkpoint: Checkpoint) -> str:
    """What a recipe knows a folder by: `blake3:` and BLAKE3 over the same files as `digest`.

    It costs a quarter of the time, and for a folder nobody states a sha256.
    """
    hashed = {n: _at(checkpoint.location, n, "blake3") for n in _counted(checkpoint)}
    text = "".join(f"{name} {found}\n" for name, found in hashed.items())
    return f"blake3:{blake3(text.encode()).hexdigest()}"


def hash_together(checkpoints: Iterable[Checkpoint]) -> None:
    """Hash the weight files of several folders at once, a file a core, for `folder_digest`."""
    waiting = {
        (checkpoint.location, name)
        for checkpoint in checkpoints
        if checkpoint.ref.folder is not None
        for name in _counted(checkpoint)
    }
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda file: _at(file[0], file[1], "blake3"), waiting))


def file_sha256(checkpoint: Checkpoint, name: str) -> str:
    """The sha256 of one file's content."""
    return sha256_of(checkpoint.location, name, checkpoint.files[name])


def sha256_of(location: Location, name: str, entry: FileEntry) -> str:
    """The sha256 of a listed file: what the Hub states, or that of the file here."""
    return entry.sha256 or _at(location, name, "sha256")


def _counted(checkpoint: Checkpoint) -> list[str]:
    """The files that make a checkpoint what it is."""
    return sorted(
        name
        for name in checkpoint.files
        if "/" not in name
        and not name.startswith(".")
        and (
            name in ("config.json", "adapter_config.json")
            or name.endswith(".safetensors")
            or name in checkpoint.pickles
            or name in checkpoint.tokenizer_files
        )
    )


def _at(location: Location, name: str, kind: Kind) -> str:
    path = local_file(location, name).resolve()
    status = path.stat()
    return _hash(path, kind, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


@cache
def _hash(path: Path, kind: Kind, size: int, mtime: int, ctime: int, inode: int) -> str:
    """The hash of a file; that of a large one is remembered until the file changes."""
    if size < REMEMBERED:
        return _hash_now(path, kind)
    identity = f"{path} {size} {mtime} {ctime} {inode}"
    note = assets_folder(kind, hashlib.sha256(identity.encode()).hexdigest())
    known = note / kind
    if known.is_file() and re.fullmatch("[0-9a-f]{64}", found := known.read_text()):
        return found
    found = _hash_now(path, kind)
    part = note / f"part-{os.getpid()}-{threading.get_ident()}"
    part.write_text(found)
    part.replace(known)
    return found


def _hash_now(path: Path, kind: Kind) -> str:
    with open(path, "rb", buffering=0) as handle:
        if kind == "sha256":
            return hashlib.file_digest(handle, "sha256").hexdigest()
        found, buffer = blake3(), memoryview(bytearray(AT_ONCE))  # a mapping would count as memory
        while size := handle.readinto(buffer):
            found.update(buffer[:size])
    return found.hexdigest()
