from pathlib import Path

import pytest

from simmerge_hub.errors import RequestError
from simmerge_hub.selector.tables.outcomes import Outcome
from simmerge_hub.zoo.measuring import journal

ROW = Outcome(
    expert="a",
    auxiliary="b",
    task="code/f",
    regime="r",
    expert_utility=1.0,
    auxiliary_utility=0.0,
    base_utility=0.0,
    utilities={"linear": 0.5},
)


def test_a_torn_line_is_not_believed_and_another_zoo_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl.partial"
    assert journal.read(path, "this", "+".join) == {}
    journal.start(path, "this", {("a", "b"): [ROW]}, "+".join)
    journal.add(path, ("a", "c"), [ROW], "+".join)
    assert journal.read(path, "this", "+".join) == {("a", "b"): [ROW], ("a", "c"): [ROW]}
    path.write_text(path.read_text()[:-5])
    assert journal.read(path, "this", "+".join) == {("a", "b"): [ROW]}
    held = path.read_bytes()
    with pytest.raises(RequestError, match="holds pairs of another zoo") as caught:
        journal.read(path, "other", "+".join)
    assert "-o FILE" in caught.value.hint
    assert path.read_bytes() == held


def test_pairs_of_a_model_that_changed_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl.partial"
    journal.start(path, "this", {("a", "b"): [ROW], ("a", "c"): [ROW]}, "+".join)
    now = {("a", "b"): "a+b", ("a", "c"): "a+another c"}
    assert journal.read(path, "this", now.get) == {("a", "b"): [ROW]}
    assert journal.read(path, "this", lambda pair: None) == {}
