"""Thin factors: a sum of products B·A as one product, exactly or at the best lower rank.

Truncation is optimal in the Frobenius norm (Eckart and Young 1936). A sum of products is truncated
without being formed: QR of the stacked factors, SVD of the small core between them. Each component
gets the sign that makes its largest entry in B positive, so that equal inputs give equal bytes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

EXACT_SVD_SIZE = 1024
"""Up to this many rows or columns, whichever are fewer, a dense matrix gets an exact SVD."""
OVERSAMPLING = 16
"""Directions that a sketch looks for beyond the rank asked for."""
POWER_ITERATIONS = 4
"""Power iterations of a sketch: merged deltas have spectra that fall off slowly."""

Product = tuple[float, Tensor, Tensor]
"""(scaling, A float32 [r, in], B float32 [out, r]): the matrix scaling · B·A, [out, in]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Factors:
    """A matrix as B·A, A float32 [r, in] and B float32 [out, r].

    `norm` is the Frobenius norm of the matrix they stand for, `residue` of what they leave out.
    """

    a: Tensor
    b: Tensor
    norm: float
    residue: float


def concatenate(products: Sequence[Product]) -> Factors:
    """The sum of the products exactly, at the sum of their ranks; each B stays as it is."""
    a = torch.cat([a * scaling for scaling, a, _ in products])
    b = torch.cat([b for _, _, b in products], dim=1)
    return Factors(a=a, b=b, norm=_product_norm(a, b), residue=0.0)


def truncate(products: Sequence[Product], rank: int) -> Factors:
    """The best approximation of rank `rank` to the sum of the products.

    Raises:
        OverflowError: the sum does not fit float32.
    """
    whole = concatenate(products)
    if rank >= len(whole.a):
        return whole
    left, inner = torch.linalg.qr(whole.b)
    right, outer = torch.linalg.qr(whole.a.T)
    u, s, vh = _svd(inner @ outer.T)
    a, b = _balance(left @ u[:, :rank], s[:rank], vh[:rank] @ right.T)
    return Factors(a=a, b=b, norm=whole.norm, residue=_frobenius(s[rank:]))


def factorize(matrix: Tensor, rank: int) -> Factors:
    """The best approximation of rank `rank` to a dense matrix.

    Args:
        matrix: float32 [out, in]; used up. One with more than `EXACT_SVD_SIZE` rows and columns is
            projected to the range of a random sketch with power iterations (arXiv 0909.4061), whose
            seed is fixed; what that loses is in `residue` too.
        rank: at most min(out, in).

    Raises:
        OverflowError: the matrix has infinite entries.
    """
    norm, width = _frobenius(matrix), rank + OVERSAMPLING
    sketched = min(matrix.shape) > max(EXACT_SVD_SIZE, width)
    u, s, vh = _sketch(matrix, width) if sketched else _svd(matrix)
    a, b = _balance(u[:, :rank], s[:rank], vh[:rank])
    return Factors(a=a, b=b, norm=norm, residue=_frobenius(matrix.addmm_(b, a, alpha=-1)))


def _sketch(matrix: Tensor, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """The SVD of the matrix within a subspace of `width` directions: U, S, Vᵀ."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(matrix.shape[1], width, generator=generator)
    basis = torch.linalg.qr(matrix @ start).Q
    for _ in range(POWER_ITERATIONS):
        basis = torch.linalg.qr(matrix.T @ basis).Q
        basis = torch.linalg.qr(matrix @ basis).Q
    u, s, vh = _svd(basis.T @ matrix)
    return basis @ u, s, vh


def _svd(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    if not torch.isfinite(matrix).all():
        raise OverflowError("a product of factors does not fit float32")
    return torch.linalg.svd(matrix, full_matrices=False)


def _balance(u: Tensor, s: Tensor, vh: Tensor) -> tuple[Tensor, Tensor]:
    """A and B of U·S·Vᵀ, each with the root of S: a narrow dtype must hold half the range."""
    largest = u.gather(0, u.abs().argmax(0, keepdim=True))
    root = s.sqrt()
    signed = torch.where(largest < 0, -root, root)
    return (signed.T * vh).contiguous(), (signed * u).contiguous()


def _product_norm(a: Tensor, b: Tensor) -> float:
    """‖B·A‖ without B·A: the root of tr(BᵀB · AAᵀ), in float64."""
    wide_a, wide_b = a.to(torch.float64), b.to(torch.float64)
    return math.sqrt(abs(((wide_b.T @ wide_b) * (wide_a @ wide_a.T)).sum().item()))


def _frobenius(tensor: Tensor) -> float:
    return torch.linalg.vector_norm(tensor, dtype=torch.float64).item()
