"""What trying costs: said before, learned on the way."""

from types import SimpleNamespace
from typing import Any

import pytest

from simmerge_hub.planning.trying import cost
from simmerge_hub.planning.trying.cost import Clock, read_rate


def test_the_rate_is_measured_and_remembered(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([0.0, 10.0, 14.0, 20.0, 28.0])
    monkeypatch.setattr(cost, "_rate_file", lambda: tmp_path / "rate.json")
    monkeypatch.setattr(cost, "perf_counter", lambda: next(times))
    said: list[str] = []
    clock = Clock(100, 2, said.append)
    assert (read_rate(), clock.seconds_left) == (0.0, 0.0)
    clock.begin("linear")
    clock.end()
    assert read_rate() == pytest.approx(0.04)
    assert clock.seconds_left == pytest.approx(4)
    clock.begin("ties")
    clock.end()
    assert said == ["trying 1 of 2: linear", "trying 2 of 2: ties, about 4 s left"]
    assert read_rate() == pytest.approx(0.06)  # half of the last, half of what was known
    assert clock.seconds_left == 0


@pytest.mark.parametrize(
    ("asked", "count", "to_make", "said"),
    [
        (2, 3, 3, "trying 3 merges, the 2 most promising and the safe one: each reads 0 tokens"),
        (2, 2, 1, "trying 2 merges: each reads 0 tokens"),
        (1, 1, 1, "trying 1 merge: each reads 0 tokens"),
    ],
)
def test_how_many_are_made_is_said_before(asked: int, count: int, to_make: int, said: str) -> None:
    workshop: Any = SimpleNamespace(answers={}, size=2_000_000)
    stated = cost.state_cost(workshop, Clock(0, to_make, print), count, asked)
    assert stated.startswith(said)
    assert "; 2.0 MB of disk, one at a time; " in stated
    assert stated.endswith("; 1 of them was tried before") == (count > to_make)


def test_a_damaged_rate_is_none(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "_rate_file", lambda: tmp_path / "rate.json")
    for text in ("", "[]", "{}", '{"seconds_per_byte": "x"}'):
        (tmp_path / "rate.json").write_text(text)
        assert read_rate() == 0.0
