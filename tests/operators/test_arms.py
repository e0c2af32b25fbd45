"""Tensors as rows, and arms as labels."""

import pytest
import torch

from simmerge_hub.operators import Arm, arm, as_rows, merge_tensors


@pytest.mark.parametrize(
    ("shape", "rows"),
    [((), (1, 1)), ((7,), (1, 7)), ((2, 3), (2, 3)), ((4, 3, 2), (4, 6)), ((2, 0), (2, 0))],
)
def test_every_tensor_is_rows(shape: tuple[int, ...], rows: tuple[int, int]) -> None:
    assert as_rows(torch.zeros(shape, dtype=torch.bfloat16)).shape == rows
    assert as_rows(torch.zeros(shape, dtype=torch.bfloat16)).dtype == torch.float32


def test_swapping_turns_t_and_weights_round() -> None:
    assert arm("slerp", t=0.25).swapped() == Arm(operator="slerp", parameters={"t": 0.75})
    assert arm("linear", weights=(0.7, 0.3)).swapped().parameters == {"weights": (0.3, 0.7)}


def test_an_arm_is_checked_for_two_models() -> None:
    merged = merge_tensors(arm("slerp", t=0.0), None, [torch.tensor([3.0, 4]), torch.ones(2)])
    assert merged.tolist() == pytest.approx([3.0, 4.0])
