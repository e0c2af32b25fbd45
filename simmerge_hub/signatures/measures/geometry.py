"""How alike two sets of vectors are: cosines, debiased linear CKA, attention rows."""

import numpy as np


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """⟨a, b⟩/(‖a‖‖b‖) over the last axis; NaN where a norm is zero."""
    return cosine_of(dot(a, b), dot(a, a), dot(b, b))


def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """float64 [...]: ⟨a, b⟩ over the last axis."""
    return np.einsum("...i,...i->...", a, b, dtype=np.float64)


def cosine_of(product: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The cosine from ⟨a, b⟩, ‖a‖² and ‖b‖²; NaN where a norm is zero."""
    norms = np.sqrt(first * second)
    return np.divide(product, norms, out=np.full(np.shape(product), np.nan), where=norms > 0)


def centred_gram(rows: np.ndarray) -> np.ndarray:
    """float64 [..., n, n]: the Gram matrix of rows [..., n, width], diagonal dropped, U-centred.

    With K̃ and L̃ so centred, Σ K̃∘L̃ / (n(n−3)) is the unbiased estimate of HSIC (Song et al. 2012):
    [tr KL + 1ᵀK1·1ᵀL1/((n−1)(n−2)) − 2/(n−2)·1ᵀKL1] / (n(n−3)) with zero diagonals.
    """
    n = rows.shape[-2]
    gram = np.einsum("...id,...jd->...ij", rows, rows, dtype=np.float64, optimize=True)
    diagonal = np.arange(n)
    gram[..., diagonal, diagonal] = 0
    sums = gram.sum(-1)
    total = sums.sum(-1)[..., None, None] / ((n - 1) * (n - 2))
    gram += total - (sums[..., :, None] + sums[..., None, :]) / (n - 2)
    gram[..., diagonal, diagonal] = 0
    return gram


def cka(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Debiased linear CKA [...] of centred Gram matrices [..., n, n]; NaN where undefined."""
    between = np.einsum("...ij,...ij->...", a, b)
    within = np.einsum("...ij,...ij->...", a, a) * np.einsum("...ij,...ij->...", b, b)
    root = np.sqrt(np.maximum(within, 0))
    return np.divide(between, root, out=np.full(np.shape(root), np.nan), where=root > 0)


def effective_rank(matrix: np.ndarray, rows: int | None = None) -> float:
    """(Σσ²)²/Σσ⁴ of a matrix [n, cols]: how many directions it uses; NaN if it is zero.

    With `rows` above n, that of a matrix of so many rows of which these n ≥ 2 are a sample. n rows
    cannot use more than n directions, however many the others would; so the mean square of a row's
    norm and of two rows' product are estimated apart, and counted as often as there would be such.
    Never more than there are rows or columns.
    """
    n = len(matrix)
    if rows is None or rows <= n:
        small = matrix if n <= matrix.shape[1] else matrix.T
        gram = (small @ small.T).astype(np.float64)
        energy, square = float(np.trace(gram)), float((gram**2).sum())
    else:
        gram = (matrix @ matrix.T).astype(np.float64)
        own = np.diagonal(gram)
        alone = float((own**2).sum())
        energy = float(own.sum()) * rows / n
        square = alone * rows / n
        square += (float((gram**2).sum()) - alone) * rows * (rows - 1) / (n * (n - 1))
    if energy <= 0:
        return float("nan")
    return min(energy**2 / square, float(rows or n), float(matrix.shape[1]))


def leading_inputs(matrix: np.ndarray, count: int) -> np.ndarray:
    """Orthonormal [cols, k], the leading right singular vectors, k ≤ `count` of non-zero ones.

    Through the Gram matrix of the rows, of which there should be few.
    """
    values, left = np.linalg.eigh(matrix @ matrix.T)
    k = min(count, int((values > 1e-6 * values[-1]).sum())) if values[-1] > 0 else 0
    right = matrix.T @ left[:, len(values) - k :]
    return right / np.linalg.norm(right, axis=0)


def subspace_overlap(a: np.ndarray, b: np.ndarray) -> float:
    """‖AᵀB‖²/k of orthonormal [cols, k] bases, k the smaller number; NaN if one is empty."""
    k = min(a.shape[1], b.shape[1])
    return float(np.square(a.T @ b).sum()) / k if k else float("nan")
