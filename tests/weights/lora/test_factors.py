"""Factors stand for the sum they were made of, and say what they leave out."""

import pytest
import torch
from torch import Tensor

from simmerge_hub.operators import arm, merge_tensors
from simmerge_hub.weights.lora.factors import (
    EXACT_SVD_SIZE,
    Product,
    concatenate,
    factorize,
    truncate,
)


def products(out: int, into: int, ranks: tuple[int, ...] = (3, 5)) -> list[Product]:
    generator = torch.Generator().manual_seed(0)
    return [
        (
            0.5 * r,
            torch.randn(r, into, generator=generator),
            torch.randn(out, r, generator=generator),
        )
        for r in ranks
    ]


def dense(several: list[Product]) -> Tensor:
    return sum((s * b @ a for s, a, b in several), torch.zeros(()))


def best(matrix: Tensor, rank: int) -> float:
    """The least that any approximation of this rank can leave out."""
    return torch.linalg.svdvals(matrix)[rank:].norm().item()


def test_concatenated_by_hand() -> None:
    factors = concatenate(
        [
            (2.0, torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0], [4.0]])),
            (1.0, torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0], [0.0]])),
        ]
    )
    assert factors.a.tolist() == [[2, 0], [0, 1]]
    assert factors.b.tolist() == [[3, 1], [4, 0]]
    assert factors.norm == pytest.approx((36 + 64 + 1) ** 0.5)
    assert factors.residue == 0


@pytest.mark.parametrize("shape", [(40, 30), (6, 30), (40, 5), (4, 4)])
@pytest.mark.parametrize("rank", [1, 4, 7])
def test_truncated_is_the_best_of_its_rank(shape: tuple[int, int], rank: int) -> None:
    several = products(*shape)
    whole = dense(several)
    factors = truncate(several, min(rank, *shape))
    assert factors.a.shape == (min(rank, *shape), shape[1])
    assert factors.norm == pytest.approx(whole.norm().item(), rel=1e-5)
    assert factors.residue == pytest.approx(best(whole, rank), rel=1e-4, abs=1e-4)
    assert (whole - factors.b @ factors.a).norm().item() == pytest.approx(factors.residue, abs=1e-4)


def test_a_rank_that_is_not_smaller_changes_nothing() -> None:
    several = products(40, 30)
    factors, whole = truncate(several, 8), concatenate(several)
    assert torch.equal(factors.a, whole.a) and torch.equal(factors.b, whole.b)


def test_dense_and_thin_agree() -> None:
    several = products(40, 30)
    thin, thick = truncate(several, 4), factorize(dense(several), 4)
    torch.testing.assert_close(thin.a, thick.a, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(thin.b, thick.b, rtol=1e-3, atol=1e-4)
    assert thick.norm == pytest.approx(thin.norm, rel=1e-5)
    assert thick.residue == pytest.approx(thin.residue, rel=1e-4)


def test_signs_are_fixed_and_norms_shared() -> None:
    factors = factorize(dense(products(40, 30)), 6)
    assert (factors.b.gather(0, factors.b.abs().argmax(0, keepdim=True)) > 0).all()
    torch.testing.assert_close(factors.a.norm(dim=1), factors.b.norm(dim=0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("operator", ["ties", "dare_ties"])
def test_a_sketch_is_nearly_the_best(operator: str) -> None:
    """What sparsifying operators make of deltas has a flat spectrum, the hard case for a sketch."""
    deltas = [dense([each]) for each in products(EXACT_SVD_SIZE + 60, EXACT_SVD_SIZE + 20, (8, 8))]
    matrix = merge_tensors(arm(operator), torch.zeros(1, 1).expand(deltas[0].shape), deltas)
    factors, again = factorize(matrix.clone(), 16), factorize(matrix.clone(), 16)
    assert torch.equal(factors.a, again.a) and torch.equal(factors.b, again.b)
    assert best(matrix, 16) <= factors.residue * (1 + 1e-5)
    assert factors.residue <= 1.005 * best(matrix, 16)


@pytest.mark.parametrize("several", [False, True])
def test_zero_is_zero(several: bool) -> None:
    nothing = [(0.0, a, b) for _, a, b in products(8, 6)]
    factors = truncate(nothing, 2) if several else factorize(torch.zeros(8, 6), 2)
    assert not (factors.b @ factors.a).any()
    assert (factors.norm, factors.residue) == (0, 0)
