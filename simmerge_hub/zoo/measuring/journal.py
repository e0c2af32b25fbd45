"""What was measured so far, beside the table that it becomes: a stopped measurement goes on.

    {"journal": "<sha256 of zoo, arms and exams>"}
    {"pair": ["code-1", "math-3"], "of": "<sha256 of the models>", "rows": [{…}, {…}]}

A line is written at once and whole; a torn last line is dropped, and the file of another zoo is
refused. A zoo may grow, or some of its models be trained again: only their pairs are then dropped.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from simmerge_hub.errors import RequestError
from simmerge_hub.selector.tables.lines import add_line, read_journal, start_lines
from simmerge_hub.selector.tables.outcomes import Outcome
from simmerge_hub.zoo.measuring.design import Pair

Digest = Callable[[Pair], str | None]
"""A pair -> what its rows follow from; None if one of the models is no longer there."""


def read(path: Path, digest: str, of: Digest) -> dict[Pair, list[Outcome]]:
    """The pairs that the journal at `path` holds; none if it is not there.

    Raises:
        RequestError: it holds pairs of another zoo, or measured in another way.
    """
    lines = read_journal(path)
    if lines and lines[0].get("journal") != digest:
        raise RequestError(
            f"{path} holds pairs of another zoo, or of one with other arms or exams",
            hint="name another table: -o FILE; or remove that file, if it is not needed",
        )
    return {
        pair: [Outcome(**row) for row in line["rows"]]
        for line in lines[1:]
        if line.get("of") == of(pair := _pair(line))
    }


def start(
    path: Path, digest: str, rows_by_pair: Mapping[Pair, Iterable[Outcome]], of: Digest
) -> None:
    """A journal that holds `rows_by_pair`, in place of the former one."""
    lines = (_line(pair, rows, of) for pair, rows in rows_by_pair.items())
    start_lines(path, [{"journal": digest}, *lines])


def add(path: Path, pair: Pair, rows: Iterable[Outcome], of: Digest) -> None:
    """One line more."""
    add_line(path, _line(pair, rows, of))


def _line(pair: Pair, rows: Iterable[Outcome], of: Digest) -> dict[str, Any]:
    return {"pair": list(pair), "of": of(pair), "rows": [asdict(row) for row in rows]}


def _pair(line: Mapping[str, Any]) -> Pair:
    one, other = line["pair"]
    return one, other
