"""What was measured: one row per expert, auxiliary, task and arm; failures are rows too.

    {"format": "simmerge-hub measurements", "schema": 1, "of": "<sha256 of what rows follow from>"}
    {"merge": ["org/a", "org/b", "linear"], "rows": [{…}, {…}]}

The journal is written a merge at a time, each line at once; a torn last line is dropped. The table
is the journal's rows in order: the same rows are the same bytes, whatever was interrupted.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from simmerge_hub.errors import PredictorError, RequestError
from simmerge_hub.selector.tables.lines import (
    add_line,
    read_journal,
    read_lines,
    start_lines,
    write_text,
)
from simmerge_hub.selector.tables.outcomes import check_header

FORMAT = "simmerge-hub measurements"
SCHEMA = 1
MergeKey = tuple[str, str, str]
"""First model, second model, label of the arm: one merge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One arm's merge of two models, on one task.

    Args:
        expert: the model that is better at the task.
        auxiliary: the other one.
        task: by the name the recipe gives it.
        arm: label; weights in the order (expert, auxiliary).
        utility: score of the merge, 0 to 1; None where it failed.
        failed: why there is no score; "" if there is one.
        halves: the score on even and on odd prompts, where known.
        alone: "expert", "auxiliary", "base" -> its own score.
        origin: what it follows from: models' commits and digests, the prompts they were fed if the
            merge looks at activations, the harness's task, its version, and how it was put.
    """

    expert: str
    auxiliary: str
    task: str
    arm: str
    utility: float | None
    failed: str = ""
    halves: tuple[float, float] | None = None
    alone: Mapping[str, float] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What no two rows of a table share."""
        return (self.expert, self.auxiliary, self.task, self.arm)


def read_merges(path: Path, of: str) -> dict[MergeKey, list[Measurement]]:
    """The merges that the journal holds; none if it is not there.

    Raises:
        RequestError: it holds merges that were measured in another way, which were paid for.
    """
    lines = read_journal(path)
    if lines and lines[0].get("of") != of:
        raise RequestError(
            f"{path.parent} holds what was measured in another way: from another base, on other "
            "tasks or prompts, or by another version of the harness",
            hint="name another folder: -o DIR; or remove this one, if it is not needed",
        )
    return {_key(line): [_from_plain(row) for row in line["rows"]] for line in lines[1:]}


def start_journal(path: Path, of: str, merges: Mapping[MergeKey, Sequence[Measurement]]) -> None:
    """A journal that holds `merges`, in place of the former one and its torn end."""
    header = {"format": FORMAT, "schema": SCHEMA, "of": of}
    start_lines(path, [header, *(_line(key, rows) for key, rows in merges.items())])


def add_to_journal(path: Path, key: MergeKey, rows: Sequence[Measurement]) -> None:
    """One line more, on the disk before this returns."""
    add_line(path, _line(key, rows))


def save_measurements(rows: Iterable[Measurement], path: Path) -> None:
    """Write the table, sorted by expert, auxiliary, task and arm."""
    ordered = sorted(rows, key=lambda row: row.key)
    lines = [{"format": FORMAT, "schema": SCHEMA}, *map(asdict, ordered)]
    write_text(path, "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines))


def load_measurements(path: Path) -> list[Measurement]:
    """Read and check the table at `path`.

    Raises:
        PredictorError: it is none, or a row says two things at once.
    """
    try:
        header, *entries = [entry for _, entry in read_lines(path)]
    except ValueError as error:
        raise PredictorError(f"{path} is not a table of measurements: {error}") from error
    check_header(header, FORMAT, SCHEMA, path)
    try:
        return [_from_plain(entry) for entry in entries]
    except (LookupError, TypeError, ValueError) as error:
        raise PredictorError(f"{path} is not a table of measurements: {error}") from error


def _from_plain(entry: Mapping[str, Any]) -> Measurement:
    halves = entry.get("halves")
    row = Measurement(**{**entry, "halves": tuple(halves) if halves else None})
    if (row.utility is None) is not bool(row.failed):
        raise ValueError(f"{row.key} has both a score and a failure, or neither")
    scores = [row.utility or 0.0, *row.alone.values(), *(row.halves or ())]
    if not all(math.isfinite(s) and 0 <= s <= 1 for s in scores):
        raise ValueError(f"{row.key} has a score that is not between 0 and 1")
    return row


def _line(key: MergeKey, rows: Sequence[Measurement]) -> dict[str, Any]:
    return {"merge": list(key), "rows": [asdict(row) for row in rows]}


def _key(line: Mapping[str, Any]) -> MergeKey:
    first, second, label = line["merge"]
    return first, second, label
