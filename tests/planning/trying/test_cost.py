"""What trying costs: said before, learned on the way."""

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


def test_a_damaged_rate_is_none(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "_rate_file", lambda: tmp_path / "rate.json")
    for text in ("", "[]", "{}", '{"seconds_per_byte": "x"}'):
        (tmp_path / "rate.json").write_text(text)
        assert read_rate() == 0.0
