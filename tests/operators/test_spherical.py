"""SLERP and NuSLERP against hand-made answers, a float64 reference and exact identities."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from simmerge_hub.operators import arm, merge_tensors
from simmerge_hub.operators.spherical import angle


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def great_circle(a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
    """On float64 by complex rotation: another road to the same formula."""
    cosine = np.vdot(a, b) / np.sqrt(np.vdot(a, a) * np.vdot(b, b))
    if abs(cosine) > 0.9995:
        return a + t * (b - a)
    theta = np.angle(complex(cosine, np.sqrt(1 - cosine**2)))
    return (np.sin(theta - t * theta) * a + np.sin(t * theta) * b) / np.sin(theta)


def test_slerp_by_hand() -> None:
    """Orthogonal 4×4 tensors: both shares are sin 45° / sin 90°."""
    a, b = torch.zeros(4, 4), torch.zeros(4, 4)
    a[0], b[3] = 2.0, torch.tensor([1.0, 2, 3, 4])
    merged = merge_tensors(arm("slerp"), None, [a, b])
    torch.testing.assert_close(merged, (a + b) * math.sqrt(0.5))


def test_nuslerp_by_hand() -> None:
    base = torch.full((4, 4), 10.0)
    a, b = torch.zeros(4, 4), torch.zeros(4, 4)
    a[0], b[3] = 2.0, 6.0
    merged = merge_tensors(arm("nuslerp", t=1 / 3), base, [base + a, base + b])
    expected = base + a * (math.sqrt(3) / 2) + b * 0.5
    torch.testing.assert_close(merged, expected)


@pytest.mark.parametrize("t", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("nearness", [0.0, 0.5, 0.98, 0.99999, -0.5])
def test_slerp_against_float64(t: float, nearness: float) -> None:
    a = normal(1, 20, 30)
    b = nearness * a + (1 - abs(nearness)) * 3 * normal(2, 20, 30)
    merged = merge_tensors(arm("slerp", t=t), None, [a, b])
    expected = great_circle(a.numpy().astype(float), b.numpy().astype(float), t)
    np.testing.assert_allclose(merged.numpy(), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("t", [0.0, 0.3, 0.5, 1.0])
def test_nuslerp_against_float64(t: float) -> None:
    base, a, b = (normal(i, 20, 30) for i in range(3))
    merged = merge_tensors(arm("nuslerp", t=t), base, [base + a, base + b])
    w, x, y = (v.numpy().astype(float) for v in (base, base + a, base + b))
    np.testing.assert_allclose(merged.numpy(), w + great_circle(x - w, y - w, t), atol=4e-6)


def test_nuslerp_bends_where_slerp_is_straight() -> None:
    """Close fine-tunes: slerp of weights is linear, slerp of deltas is not."""
    base = normal(0, 64, 64)
    models = [base + 0.005 * normal(i, 64, 64) for i in (1, 2)]
    linear = merge_tensors(arm("linear"), base, models)
    assert torch.equal(merge_tensors(arm("slerp"), base, models), linear)
    bent = merge_tensors(arm("nuslerp"), base, models)
    assert float((bent - base).norm() / (linear - base).norm()) == pytest.approx(math.sqrt(2), 0.02)


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), mix=st.floats(0.0, 0.95), size=st.floats(0.5, 2))
def test_halfway_slerp_is_linear_over_cos_half_theta(seed: int, mix: float, size: float) -> None:
    a = normal(seed, 8, 9)
    b = mix * a + size * (1 - mix) * normal(seed + 1, 8, 9)
    cosine = angle([torch.stack([a, b])]).cosine
    if abs(cosine) > 0.9995:
        return
    linear = merge_tensors(arm("linear"), None, [a, b])
    expected = linear / math.cos(math.acos(cosine) / 2)
    torch.testing.assert_close(
        merge_tensors(arm("slerp"), None, [a, b]), expected, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("name", ["slerp", "nuslerp"])
@pytest.mark.parametrize("zero", [0, 1])
def test_a_zero_tensor_makes_it_linear(name: str, zero: int) -> None:
    models = [torch.full((2, 2), 4.0), torch.full((2, 2), 4.0)]
    models[zero] = torch.zeros(2, 2)
    merged = merge_tensors(arm(name), torch.zeros(2, 2), models)
    assert merged.tolist() == [[2.0, 2.0], [2.0, 2.0]]


def test_a_norm_that_mergekit_takes_for_zero_makes_slerp_linear() -> None:
    models = [torch.tensor([[6e-9, 0.0]]), torch.tensor([[0.0, 1.0]])]
    halfway = torch.stack(models).mean(0)
    assert torch.equal(merge_tensors(arm("slerp"), None, models), halfway)
    assert not torch.equal(merge_tensors(arm("nuslerp", origin="zero"), None, models), halfway)


@pytest.mark.parametrize("name", ["slerp", "nuslerp"])
def test_opposite_tensors_give_something_finite(name: str) -> None:
    a = normal(1, 6, 6)
    assert bool(torch.isfinite(merge_tensors(arm(name), torch.zeros(6, 6), [a, -a])).all())


def test_the_angle_is_of_the_whole_flattened_tensor() -> None:
    a, b = normal(1, 50, 10), normal(2, 50, 10)
    chunks = [torch.stack([a[i : i + 7], b[i : i + 7]]) for i in range(0, 50, 7)]
    found = angle(chunks)
    x, y = a.numpy().astype(float).ravel(), b.numpy().astype(float).ravel()
    assert found.norms == pytest.approx((np.linalg.norm(x), np.linalg.norm(y)), rel=1e-12)
    assert found.cosine == pytest.approx(x @ y / np.linalg.norm(x) / np.linalg.norm(y), rel=1e-9)
