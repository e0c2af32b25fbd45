"""Cosines, debiased CKA, ranks and subspaces against answers made by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simmerge_hub.signatures.measures import geometry

seeds = st.integers(0, 2**32 - 1)


def rows(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def hsic(x, y):
    """The formula of SCIENCE.md, word by word."""
    K, L = x @ x.T, y @ y.T
    np.fill_diagonal(K, 0)
    np.fill_diagonal(L, 0)
    n, one = len(K), np.ones(len(K))
    return (
        np.trace(K @ L)
        + (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2))
        - 2 / (n - 2) * (one @ K @ L @ one)
    ) / (n * (n - 3))


def cka(x, y):
    return float(geometry.cka(geometry.centred_gram(x), geometry.centred_gram(y)))


def test_cosine_by_hand():
    assert geometry.cosine(np.array([3.0, 4.0]), np.array([4.0, 3.0])) == pytest.approx(24 / 25)
    assert np.isnan(geometry.cosine(np.zeros(2), np.ones(2)))


@settings(deadline=None, max_examples=50)
@given(seeds)
def test_debiased_cka_is_the_formula(seed):
    x, y = rows(seed, 7, 5), rows(seed + 1, 7, 3)
    wanted = hsic(x, y) / np.sqrt(abs(hsic(x, x)) * abs(hsic(y, y)))
    assert cka(x, y) == pytest.approx(wanted, abs=1e-9)


@settings(deadline=None, max_examples=50)
@given(seeds)
def test_cka_is_symmetric_one_of_itself_and_blind_to_rotation_scale_and_shift(seed):
    x, y = rows(seed, 12, 6), rows(seed + 1, 12, 6)
    turn = np.linalg.qr(rows(seed + 2, 6, 6))[0]
    assert cka(x, y) == pytest.approx(cka(y, x))
    assert cka(x, x) == pytest.approx(1)
    assert cka(x, 3 * x @ turn + 5) == pytest.approx(1)
    assert cka(x, y) == pytest.approx(cka(x, y @ turn))


def test_noise_reads_near_zero_where_the_plain_form_reads_near_one():
    values = [cka(rows(i, 16, 512), rows(i + 100, 16, 512)) for i in range(40)]
    assert abs(np.mean(values)) < 0.05


def test_cka_ignores_width_by_repetition():
    x, y = rows(0, 10, 4), rows(1, 10, 4)
    assert cka(np.tile(x, 5), np.tile(y, 5)) == pytest.approx(cka(x, y))


def test_effective_rank_by_hand():
    assert geometry.effective_rank(np.eye(3, 5)) == pytest.approx(3)
    assert geometry.effective_rank(np.outer([1.0, 2.0], [1.0, 0.0, 1.0])) == pytest.approx(1)
    assert geometry.effective_rank(np.diag([2.0, 1.0])) == pytest.approx(25 / 17)
    assert np.isnan(geometry.effective_rank(np.zeros((3, 3))))


@pytest.mark.parametrize(("rank", "noise"), [(8, 0.0), (16, 0.0), (512, 0.0), (4, 0.3)])
def test_the_rank_of_many_rows_from_a_few(rank, noise):
    """The plain form says at most 8 of 8 rows; the estimate says what 64 rows would, on average."""
    random = np.random.default_rng(rank)
    whole = random.standard_normal((4096, rank)) @ random.standard_normal((rank, 512))
    whole += noise * random.standard_normal(whole.shape)
    wanted = np.mean([geometry.effective_rank(whole[i::64]) for i in range(64)])
    few = [whole[i::512] for i in range(512)]
    estimated = np.mean([geometry.effective_rank(rows, 64) for rows in few])
    plain = np.mean([geometry.effective_rank(rows) for rows in few])
    assert estimated == pytest.approx(wanted, rel=0.2)
    assert abs(estimated - wanted) < 0.5 * abs(plain - wanted)


def test_a_rank_of_all_rows_is_no_estimate():
    whole = np.random.default_rng(0).standard_normal((64, 100))
    assert geometry.effective_rank(whole, 64) == geometry.effective_rank(whole)


def test_subspaces_by_hand():
    a = geometry.leading_inputs(np.eye(2, 4), 8)
    b = geometry.leading_inputs(np.eye(4)[1:3], 8)
    assert a.shape == (4, 2)
    assert geometry.subspace_overlap(a, a) == pytest.approx(1)
    assert geometry.subspace_overlap(a, b) == pytest.approx(0.5)
    assert np.isnan(geometry.subspace_overlap(a, geometry.leading_inputs(np.zeros((2, 4)), 8)))


def test_the_leading_directions_are_the_largest():
    matrix = np.diag([1.0, 9.0, 5.0])
    assert np.abs(geometry.leading_inputs(matrix, 2)).sum(1) == pytest.approx([0, 1, 1])
