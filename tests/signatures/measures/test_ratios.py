"""Arithmetic that says missing instead of raising."""

from math import isnan, nan

import numpy as np
import pytest

from simmerge_hub.signatures.measures.ratios import log_ratio, mean, ratio, root


@pytest.mark.parametrize(("part", "whole", "wanted"), [(3, 4, 0.75), (0, 2, 0), (-1, 2, -0.5)])
def test_ratio(part: float, whole: float, wanted: float) -> None:
    assert ratio(part, whole) == wanted


def test_log_ratio_and_root() -> None:
    assert log_ratio(np.e, 1) == pytest.approx(1)
    assert root(9.0) == 3
    assert isnan(root(nan))


@pytest.mark.parametrize(
    "value",
    [ratio(1, 0), ratio(1, -1), ratio(1, nan), log_ratio(0, 1), log_ratio(1, 0), log_ratio(1, nan)],
)
def test_where_there_is_no_answer_it_is_missing(value: float) -> None:
    assert isnan(value)


def test_the_mean_is_of_what_is_finite() -> None:
    assert mean(np.array([1.0, np.nan, 3.0, np.inf])) == 2
    assert isnan(mean(np.array([np.nan])))
    assert isnan(mean(np.empty(0)))
