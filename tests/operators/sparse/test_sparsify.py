"""Which entries survive: answers made by hand."""

import numpy as np
import pytest
import torch

from simmerge_hub.errors import OperatorError
from simmerge_hub.operators.registry import Place
from simmerge_hub.operators.sparse.sparsify import (
    drop_ranked,
    l1_factors,
    measure_band,
    measure_drop,
    measure_trim,
    shrink,
    trim_both,
    trim_bounds,
    trim_largest,
)

DELTA = torch.tensor([[[5.0, -4.0, 3.0, -2.0, 1.0, 0.5, -0.25, 0.0, 0.0, 0.0]]])


def test_trimming_keeps_the_largest_and_what_ties_with_them() -> None:
    known = measure_trim([DELTA], density=0.3)
    assert known.thresholds == [3.0]
    assert known.factors is None
    (kept,) = trim_largest(DELTA, known.thresholds)
    assert kept.tolist() == [[5, -4, 3, 0, 0, 0, 0, 0, 0, 0]]
    (tied,) = trim_largest(torch.ones(1, 1, 4), measure_trim([torch.ones(1, 1, 4)]).thresholds)
    assert tied.tolist() == [[1, 1, 1, 1]]


def test_a_share_for_each_model() -> None:
    both = torch.cat([DELTA, DELTA])
    assert measure_trim([both], density=(0.1, 0.5)).thresholds == [5.0, 1.0]


def test_the_band_leaves_out_the_largest_unless_the_density_needs_them() -> None:
    assert trim_bounds([DELTA], density=0.3, gamma=0.2) == [(1.0, 3.0)]
    (kept,) = trim_both(DELTA, [(1.0, 3.0)])
    assert kept.tolist() == [[0, 0, 3, -2, 1, 0, 0, 0, 0, 0]]
    assert trim_bounds([DELTA], density=0.9, gamma=0.5) == [(0.0, 4.0)]
    assert trim_bounds([DELTA], density=1.0, gamma=0.5) == [(0.0, np.inf)]


def test_l1_factors_restore_the_norm_and_are_one_where_nothing_survives() -> None:
    rows = torch.cat([DELTA, torch.zeros_like(DELTA)])
    known = measure_band([rows], density=0.3, gamma=0.2, rescale="l1")
    assert known.factors == [15.75 / 6, 1.0]
    assert l1_factors([rows], Place(), lambda c, _: [t * 0 for t in c]) == [1.0, 1.0]


def test_dropping_reads_no_chunk_unless_a_norm_is_restored() -> None:
    def chunks():
        raise AssertionError("the chunks were read")
        yield DELTA

    assert measure_drop(chunks()) is None
    assert measure_drop([DELTA], density=1.0, rescale="l1") == [1.0]


def test_probabilities_beyond_0_and_1_are_refused() -> None:
    with pytest.raises(OperatorError, match=r"density 0.1 ± epsilon 0.15") as caught:
        drop_ranked(DELTA, Place(), density=0.1, epsilon=0.15)
    assert caught.value.hint == "choose them so that both ends lie between 0 and 1"


@pytest.mark.parametrize("threshold", [0.0, 0.5, 5.0])
def test_shrinking_never_writes_into_its_input(threshold: float) -> None:
    before = DELTA.clone()
    shrink(DELTA, threshold).add_(1)
    assert torch.equal(DELTA, before)
