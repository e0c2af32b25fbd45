"""What a bandit suggested and what was reported: events, one JSON object a line, only ever added.

    {"kind": "suggested", "id": "s000042", "arm": "linear", "task": "math", "expert": "org/math",
     "auxiliary": "org/code", "values": [0.1, null, ...], "effects": [0.7, ...],
     "chance": {"linear": 0.7, ...}, "forecast": 0.7, "expected": 0.74}
    {"kind": "reported", "id": "s000042", "gain": 0.81}
    {"kind": "added", "arm": {"operator": "ties", "parameters": {"density": 0.1}}}

Lines may come from others, so they are checked; the order of reports carries no meaning. Knows
nothing about where the lines are kept.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from simmerge_hub.documents import DocumentError, read_json
from simmerge_hub.errors import BanditError, SimmergeError
from simmerge_hub.operators import Arm
from simmerge_hub.selector.tables.features import LARGEST_NUMBER
from simmerge_hub.selector.tables.outcomes import HIGHEST, LOWEST, arm_entry, arm_from

ID = re.compile(r"s(\d{6,9})")
LONGEST_LINE = 2**20
"""Bytes of an event."""
MOST_EXPECTED = 10.0
"""No gain is expected to be as far from 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """One arm to try on one pair and task.

    Args:
        id: `s000042`; numbers follow the order of suggestions.
        arm: its label; the expert is the arm's first model.
        task, expert, auxiliary: what it was suggested for.
        values: the features of the pair, None = missing. Kept, so that forecasts can be recomputed.
        effects: likewise, what the arm does to the pair.
        chance: arm label -> the probability that it is best, as believed then.
        forecast: the gain of the arm, as the representation said then; in events of the first
            version the same as `expected`.
        expected: likewise, corrected by what was reported before.
    """

    id: str
    arm: str
    task: str
    expert: str
    auxiliary: str
    values: tuple[float | None, ...]
    effects: tuple[float | None, ...]
    chance: Mapping[str, float]
    forecast: float
    expected: float


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """All events: suggestions and gains by id, and the arms that were added, in order."""

    suggestions: Mapping[str, Suggestion]
    gains: Mapping[str, float]
    added: tuple[Arm, ...] = ()

    @property
    def pending(self) -> tuple[Suggestion, ...]:
        """Suggestions without a report, oldest first."""
        return tuple(s for i, s in sorted(self.suggestions.items()) if i not in self.gains)

    @property
    def reports(self) -> tuple[tuple[Suggestion, float], ...]:
        """Suggestions with what was reported, sorted by id: whatever order they arrived in."""
        return tuple((self.suggestions[i], gain) for i, gain in sorted(self.gains.items()))

    def check(self, gains: Sequence[tuple[str, float]]) -> None:
        """Raise BanditError unless all of these can be reported; one bad one refuses them all."""
        seen = set(self.gains)
        for identifier, gain in gains:
            if identifier not in self.suggestions:
                raise BanditError(
                    f"nothing was suggested as {identifier!r}; nothing was reported",
                    hint="simmerge-hub bandit status STATE lists the suggestions that wait for a "
                    "report",
                )
            if identifier in seen:
                before = self.gains.get(identifier)
                when = "twice in one report" if before is None else f"already, as {before:g}"
                raise BanditError(
                    f"{identifier} was reported {when}; nothing was reported",
                    hint="leave it out; a report cannot be changed",
                )
            _check_gain(gain, identifier)
            seen.add(identifier)


def read(texts: Iterable[tuple[str, str]]) -> History:
    """The history in the lines of files, given as (name, text) in order.

    Raises:
        BanditError: a line that cannot be believed; it is named.
    """
    suggestions: dict[str, Suggestion] = {}
    gains: dict[str, float] = {}
    added: list[Arm] = []
    for name, text in texts:
        for number, line in enumerate(text.splitlines(), 1):
            where = f"{name}, line {number}"
            try:
                _apply(
                    read_json(line, largest=LONGEST_LINE, finite=True), suggestions, gains, added
                )
            except (DocumentError, SimmergeError) as error:
                raise _damage(where, str(error)) from error
            except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
                raise _damage(where, repr(error)) from error
    return History(suggestions=suggestions, gains=gains, added=tuple(added))


def suggestion_lines(suggestions: Sequence[Suggestion]) -> str:
    """Lines for suggestions."""
    return "".join(
        _line(
            kind="suggested", id=s.id, arm=s.arm, task=s.task, expert=s.expert,
            auxiliary=s.auxiliary, values=list(s.values), effects=list(s.effects),
            chance=dict(s.chance), forecast=s.forecast, expected=s.expected,
        )
        for s in suggestions
    )  # fmt: skip


def report_lines(gains: Sequence[tuple[str, float]]) -> str:
    """Lines for reports."""
    return "".join(_line(kind="reported", id=i, gain=gain) for i, gain in gains)


def arm_line(arm: Arm) -> str:
    """The line for a new arm."""
    return _line(kind="added", arm=arm_entry(arm))


def next_ids(history: History, count: int) -> list[str]:
    """The next ids."""
    last = max((int(i[1:]) for i in history.suggestions), default=0)
    return [f"s{last + 1 + i:06d}" for i in range(count)]


def _apply(
    event: Any, suggestions: dict[str, Suggestion], gains: dict[str, float], added: list[Arm]
) -> None:
    kind = event["kind"]
    if kind == "suggested":
        suggestion = _suggestion(event)
        if suggestion.id in suggestions:
            raise ValueError(f"{suggestion.id} is suggested twice")
        suggestions[suggestion.id] = suggestion
    elif kind == "reported":
        History(suggestions=suggestions, gains=gains).check([(event["id"], event["gain"])])
        gains[event["id"]] = float(event["gain"])
    elif kind == "added":
        added.append(arm_from(event["arm"]))
    else:
        raise ValueError(f"unknown kind {kind!r}")


def _suggestion(event: Mapping[str, Any]) -> Suggestion:
    if not isinstance(event["id"], str) or not ID.fullmatch(event["id"]):
        raise ValueError(f"{event['id']!r} is no id")
    expected = float(event["expected"])
    forecast = float(event.get("forecast", expected))  # what was written first lacks it
    for gain in (expected, forecast):
        if not abs(gain) <= MOST_EXPECTED:
            raise ValueError(f"{gain} is no gain to expect")
    return Suggestion(
        id=event["id"],
        arm=str(event["arm"]),
        task=str(event["task"]),
        expert=str(event["expert"]),
        auxiliary=str(event["auxiliary"]),
        values=_numbers(event["values"]),
        effects=_numbers(event.get("effects", ())),
        chance={str(arm): float(share) for arm, share in event["chance"].items()},
        forecast=forecast,
        expected=expected,
    )


def _numbers(given: Sequence[Any]) -> tuple[float | None, ...]:
    numbers = tuple(None if v is None else float(v) for v in given)
    if not all(v is None or abs(v) <= LARGEST_NUMBER for v in numbers):
        raise ValueError("a number is huge, or none")
    return numbers


def _check_gain(gain: Any, identifier: str) -> None:
    number = isinstance(gain, int | float) and not isinstance(gain, bool)
    if not number or not math.isfinite(gain) or not LOWEST <= gain <= HIGHEST:
        raise BanditError(
            f"{gain!r} for {identifier} is no share of the gap closed; nothing was reported",
            hint="report (merge − auxiliary) / (expert − auxiliary), clipped to "
            f"[{LOWEST:g}, {HIGHEST:g}]",
        )


def _damage(where: str, why: str) -> BanditError:
    return BanditError(
        f"{where} cannot be believed: {why}",
        hint="the history is append-only: restore that file from an earlier commit",
    )


def _line(**event: Any) -> str:
    return json.dumps(event, sort_keys=True, allow_nan=False) + "\n"
