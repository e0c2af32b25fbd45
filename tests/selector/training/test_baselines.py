import numpy as np
import pytest

from simmerge_hub.operators import PAPER_ARMS
from simmerge_hub.selector.tables.rows import join, splits
from simmerge_hub.selector.training.baselines import BASELINES


@pytest.fixture(scope="module")
def halves(known):
    rows = join(*known, PAPER_ARMS)
    split = splits(rows, 2, seed=0)[0]
    return rows.take(split.train), rows.take(split.test)


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_scores_every_arm_and_never_looks_at_the_answers(halves, name):
    train, test = halves
    blind = test.take(np.arange(len(test)))
    blind.gains[:] = np.nan
    scores = BASELINES[name](train, blind)
    assert scores.shape == test.gains.shape
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("name", ["norm rule", "nearest", "ridge"])
def test_baselines_that_see_signals_find_the_rule(halves, name):
    train, test = halves
    chosen = BASELINES[name](train, test).argmax(axis=1)
    gained = test.gains[np.arange(len(test)), chosen].mean()
    assert gained > test.gains.mean(axis=0).max() + 0.05


def test_best_fixed_is_one_arm(halves):
    train, test = halves
    chosen = BASELINES["best fixed"](train, test).argmax(axis=1)
    assert set(chosen) == {int(train.gains.mean(axis=0).argmax())}


def test_missing_values_do_not_stop_a_baseline(halves):
    train, test = (rows.take(np.arange(len(rows))) for rows in halves)
    train.values[:, 0], test.values[:, 1] = np.nan, np.nan
    for baseline in BASELINES.values():
        assert np.isfinite(baseline(train, test)).all()
