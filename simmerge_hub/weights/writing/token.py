"""A token in a folder: who finds it there sees the same folder as who laid it.

It also tells runs apart. Whoever writes for another process opens a file first and then looks for
the token of the run: after that run died and another began, the token is gone before the files are
replaced, so nobody writes what belongs to the old run into the new one's files.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from simmerge_hub.errors import OutputError

PREFIX = ".token-"
HINT = "write to a file system that every node has at the same path, or merge on one machine"


@contextmanager
def lay_token(folder: Path) -> Iterator[str]:
    """Inside, a file of `folder` holds the token; former ones are removed."""
    remove_tokens(folder)
    token = uuid4().hex
    _path(folder, token).write_text(token)
    try:
        yield token
    finally:
        remove_tokens(folder)


def remove_tokens(folder: Path) -> None:
    """Remove those of every run, and the answers to them."""
    for path in folder.glob(f"{PREFIX}*"):
        path.unlink(missing_ok=True)


def check_token(folder: Path, token: str) -> None:
    """Raise OutputError unless `folder` holds the token of a run that goes on."""
    try:
        there = _path(folder, token).read_text()
    except OSError:
        there = ""
    if there != token:
        raise OutputError(f"{folder} is not seen by every node, or its run has ended", hint=HINT)


def answer_token(folder: Path, token: str) -> str:
    """Write an answer beside a token; its name, or "" where the token is not there."""
    try:
        check_token(folder, token)
        name = f"{PREFIX}{token}-{uuid4().hex}"
        (folder / name).write_text(token)
    except (OSError, OutputError):
        return ""
    return name


def is_answered(folder: Path, token: str, answer: str) -> bool:
    """Whether an answer has come to where the token was laid."""
    try:
        return bool(answer) and (folder / answer).read_text() == token
    except OSError:
        return False


def _path(folder: Path, token: str) -> Path:
    return folder / f"{PREFIX}{token}"
