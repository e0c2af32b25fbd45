"""Files that appear whole or not at all, and survive `kill -9` and a power cut once they have
appeared.

A draft is written in the staging folder, flushed to disk, renamed to its final name, and the folder
that holds the name is flushed too. Knows nothing about what the files mean.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4


@contextmanager
def draft(staging: Path) -> Iterator[BinaryIO]:
    """A new binary file in `staging`, gone at the end of the block unless it has been landed."""
    path = staging / uuid4().hex
    with path.open("x+b") as file:
        try:
            yield file
        finally:
            path.unlink(missing_ok=True)


def land(file: BinaryIO, target: Path) -> None:
    """Give a draft its final name, replacing what was there in one step."""
    file.flush()
    os.fsync(file.fileno())
    make_folder(target.parent)
    Path(file.name).replace(target)
    flush_folder(target.parent)


def write(target: Path, data: bytes, *, staging: Path) -> None:
    """Replace the content of `target` in one step."""
    with draft(staging) as file:
        file.write(data)
        land(file, target)


def make_folder(path: Path) -> None:
    """Create `path` and its missing parents, each one recorded on disk in its parent."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    flush_folder(path.parent)


def move_folder(source: Path, target: Path) -> None:
    """Rename a folder in one step; OSError when a folder with content has that name."""
    make_folder(target.parent)
    source.rename(target)
    flush_folder(target.parent)
    flush_folder(source.parent)


def remove_folder(path: Path, *, staging: Path) -> None:
    """Make a folder disappear in one step, then free its space."""
    grave = staging / uuid4().hex
    move_folder(path, grave)
    shutil.rmtree(grave)


def flush_folder(path: Path) -> None:
    """Flush the names in a folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
