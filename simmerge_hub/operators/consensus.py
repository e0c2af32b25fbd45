"""Sparse deltas and what they agree on: TIES, DARE, DELLA and Breadcrumbs.

Each is a sparsifier (which entries of each delta survive), a rescaling (what makes up for the
others) and a sum: of all survivors, or of those that have an elected sign. Here is what
each takes and means; the arithmetic is in `sparsify` and `sums`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from simmerge_hub.operators.registry import HERE, PerModel, Place, operator
from simmerge_hub.operators.sparse.sparsify import (
    Band,
    Factors,
    RandomRescale,
    Rescale,
    Scope,
    Trim,
    drop,
    drop_ranked,
    measure_band,
    measure_drop,
    measure_drop_ranked,
    measure_trim,
    trim_both,
    trim_largest,
)
from simmerge_hub.operators.sparse.sums import add_up, elect

if TYPE_CHECKING:
    from torch import Tensor


@operator(space="delta", paper="arXiv 2306.01708", statistics=measure_trim, exact_on_samples=False)
def ties(
    chunk: Tensor,
    statistics: Trim,
    *,
    density: PerModel = 0.2,
    trim: Scope = "tensor",
    rescale: Rescale = "none",
    scale: float = 1.0,
    weights: Sequence[float] | None = None,
    normalize: bool = True,
) -> Tensor:
    """Trim each delta to its largest entries, elect a sign, average those that agree.

    Args:
        chunk: float32 [models, rows, cols], deltas from the base.
        statistics: thresholds and factors of the whole tensor.
        density: the share of entries that survive, for all models or for each.
        trim: the share is of each tensor, or of the whole model as in the paper's code.
        rescale: survivors are left as they are (none) or scaled to the L1 norm of the whole delta
            (l1).
        scale: λ, applied to the result.
        weights: one per model, applied before the election; 1 by default.
        normalize: divide by the weights of the deltas that were added, entry by entry; otherwise
            the sum stays.

    Returns:
        float32 [rows, cols], a delta.
    """
    survivors = trim_largest(chunk, statistics.thresholds)
    return elect(survivors, statistics.factors, scale, weights, normalize)


@operator(space="delta", paper="arXiv 2311.03099", statistics=measure_drop, exact_on_samples=False)
def dare_linear(
    chunk: Tensor,
    factors: Factors,
    place: Place = HERE,
    *,
    density: PerModel = 0.5,
    rescale: RandomRescale = "density",
    scale: float = 1.0,
    weights: Sequence[float] | None = None,
    normalize: bool = False,
) -> Tensor:
    """Drop random entries of each delta, rescale the others, add them up.

    Args:
        chunk: float32 [models, rows, cols], deltas from the base.
        factors: those of the whole tensor that restore its L1 norm, for `rescale` l1.
        place: where the chunk lies, which the random numbers belong to.
        density: the share of entries that survive, for all models or for each.
        rescale: survivors are left as they are (none), divided by their probability to survive
            (density) or scaled to the L1 norm of the whole delta (l1).
        scale: λ, applied to the result.
        weights: one per model; 1 by default.
        normalize: divide the weights by their sum, which makes a mean of the sum.

    Returns:
        float32 [rows, cols], a delta.
    """
    survivors = drop(chunk, place, density=density, rescale=rescale)
    return add_up("dare_linear", survivors, factors, scale, weights, normalize)


@operator(space="delta", paper="arXiv 2311.03099", statistics=measure_drop, exact_on_samples=False)
def dare_ties(
    chunk: Tensor,
    factors: Factors,
    place: Place = HERE,
    *,
    density: PerModel = 0.5,
    rescale: RandomRescale = "density",
    scale: float = 1.0,
    weights: Sequence[float] | None = None,
    normalize: bool = True,
) -> Tensor:
    """Drop random entries of each delta, rescale the others, average those that agree.

    Args:
        chunk: float32 [models, rows, cols], deltas from the base.
        factors: those of the whole tensor that restore its L1 norm, for `rescale` l1.
        place: where the chunk lies, which the random numbers belong to.
        density: the share of entries that survive, for all models or for each.
        rescale: survivors are left as they are (none), divided by their probability to survive
            (density) or scaled to the L1 norm of the whole delta (l1).
        scale: λ, applied to the result.
        weights: one per model, applied before the election; 1 by default.
        normalize: divide by the weights of the deltas that were added, entry by entry; otherwise
            the sum stays.

    Returns:
        float32 [rows, cols], a delta.
    """
    survivors = drop(chunk, place, density=density, rescale=rescale)
    return elect(survivors, factors, scale, weights, normalize)


@operator(
    space="delta", paper="arXiv 2406.11617", statistics=measure_drop_ranked, exact_on_samples=False
)
def della(
    chunk: Tensor,
    factors: Factors,
    place: Place = HERE,
    *,
    density: PerModel = 0.5,
    epsilon: PerModel = 0.15,
    rescale: RandomRescale = "density",
    scale: float = 1.0,
    weights: Sequence[float] | None = None,
    normalize: bool = True,
) -> Tensor:
    """Drop small entries of each delta more often, rescale, average those that agree.

    Args:
        chunk: float32 [models, rows, cols], deltas from the base.
        factors: those of the whole tensor that restore its L1 norm, for `rescale` l1.
        place: where the chunk lies, which the random numbers belong to.
        density: the share of entries that survive, for all models or for each.
        epsilon: how far the probability to survive moves from density with rank.
        rescale: survivors are left as they are (none), divided by their probability to survive
            (density) or scaled to the L1 norm of the whole delta (l1).
        scale: λ, applied to the result.
        weights: one per model, applied before the election; 1 by default.
        normalize: divide by the weights of the deltas that were added, entry by entry; otherwise
            the sum stays.

    Returns:
        float32 [rows, cols], a delta.
    """
    survivors = drop_ranked(chunk, place, density=density, epsilon=epsilon, rescale=rescale)
    return elect(survivors, factors, scale, weights, normalize)


@operator(
    space="delta", paper="arXiv 2406.11617", statistics=measure_drop_ranked, exact_on_samples=False
)
def della_linear(
    chunk: Tensor,
    factors: Factors,
    place: Place = HERE,
    *,
    density: PerModel = 0.5,
    epsilon: PerModel = 0.15,
    rescale: RandomRescale = "density",
    scale: float = 1.0,
    weights: Sequence[float] | None = None,
    normalize: bool = False,
) -> Tensor:
    """Drop small entries of each delta more often, rescale the others, add them up.

    Args:
        chunk: float32 [models, rows, cols], deltas from the base.
        factors: those of the whole tensor that restore its L1 norm, for `rescale` l1.
        place: where the chunk lies, which the random numbers belong to.
        density: the share of entries that survive, for all models or for each.
        epsilon: how far the probability to survive moves from density with rank.
        rescale: survivors are left as they are (none), divided by their probability to survive
            (density) or scaled to the L1 norm of the whole delta (l1).
        scale: λ, applied to the result.
        weights: one per model; 1 by default.
        normalize: divide the weights by their sum, which makes a mean of the sum.

    Returns:
        float32 [rows, cols], a delta.
    """
    survivors = drop_ranked(chunk, place, density=density, epsilon=epsilon, rescale=rescale)
    return add_up("della_linear", survivors, factors, scale, weights, normalize)


@operator(space="delta", paper="arXiv 2312.06795", statistics=measure_band, exact_on_samples=False)
def breadcrumbs(
    chunk: Tensor,
    statistics: Band,
    *,
    density: PerModel = 0.1,
    gamma: PerModel = 0.01,
    rescale: Rescale = "none",
    scale: float = 1.0,
    weights: Sequence[float] | None = None,
    normalize: bool = False,
) -> Tensor:
    """Drop the smallest and the very largest entries of each delta, add up the others.

    Args:
        chunk: float32 [models, rows, cols], deltas from the base.
        statistics: bounds and factors of the whole tensor.
        density: the share of entries that survive, for all models or for each.
        gamma: the share of largest entries that are dropped.
        rescale: survivors are left as they are (none) or scaled to the L1 norm of the whole delta
            (l1).
        scale: λ, applied to the result.
        weights: one per model; 1 by default.
        normalize: divide the weights by their sum, which makes a mean of the sum.

    Returns:
        float32 [rows, cols], a delta.
    """
    survivors = trim_both(chunk, statistics.bounds)
    return add_up("breadcrumbs", survivors, statistics.factors, scale, weights, normalize)


@operator(
    space="delta",
    paper="arXiv 2312.06795 and 2306.01708",
    statistics=measure_band,
    exact_on_samples=False,
)
def breadcrumbs_ties(
    chunk: Tensor,
    statistics: Band,
    *,
    density: PerModel = 0.1,
    gamma: PerModel = 0.01,
    rescale: Rescale = "none",
    scale: float = 1.0,
    weights: Sequence[float] | None = None,
    normalize: bool = True,
) -> Tensor:
    """Drop the smallest and the very largest entries, average those that agree.

    Args:
        chunk: float32 [models, rows, cols], deltas from the base.
        statistics: bounds and factors of the whole tensor.
        density: the share of entries that survive, for all models or for each.
        gamma: the share of largest entries that are dropped.
        rescale: survivors are left as they are (none) or scaled to the L1 norm of the whole delta
            (l1).
        scale: λ, applied to the result.
        weights: one per model, applied before the election; 1 by default.
        normalize: divide by the weights of the deltas that were added, entry by entry; otherwise
            the sum stays.

    Returns:
        float32 [rows, cols], a delta.
    """
    survivors = trim_both(chunk, statistics.bounds)
    return elect(survivors, statistics.factors, scale, weights, normalize)
