"""learn and search, killed with SIGKILL at random moments, end in the tables of a whole run."""

from functools import partial
from pathlib import Path

import pytest

from tests.learning.killed import ENDS, STATES, kill_at_random, run


@pytest.mark.parametrize("command", sorted(STATES))
def test_a_killed_command_ends_in_the_same_tables(command: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    killed = kill_at_random(partial(run, command), folder, STATES[command], times=2, seed=2)
    whole = (tmp_path / "run-whole" / STATES[command]).read_bytes().count(b"\n")
    assert any(1 < lines < whole for lines in killed), "none fell into the middle of the work"
    for name in ENDS[command]:
        assert (folder / name).read_bytes() == (tmp_path / "run-whole" / name).read_bytes()
