"""Which entries of a delta survive: the large, all but the largest, or random ones.

A sparsifier is two functions. `measure` finds what it must know of the whole tensor, for every
model; `apply` gives the surviving entries of some rows, the others zero. Its keyword-only
arguments become parameters of every operator that is composed with it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import hardshrink

from simmerge_hub.errors import OperatorError
from simmerge_hub.operators import draws
from simmerge_hub.operators.registry import Chunks, PerModel, Place
from simmerge_hub.operators.thresholds import largest, magnitude_thresholds

Rescale = Literal["none", "l1"]
"""What survives is left as it is, or scaled to the L1 norm of the whole delta."""
RandomRescale = Literal["none", "density", "l1"]
"""Besides: divided by the probability to survive, so that the expectation is the whole delta."""

Scope = Literal["tensor", "model"]
"""What a share of the entries is of: each tensor, or the whole model as in the paper of TIES."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparsifier:
    """`apply(delta, found, place, model, **options)` -> new float32 [rows, cols].

    `found` is the model's item of `measure(chunks, **options)`, or None; `options` are its own.
    """

    apply: Callable[..., Tensor]
    measure: Callable[..., list[Any]] | None = None


def trim_largest(
    delta: Tensor,
    threshold: float,
    place: Place,
    model: int,
    *,
    density: PerModel = 0.2,
    trim: Scope = "tensor",
) -> Tensor:
    """The entries with a magnitude at or above the threshold; all that tie with it are kept."""
    return shrunk(delta, threshold)


def trim_thresholds(
    chunks: Chunks, *, density: PerModel = 0.2, trim: Scope = "tensor"
) -> list[float]:
    """Per model, the magnitude of the smallest delta that trimming to `density` keeps.

    For `trim` "model" the chunks are those of all tensors, one after the other.
    """
    return magnitude_thresholds(chunks, density)


def trim_both(
    delta: Tensor,
    bounds: tuple[float, float],
    place: Place,
    model: int,
    *,
    density: PerModel = 0.1,
    gamma: PerModel = 0.01,
) -> Tensor:
    """The entries with a magnitude inside the bounds; all that tie with a bound are kept."""
    lower, upper = bounds
    kept = shrunk(delta, lower)
    return kept if upper == np.inf else kept.sub_(hardshrink(delta, upper))


def bounds(
    chunks: Chunks, *, density: PerModel = 0.1, gamma: PerModel = 0.01
) -> list[tuple[float, float]]:
    """Per model, the magnitudes between which a share `density` lies, a share `gamma` above.

    Fewer of the largest are dropped where `density` would not be reached otherwise.
    """

    def ranks(model: int, entries: int) -> list[int]:
        share, outliers = _of(density, model), _of(gamma, model)
        keep = max(1, int(share * entries))
        top = min(int(outliers * entries), entries - keep)
        return [] if share == 1 else [top + keep, top + 1]

    found = largest(chunks, ranks)
    return [(b[0], b[1]) if b else (0.0, np.inf) for b in found]


def drop(
    delta: Tensor,
    _: None,
    place: Place,
    model: int,
    *,
    density: PerModel = 0.5,
    rescale: RandomRescale = "density",
) -> Tensor:
    """Each entry with probability `density`."""
    share = _of(density, model)
    if share == 1:
        return delta.clone()
    bound = draws.below(share)
    kept = draws.words(place, model, *delta.shape) < bound
    return _masked(delta, kept, draws.SPAN / float(bound) if rescale == "density" else 1.0)


def drop_ranked(
    delta: Tensor,
    _: None,
    place: Place,
    model: int,
    *,
    density: PerModel = 0.5,
    epsilon: PerModel = 0.15,
    rescale: RandomRescale = "density",
) -> Tensor:
    """Each entry with a probability that rises with its magnitude's rank in its row.

    It goes linearly from density − ε to density + ε; of equal magnitudes the first ranks lowest.
    """
    share, spread = _of(density, model), _of(epsilon, model)
    if share == 1:
        return delta.clone()
    if share + spread >= 1 or share - spread <= 0 or spread < 0:
        raise OperatorError(
            f"density {share} ± epsilon {spread} is no probability",
            hint="choose them so that both ends lie between 0 and 1",
        )
    rows, cols = delta.shape
    rising = np.linspace(share - spread, share + spread, cols) if cols > 1 else np.array([share])
    order = _ranking(delta)
    drawn = draws.words(place, model, rows, cols).ravel().take(order)
    bounds = draws.below(rising)
    gains = (draws.SPAN / bounds if rescale == "density" else np.ones(cols)).astype(np.float32)
    factors = np.empty(rows * cols, np.float32)
    factors[order] = np.multiply(drawn < bounds, gains)
    return torch.from_numpy(factors).view(rows, cols).mul_(delta)


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


def shrunk(tensor: Tensor, threshold: float) -> Tensor:
    """The entries with a magnitude at or above the threshold, the others zero; a new tensor."""
    if threshold == 0:
        return tensor.clone()
    return hardshrink(tensor, float(np.nextafter(np.float32(threshold), np.float32(0))))


TRIM = Sparsifier(apply=trim_largest, measure=trim_thresholds)
TRIM_BOTH = Sparsifier(apply=trim_both, measure=bounds)
DROP = Sparsifier(apply=drop)
DROP_RANKED = Sparsifier(apply=drop_ranked)


def _of(value: PerModel, model: int) -> float:
    return value if isinstance(value, int | float) else value[model]


def _masked(delta: Tensor, kept: np.ndarray, gain: float) -> Tensor:
    found = torch.from_numpy(np.multiply(delta.numpy(), kept))
    return found if gain == 1 else found.mul_(gain)


def _ranking(delta: Tensor) -> np.ndarray:
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
