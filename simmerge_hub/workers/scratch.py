"""Folders for what a worker makes and deletes again, and what is left of those that were killed.

All are in one folder of the user's under TMPDIR. Each is locked by the process that uses it, and
the system takes the lock from a process that dies: a folder whose lock is free is nobody's, and
whoever comes next removes it.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import gettempdir, mkdtemp

from simmerge_hub.errors import OutputError

LOCK = ".lock"
"""In the common folder: held while one is made or removed. In a folder: held by who uses it."""


def scratch_home() -> Path:
    """The common folder; it may not be there. Once made it stays: others may be about to use it."""
    return Path(gettempdir()) / f"simmerge-{os.getuid()}"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder that only this user may look into, and that is removed when the block ends.

    What processes left that were killed is removed first.

    Raises:
        OutputError: somebody else has made the common folder, or none can be made.
    """
    try:
        with _lock_home(make=True):
            _remove_unused()
            folder = Path(mkdtemp(dir=scratch_home()))
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError as error:
        raise OutputError(
            f"no temporary folder can be made in {scratch_home()}: {error.strerror}",
            hint="set TMPDIR to a folder of your own, on a disk with free space",
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def remove_leftovers() -> int:
    """Remove the folders of processes that are gone.

    Returns:
        How many folders were removed.
    """
    with suppress(OSError, OutputError), _lock_home(make=False):
        return _remove_unused()
    return 0


@contextmanager
def _lock_home(*, make: bool) -> Iterator[None]:
    """Alone in the common folder, which is this user's and no link."""
    home = scratch_home()
    if make and not home.is_symlink():
        home.mkdir(mode=0o700, exist_ok=True)
    about = home.lstat()
    if home.is_symlink() or about.st_uid != os.getuid() or about.st_mode & 0o077:
        raise OutputError(
            f"{home} was made by somebody else, and merges would be made in it",
            hint="remove it, or set TMPDIR to a folder of your own",
        )
    lock = os.open(home / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _remove_unused() -> int:
    """Of the folders in the common one, those that no process uses."""
    unused = [f for f in scratch_home().iterdir() if f.is_dir() and not _is_used(f)]
    for folder in unused:
        shutil.rmtree(folder, ignore_errors=True)
    return len(unused)


def _is_used(folder: Path) -> bool:
    try:
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:  # whoever made it died at once: a lock is made with the folder
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False
