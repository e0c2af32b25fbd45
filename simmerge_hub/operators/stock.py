"""Model Stock: how far to go from the base to the mean follows from the angle between models."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from simmerge_hub.operators.averaging import weighted_sum
from simmerge_hub.operators.products import products, row_products
from simmerge_hub.operators.registry import Chunks, operator

if TYPE_CHECKING:
    from torch import Tensor

SINGULAR = 1e-6
"""A denominator 1 + (N−1) cos θ below this has no finite answer: the base stays."""


def stock_products(chunks: Chunks, *, filter_wise: bool = False) -> np.ndarray | None:
    """Inner products of the deltas over the tensor; rows carry their own."""
    return None if filter_wise else products(chunks)


@operator(
    space="delta",
    paper="arXiv 2403.19522",
    models=(2, None),
    statistics=stock_products,
    exact_on_samples=False,
)
def model_stock(
    chunk: Tensor, statistics: np.ndarray | None, *, filter_wise: bool = False
) -> Tensor:
    """The mean of the models, drawn to the base the more the deltas disagree.

    Args:
        chunk: float32 [models, rows, cols], deltas from the base.
        statistics: inner products of the deltas over the whole tensor, unless `filter_wise`.
        filter_wise: one angle for each row instead of one for the tensor.

    Returns:
        float32 [rows, cols], a delta: t · mean(τ), t = N cos θ / (1 + (N−1) cos θ), with cos θ the
        mean cosine over pairs (Jang et al. 2024); cos θ = 0 for a pair with a zero delta.
    """
    import torch

    count = len(chunk)
    ratio = _ratio(row_products(chunk) if statistics is None else statistics, count)
    if statistics is not None:
        return weighted_sum(chunk, [float(ratio) / count] * count)
    mean = weighted_sum(chunk, [1 / count] * count)
    return mean.mul_(torch.from_numpy(ratio.astype(np.float32)).unsqueeze(1))


def _ratio(dots: np.ndarray, count: int) -> np.ndarray:
    """t, from inner products float64 [..., models, models]."""
    cosines = []
    for i, j in combinations(range(count), 2):
        norms = np.sqrt(dots[..., i, i] * dots[..., j, j])
        cosines.append(np.clip(dots[..., i, j] / np.where(norms > 0, norms, 1.0), -1.0, 1.0))
    cosine = np.mean(cosines, axis=0)
    below = 1 + (count - 1) * cosine
    singular = np.abs(below) < SINGULAR
    return np.where(singular, 0.0, count * cosine / np.where(singular, 1.0, below))
