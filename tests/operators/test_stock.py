"""Model Stock: how far to go, by hand."""

import pytest
import torch
from torch import Tensor

from simmerge_hub.operators import arm, merge_tensors


def merged(first: list[float], second: list[float], **parameters: bool) -> Tensor:
    models = [torch.tensor(each).reshape(-1, 2) for each in (first, second)]
    base = torch.zeros_like(models[0])
    return merge_tensors(arm("model_stock", **parameters), base, models)


def test_equal_deltas_are_kept_whole() -> None:
    torch.testing.assert_close(merged([3.0, 4.0], [3.0, 4.0]), torch.tensor([[3.0, 4.0]]))


def test_deltas_at_right_angles_leave_the_base() -> None:
    assert merged([1.0, 0.0], [0.0, 1.0]).tolist() == [[0.0, 0.0]]


def test_sixty_degrees() -> None:
    """cos θ = ½: t = 2 · ½ / (1 + ½) = ⅔ of the mean."""
    result = merged([1.0, 0.0], [0.5, 0.75**0.5])
    torch.testing.assert_close(result, torch.tensor([[0.5, 0.75**0.5 / 3]]))


@pytest.mark.parametrize("filter_wise", [False, True])
def test_opposite_deltas_have_no_finite_answer_and_the_base_stays(filter_wise: bool) -> None:
    assert merged([1.0, 2.0], [-1.0, -2.0], filter_wise=filter_wise).tolist() == [[0.0, 0.0]]


def test_one_angle_for_each_row() -> None:
    result = merged([1.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 1.0], filter_wise=True)
    torch.testing.assert_close(result, torch.tensor([[1.0, 0.0], [0.0, 0.0]]))


def test_a_delta_of_zero_is_at_right_angles_to_all() -> None:
    assert merged([1.0, 1.0], [0.0, 0.0]).tolist() == [[0.0, 0.0]]
