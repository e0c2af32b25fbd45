"""Curves worked out by hand."""

import numpy as np
import pytest

from simmerge_hub.signatures.measures.retention import (
    answers_kept,
    half_dose,
    logliks,
    regained,
    retention_area,
    tokens_kept,
    whole_share,
)
from tests.signatures.by_hand import response

KEPT = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 0], [1, 1, 1], [1, 0, 1]]
"""Of an answer of two tokens, one of none and one of one, at six doses."""


def test_shares_and_log_likelihoods() -> None:
    told = response(KEPT, [-4, -3, -2, -1, 0, -0.5], lengths=[2, 0, 1])
    assert answers_kept(told).tolist() == [0, 0, 0.5, 0.5, 1, 0.5]
    assert tokens_kept(told) == pytest.approx([0, 1 / 3, 2 / 3, 2 / 3, 1, 2 / 3])
    assert logliks(told) == pytest.approx([-4, -3, -2, -1, 0, -0.5])


def test_half_of_the_log_likelihood_lies_between_two_doses() -> None:
    told = response(KEPT, [-4, -3.5, -2.5, -1, 0, -0.5])  # half is −2: a third of the way to 0.7
    assert half_dose(told) == pytest.approx(0.5 + 0.2 / 3)
    assert regained(told, -2.0) == pytest.approx(0.5)
    assert regained(told, -5.0) == pytest.approx(-0.25)


def test_a_skill_that_goes_on_growing_is_half_there_at_the_first_crossing() -> None:
    assert half_dose(response(KEPT, [-4, -1, -3, -1, 0, 0])) == pytest.approx(0.2)


def test_a_delta_that_says_nothing_has_no_half() -> None:
    flat = response(KEPT, [-1, -1, -1, -1, -0.96, -1])
    assert np.isnan(half_dose(flat))
    assert np.isnan(regained(flat, -1.0))


def test_the_area_is_that_of_trapezoids_up_to_the_whole_delta() -> None:
    told = response(KEPT, [0] * 6, lengths=[2, 0, 1])
    by_hand = 0.2 * (0 + 0.5) / 2 + 0.2 * 0.5 + 0.3 * (0.5 + 1) / 2
    assert retention_area(told) == pytest.approx(by_hand)


def test_without_answers_nothing_is_known() -> None:
    empty = response([[]] * 6, [0] * 6, lengths=[0, 0])
    assert np.isnan(answers_kept(empty)).all() and np.isnan(logliks(empty)).all()
    assert np.isnan(half_dose(empty)) and np.isnan(retention_area(empty))
    assert np.isnan(whole_share(np.zeros(0, bool), np.array([0])))
