"""TIES against a hand-made answer and a slow reference written from the paper."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simmerge_hub.operators import Arm, arm, merge_tensors


def slow_ties(
    base: np.ndarray, models: list[np.ndarray], density: float, scale: float, weights: list[float]
) -> np.ndarray:
    """Entry by entry, in float64, of float32 deltas (the trim looks at what is merged)."""
    deltas = [(m.astype(np.float32) - base.astype(np.float32)).astype(float) for m in models]
    keep = max(1, int(density * base.size))
    merged = base.astype(float).ravel().copy()
    trimmed = []
    for delta in deltas:
        threshold = sorted(np.abs(delta.ravel()), reverse=True)[keep - 1]
        trimmed.append([d if abs(d) >= threshold else 0.0 for d in delta.ravel()])
    for i in range(base.size):
        pull = sum(w * d[i] for w, d in zip(weights, trimmed, strict=True))
        sign = 1 if pull >= 0 else -1
        agree = [
            (w, w * d[i]) for w, d in zip(weights, trimmed, strict=True) if w * d[i] * sign > 0
        ]
        if agree:
            merged[i] += scale * sum(d for _, d in agree) / sum(w for w, _ in agree)
    return merged.reshape(base.shape)


def test_ties_by_hand() -> None:
    """Density ½ of 16 entries keeps 8; the third row's signs disagree, and + wins a draw."""
    a = torch.tensor([[4.0, 4, 4, 4], [0.1, 0.1, 0.1, 0.1], [2, -2, 2, -2], [0, 0, 0, 0]])
    b = torch.tensor([[2.0, 2, 2, 2], [0, 0, 0, 0], [-2, -3, -1.5, 2], [0.1, 0.2, 0.3, 0.4]])
    merged = merge_tensors(arm("ties", density=0.5), torch.zeros(4, 4), [a, b])
    expected = [[3, 3, 3, 3], [0, 0, 0, 0], [2, -2.5, 2, 2], [0, 0, 0, 0]]
    assert merged.tolist() == expected


@pytest.mark.parametrize("density", [0.05, 0.2, 0.5, 0.999, 1.0])
@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], [0.5, 2.0, 1.0]])
def test_ties_against_the_slow_reference(density: float, weights: list[float]) -> None:
    generator = np.random.default_rng(7)
    base, *models = generator.normal(size=(4, 13, 9)).astype(np.float32)
    merged = merge_tensors(
        Arm(operator="ties", parameters={"density": density, "scale": 0.6, "weights": weights}),
        torch.tensor(base),
        [torch.tensor(m) for m in models],
    )
    expected = slow_ties(base, models, density, 0.6, weights)
    np.testing.assert_allclose(merged.numpy(), expected, rtol=0, atol=2e-6)


@settings(deadline=None)
@given(st.data())
def test_ties_of_few_values_keeps_all_that_tie(data: st.DataObject) -> None:
    """Coarse values tie at the threshold all the time; the result never depends on their order."""
    entries = st.lists(
        st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0]), min_size=12, max_size=12
    )
    models = [np.array(data.draw(entries)).reshape(3, 4) for _ in range(2)]
    density = data.draw(st.sampled_from([0.1, 0.25, 0.5, 0.75, 1.0]))
    chosen = arm("ties", density=density)
    merged = merge_tensors(chosen, torch.zeros(3, 4), [torch.tensor(m) for m in models])
    np.testing.assert_allclose(
        merged.numpy(), slow_ties(np.zeros((3, 4)), models, density, 1.0, [1.0, 1.0]), atol=1e-6
    )
    order = np.random.default_rng(0).permutation(12)
    shuffled = [torch.tensor(m.ravel()[order].reshape(3, 4)) for m in models]
    again = merge_tensors(chosen, torch.zeros(3, 4), shuffled)
    assert torch.equal(again.ravel(), merged.ravel()[torch.tensor(order)])


def test_a_constant_delta_ties_everywhere_and_is_kept_whole() -> None:
    """bf16 deltas tie by the thousand (PEERS, fault 11): none is cut by its position."""
    merged = merge_tensors(
        arm("ties", density=0.01), torch.zeros(10, 10), [torch.ones(10, 10), torch.zeros(10, 10)]
    )
    assert torch.equal(merged, torch.ones(10, 10))


def test_equal_weights_of_one_half_are_equal_weights_of_one() -> None:
    base, a, b = (torch.randn(6, 6, generator=torch.Generator().manual_seed(i)) for i in range(3))
    halves = merge_tensors(arm("ties", weights=(0.5, 0.5)), base, [a, b])
    torch.testing.assert_close(halves, merge_tensors(arm("ties"), base, [a, b]))
