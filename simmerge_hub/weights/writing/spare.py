"""One finished folder that was made to be looked at, kept until it is asked for.

It lies in the cache as a run that was stopped when all was done: whoever makes the same
(`partial_folder`) goes on from there, and believes nothing that its journal's digests do not show.
"""

import shutil
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from simmerge_hub.hub.assets import assets_folder

JOURNAL = ".journal"
UNUSABLE = (OSError, ValueError)
"""What a cache raises that cannot be written, or has a file where a folder should be: it only saves
time, so that is no error."""
CACHE_RESERVE = 2**30
"""Bytes that must stay free on another disk than the one where a folder was made."""


def journal_path(output: Path) -> Path:
    """Where the journal is while the folder that it says is finished gets its name."""
    return output.with_name(f".{output.name}.simmerge-journal")


def keep(made: Path, name: str) -> bool:
    """Keep a folder that was made with `spare=True`, in the place of the one that was kept.

    Args:
        made: the folder; it is gone from there, unless the cache's disk has no room for it.
        name: what it is known by (`drop`): a digest of its recipe and code.

    Returns:
        Whether it is kept.
    """
    drop()
    journal = journal_path(made)
    part = None
    try:
        if not journal.is_file() or not _has_room(_folder(), made):
            return False
        part = _folder() / f".{uuid4().hex}"
        journal.rename(made / JOURNAL)
        _move(made, part)
        part.rename(_folder() / name)
    except UNUSABLE:  # a full disk, or another process that keeps the same
        if part:
            shutil.rmtree(part, ignore_errors=True)
        return False
    return True


def take(identity: str, folder: Path) -> None:
    """The folder that was kept becomes `folder`, if it is of the work `identity`.

    Args:
        identity: as in `partial_folder`.
        folder: where it goes; not there yet.
    """
    for kept in _list():
        mine = kept.with_name(f".{uuid4().hex}")
        try:
            hidden = kept.name.startswith(".")  # on its way
            if not hidden and _identity(kept) == identity and _has_room(folder.parent, kept):
                kept.rename(mine)
                _move(mine, folder)
        except OSError:  # a full disk, or another process was faster: what is there is gone on with
            shutil.rmtree(mine, ignore_errors=True)


def drop(*, but: str = "") -> None:
    """Delete what is kept, except the folder named `but`."""
    for kept in _list():
        if kept.name != but:
            shutil.rmtree(kept, ignore_errors=True)


def _folder() -> Path:
    return assets_folder("tried", "merge")


def _list() -> list[Path]:
    with suppress(*UNUSABLE):
        return [path for path in sorted(_folder().iterdir()) if path.is_dir()]
    return []


def _identity(kept: Path) -> str:
    with suppress(OSError), open(kept / JOURNAL, encoding="utf-8", errors="replace") as lines:
        return lines.readline().rstrip("\n")
    return ""


def _has_room(place: Path, folder: Path) -> bool:
    """Whether the folder fits on the disk of `place`, or is there already."""
    if _device(place) == _device(folder):
        return True
    size = sum(path.stat().st_size for path in folder.rglob("*"))
    return shutil.disk_usage(place).free >= size + CACHE_RESERVE


def _device(path: Path) -> int:
    return path.stat().st_dev


def _move(source: Path, target: Path) -> None:
    """File by file, the journal first: cut off, it is a run that was stopped."""
    target.mkdir()
    for path in sorted(source.iterdir(), key=lambda path: path.name != JOURNAL):
        shutil.move(path, target / path.name)
    shutil.rmtree(source, ignore_errors=True)
