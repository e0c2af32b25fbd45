import json
from dataclasses import replace

import pytest

from simmerge_hub.errors import PredictorError
from simmerge_hub.operators import arm
from simmerge_hub.selector.tables.outcomes import (
    Outcome,
    Outcomes,
    gap_closed,
    load_outcomes,
    save_outcomes,
)

ROW = Outcome(
    expert="code-1",
    auxiliary="math-1",
    task="code/f",
    regime="small",
    expert_utility=0.9,
    auxiliary_utility=0.1,
    base_utility=0.0,
    utilities={"linear(weights=0.7/0.3)": 0.5},
    secondary={"linear(weights=0.7/0.3)": 0.7},
    halves={"linear(weights=0.7/0.3)": (0.4, 0.6)},
)
TABLE = Outcomes(arms=(arm("linear", weights=(0.7, 0.3)),), rows=(ROW,), provenance={"zoo": "a"})


def test_a_table_comes_back_as_it_was_written(tmp_path):
    save_outcomes(TABLE, tmp_path / "new" / "table.jsonl")
    assert load_outcomes(tmp_path / "new" / "table.jsonl") == TABLE


def test_the_order_of_rows_does_not_change_the_file():
    other = replace(ROW, expert="math-1", auxiliary="code-1")
    tables = [replace(TABLE, rows=rows) for rows in ((ROW, other), (other, ROW))]
    assert tables[0].digest == tables[1].digest != TABLE.digest


def test_the_gap_closed_is_clipped():
    assert gap_closed(ROW, 0.5) == pytest.approx(0.5)
    assert gap_closed(ROW, 0.0) == pytest.approx(-0.125)
    assert gap_closed(replace(ROW, expert_utility=0.2), 1.0) == 1.5


def damage(path, line, change):
    save_outcomes(TABLE, path)
    lines = path.read_text().splitlines()
    fields = json.loads(lines[line])
    change(fields)
    lines[line] = json.dumps(fields)
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize(
    ("line", "change", "says"),
    [
        (0, lambda f: f.update(schema=9), "has schema 9; this version reads 1"),
        (0, lambda f: f.update(format="x"), "is not a file of simmerge-hub outcomes"),
        (
            0,
            lambda f: f.update(format="simmerge-hub features"),
            "is not a file of simmerge-hub outcomes, but of simmerge-hub features",
        ),
        (0, lambda f: f.pop("arms"), "line 1: arms that cannot be read"),
        (0, lambda f: f["arms"][0].update(operator="tie"), "there is no operator 'tie'"),
        (1, lambda f: f.update(base_utility=1.2), "line 2: 1.2 is not a score between 0 and 1"),
        (1, lambda f: f.update(base_utility="much"), "'much' is not a score"),
        (
            1,
            lambda f: f.update(log_likelihood={"linear": [-0.5, 0.1]}),
            "line 2: 0.1 is not a log likelihood",
        ),
        (
            1,
            lambda f: f.update(unmerged_log_likelihood={"base": "low"}),
            "'low' is not a log likelihood",
        ),
        (1, lambda f: f["utilities"].clear(), "has no utility for linear"),
        (1, lambda f: f.pop("task"), "line 2 is not an outcome"),
        (1, lambda f: f.update(halves=[1]), "line 2 is not an outcome"),
    ],
)
def test_damage_is_named(tmp_path, line, change, says):
    with pytest.raises(PredictorError, match=says):
        load_outcomes(damage(tmp_path / "table.jsonl", line, change))


def test_files_that_are_no_tables(tmp_path):
    path = tmp_path / "table.jsonl"
    for text in ("", "not json\n", "[1]\n"):
        path.write_text(text)
        with pytest.raises(PredictorError):
            load_outcomes(path)
    with pytest.raises(PredictorError, match=r"read: No such file or directory$") as caught:
        load_outcomes(tmp_path / "nowhere.jsonl")
    assert "zoo measure" in caught.value.hint


def test_a_pair_may_occur_once(tmp_path):
    save_outcomes(replace(TABLE, rows=(ROW, ROW)), tmp_path / "table.jsonl")
    with pytest.raises(PredictorError, match=r"two rows for code-1 \+ math-1 \+ code/f"):
        load_outcomes(tmp_path / "table.jsonl")
