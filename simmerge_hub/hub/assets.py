"""Where derived files are cached: a folder beside huggingface_hub's own cache."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO
from uuid import uuid4

from huggingface_hub import cached_assets_path, constants

from simmerge_hub.errors import OutputError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
MORE_ROOM = "free some space, or write to another disk"
"""What to do where there is none."""


def assets_folder(kind: str, name: str) -> Path:
    """The folder for cached files of one kind, made if it is not there (under HF_ASSETS_CACHE)."""
    return cached_assets_path("simmerge-hub", namespace=kind, subfolder=name)


def replace_file(path: Path, data: bytes) -> None:
    """Write a file of the user's in one step: a full disk leaves what was there, and no half.

    Where a link leads to a file, that is replaced, and the link stays.

    Raises:
        OutputError: there is a device or a pipe, which would be gone, or it cannot be written.
    """
    refuse_special(path)
    target = path.resolve()
    part = target.with_name(f".{target.name}.{uuid4().hex}")
    with writing(path):
        try:
            part.write_bytes(data)
            part.replace(target)
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What the system refuses inside, as an error of ours that names `path`.

    Raises:
        OutputError: it may not be written there, or there is no room.
    """
    try:
        yield
    except OSError as error:
        elsewhere = "write to a folder in which you may make files"
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}",
            hint=MORE_ROOM if error.errno in NO_ROOM else elsewhere,
        ) from error


def refuse_unwritable(path: Path) -> None:
    """OutputError if no file can be made where `path` shall be; before the work that goes in it."""
    with writing(path), tempfile.TemporaryFile(dir=path.parent):
        pass


def fullest_cache() -> tuple[Path, str, int]:
    """Of the folders that are written to unasked, that with the least room, the variable that moves
    it, and the bytes that are left there."""
    own = "HF_HUB_CACHE"
    places = {
        own if own in os.environ else "HF_HOME": Path(constants.HF_HUB_CACHE),
        "HF_ASSETS_CACHE": Path(constants.HF_ASSETS_CACHE),
        "TMPDIR": _temporary_folder(),
    }
    there = {
        name: next(p for p in (path, *path.parents) if p.exists()) for name, path in places.items()
    }
    left = {name: shutil.disk_usage(path).free for name, path in there.items()}
    name = min(left, key=left.__getitem__)
    return places[name], name, left[name]


def _temporary_folder() -> Path:
    """tempfile tries to write before it says where; on a full disk it says nothing."""
    try:
        return Path(tempfile.gettempdir())
    except OSError:
        return Path(os.environ.get("TMPDIR", "/tmp"))


def refuse_special(path: Path) -> None:
    """OutputError if what is there is neither a file nor a folder: a device, a pipe."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise OutputError(
            f"{path} is a device or a pipe, and a file would take its place",
            hint="name a file, and read that",
        )


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
