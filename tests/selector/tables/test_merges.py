"""The table of measured merges: what is written is read, and what is none is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from simmerge_hub.errors import PredictorError
from simmerge_hub.operators import arm
from simmerge_hub.selector.tables import merges
from simmerge_hub.selector.tables.merges import load_merges
from simmerge_hub.signatures.merged import likeness


def line(**changed: object) -> dict[str, object]:
    one = merges.entry(
        arm("linear"), 0.6, np.array([0.5]), np.full(len(likeness.LIKENESS_NAMES), np.nan)
    )
    return {"models": ["a", "b", "c"], "task": "t", "level": 0.2, "values": [None, 1.0],
            "merges": [one], **changed}  # fmt: skip


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    lines = [merges.header(("x", "y"), ("e",)), line(), line(level=0.97)]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, lines)))
    found = load_merges(tmp_path / "t.jsonl")
    assert found.models == (("a", "b", "c"),)  # of the second there is no gap to close
    assert found.gains == pytest.approx([0.5])
    assert np.isnan(found.values[0, 0])
    assert np.isnan(found.likeness).all()


@pytest.mark.parametrize(
    "bad", [line(values=[1.0]), line(level="x"), {"models": []}, line(merges=[{}]), line(level=1.0)]
)
def test_a_table_that_is_none_is_refused(bad: dict[str, object], tmp_path: Path) -> None:
    lines = [merges.header(("x", "y"), ("e",)), bad]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(PredictorError, match=r"t\.jsonl is not a table of merges"):
        load_merges(tmp_path / "t.jsonl")
