"""Exact thresholds, against np.partition."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from simmerge_hub.operators.sparse.thresholds import magnitude_thresholds

TINY = 2.0**-149
FLOATS = st.one_of(
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.sampled_from(
        [0.0, -0.0, TINY, -TINY, 3 * TINY, 2.0**-126, 1.0, -1.0, 1.0 + 2.0**-23, 3.4e38]
    ),
)
DENSITIES = st.floats(0.001, 1.0, exclude_max=True)


@settings(deadline=None)
@given(
    values=hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)),
        elements=FLOATS,
    ),
    density=DENSITIES,
    step=st.integers(1, 9),
)
def test_it_is_the_kth_largest_magnitude(values: np.ndarray, density: float, step: int) -> None:
    chunk = torch.tensor(values)
    chunks = [chunk[:, low : low + step] for low in range(0, chunk.shape[1], step)]
    found = magnitude_thresholds(chunks, density)
    for model, threshold in zip(np.abs(values).reshape(len(values), -1), found, strict=True):
        keep = max(1, int(density * model.size))
        expected = np.partition(model, model.size - keep)[model.size - keep]
        assert np.float32(threshold) == expected
        assert (model >= np.float32(threshold)).sum() >= keep
        assert (model > np.float32(threshold)).sum() < keep


def test_everything_is_kept_at_density_one() -> None:
    assert magnitude_thresholds([torch.ones(3, 2, 2)], 1.0) == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("values", [[0.0, 0, 0, 0], [0, 0, 0, 1]])
def test_more_zeros_than_entries_to_keep(values: list[float]) -> None:
    assert magnitude_thresholds([torch.tensor([[values]])], 0.75) == [0.0]


def test_at_least_one_entry_is_kept() -> None:
    assert magnitude_thresholds([torch.tensor([[[3.0, -7, 1]]])], 0.001) == [7.0]


def test_a_large_tensor_in_uneven_chunks() -> None:
    values = np.random.default_rng(0).normal(size=(2, 400, 101)).astype(np.float32)
    chunks = list(torch.tensor(values).split(37, dim=1))
    for density in (0.2, 0.5):
        keep = int(density * 40400)
        expected = [np.sort(np.abs(m).ravel())[-keep] for m in values]
        assert magnitude_thresholds(chunks, density) == pytest.approx(expected, rel=0)


@pytest.mark.parametrize("odd", [0, 1, 100, 40_000])
def test_differences_of_bfloat16_with_some_finer_entries(odd: int) -> None:
    """Few entries that use the lower bits are remembered; many cost a second pass: same answer."""
    random = np.random.default_rng(odd)
    noise = torch.tensor(random.normal(size=(2, 300, 100)).astype(np.float32))
    base = noise[0].bfloat16()
    delta = ((base + 0.02 * noise[1]).bfloat16().float() - base.float()).flatten()
    delta[:odd] = torch.tensor(random.normal(size=min(odd, 30_000)).astype(np.float32))
    passes = []

    class Chunks:
        def __iter__(self):
            passes.append(1)
            return iter(delta.view(1, 300, 100).split(70, dim=1))

    found = magnitude_thresholds(Chunks(), 0.3)
    assert np.float32(found[0]) == np.sort(delta.abs().numpy())[-9000]
    assert len(passes) == (2 if odd == 40_000 else 1)


class Counted:
    """Chunks that say how often they were iterated."""

    def __init__(self, chunks: list[torch.Tensor]) -> None:
        self.chunks, self.passes = chunks, 0

    def __iter__(self):
        self.passes += 1
        return iter(self.chunks)


@pytest.mark.parametrize("finer", [False, True])
@pytest.mark.parametrize("density", [0.0001, 0.2, 0.999])
def test_a_window_that_holds_spares_a_second_pass(density: float, finer: bool) -> None:
    """float32 deltas use their lower bits everywhere, and yet few enough lie in the window."""
    random = torch.Generator().manual_seed(3)
    values = torch.randn(2, 1000, 300, generator=random)
    values = values if finer else values.bfloat16().float()
    chunks = Counted(list(values.split(200, dim=1)))
    found = magnitude_thresholds(chunks, density)
    keep = int(density * 300_000)
    assert found == [float(np.sort(m.abs().numpy().ravel())[-keep]) for m in values]
    assert chunks.passes == 1


@pytest.mark.parametrize("density", [0.01, 0.2, 0.7])
def test_a_window_that_slides_off_costs_a_pass_and_nothing_else(density: float) -> None:
    """Rows that grow, as embeddings of rare tokens may: the beginning says little of the end."""
    random = torch.Generator().manual_seed(4)
    values = torch.randn(1, 1000, 300, generator=random) * torch.logspace(-6, 2, 1000)[:, None]
    chunks = Counted(list(values.split(200, dim=1)))
    found = magnitude_thresholds(chunks, density)
    keep = int(density * 300_000)
    assert found == [float(np.sort(values.abs().numpy().ravel())[-keep])]
    assert 2 <= chunks.passes <= 3


def test_most_entries_equal() -> None:
    """Ties fill the window; the second model has nothing above it at all."""
    values = torch.zeros(2, 600, 300)
    values[0, ::7] = 1.0
    values[1, :, 0] = torch.arange(600.0)
    chunks = list(values.split(150, dim=1))
    assert magnitude_thresholds(chunks, 0.1) == [1.0, 0.0]
    assert magnitude_thresholds(chunks, [0.5, 0.001]) == [0.0, 420.0]
