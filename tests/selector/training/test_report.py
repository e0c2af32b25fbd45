import json

import numpy as np
import pytest

from simmerge_hub.selector.models.mixture import Size
from simmerge_hub.selector.tables.availability import PATTERNS
from simmerge_hub.selector.tables.rows import join, splits
from simmerge_hub.selector.training.report import HeldOut, report


@pytest.fixture(scope="module")
def rows(known):
    outcomes, features = known
    return join(outcomes, features, outcomes.arms)


def judge(rows, predicted):
    held = HeldOut(
        rows=rows,
        splits=tuple(splits(rows, 5, seed=0)),
        predicted=np.repeat(predicted[None], len(PATTERNS), axis=0),
        single={"heads": predicted, "conditioned": predicted},
        shuffled=np.zeros_like(predicted),
        unmeasured=predicted,
        sizes=(Size(),),
    )
    return report(held, seed=0, alpha=0.1)


def test_perfect_predictions_reach_the_oracle(rows):
    table = judge(rows, rows.gains)["sets"]["all"]
    strategies = table["strategies"]
    assert strategies["xgboost"] == strategies["oracle"]
    assert table["regret"]["mean"] == 0
    assert table["advantage r2"] == 1
    assert table["headroom captured"]["mean"] >= 1
    assert table["right or tied"] == 1


def test_constant_predictions_know_nothing(rows):
    found = judge(rows, np.zeros_like(rows.gains))
    assert found["sets"]["all"]["advantage r2"] == 0
    assert found["sets"]["all"]["strategies"]["xgboost"]["mean"] == pytest.approx(
        rows.gains[:, 0].mean(), abs=1e-4
    )


def test_the_paper_s_arms_have_a_table_of_their_own(rows):
    sets = judge(rows, rows.gains)["sets"]
    assert len(sets["all"]["arms"]) == 4
    assert sets["paper"]["arms"] == ["linear", "slerp", "ties(density=0.2)"]


def test_the_split_half_oracle_is_below_the_oracle(rows):
    strategies = judge(rows, rows.gains)["sets"]["all"]["strategies"]
    assert strategies["best fixed"]["mean"] < strategies["oracle by halves"]["mean"]
    assert strategies["oracle by halves"]["mean"] < strategies["oracle"]["mean"]


def test_regimes_add_up_to_the_whole(rows):
    found = judge(rows, rows.gains)
    table, shares = found["sets"]["all"], found["regimes"]
    parts = sum(shares[r] * table["regimes"][r]["oracle"] for r in shares) / found["rows"]
    assert parts == pytest.approx(table["strategies"]["oracle"]["mean"], abs=1e-3)


def test_a_report_is_plain_data(rows):
    found = judge(rows, rows.gains)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_an_operator_left_out_is_compared_with_the_others(rows):
    found = judge(rows, rows.gains)["unmeasured"]
    assert set(found) == {"linear", "slerp", "ties", "task_arithmetic"}
    assert all(one["right"] == 1 and one["compared"] > 0 for one in found.values())
    backwards = judge(rows, -rows.gains)["unmeasured"]
    assert all(one["right"] == 0 for one in backwards.values())
