"""OUT.partial/: a folder that becomes OUT by one rename, and can be continued after a crash.

A journal inside names the finished tensors with the digests of their data. It belongs to one plan
of work (`identity`): another plan starts anew. Nothing it says is believed that the folder does not
show: files may have been deleted or cut short, and pages lost when the machine went down.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from simmerge_hub.errors import CheckpointError, OperatorError, OutputError, RecipeError
from simmerge_hub.hub.assets import DISK_RESERVE, MORE_ROOM, writing
from simmerge_hub.units import spell_bytes
from simmerge_hub.weights.writing.spare import JOURNAL, journal_path, take
from simmerge_hub.weights.writing.token import remove_tokens

NOTES = "notes"
"""The key of a journal's last line, when all is done."""
Digest = Callable[[Path, str], str]
"""The digest of a tensor's data as it lies in a folder; "" where it is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Partial:
    """The folder to fill, and the tensors an earlier run finished in it."""

    folder: Path
    done: frozenset[str]
    journal: int
    digest: Digest
    notes: tuple[str, ...] | None = None
    """What an earlier run that had come to its end said of its work."""

    def finish(self, name: str, computed: str = "") -> None:
        """A tensor is written; it will not be done again. One write call: a line or nothing.

        Args:
            name: the tensor.
            computed: the digest of what was computed, where another machine wrote it.

        Raises:
            OutputError: the folder does not show what was computed.
        """
        digest = self.digest(self.folder, name)
        if computed and computed != digest:
            raise OutputError(
                f"what another machine wrote of {name} is not what {self.folder} shows here",
                hint="write to a file system on which a machine sees what others wrote as soon as "
                "they have closed a file, or merge on one machine",
            )
        os.write(self.journal, f"{json.dumps([name, digest])}\n".encode())

    def conclude(self, notes: Sequence[str]) -> None:
        """All tensors are written, and this is to be said of them."""
        line = json.dumps({NOTES: list(notes)})
        os.write(self.journal, f"{line}\n".encode())


@contextmanager
def partial_folder(
    output: Path,
    *,
    identity: str,
    size: int,
    digest: Digest,
    overwrite: bool = False,
    durable: bool = True,
    keep: bool = True,
    spare: bool = False,
    shared: bool = False,
) -> Iterator[Partial]:
    """A folder to fill that becomes `output` when the block ends, and only then.

    A crash, an interrupt, a full disk or a broken connection leaves it to be continued; inputs that
    can never be merged remove it.

    Args:
        output: the folder to make.
        identity: what is being made; an earlier run is continued only if it made the same.
        size: bytes that will be written; free disk is checked first.
        digest: of a tensor in the folder; what an earlier run finished must still have its own.
        overwrite: replace an existing folder, at the end.
        durable: flush to the disk before the rename.
        keep: whether there shall be an `output`; otherwise nothing is left when the block ends.
        spare: leave the journal beside `output`, so that `spare.keep` can take it.
        shared: other machines fill it too: no error removes it, for the inputs of one may be at
            fault.

    Raises:
        OutputError: `output` exists or may not be written, the disk is too full, another process
            is at it, or `OUT.partial` holds something that is not ours.
    """
    with writing(output):
        output.parent.mkdir(parents=True, exist_ok=True)
    folder = output.with_name(f"{output.name}.partial")
    with _lock(output):
        _restore(output, folder)
        _check_paths(output, folder, overwrite or not keep)
        if keep and not folder.exists():
            take(identity, folder)
        _check_disk(folder, output, size)
        folder.mkdir(exist_ok=True)
        with _open_journal(folder) as journal:
            done, notes = _resume(folder, journal, identity, digest)
            try:
                yield Partial(folder=folder, done=done, journal=journal, digest=digest, notes=notes)
            except (CheckpointError, OperatorError, RecipeError):
                if not shared:
                    _remove(folder)
                raise
        if keep:
            _replace(folder, output, durable, spare)
        else:
            _remove(folder)


@contextmanager
def _lock(output: Path) -> Iterator[None]:
    """One process at a time makes an output. The lock's file is gone again afterwards."""
    path = output.with_name(f".{output.name}.simmerge-lock")
    handle = _open_lock(path, output)
    while not _is_at(handle, path):  # its former owner removed it meanwhile
        os.close(handle)
        handle = _open_lock(path, output)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _open_lock(path: Path, output: Path) -> int:
    with writing(output):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise OutputError(
            f"another process is writing {output}", hint="wait for it, or choose another folder"
        ) from None
    return handle


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.fstat(handle).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False


def _check_paths(output: Path, folder: Path, overwrite: bool) -> None:
    if output.exists() and not overwrite:
        raise OutputError(
            f"{output} exists already", hint="choose another folder, or replace it: --overwrite"
        )
    if folder.is_symlink() or (folder.exists() and not _is_ours(folder)):
        raise OutputError(
            f"{folder}, where {output.name} would be made, holds something else",
            hint="move it away, or choose another output folder",
        )


def _is_ours(folder: Path) -> bool:
    journal = folder / JOURNAL
    return folder.is_dir() and (
        not any(folder.iterdir()) or (journal.is_file() and not journal.is_symlink())
    )


@contextmanager
def _open_journal(folder: Path) -> Iterator[int]:
    handle = os.open(folder / JOURNAL, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666)
    try:
        yield handle
    finally:
        os.close(handle)


def _resume(
    folder: Path, journal: int, identity: str, digest: Digest
) -> tuple[frozenset[str], tuple[str, ...] | None]:
    """The tensors an earlier run of the same work finished, and what it said at its end; otherwise
    the folder is emptied."""
    remove_tokens(folder)  # of a run that was killed
    text = os.pread(journal, os.fstat(journal).st_size, 0)
    whole = text[: text.rfind(b"\n") + 1]
    os.ftruncate(journal, len(whole))  # a crash may have cut the last line short
    first, *lines = whole.decode(errors="replace").splitlines() or [""]
    if first == identity:
        return _finished(folder, lines, digest), _notes(lines)
    _empty(folder)
    os.ftruncate(journal, 0)
    os.write(journal, f"{identity}\n".encode())
    return frozenset(), None


def _remove(folder: Path) -> None:
    """The journal goes last: without it nobody knows the rest for ours, and a crash would leave
    what no later run may touch."""
    _empty(folder)
    shutil.rmtree(folder)


def _empty(folder: Path) -> None:
    """Remove all but the journal."""
    for path in folder.iterdir():
        if path.name != JOURNAL:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _finished(folder: Path, lines: list[str], digest: Digest) -> frozenset[str]:
    """The tensors in the lines of a journal whose data are what it says; all cores look."""
    stated = dict(filter(None, map(_entry, lines)))

    def is_there(name: str) -> bool:
        try:
            return digest(folder, name) == stated[name] != ""
        except (KeyError, OSError):  # no tensor of this work, or a file that cannot be read
            return False

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        there = pool.map(is_there, stated)
        return frozenset(name for name, holds in zip(stated, there, strict=True) if holds)


def _entry(line: str) -> tuple[str, str] | None:
    """(tensor, digest) of a line of the journal; None for any other text."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if isinstance(entry, list) and len(entry) == 2 and all(isinstance(e, str) for e in entry):
        return entry[0], entry[1]
    return None


def _notes(lines: list[str]) -> tuple[str, ...] | None:
    """What the last line says, if it concludes the work."""
    try:
        stated = json.loads(lines[-1])[NOTES]
    except (ValueError, RecursionError, LookupError, TypeError):
        return None
    return tuple(map(str, stated)) if isinstance(stated, list) else None


def _check_disk(folder: Path, output: Path, size: int) -> None:
    held = sum(p.stat().st_blocks * 512 for p in folder.iterdir()) if folder.exists() else 0
    free = shutil.disk_usage(output.parent).free + held
    if free < size + DISK_RESERVE:
        raise OutputError(
            f"{output} needs {spell_bytes(size)}, and the disk has {spell_bytes(free)} left",
            hint=MORE_ROOM,
        )


def _replace(folder: Path, output: Path, durable: bool, spare: bool) -> None:
    """`folder` becomes `output`. A crash in between leaves one of the two complete."""
    if durable:
        for path in [*folder.rglob("*"), folder]:
            _sync(path)
    journal, old = journal_path(output), _replaced_path(output)
    (folder / JOURNAL).rename(journal)
    if output.exists():
        output.rename(old)
    folder.rename(output)
    if durable:
        _sync(output.parent)
    if not spare:
        journal.unlink()
    shutil.rmtree(old, ignore_errors=True)


def _restore(output: Path, folder: Path) -> None:
    """Undo a replacement that a crash cut in two, or finish it."""
    old, journal = _replaced_path(output), journal_path(output)
    if journal.exists() and folder.exists() and not (folder / JOURNAL).exists():
        journal.rename(folder / JOURNAL)
    journal.unlink(missing_ok=True)
    if old.exists() and not output.exists():
        old.rename(output)
    shutil.rmtree(old, ignore_errors=True)


def _replaced_path(output: Path) -> Path:
    return output.with_name(f".{output.name}.simmerge-replaced")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
