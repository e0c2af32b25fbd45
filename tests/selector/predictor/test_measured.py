"""Outcomes of fixed arms far away: the best that can be used, and what is said of it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from simmerge_hub.errors import PredictorError
from simmerge_hub.selector.predictor.measured.pairs import ANOTHER_FAMILY, REAL_PAIRS, read
from simmerge_hub.selector.tables.outcomes import SMALLEST_GAP, gap_closed, load_outcomes

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("zoo", "file"), [("zoo-real", REAL_PAIRS), ("zoo-smollm", ANOTHER_FAMILY)]
)
def test_the_package_s_outcomes_follow_from_the_tables_of_real_zoos(zoo: str, file: Path) -> None:
    """By arm, over both tasks of a pair, worked out anew."""
    table = load_outcomes(ROOT / "recipes" / "outcomes" / f"{zoo}.jsonl.gz")
    rows = {(row.expert, row.auxiliary): row for row in table.rows if row.gap >= SMALLEST_GAP}
    both = [
        (row, rows[key[::-1]]) for key, row in rows.items() if key[::-1] in rows and key < key[::-1]
    ]
    found = read(file)
    assert found.pairs == len(both)
    assert found.gains.keys() == {arm.label for arm in table.arms if arm == arm.swapped()}
    for label, gain in found.gains.items():
        closed = [gap_closed(row, row.utilities[label]) for two in both for row in two]
        assert gain == pytest.approx(sum(closed) / len(closed), abs=1e-4)


def test_what_is_said_of_the_safe_arm() -> None:
    found = read()
    assert found.best(["no such arm"]) is None
    said = found.says("linear")
    assert f"on {found.pairs} pairs of specialists of a 270 M language model" in said
    assert f"linear closed {found.gains['linear']:.2f} of the gap" in said
    best = found.best(found.gains)
    assert best
    told = f"one that cannot closed {found.gains[best]:.2f}"  # in cards, too: no option is named
    assert said.endswith(told) and "cannot" not in found.says(best)


def test_of_tied_arms_the_simplest_is_the_best() -> None:
    found = replace(read(), gains={"linear": 0.7, "slerp": 0.71, "ties(density=0.5)": 0.6})
    assert found.best(found.gains) == "linear"
    assert found.best(["ties(density=0.5)", "slerp"]) == "slerp"
    assert replace(found, gains=dict(found.gains) | {"slerp": 0.73}).best(found.gains) == "slerp"


@pytest.mark.parametrize("change", [{"gains": {}}, {"gains": {"linear": 7}}, {"pairs": "many"}])
def test_other_files_are_refused(change: dict[str, object], tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps(json.loads(REAL_PAIRS.read_text()) | change))
    with pytest.raises(PredictorError, match=r"a\.json holds no outcomes of fixed arms"):
        read(file)
