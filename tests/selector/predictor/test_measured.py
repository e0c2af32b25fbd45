"""Outcomes of fixed arms far away: the best that can be used, and what is said of it."""

import json
from pathlib import Path

import pytest

from simmerge_hub.errors import PredictorError
from simmerge_hub.selector.predictor.measured.pairs import REAL_PAIRS, read


def test_the_package_s_outcomes_say_equal_linear_and_who_measured_it() -> None:
    found = read()
    labels = ["ties(density=0.5)", "linear", "slerp", "nuslerp"]
    assert found.best(labels) == "linear"
    assert found.best(["ties(density=0.5)", "nuslerp"]) == "nuslerp"
    assert found.best(["sce(density=0.5)"]) is None
    assert "measured by the project's judge" in found.origin
    assert (found.pairs, found.parameters) == (11, 270_000_000)
    assert "on 11 pairs of LoRA specialists of a 270 M language model" in found.says("linear")
    assert "linear closed 0.90 of the gap" in found.says("linear")


@pytest.mark.parametrize("change", [{"gains": {}}, {"gains": {"linear": 7}}, {"pairs": "many"}])
def test_other_files_are_refused(change: dict[str, object], tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps(json.loads(REAL_PAIRS.read_text()) | change))
    with pytest.raises(PredictorError, match=r"a\.json holds no outcomes of fixed arms"):
        read(file)
