"""Sums of sparse deltas: answers made by hand."""

import pytest
import torch

from simmerge_hub.errors import OperatorError
from simmerge_hub.operators.sparse.sums import add_agreeing, add_up, add_weighted, elect


def parts() -> list[torch.Tensor]:
    return [torch.tensor([[1.0, -2.0, 0.0, 3.0]]), torch.tensor([[3.0, 1.0, 0.0, -3.0]])]


def test_a_weighted_sum() -> None:
    assert add_weighted(parts(), [1.0, 0.5]).tolist() == [[2.5, -1.5, 0.0, 1.5]]


def test_scale_share_and_factor_multiply() -> None:
    merged = add_up("x", parts(), [2.0, 1.0], scale=0.5, weights=[1.0, 3.0], normalize=False)
    assert merged.tolist() == [[5.5, -0.5, 0.0, -1.5]]


def test_normalised_weights_make_a_mean() -> None:
    merged = add_up("x", parts(), None, scale=1.0, weights=[1.0, 3.0], normalize=True)
    assert merged.tolist() == [[2.5, 0.25, 0.0, -1.5]]
    with pytest.raises(OperatorError, match=r"x: the weights .* sum to zero"):
        add_up("x", parts(), None, scale=1.0, weights=[1.0, -1.0], normalize=True)


def test_only_the_elected_sign_counts_and_a_draw_elects_plus() -> None:
    assert add_agreeing(parts(), [1.0, 1.0], None).tolist() == [[4.0, -2.0, 0.0, 3.0]]
    assert add_agreeing(parts(), [1.0, 1.0], [1.0, 1.0]).tolist() == [[2.0, -2.0, 0.0, 3.0]]


def test_an_election_is_weighted_and_divides_by_the_weights_that_won() -> None:
    merged = elect(parts(), None, scale=1.0, weights=[1.0, 3.0], normalize=True)
    assert merged.tolist() == [[2.5, 1.0, 0.0, -3.0]]
    merged = elect(parts(), [2.0, 1.0], scale=0.5, weights=None, normalize=False)
    assert merged.tolist() == [[2.5, -2.0, 0.0, 3.0]]


def test_masses_that_cancel_out_leave_the_sum() -> None:
    """Weights of 1 and -1 turn the second part around: both agree, and 1 - 1 is no divisor."""
    merged = elect(
        [torch.tensor([[2.0]]), torch.tensor([[-1.0]])], None, 1.0, [1.0, -1.0], normalize=True
    )
    assert merged.tolist() == [[3.0]]
