"""Random dropping: numbers that belong to an entry, and expectations that are right."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from simmerge_hub.operators import Arm, Place, merge_tensors
from simmerge_hub.operators.sparse import draws
from simmerge_hub.operators.sparse.sparsify import drop, drop_ranked

PLACE = Place(tensor="layers.0.w", models=("code", "math"), shape=(50, 7), seed=1)


@given(low=st.integers(0, 49), rows=st.integers(0, 50), cols=st.integers(1, 9))
def test_rows_draw_what_they_draw_in_the_whole(low: int, rows: int, cols: int) -> None:
    rows = min(rows, 50 - low)
    whole = draws.words(PLACE, 0, 50, cols)
    part = draws.words(replace(PLACE, low=low), 0, rows, cols)
    np.testing.assert_array_equal(part, whole[low : low + rows])


@pytest.mark.parametrize(
    "other",
    [
        replace(PLACE, seed=2),
        replace(PLACE, tensor="layers.1.w"),
        replace(PLACE, models=("chat", "math")),
        replace(PLACE, low=1),
    ],
)
def test_every_part_of_the_key_counts(other: Place) -> None:
    same = draws.words(PLACE, 0, 50, 7) == draws.words(other, 0, 50, 7)
    assert same.mean() < 0.02


def test_a_model_draws_the_same_wherever_it_stands() -> None:
    turned = replace(PLACE, models=("math", "code"))
    np.testing.assert_array_equal(draws.words(PLACE, 0, 9, 9), draws.words(turned, 1, 9, 9))


def test_the_stream_is_fixed_for_good() -> None:
    """A recipe must give the same bytes next year: these words are part of the format."""
    assert draws.words(PLACE, 0, 1, 4).tolist() == [[36171, 45942, 18550, 36868]]


def test_words_are_uniform_and_independent() -> None:
    words = draws.words(PLACE, 0, 1000, 1000)
    counts = np.bincount((words >> 8).ravel(), minlength=256)
    assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < 350  # χ², 255 degrees
    bits = words.astype(np.float64)
    assert abs(np.corrcoef(bits[:, :-1].ravel(), bits[:, 1:].ravel())[0, 1]) < 0.005


@pytest.mark.parametrize("density", [0.1, 0.5, 0.9])
def test_dropping_keeps_the_density_and_the_expectation(density: float) -> None:
    delta = torch.ones(1000, 1000)
    kept = drop(delta[None], PLACE, density=density)[0]
    assert float(kept.count_nonzero()) / 1e6 == pytest.approx(density, abs=0.002)
    assert float(kept.mean()) == pytest.approx(1.0, abs=0.01)


def test_large_magnitudes_survive_more_often() -> None:
    delta = torch.arange(1.0, 101.0).repeat(20_000, 1)
    (kept,) = drop_ranked(delta[None], PLACE, density=0.5, epsilon=0.3, rescale="none")
    shares = (kept != 0).double().mean(dim=0).numpy()
    np.testing.assert_allclose(shares, np.linspace(0.2, 0.8, 100), atol=0.02)
    (rescaled,) = drop_ranked(delta[None], PLACE, density=0.5, epsilon=0.3)
    np.testing.assert_allclose(rescaled.double().mean(dim=0) / delta[0], 1, atol=0.06)


@pytest.mark.parametrize("rescale", ["l1"])
@pytest.mark.parametrize("name", ["dare_linear", "della_linear"])
def test_l1_rescaling_restores_the_l1_norm(name: str, rescale: str) -> None:
    base = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    model = base + torch.randn(64, 64, generator=torch.Generator().manual_seed(1))
    merged = merge_tensors(Arm(operator=name, parameters={"rescale": rescale}), base, [model])
    assert float((merged - base).abs().sum()) == pytest.approx(
        float((model - base).abs().sum()), rel=1e-5
    )


def test_seed_and_names_reach_the_operator() -> None:
    base, model = torch.zeros(9, 9), torch.ones(9, 9)
    chosen = Arm(operator="dare_linear", parameters={})
    merged = [merge_tensors(chosen, base, [model], replace(PLACE, seed=s)) for s in (1, 1, 2)]
    assert torch.equal(merged[0], merged[1])
    assert not torch.equal(merged[0], merged[2])


def test_a_probability_is_one_that_can_be_drawn_and_is_divided_by_as_such() -> None:
    """0.1 is no 65,536th: the expectation is right because the gain is that of what is drawn."""
    (kept,) = drop(torch.ones(1, 100, 100), PLACE, density=0.1)
    assert set(kept.unique().tolist()) == {0.0, float(np.float32(65536 / 6554))}
    (least,) = drop(torch.ones(1, 100, 100), PLACE, density=1e-9)
    assert set(least.unique().tolist()) <= {0.0, 65536.0}
