"""Weighted sums: of weights (linear), of deltas (task arithmetic), of one model (passthrough)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from simmerge_hub.errors import OperatorError
from simmerge_hub.operators.registry import operator, per_model

if TYPE_CHECKING:
    from torch import Tensor


@operator(space="weight", paper="arXiv 2203.05482")
def linear(
    chunk: Tensor,
    _: None = None,
    *,
    weights: Sequence[float] | None = None,
    normalize: bool = True,
) -> Tensor:
    """The weighted mean of the models.

    Args:
        chunk: float32 [models, rows, cols], weights.
        weights: one per model; equal by default.
        normalize: divide the weights by their sum.

    Returns:
        float32 [rows, cols]: Σ αᵢ wᵢ with Σ αᵢ = 1 ("model soups", Wortsman et al. 2022).
    """
    given = per_model(weights, len(chunk))
    return weighted_sum(chunk, weight_shares("linear", given) if normalize else given)


@operator(space="delta", paper="arXiv 2212.04089")
def task_arithmetic(
    chunk: Tensor,
    _: None = None,
    *,
    scale: float = 1.0,
    weights: Sequence[float] | None = None,
    normalize: bool = False,
) -> Tensor:
    """The base plus the scaled sum of the deltas.

    Args:
        chunk: float32 [models, rows, cols], deltas from the base.
        scale: λ, applied to the sum.
        weights: one per model; 1 by default.
        normalize: divide the weights by their sum, which makes a mean of the sum.

    Returns:
        float32 [rows, cols], a delta: λ Σ αᵢ τᵢ (Ilharco et al. 2023).
    """
    given = per_model(weights, len(chunk))
    shares = weight_shares("task_arithmetic", given) if normalize else given
    return weighted_sum(chunk, [scale * w for w in shares])


@operator(space="weight", paper="none: one model as it is", models=(1, 1))
def passthrough(chunk: Tensor, _: None = None, *, scale: float = 1.0) -> Tensor:
    """One model, unchanged or scaled.

    Args:
        chunk: float32 [1, rows, cols], weights.
        scale: a factor for every entry.

    Returns:
        float32 [rows, cols].
    """
    return chunk[0] * scale


def weighted_sum(chunk: Tensor, weights: Sequence[float]) -> Tensor:
    """Σ weights[i] · chunk[i] in float32, in the order of the models."""
    total = chunk[0].mul(weights[0])
    for tensor, weight in zip(chunk[1:], weights[1:], strict=True):
        total.add_(tensor, alpha=weight)
    return total


def weight_shares(name: str, weights: Sequence[float]) -> list[float]:
    """The weights divided by their sum. Raises OperatorError where that is zero."""
    total = sum(weights)
    if abs(total) < 1e-8 * max(map(abs, weights), default=1.0) or not total:
        raise OperatorError(
            f"{name}: the weights {list(weights)} sum to zero",
            hint="give weights with a non-zero sum",
        )
    return [w / total for w in weights]
