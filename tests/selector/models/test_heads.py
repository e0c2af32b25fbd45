import numpy as np
import pytest

from simmerge_hub.operators import PAPER_ARMS
from simmerge_hub.selector.models import heads, linear
from simmerge_hub.selector.tables.rows import join


@pytest.fixture(scope="module")
def rows(known):
    return join(*known, PAPER_ARMS)


@pytest.fixture(scope="module")
def line(rows):
    return linear.fit(rows, 100.0)


@pytest.fixture(scope="module")
def fitted(rows, line):
    return heads.fit(rows, line, trees=30, seed=0)


def test_the_same_rows_give_the_same_text(rows, line, fitted):
    found, again, other = (
        [heads.text(head) for head in forest]
        for forest in (
            fitted,
            heads.fit(rows, line, trees=30, seed=0),
            heads.fit(rows, line, trees=30, seed=1),
        )
    )
    assert found == again != other


def test_a_head_read_back_predicts_the_same(rows, line, fitted):
    back = [heads.booster(heads.text(head)) for head in fitted]
    found, expected = (heads.predict(own, line, rows.values) for own in (back, fitted))
    assert np.array_equal(found, expected)
    assert [heads.text(head) for head in back] == [heads.text(head) for head in fitted]


def test_contributions_add_up_to_the_prediction(rows, line, fitted):
    from xgboost import DMatrix

    one = rows.values[:1]
    parts = fitted[0].predict(DMatrix(one), pred_contribs=True)[0]
    found = heads.contributions(fitted[0], rows.values[0])
    assert found == pytest.approx(parts[:-1])
    whole = found + linear.contributions(line, rows.values[0])[:, 0]
    constant = parts[-1] + line.intercept[0]
    assert whole.sum() + constant == pytest.approx(heads.predict(fitted, line, one)[0, 0], abs=1e-5)


def test_every_row_is_seen_whole_and_with_something_hidden(rows):
    values, places, patterns = heads.augment(rows, seed=0)
    whole, hidden = values[: len(rows)], values[len(rows) :]
    assert np.array_equal(whole, rows.values)
    assert np.isnan(hidden).any(axis=1).all()
    assert places.tolist() == [*range(len(rows))] * 2
    assert not patterns[: len(rows)].any()
    assert patterns[len(rows) :].all()


def test_missing_values_have_been_seen(rows, line, fitted):
    """Without any feature of the rule the prediction is near the mean, not at an extreme."""
    empty = np.full((1, len(rows.names)), np.nan)
    assert heads.predict(fitted, line, empty)[0] == pytest.approx(rows.gains.mean(axis=0), abs=0.2)
