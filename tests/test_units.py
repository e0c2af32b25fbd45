"""Bytes, seconds, shares and counts as people read them."""

import pytest

from simmerge_hub.units import (
    spell_bytes,
    spell_count,
    spell_interval,
    spell_percent,
    spell_seconds,
    spell_shares,
)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1500, "1.5 kB"),
        (2e6, "2.0 MB"),
        (3.21e9, "3.2 GB"),
        (2.5e12, "2.5 TB"),
    ],
)
def test_bytes(count: float, text: str) -> None:
    assert spell_bytes(count) == text


def test_seconds() -> None:
    assert [spell_seconds(s) for s in (4.4, 99, 240)] == ["4 s", "99 s", "4 min"]


def test_shares_and_counts() -> None:
    assert spell_percent(0.78) == "78 %"
    assert spell_shares((0.78, 0.57, 1.12), 5) == " 78 % (57–112)"
    assert spell_interval((0.81, 0.7, 0.95)) == "0.81 (0.70–0.95)"
    assert [spell_count(n, "merge") for n in (0, 1, 2)] == ["0 merges", "1 merge", "2 merges"]
