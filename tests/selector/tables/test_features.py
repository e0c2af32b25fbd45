from dataclasses import replace

import numpy as np
import pytest

from simmerge_hub.errors import PredictorError
from simmerge_hub.selector.tables.features import FeatureTable, load_features, save_features

KEY = ("code-1", "math-1", "code/f")
TABLE = FeatureTable(
    names=("weight_cosine", "js_mean"), schema=3, rows={KEY: np.array([np.float32(0.1), np.nan])}
)


def test_values_come_back_with_their_gaps(tmp_path):
    save_features(TABLE, tmp_path / "features.jsonl")
    found = load_features(tmp_path / "features.jsonl")
    assert (found.names, found.schema, list(found.rows)) == (TABLE.names, 3, [KEY])
    assert np.float32(found.rows[KEY][0]) == np.float32(0.1)
    assert np.isnan(found.rows[KEY][1])


def test_effects_come_back_by_arm(tmp_path):
    table = replace(
        TABLE, effect_names=("merge_rest",), effects={KEY: {"slerp": np.array([np.nan])}}
    )
    save_features(table, tmp_path / "features.jsonl")
    found = load_features(tmp_path / "features.jsonl")
    assert found.effect_names == ("merge_rest",)
    assert np.isnan(found.effects[KEY]["slerp"]).all()
    text = (tmp_path / "features.jsonl").read_text().replace("[null]", "[null, 1]")
    (tmp_path / "features.jsonl").write_text(text)
    with pytest.raises(PredictorError, match="effects of slerp: needs 1 finite or missing values"):
        load_features(tmp_path / "features.jsonl")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"schema": 1', '"schema": 2', "this version reads 1"),
        ("null]", "null, 1]", "needs 2 finite or missing values"),
        ("null]", "1e999]", "needs 2 finite or missing values"),
        ('"names"', '"title"', "is not a table of features"),
        ('"expert"', '"expertise"', "is not a table of features"),
        ("null]", "null", "is not a table of features"),
    ],
)
def test_damage_is_named(tmp_path, old, new, says):
    path = tmp_path / "features.jsonl"
    save_features(TABLE, path)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(PredictorError, match=says):
        load_features(path)


def test_a_pair_stands_in_a_table_once(tmp_path):
    path = tmp_path / "features.jsonl"
    save_features(TABLE, path)
    path.write_text(path.read_text() + path.read_text().splitlines()[1] + "\n")
    with pytest.raises(PredictorError, match=r"two rows for code-1 \+ math-1 \+ code/f"):
        load_features(path)
