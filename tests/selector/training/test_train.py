from dataclasses import replace

import numpy as np
import pytest

from simmerge_hub.errors import PredictorError
from simmerge_hub.operators import PAPER_ARMS, arm
from simmerge_hub.selector.models import heads, mixture
from simmerge_hub.selector.predictor.archive import text
from simmerge_hub.selector.tables.rows import join
from simmerge_hub.selector.training.train import hold_out, train


def test_it_beats_best_fixed_on_models_it_has_not_seen(predictor):
    for table in predictor.report["sets"].values():
        strategies = table["strategies"]
        assert table["over best fixed"]["low"] > 0.05
        assert table["headroom captured"]["mean"] > 0.75
        for simpler in ("label only", "xgboost, shuffled features"):
            assert strategies["xgboost"]["mean"] > strategies[simpler]["mean"] + 0.1


def test_its_intervals_hold_on_models_it_has_not_seen(predictor):
    for found in predictor.report["coverage"].values():
        assert 0.85 <= found["arms"]["mean"] <= 0.95
        assert 0.82 <= found["chosen"]["mean"] <= 0.98


@pytest.fixture(scope="module")
def chance(make_zoo):
    return train([make_zoo(models=10, seed=1, signal=0.0)], arms=PAPER_ARMS)


def test_it_claims_nothing_where_there_is_nothing(chance):
    table = chance.report["sets"]["all"]
    assert table["over best fixed"]["low"] <= 0.01
    assert abs(table["over best fixed"]["mean"]) < 0.03
    assert table["headroom"] < 0.03
    assert table["advantage r2"] < 0.1


def test_intervals_hold_without_a_signal_too(chance):
    assert 0.83 <= chance.report["coverage"]["complete"]["arms"]["mean"] <= 0.97


def test_intervals_hold_on_new_models(predictor, make_zoo):
    """Another zoo by the same rule: what the stored intervals promise is kept."""
    rows = join(*make_zoo(models=20, seed=5), predictor.arms)
    fitted = mixture.Mixture(
        arms=predictor.arms,
        line=predictor.line,
        heads=tuple(heads.booster(text) for text in predictor.heads),
        forest=heads.booster(predictor.conditioned.forest),
        share=predictor.conditioned.share,
    )
    error = np.abs(mixture.predict(fitted, rows.values, rows.effects) - rows.gains)
    assert (error <= predictor.radii["complete"].arms).mean() > 0.85


def test_the_same_tables_give_the_same_bytes(make_zoo):
    small = make_zoo(models=8)
    first, again = (text(train([small], arms=PAPER_ARMS[:2])) for _ in range(2))
    assert first == again


def test_held_out_predictions_do_not_depend_on_the_row_s_models(make_zoo):
    """Other outcomes for everything a model takes part in: its held-out predictions stay."""
    outcomes, features = make_zoo(models=7)
    rows = join(outcomes, features, PAPER_ARMS)
    mine = np.array([rows.models[0] in p for p in zip(rows.experts, rows.auxiliaries, strict=True)])
    before = hold_out(rows, seed=0).predicted[:, mine]
    rows.gains[mine] = 0.0
    assert np.array_equal(hold_out(rows, seed=0).predicted[:, mine], before)


def test_two_tables_are_learned_from_as_one(make_zoo):
    """Of the arms that both have; each with the sizes of its own bases."""
    (one, features), (other, more) = make_zoo(models=8), make_zoo(models=8, seed=3)
    rows = tuple(
        replace(row, expert=f"x-{row.expert}", auxiliary=f"x-{row.auxiliary}", regime="other")
        for row in other.rows
    )
    moved = {(f"x-{e}", f"x-{a}", t): key for e, a, t in more.rows for key in [(e, a, t)]}
    told = replace(more, rows={new: more.rows[old] for new, old in moved.items()})
    second = replace(other, arms=other.arms[:3], rows=rows, provenance={"parameters": [70_000]})
    made = train([(one, features), (second, told)])
    assert made.arms == other.arms[:3]
    assert set(made.regimes) == {"small-0", "small-1", "other"}
    assert made.familiar.parameters == (70_000, 600_000)
    with pytest.raises(PredictorError, match="two tables hold"):
        train([(one, features), (one, features)])


def test_too_few_models(make_zoo):
    with pytest.raises(PredictorError, match="4 models are too few"):
        train([make_zoo(models=4)], arms=PAPER_ARMS)


def test_an_arm_that_was_not_measured(known):
    with pytest.raises(PredictorError, match="the outcomes hold no nuslerp"):
        train([known], arms=[arm("nuslerp")])
