from dataclasses import replace

import numpy as np
import pytest

from simmerge_hub.operators import PAPER_ARMS
from simmerge_hub.selector.models import linear
from simmerge_hub.selector.tables.rows import join, splits


@pytest.fixture(scope="module")
def rows(known):
    """Gains that are a line in two features."""
    found = join(*known, PAPER_ARMS)
    some = found.values[:, 2:3], found.values[:, 3:4]
    return replace(found, gains=0.3 + 0.2 * some[0] + np.array([0.1, 0, -0.1]) * some[1])


def test_it_finds_the_line(rows):
    found = linear.fit(rows, 1e-6)
    assert linear.predict(found, rows.values) == pytest.approx(rows.gains, abs=1e-3)
    slope = found.weights / found.spread[:, None]
    assert slope[3] == pytest.approx([0.1, 0, -0.1], abs=1e-3)


def test_contributions_are_what_is_added_to_the_mean(rows):
    found = linear.fit(rows, 10.0)
    parts = linear.contributions(found, rows.values[0])
    guess = linear.predict(found, rows.values[:1])[0]
    assert parts.sum(axis=0) + found.intercept == pytest.approx(guess)


def test_missing_values_are_the_mean_and_outliers_are_cut_off(rows):
    found = linear.fit(rows, 10.0)
    nothing = np.full((1, len(rows.names)), np.nan)
    assert linear.predict(found, nothing)[0] == pytest.approx(found.intercept)
    far, farther = (np.full((1, len(rows.names)), value) for value in (1e6, 1e9))
    assert np.array_equal(linear.predict(found, far), linear.predict(found, farther))


def test_the_penalty_is_chosen_on_models_held_out(rows):
    inside = splits(rows, 3, seed=0)
    noise = np.random.default_rng(0).normal(size=rows.gains.shape)
    assert linear.best_penalty(rows, inside) == linear.PENALTIES[0]
    assert linear.best_penalty(replace(rows, gains=noise), inside) >= linear.PENALTIES[-2]


def test_a_feature_that_never_varies_weighs_nothing(rows):
    flat = replace(rows, values=np.ones_like(rows.values))
    found = linear.fit(flat, 10.0)
    assert not found.weights.any()
    assert np.isfinite(linear.predict(found, rows.values)).all()
