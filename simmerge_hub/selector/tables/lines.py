"""Tables and journals on disk: JSON Lines, compressed where the name says so (`.jsonl.gz`)."""

import gzip
import json
import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from simmerge_hub.documents import explain, read_json_object
from simmerge_hub.errors import PredictorError
from simmerge_hub.hub.assets import replace_file

LARGEST_TABLE = 2**30
"""Characters of a table at most: forty times the largest of ours; a few bytes unfold into more."""
TABLES = "simmerge-hub zoo measure and zoo features write such tables, and so does learn"


def read_text(path: Path) -> str:
    """The text of a table.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no text, or longer than 1 GiB.
    """
    if path.suffix != ".gz":
        return path.read_text("utf-8")
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            text = file.read(LARGEST_TABLE + 1)
    except (EOFError, zlib.error) as error:
        raise ValueError(f"it is not compressed whole: {error}") from error
    if len(text) > LARGEST_TABLE:
        raise ValueError("it is longer than 1 GiB")
    return text


def read_journal(path: Path) -> list[Any]:
    """The JSON values of a journal of ours, up to a line that was torn; none if it is not there, or
    if nothing follows its first line, which says what the others are of."""
    lines: list[Any] = []
    for line in path.read_text("utf-8").split("\n") if path.exists() else ():
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines if len(lines) > 1 else []


def start_lines(path: Path, lines: Iterable[Any]) -> None:
    """A journal that holds these JSON values, in place of the former one and its torn end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    _put(fresh, "w", lines)
    fresh.replace(path)


def add_line(path: Path, line: Any) -> None:
    """One line more of a journal, on the disk before this returns."""
    _put(path, "a", [line])


def _put(path: Path, mode: str, lines: Iterable[Any]) -> None:
    with path.open(mode, encoding="utf-8") as file:
        file.writelines(f"{json.dumps(line)}\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())


def read_lines(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """The objects of a table with the numbers of their lines; empty lines are left out.

    Raises:
        PredictorError: there is no such file, or it cannot be read.
        ValueError: it is no text, too long, or a line, which is named, is no JSON object.
    """
    entries: list[tuple[int, dict[str, Any]]] = []
    try:
        text = read_text(path)
    except OSError as error:
        raise PredictorError(f"{path} cannot be read: {explain(error)}", hint=TABLES) from error
    for number, line in enumerate(text.split("\n"), 1):
        try:
            if line.strip():
                entries.append((number, read_json_object(line)))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
    return entries


def write_text(path: Path, text: str) -> None:
    """Write a table in one step; the same text gives the same bytes.

    Raises:
        OutputError: it cannot be written; what was there stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode()
    replace_file(path, gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
