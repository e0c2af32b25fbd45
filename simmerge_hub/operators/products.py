"""Inner products of a tensor's models with each other: norms and angles of every kind follow.

Sums run in float64 over one row at a time, and rows are added when all are known, so that no
result depends on where a tensor was cut into chunks.
"""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import TYPE_CHECKING

import numpy as np

from simmerge_hub.operators.registry import Chunks

if TYPE_CHECKING:
    from torch import Tensor


def row_products(chunk: Tensor) -> np.ndarray:
    """⟨i, j⟩ of every row: float64 [rows, models, models] of a chunk [models, rows, cols]."""
    wide = chunk.double().numpy()
    dots = np.empty((chunk.shape[1], len(chunk), len(chunk)))
    for i, j in combinations_with_replacement(range(len(chunk)), 2):
        dots[:, i, j] = dots[:, j, i] = np.einsum("rc,rc->r", wide[i], wide[j])
    return dots


def products(chunks: Chunks) -> np.ndarray:
    """⟨i, j⟩ of the whole flattened tensor: float64 [models, models]."""
    return row_sums([row_products(chunk) for chunk in chunks])


def column_products(chunks: Chunks) -> np.ndarray:
    """⟨i, j⟩ of every column: float64 [cols, models, models]; rows are added one after another."""
    total: np.ndarray | None = None
    for chunk in chunks:
        wide = chunk.double().numpy()
        if total is None:
            total = np.zeros((wide.shape[2], len(wide), len(wide)))
        for row in wide.swapaxes(0, 1):
            total += row.T[:, :, None] * row.T[:, None, :]
    assert total is not None
    return total


def row_sums(parts: list[np.ndarray]) -> np.ndarray:
    """What is known of every row, in float64 [rows, ...] parts, added over all rows at once."""
    return np.concatenate(parts).sum(axis=0)
