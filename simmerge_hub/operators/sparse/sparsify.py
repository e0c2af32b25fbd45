"""Which entries of a delta survive: the large, all but the largest, or random ones.

A sparsifier takes a chunk of every model's delta, float32 [models, rows, cols], and gives one new
float32 [rows, cols] for each model: the entries that survive, the others zero. What it must know of
the whole tensor is found before (`trim_thresholds`, `trim_bounds`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from simmerge_hub.errors import OperatorError
from simmerge_hub.operators.registry import HERE, Chunks, PerModel, Place
from simmerge_hub.operators.sparse import draws
from simmerge_hub.operators.sparse.thresholds import largest, magnitude_thresholds

if TYPE_CHECKING:
    from torch import Tensor

Rescale = Literal["none", "l1"]
"""What survives is left as it is, or scaled to the L1 norm of the whole delta."""
RandomRescale = Literal["none", "density", "l1"]
"""Besides: divided by the probability to survive, so that the expectation is the whole delta."""

Scope = Literal["tensor", "model"]
"""What a share of the entries is of: each tensor, or the whole model as in the paper of TIES."""


Factors = Sequence[float] | None
"""Per model, what restores the L1 norm of the whole tensor's delta; None: nothing is restored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trim:
    """Per model, the magnitude from which on entries of the whole tensor survive."""

    thresholds: Sequence[float]
    factors: Factors


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Per model, the magnitudes between which entries of the whole tensor survive."""

    bounds: Sequence[tuple[float, float]]
    factors: Factors


def trim_largest(chunk: Tensor, thresholds: Sequence[float]) -> list[Tensor]:
    """The entries with a magnitude at or above the threshold; all that tie with it are kept."""
    return [shrink(delta, at) for delta, at in zip(chunk, thresholds, strict=True)]


def trim_thresholds(chunks: Chunks, *, density: PerModel) -> list[float]:
    """Per model, the magnitude of the smallest delta that trimming to `density` keeps.

    The chunks are those of one tensor, or of all tensors one after the other (`trim: model`).
    """
    return magnitude_thresholds(chunks, density)


def trim_both(chunk: Tensor, bounds: Sequence[tuple[float, float]]) -> list[Tensor]:
    """The entries with a magnitude inside the bounds; all that tie with a bound are kept."""
    survivors = []
    for delta, (lower, upper) in zip(chunk, bounds, strict=True):
        kept = shrink(delta, lower)
        survivors.append(kept if upper == np.inf else kept.sub_(delta.hardshrink(upper)))
    return survivors


def trim_bounds(chunks: Chunks, *, density: PerModel, gamma: PerModel) -> list[tuple[float, float]]:
    """Per model, the magnitudes between which a share `density` lies, a share `gamma` above.

    Fewer of the largest are dropped where `density` would not be reached otherwise.
    """

    def ranks(model: int, entries: int) -> list[int]:
        share, outliers = _of(density, model), _of(gamma, model)
        keep = max(1, int(share * entries))
        top = min(int(outliers * entries), entries - keep)
        return [] if share == 1 else [top + keep, top + 1]

    return [(pair[0], pair[1]) if pair else (0.0, np.inf) for pair in largest(chunks, ranks)]


def drop(
    chunk: Tensor, place: Place, *, density: PerModel, rescale: RandomRescale = "density"
) -> list[Tensor]:
    """Each entry with probability `density`."""
    return [
        _drop(delta, place, model, _of(density, model), rescale)
        for model, delta in enumerate(chunk)
    ]


def _drop(delta: Tensor, place: Place, model: int, share: float, rescale: RandomRescale) -> Tensor:
    if share == 1:
        return delta.clone()
    bound = draws.below(share)
    kept = draws.words(place, model, *delta.shape) < bound
    return _mask(delta, kept, draws.SPAN / float(bound) if rescale == "density" else 1.0)


def drop_ranked(
    chunk: Tensor,
    place: Place,
    *,
    density: PerModel,
    epsilon: PerModel,
    rescale: RandomRescale = "density",
) -> list[Tensor]:
    """Each entry with a probability that rises with its magnitude's rank in its row.

    It goes linearly from density − ε to density + ε; of equal magnitudes the first ranks lowest.
    """
    return [
        _drop_ranked(delta, place, model, (_of(density, model), _of(epsilon, model)), rescale)
        for model, delta in enumerate(chunk)
    ]


def _drop_ranked(
    delta: Tensor, place: Place, model: int, shares: tuple[float, float], rescale: RandomRescale
) -> Tensor:
    import torch

    share, spread = shares
    if share == 1:
        return delta.clone()
    if share + spread >= 1 or share - spread <= 0 or spread < 0:
        raise OperatorError(
            f"density {share} ± epsilon {spread} is no probability",
            hint="choose them so that both ends lie between 0 and 1",
        )
    rows, cols = delta.shape
    rising = np.linspace(share - spread, share + spread, cols) if cols > 1 else np.array([share])
    order = _rank_rows(delta)
    words = draws.words(place, model, rows, cols).ravel().take(order)
    bounds = draws.below(rising)
    gains = (draws.SPAN / bounds if rescale == "density" else np.ones(cols)).astype(np.float32)
    factors = np.empty(rows * cols, np.float32)
    factors[order] = np.multiply(words < bounds, gains)
    return torch.from_numpy(factors).view(rows, cols).mul_(delta)


def measure_trim(
    chunks: Chunks,
    place: Place = HERE,
    *,
    density: PerModel = 0.2,
    trim: Scope = "tensor",
    rescale: Rescale = "none",
) -> Trim:
    """The thresholds of TIES; for `trim` "model" the chunks are those of all tensors."""
    thresholds = trim_thresholds(chunks, density=density)
    factors = _restore(rescale, chunks, place, lambda c, _: trim_largest(c, thresholds))
    return Trim(thresholds=thresholds, factors=factors)


def measure_band(
    chunks: Chunks,
    place: Place = HERE,
    *,
    density: PerModel = 0.1,
    gamma: PerModel = 0.01,
    rescale: Rescale = "none",
) -> Band:
    """The bounds of Breadcrumbs."""
    bounds = trim_bounds(chunks, density=density, gamma=gamma)
    factors = _restore(rescale, chunks, place, lambda c, _: trim_both(c, bounds))
    return Band(bounds=bounds, factors=factors)


def measure_drop(
    chunks: Chunks,
    place: Place = HERE,
    *,
    density: PerModel = 0.5,
    rescale: RandomRescale = "density",
) -> Factors:
    """What DARE must know of a whole tensor; nothing unless it restores the L1 norm."""

    def survivors(chunk: Tensor, here: Place) -> list[Tensor]:
        return drop(chunk, here, density=density, rescale=rescale)

    return _restore(rescale, chunks, place, survivors)


def measure_drop_ranked(
    chunks: Chunks,
    place: Place = HERE,
    *,
    density: PerModel = 0.5,
    epsilon: PerModel = 0.15,
    rescale: RandomRescale = "density",
) -> Factors:
    """What DELLA must know of a whole tensor; nothing unless it restores the L1 norm."""

    def survivors(chunk: Tensor, here: Place) -> list[Tensor]:
        return drop_ranked(chunk, here, density=density, epsilon=epsilon, rescale=rescale)

    return _restore(rescale, chunks, place, survivors)


def _restore(
    rescale: RandomRescale,
    chunks: Chunks,
    place: Place,
    sparsify: Callable[[Tensor, Place], list[Tensor]],
) -> Factors:
    return l1_factors(chunks, place, sparsify) if rescale == "l1" else None


def l1_factors(chunks: Chunks, place: Place, survivors: Callable[..., list[Tensor]]) -> list[float]:
    """Per model, Σ|τ| over the tensor / Σ|τ| over what survives; 1 where nothing does.

    Args:
        chunks: the tensor's, from the first row.
        place: of the tensor.
        survivors: chunk and its place -> the surviving entries of every model.
    """
    parts, low = [np.zeros((1, 2, 0))], 0
    for chunk in chunks:
        here = replace(place, low=low)
        kept = survivors(chunk, here)
        rows = [[_row_mass(t) for t in chunk], [_row_mass(t) for t in kept]]
        parts.append(np.array(rows).transpose(2, 0, 1))
        low += chunk.shape[1]
    whole, left = np.concatenate(parts[1:] or parts).sum(axis=0)
    return [float(w / k) if k > 0 else 1.0 for w, k in zip(whole, left, strict=True)]


def shrink(tensor: Tensor, threshold: float) -> Tensor:
    """The entries with a magnitude at or above the threshold, the others zero; a new tensor."""
    if threshold == 0:
        return tensor.clone()
    return tensor.hardshrink(float(np.nextafter(np.float32(threshold), np.float32(0))))


def _of(value: PerModel, model: int) -> float:
    return value if isinstance(value, int | float) else value[model]


def _mask(delta: Tensor, kept: np.ndarray, gain: float) -> Tensor:
    import torch

    survivors = torch.from_numpy(np.multiply(delta.numpy(), kept))
    return survivors if gain == 1 else survivors.mul_(gain)


def _rank_rows(delta: Tensor) -> np.ndarray:
    """The flat indices of every row's entries from the smallest magnitude to the largest.

    Magnitude and column are sorted as one number, so equal magnitudes stay in order.
    """
    rows, cols = delta.shape
    packed = np.empty((rows, cols), "<u8")
    halves = packed.view("<u4").reshape(rows, cols, 2)
    halves[..., 0] = np.arange(cols, dtype=np.uint32)
    np.bitwise_and(delta.numpy().view(np.uint32), np.uint32(0x7FFFFFFF), out=halves[..., 1])
    packed.sort(axis=1)
    return np.add(halves[..., 0], np.arange(rows)[:, None] * cols, dtype=np.intp)


def _row_mass(rows: Tensor) -> np.ndarray:
    """Σ|τ| of every row in float64."""
    return np.einsum("rc->r", np.abs(rows.numpy()).astype(np.float64))
