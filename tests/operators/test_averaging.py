"""Linear and task arithmetic against hand-made answers and sums written another way."""

import numpy as np
import pytest
import torch
from torch import Tensor

from simmerge_hub.operators import Arm, arm, merge_tensors

A = torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8], [0, 0, 0, 0], [-1, -2, -3, -4]])
B = torch.tensor([[3.0, 2, 1, 0], [1, 2, 3, 4], [8, 4, 2, 0], [-1, 2, -3, 4]])
BASE = torch.ones(4, 4)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_linear_by_hand() -> None:
    expected = [[2, 2, 2, 2], [3, 4, 5, 6], [4, 2, 1, 0], [-1, 0, -3, 0]]
    assert merge_tensors(arm("linear"), None, [A, B]).tolist() == expected


def test_linear_divides_by_the_sum_of_the_weights() -> None:
    merged = merge_tensors(arm("linear", weights=(3, 1)), None, [A, B])
    assert merged[0].tolist() == [1.5, 2, 2.5, 3]
    assert torch.equal(merged, merge_tensors(arm("linear", weights=(0.75, 0.25)), None, [A, B]))


def test_task_arithmetic_by_hand() -> None:
    expected = [[3, 3, 3, 3], [5, 7, 9, 11], [7, 3, 1, -1], [-3, -1, -7, -1]]
    assert merge_tensors(arm("task_arithmetic"), BASE, [A, B]).tolist() == expected


def test_task_arithmetic_scales_and_weighs_without_normalising() -> None:
    merged = merge_tensors(arm("task_arithmetic", scale=0.5, weights=(2, 0)), BASE, [A, B])
    assert torch.equal(merged, A)


@pytest.mark.parametrize("weights", [None, (1.0, 2.0, 0.5), (2.0, -1.0, 1.0)])
def test_linear_against_float64(weights: tuple[float, ...] | None) -> None:
    models = [normal(i, 33, 17) for i in range(3)]
    shares = np.array(weights or (1, 1, 1), dtype=float)
    expected = np.average([m.numpy().astype(float) for m in models], axis=0, weights=shares)
    given = {} if weights is None else {"weights": weights}
    merged = merge_tensors(Arm(operator="linear", parameters=given), None, models)
    np.testing.assert_allclose(merged.numpy(), expected, rtol=0, atol=2e-6)


def test_task_arithmetic_against_float64() -> None:
    base, *models = [normal(i, 33, 17).numpy().astype(float) for i in range(4)]
    expected = base + 0.7 * sum(w * (m - base) for w, m in zip((1, 2, -0.5), models, strict=True))
    merged = merge_tensors(
        Arm(operator="task_arithmetic", parameters={"scale": 0.7, "weights": (1, 2, -0.5)}),
        torch.tensor(base),
        [torch.tensor(m) for m in models],
    )
    np.testing.assert_allclose(merged.numpy(), expected, rtol=0, atol=4e-6)


def test_half_precision_sums_do_not_overflow() -> None:
    big = torch.full((4, 4), 60000.0, dtype=torch.float16)
    assert torch.equal(merge_tensors(arm("linear"), None, [big, big]), big.float())
