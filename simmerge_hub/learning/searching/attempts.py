"""What a search has tried, a line each: one that was cut off goes on from there.

{"of": "<sha256 of what attempts follow from>", "starts": [{"operator": "linear", …}, …]}
{"params": {"operator": "ties", …}, "few": 0.6, "score": 0.7, "cost": 1.25, …}
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from simmerge_hub.errors import RequestError
from simmerge_hub.selector.tables.lines import read_journal, start_lines

Point = Mapping[str, Any]
"""Of the space: `{"operator": "ties", "weight.0": 0.5, …}`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One merge that a search made.

    Args:
        params: the point of the space.
        few: mean share of the experts' scores kept on a quarter of the prompts; None if it failed.
        score: the same on all prompts; None if it was stopped before, or failed.
        cost: in evaluations on all prompts of all tasks.
        failed: why, or "".
        results: task -> what was measured on all prompts.
    """

    params: Mapping[str, Any]
    few: float | None
    score: float | None
    cost: float
    failed: str = ""
    results: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def read_state(path: Path, of: str) -> tuple[list[Attempt], tuple[Point, ...]]:
    """The attempts that the file holds, and the points that they began with; none if it is not
    there.

    Raises:
        RequestError: it holds attempts of something else, which were paid for.
    """
    lines = read_journal(path)
    if not lines:
        return [], ()
    if lines[0].get("of") != of:
        raise RequestError(
            f"{path.parent} holds another search: of other models, tasks or prompts, of models "
            "that have changed since, or by another version of the harness",
            hint="name another folder: -o DIR; or remove this one, if it is not needed",
        )
    return [Attempt(**entry) for entry in lines[1:]], tuple(lines[0]["starts"])


def start_state(path: Path, of: str, starts: Sequence[Point], attempts: Sequence[Attempt]) -> None:
    """A file that holds `attempts`, in place of the former one and its torn end."""
    start_lines(path, [{"of": of, "starts": starts}, *map(asdict, attempts)])
