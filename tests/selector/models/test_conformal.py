import numpy as np
import pytest

from simmerge_hub.operators import ARMS, PAPER_ARMS
from simmerge_hub.selector.models.conformal import WIDEST, calibrate, radius, usable_arms


def test_the_radius_is_the_conformal_quantile():
    assert radius(np.arange(1.0, 10.0) / 10, alpha=0.1) == 0.9
    assert radius(np.arange(1.0, 20.0) / 20, alpha=0.1) == 0.9
    assert radius(np.arange(1.0, 9.0), alpha=0.1) == WIDEST


def test_coverage_by_simulation():
    """A new residual of the same kind is covered at least 1 − α of the time."""
    random = np.random.default_rng(0)
    trials = np.abs(random.normal(scale=0.2, size=(4000, 41)))
    covered = np.mean([trial[-1] <= radius(trial[:-1], alpha=0.1) for trial in trials])
    assert 0.89 <= covered <= 0.93


def test_the_chosen_arm_is_calibrated_apart():
    """The best of many noisy predictions is optimistic, so its interval is wider than an arm's."""
    random = np.random.default_rng(0)
    gains = np.full((500, 10), 0.5)
    noise = random.exponential(0.1, size=gains.shape)
    found = calibrate(gains + noise, gains, np.ones(10, dtype=bool), alpha=0.1)
    assert found.chosen > max(found.arms)
    assert found.rows == 500


def test_arms_on_deltas_cannot_be_chosen_without_a_base():
    assert usable_arms(PAPER_ARMS, ("base",)).tolist() == [True, True, False]
    assert usable_arms(ARMS, ()).all()


def test_an_arm_that_cannot_be_used_is_not_the_chosen_one():
    predicted = np.tile([0.1, 0.9], (50, 1))
    gains = np.zeros((50, 2))
    found = calibrate(predicted, gains, np.array([True, False]), alpha=0.1)
    assert (found.chosen, found.arms) == (pytest.approx(0.1), pytest.approx((0.1, 0.9)))
