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
DISK_RESERVE = 64 * 2**20
"""Bytes of disk that must stay free beside what is written."""
CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)
ELSEWHERE = "write to a folder in which you may make files"
"""What to do where none can be made."""


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
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}",
            hint=MORE_ROOM if error.errno in NO_ROOM else ELSEWHERE,
        ) from error


def refuse_unwritable(path: Path) -> None:
    """OutputError if no file can be made where `path` shall be; before the work that goes in it."""
    with writing(path), tempfile.TemporaryFile(dir=path.parent):
        pass


def fullest_cache() -> tuple[Path, str, int]:
    """Of the folders that are written to unasked, that with the least room, the variable that moves
    it, and the bytes that are left there."""
    places = {**_caches(), "TMPDIR": _temporary_folder()}
    left = {name: shutil.disk_usage(_nearest(path)).free for name, path in places.items()}
    name = min(left, key=left.__getitem__)
    return places[name], name, left[name]


def closed_cache(path: Path | None) -> str:
    """The variable that moves the cache in which the system refused something; "" if it is none.

    Args:
        path: what it refused; None where it did not say: then it is a cache that may not be
            written to.
    """
    for name, place in _caches().items():
        if path is None:
            found = not os.access(_nearest(place), os.W_OK)
        else:  # or what is to be made above it
            above = not is_there(path) and place.is_relative_to(path)
            found = above or path.is_relative_to(place)
        if found:
            return name
    return ""


def _caches() -> dict[str, Path]:
    """Variable that moves it -> folder; that which moves all of them first."""
    own = "HF_HUB_CACHE"
    return {
        own if own in os.environ else "HF_HOME": Path(constants.HF_HUB_CACHE),
        "HF_ASSETS_CACHE": Path(constants.HF_ASSETS_CACHE),
    }


def _nearest(path: Path) -> Path:
    """The folder, or that of those above it which is there."""
    return next(filter(is_there, (path, *path.parents)))


def is_there(path: Path) -> bool:
    """`Path.exists`, which raises for what lies in a folder that one may not enter: false then."""
    try:
        return path.exists()
    except PermissionError:
        return False


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
