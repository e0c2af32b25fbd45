"""What files of a user are by their content, so that what follows from them is not mistaken.

A task in a YAML of one's own, with data beside it, is known by what lies in its folder: wherever
that is, and until something there changes.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from simmerge_hub.documents import explain
from simmerge_hub.errors import EvaluationError
from simmerge_hub.hub.files.hashes import hash_contents

MOST_FILES = 5000
"""A folder of more is hardly one of tasks: it is refused rather than read for minutes."""
LARGE = 1 << 30
"""Bytes from which a file counts by its size and time: reading it takes seconds each time."""
WRITTEN = {"journal.jsonl", "search.jsonl"}
"""A folder with one of these is what `learn` or `search` writes, not what it follows from."""


def path_digest(path: Path) -> str:
    """sha256 of a file, or of names and contents of all files in a folder and in those in it.

    Hidden ones and Python's caches do not count, nor do folders that a run writes its results to.

    Raises:
        EvaluationError: there are too many, or one cannot be read.
    """
    try:
        parts = [f"{name} {_file_digest(file)}\n" for name, file in _files(path)]
    except OSError as error:
        raise EvaluationError(f"{path} cannot be read: {explain(error)}") from error
    return hashlib.sha256("".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def check_folder(include: Path | None) -> None:
    """Refuse a folder of further tasks that is none: the harness would pass over it in silence.

    Raises:
        EvaluationError: it is not there, or is a file.
    """
    if include is not None and not include.is_dir():
        raise EvaluationError(
            f"{include} is to hold further tasks, and "
            f"{'is a file' if include.exists() else 'is not there'}",
            hint="name the folder that has their YAML files, or leave it out",
        )


def task_file(task: str) -> Path | None:
    """The YAML that a task is given as; None where it is a name."""
    path = Path(task).expanduser()
    return path if (path.suffix or "/" in task) and path.is_file() else None


def task_content(task: str, include: Path | None = None) -> str:
    """What a task is by files here: its own YAML's folder, and further tasks; "" without any."""
    file = task_file(task)
    name = f"{file.name} in {path_digest(file.resolve().parent)}" if file else task
    further = f" with {path_digest(include)}" if include else ""
    return name + further if file or include else ""


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    """(Name, file), in the same order on every machine."""
    if path.is_file():
        yield "", path
        return
    there = 0
    for folder, folders, names in os.walk(path):
        if Path(folder) != path and WRITTEN & set(names):
            folders.clear()
            continue
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f != "__pycache__")
        for name in sorted(names):
            file = Path(folder, name)
            if name.startswith(".") or not file.is_file():
                continue
            there += 1
            if there > MOST_FILES:
                raise EvaluationError(
                    f"{path} holds more than {MOST_FILES} files, which a score would depend on",
                    hint="put the YAML of tasks, and their data, in a folder of their own",
                )
            yield file.relative_to(path).as_posix(), file


def _file_digest(file: Path) -> str:
    about = file.stat()
    if about.st_size >= LARGE:
        return f"{about.st_size} {about.st_mtime_ns}"
    return hash_contents(file, "sha256")
