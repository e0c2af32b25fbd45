"""Features and effects of measured pairs, from the nano models in the package."""

from pathlib import Path

import numpy as np
import pytest
from huggingface_hub.utils import _cache_assets

from simmerge_hub.cli.zoo import nano_folder
from simmerge_hub.operators import arm
from simmerge_hub.selector.tables.features import load_features, save_features
from simmerge_hub.selector.tables.outcomes import Outcome, Outcomes
from simmerge_hub.signatures.features.vector import FEATURE_NAMES, names_of
from simmerge_hub.signatures.merged.effects import EFFECT_NAMES as EFFECTS
from simmerge_hub.zoo.measuring.features import zoo_features

ARMS = (arm("linear", weights=(0.7, 0.3)), arm("linear", weights=(0.3, 0.7)), arm("ties"))


def outcome(expert: str, auxiliary: str, task: str) -> Outcome:
    return Outcome(
        expert=expert,
        auxiliary=auxiliary,
        task=task,
        regime="demo",
        expert_utility=1.0,
        auxiliary_utility=0.0,
        base_utility=0.0,
        utilities={a.label: 0.5 for a in ARMS},
    )


def test_every_row_has_features_and_what_each_arm_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_cache_assets, "HF_ASSETS_CACHE", str(tmp_path / "assets"))
    rows = (
        outcome("code", "math", "code/rotate-previous"),
        outcome("math", "code", "math/reversed-complement"),
    )
    table = zoo_features(nano_folder(), Outcomes(arms=ARMS, rows=rows), dose=False)
    assert table.names == FEATURE_NAMES
    assert table.rows.keys() == table.effects.keys() == {row.key for row in rows}
    assert all(np.isfinite(values).mean() > 0.9 for values in table.rows.values())
    share = EFFECTS.index("merge_share_expert")
    for by_arm in table.effects.values():
        assert by_arm.keys() == {a.label for a in ARMS}
        assert by_arm[ARMS[0].label][share] == pytest.approx(0.7, abs=1e-4)
        assert by_arm[ARMS[1].label][share] == pytest.approx(0.3, abs=1e-4)
    save_features(table, tmp_path / "features.jsonl")
    assert load_features(tmp_path / "features.jsonl").effects.keys() == table.effects.keys()


def test_experts_answer_their_own_tasks_and_the_mean_of_both_is_asked_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_cache_assets, "HF_ASSETS_CACHE", str(tmp_path / "assets"))
    row = outcome("instruct", "rag-lora", "instruct/dash")
    table = zoo_features(nano_folder(), Outcomes(arms=ARMS, rows=(row,)), cross=True)
    assert table.names == names_of(["dose", "cross"])
    told = dict(zip(table.names, table.rows[row.key].tolist(), strict=True))
    optional = {name for name in table.names if name not in FEATURE_NAMES}
    assert {n for n in optional if np.isfinite(told[n])} == {n for n in optional if "expert" in n}
    assert 0.6 < told["dose_answers_expert.s05"] < 1 == told["dose_answers_expert.s07"]
    assert 0.1 < told["dose_half_expert"] < 0.3
    assert told["cross_answers_expert"] < told["dose_answers_expert.s05"]  # the other is in the way
    again = zoo_features(nano_folder(), Outcomes(arms=ARMS, rows=(row,)), cross=True)
    assert np.array_equal(again.rows[row.key], table.rows[row.key], equal_nan=True)
