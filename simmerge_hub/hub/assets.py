"""Where derived files are cached: a folder beside huggingface_hub's own cache."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from uuid import uuid4

from huggingface_hub import cached_assets_path


def assets_folder(kind: str, name: str) -> Path:
    """The folder for cached files of one kind, made if it is not there (under HF_ASSETS_CACHE)."""
    return cached_assets_path("simmerge-hub", namespace=kind, subfolder=name)


def replace_file(path: Path, data: bytes) -> None:
    """Write a file of the user's in one step: a full disk leaves what was there, and no half."""
    part = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def write_whole(path: Path) -> Iterator[IO[bytes]]:
    """A file that is at `path` once it is whole and on the disk, and never before."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as handle:
        try:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
            Path(handle.name).replace(path)
        except BaseException:
            Path(handle.name).unlink()
            raise
