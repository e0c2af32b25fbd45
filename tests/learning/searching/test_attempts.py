"""What a search paid for is gone on with, or stays as it is."""

from pathlib import Path

import pytest

from simmerge_hub.errors import RequestError
from simmerge_hub.learning.searching.attempts import Attempt, read_state, start_state

START = {"operator": "linear"}
TRIED = Attempt(params=START, few=0.5, score=0.5, cost=1.25)


def test_attempts_of_another_search_are_not_thrown_away(tmp_path: Path) -> None:
    """Another folder is asked for: each attempt was a merge that was evaluated."""
    path = tmp_path / "search.jsonl"
    assert read_state(path, "code + math") == ([], ())
    start_state(path, "code + math", [START], [])
    assert read_state(path, "code + rag") == ([], ())  # nothing was paid for
    start_state(path, "code + math", [START], [TRIED])
    held = path.read_bytes()
    assert read_state(path, "code + math") == ([TRIED], (START,))
    with pytest.raises(RequestError, match="holds another search: of other models") as caught:
        read_state(path, "code + rag")
    assert "-o DIR" in caught.value.hint
    assert path.read_bytes() == held
