"""Bytes and seconds as people read them."""

import pytest

from simmerge_hub.units import spell_bytes, spell_seconds


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
