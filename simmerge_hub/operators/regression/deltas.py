"""RegMean without data: what a layer was fed is estimated from how training moved it.

A step of gradient descent adds Σ g xᵀ to a linear layer, so the rows of a delta Δ lie where the
layer's inputs x did, and ΔᵀΔ stands for their Gram matrix (Hameed et al. 2026, arXiv 2604.01329; Xu
et al. 2026, arXiv 2603.02945; Cheng et al. 2025, arXiv 2503.08099, see the rows of a delta alike).
The deltas are merged in closed form as RegMean merges weights:

    Δ = Σᵢ Δᵢ Aᵢ (Σⱼ Aⱼ)⁻¹   with   Aᵢ = α·ΔᵢᵀΔᵢ off the diagonal, ΔᵢᵀΔᵢ on it.

Where only one model moved, its delta is taken whole; where both did, they are weighed by how much.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from threading import Semaphore
from typing import TYPE_CHECKING

from simmerge_hub.operators.averaging import weighted_sum
from simmerge_hub.operators.registry import HERE, Chunks, Place, operator, per_model
from simmerge_hub.operators.regression.inputs import LayerInputs
from simmerge_hub.operators.regression.mixing import Mix, mix_rows, positive_shares, solve_mix

if TYPE_CHECKING:
    from torch import Tensor

SOLVES_AT_ONCE = 2
SOLVES = Semaphore(SOLVES_AT_ONCE)
"""A solve takes some matrices in float64 as wide as the tensor: whatever the threads, few do."""

GROUP = 256
"""Rows whose products are added at a time: a wide tensor comes in chunks of a few, and each sum
reads and writes a matrix as wide as the tensor on both sides."""


def solve_deltas(
    chunks: Chunks,
    place: Place = HERE,
    *,
    alpha: float = 0.9,
    ridge: float = 1e-6,
    weights: Sequence[float] | None = None,
) -> Mix | None:
    """How the deltas' rows are mixed; None for what is no matrix.

    Where nobody says what shape the tensor has, one row is a vector. So is a bias that is stored as
    one, [1, tokens], as BART's: no layer multiplies anything by it.
    """
    shape = place.shape or _shape_of(chunks)
    if len(shape) != 2 or 0 in shape or (shape[0] == 1 and place.tensor.endswith("bias")):
        return None
    rows, cols = shape
    few = len(next(iter(chunks))) * rows <= cols
    seen = _keep_rows(chunks) if few else _add_products(chunks)
    shares = positive_shares("delta_regmean", per_model(weights, len(seen)))
    with SOLVES:
        return solve_mix("delta_regmean", seen, shares, alpha, ridge, place.tensor)


def solve_bytes(shape: Sequence[int], models: int) -> tuple[int, int]:
    """Bytes held for each tensor that is merged, and those of one solve besides."""
    if len(shape) != 2:
        return 0, 0
    rows, cols = shape
    if models * rows <= cols:
        tokens = models * rows
        return 16 * tokens * cols, tokens * (24 * cols + 16 * tokens)
    return 4 * models * cols * cols, (24 + 4 * (models - 1)) * cols * cols


def _shape_of(chunks: Chunks) -> tuple[int, ...]:
    sizes = [each.shape[1:] for each in chunks]
    rows, cols = sum(rows for rows, _ in sizes), sizes[0][1]
    return (rows, cols) if rows > 1 else (cols,)


def _keep_rows(chunks: Chunks) -> list[LayerInputs]:
    import torch

    rows = torch.cat(list(chunks), dim=1)
    return [LayerInputs(tokens=len(each), rows=each) for each in rows]


def _add_products(chunks: Chunks) -> list[LayerInputs]:
    import torch

    grouped = _group(chunks)
    first = next(grouped)
    grams = torch.bmm(first.mT, first)
    tokens = first.shape[1]
    for chunk in grouped:
        grams.baddbmm_(chunk.mT, chunk)
        tokens += chunk.shape[1]
    return [LayerInputs(tokens=tokens, gram=each) for each in grams]


def _group(chunks: Chunks) -> Iterator[Tensor]:
    """The same rows in chunks of GROUP at least, but for the last."""
    import torch

    held: list[Tensor] = []
    for chunk in chunks:
        held.append(chunk)
        if sum(each.shape[1] for each in held) >= GROUP:
            yield torch.cat(held, dim=1) if held[1:] else chunk
            held.clear()
    if held:
        yield torch.cat(held, dim=1)


@operator(
    space="delta",
    paper="arXiv 2604.01329",
    statistics=solve_deltas,
    exact_on_samples=False,
    all_rows=True,
)
def delta_regmean(
    chunk: Tensor,
    mix: Mix | None,
    *,
    alpha: float = 0.9,
    ridge: float = 1e-6,
    weights: Sequence[float] | None = None,
) -> Tensor:
    """RegMean without data: the rows of each delta stand for what its layer was fed.

    Args:
        chunk: float32 [models, rows, cols], deltas from the base.
        mix: what mixes the rows of the matrix; None for a tensor that is none.
        alpha: the factor of the products' off-diagonals; 0 weighs every column by its own energy.
        ridge: added to the diagonal of every ΔᵀΔ, whose mean diagonal is scaled to 1.
        weights: how much each model counts; equal by default.

    Returns:
        float32 [rows, cols], a delta. Columns are taken for a layer's inputs, as nn.Linear stores
        them; what is no matrix (norms, biases, experts in one tensor) is averaged.
    """
    del alpha, ridge  # decide how rows are mixed
    if mix is None:
        shares = positive_shares("delta_regmean", per_model(weights, len(chunk)))
        return weighted_sum(chunk, shares)
    return mix_rows(chunk, mix)
