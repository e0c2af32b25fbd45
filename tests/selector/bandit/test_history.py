"""Events are checked one by one, and one bad report refuses all of a batch."""

import json
import random
from typing import Any

import pytest

from simmerge_hub.errors import BanditError
from simmerge_hub.operators import arm
from simmerge_hub.selector.bandit.history import (
    History,
    Suggestion,
    arm_line,
    next_ids,
    read,
    report_lines,
    suggestion_lines,
)


def suggestion(number: int, **changes: Any) -> Suggestion:
    fields: dict[str, Any] = {
        "id": f"s{number:06d}", "arm": "linear", "task": "math", "expert": "org/a",
        "auxiliary": "org/b", "values": (0.5, None), "effects": (None, 0.1),
        "chance": {"linear": 1.0}, "forecast": 0.3, "expected": 0.4,
    }  # fmt: skip
    return Suggestion(**fields | changes)


TWO = suggestion_lines([suggestion(1), suggestion(2)])


def test_what_is_written_is_read() -> None:
    new = arm("ties", density=0.1)
    history = read([("a", TWO + arm_line(new)), ("b", report_lines([("s000002", 0.8)]))])
    assert history.suggestions["s000001"] == suggestion(1)
    assert [s.id for s in history.pending] == ["s000001"]
    assert history.reports == ((suggestion(2), 0.8),)
    assert history.added == (new,)
    assert next_ids(history, 2) == ["s000003", "s000004"]
    assert next_ids(read([]), 1) == ["s000001"]


def test_what_was_written_before_forecasts_were_kept() -> None:
    history = read([("a", suggestion_lines([suggestion(1)]).replace('"forecast": 0.3, ', ""))])
    assert history.suggestions["s000001"] == suggestion(1, forecast=0.4)


def test_the_order_of_reports_carries_no_meaning() -> None:
    lines = suggestion_lines([suggestion(i) for i in range(1, 30)])
    reports = [report_lines([(f"s{i:06d}", i / 30)]) for i in range(1, 30)]
    whole = read([("a", lines), ("b", "".join(reports))])
    random.Random(0).shuffle(reports)
    assert read([("a", lines), ("b", "".join(reports))]).reports == whole.reports


@pytest.mark.parametrize(
    ("gains", "message"),
    [
        ([("s000009", 0.5)], "nothing was suggested as 's000009'; nothing was reported"),
        ([("s000001", 0.5)], "s000001 was reported already, as 0.8; nothing was reported"),
        ([("s000002", 0.5), ("s000002", 0.5)], "twice in one report"),
        ([("s000002", 1.6)], "1.6 for s000002 is no share of the gap closed"),
        ([("s000002", float("nan"))], "nan for s000002 is no share"),
        ([("s000002", True)], "True for s000002 is no share"),
    ],
)
def test_reports_that_are_refused(gains: list[tuple[str, float]], message: str) -> None:
    history = read([("a", TWO), ("b", report_lines([("s000001", 0.8)]))])
    with pytest.raises(BanditError, match=message) as caught:
        history.check(gains)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "a, line 1 cannot be believed"),
        ("[]", "a, line 1 cannot be believed"),
        ('{"kind": "guessed"}', "unknown kind 'guessed'"),
        ('{"kind": "reported", "id": "s000007", "gain": 0.1}', "nothing was suggested as"),
        ('{"kind": "added", "arm": {"operator": "nothing", "parameters": {}}}', "nothing"),
        (suggestion_lines([suggestion(1, id="7")]), "'7' is no id"),
        (TWO.splitlines()[0].replace("0.5", "1e999"), "is not a finite number"),
        (TWO.splitlines()[0].replace("0.1", "1e39"), "a number is huge"),
        (TWO.splitlines()[0].replace("0.4", "1e300"), "is no gain to expect"),
        (TWO.splitlines()[0].replace("0.4", "NaN"), "is not a finite number"),
        (TWO.splitlines()[0].replace("0.3", "NaN"), "is not a finite number"),
        (TWO.splitlines()[0].replace("0.3", "1e300"), "is no gain to expect"),
        (TWO + TWO, "s000001 is suggested twice"),
    ],
)
def test_lines_that_are_not_believed(line: str, message: str) -> None:
    with pytest.raises(BanditError, match=message) as caught:
        read([("a", line)])
    assert "append-only" in caught.value.hint


def test_lines_are_plain_json() -> None:
    assert [json.loads(line)["kind"] for line in TWO.splitlines()] == ["suggested"] * 2
    assert History(suggestions={}, gains={}).reports == ()
