"""Interpolation along great circles, of weights or of deltas: two models, or the middle of many.

Everything here lies in the span of the models, so the inner products of a tensor's models with
each other say with which factors to add them; chunks are then added and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from simmerge_hub.errors import OperatorError
from simmerge_hub.operators.averaging import weight_shares, weighted_sum
from simmerge_hub.operators.products import column_products, products, row_products
from simmerge_hub.operators.registry import HERE, Chunks, Place, operator, per_model

if TYPE_CHECKING:
    from torch import Tensor

LERP_ABOVE = 0.9995
"""|cos θ| from which slerp is a straight line, as in mergekit."""
ZERO_NORM = 1e-8
"""A norm at or below this counts as zero to slerp, as in mergekit."""
COLLINEAR = 1e-12
"""sin² θ below which float32 cannot tell two directions apart: a straight line."""
OPPOSITE = 1e-6
"""A mean of unit vectors shorter than this has no direction."""
NO_DIRECTION = 1e-36
"""A norm at or below this is zero to float32, and has no direction."""
Origin = Literal["base", "zero"]
Along = Literal["tensor", "row", "column"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Angle:
    """The norms of two flattened tensors and the cosine between them (0 if a norm is zero)."""

    norms: tuple[float, float]
    cosine: float


def angle(chunks: Chunks) -> Angle:
    """The angle between two tensors."""
    (aa, ab), (_, bb) = products(chunks).tolist()
    norms = (math.sqrt(aa), math.sqrt(bb))
    zero = min(norms) <= ZERO_NORM
    return Angle(norms=norms, cosine=0.0 if zero else ab / (norms[0] * norms[1]))


@operator(
    space="weight",
    paper="Shoemake 1985",
    models=(2, 2),
    statistics=angle,
    exact_on_samples=False,
)
def slerp(chunk: Tensor, statistics: Angle, *, t: float = 0.5) -> Tensor:
    """Spherical interpolation between two models, tensor by tensor.

    Args:
        chunk: float32 [2, rows, cols], weights.
        statistics: the angle over the whole flattened tensor.
        t: 0 is the first model, 1 the second.

    Returns:
        float32 [rows, cols]: [sin((1−t)θ) a + sin(tθ) b] / sin θ on the un-normalised tensors; a
        plain linear interpolation where |cos θ| > 0.9995 or a norm is zero. At t = ½ this is
        Linear / cos(θ/2) exactly, so between close fine-tunes it is Linear.
    """
    if min(statistics.norms) <= ZERO_NORM or abs(statistics.cosine) > LERP_ABOVE:
        return weighted_sum(chunk, [1 - t, t])
    theta = math.acos(statistics.cosine)
    return weighted_sum(
        chunk, [math.sin((1 - t) * theta) / math.sin(theta), math.sin(t * theta) / math.sin(theta)]
    )


def nuslerp_products(
    chunks: Chunks, place: Place = HERE, *, along: Along = "tensor"
) -> np.ndarray | None:
    """⟨i, j⟩ of the tensor or of its columns; rows carry their own."""
    vector = len(place.shape) == 1
    if along == "column" and not vector:
        return column_products(chunks)
    return None if along == "row" and not vector else products(chunks)


@operator(
    space="delta",
    paper="arXiv 2403.13257",
    models=(2, 2),
    statistics=nuslerp_products,
    exact_on_samples=False,
)
def nuslerp(
    chunk: Tensor,
    statistics: np.ndarray | None,
    *,
    t: float = 0.5,
    along: Along = "tensor",
    origin: Origin = "base",
) -> Tensor:
    """Spherical interpolation between the deltas of two models.

    Args:
        chunk: float32 [2, rows, cols], deltas from the base (weights with `origin: zero`).
        statistics: inner products of the two over the tensor, or of each column.
        t: 0 is the first model, 1 the second; mergekit's is w₂ / (w₁ + w₂).
        along: what is one vector: the flattened tensor, a row, or a column (mergekit's
            `nuslerp_row_wise`, which despite its name turns columns).
        origin: the centre of the sphere: the base, or zero, which needs no base.

    Returns:
        float32 [rows, cols], a delta (weights with `origin: zero`): slerp, linear only where
        sin θ < 1e-6 or one of the two is zero.
    """
    import torch

    dots = row_products(chunk) if statistics is None else statistics
    first, second = _arc_shares(dots, t)
    if dots.ndim == 2:
        return weighted_sum(chunk, [float(first), float(second)])
    shape = (-1, 1) if statistics is None else (1, -1)
    shares = [torch.from_numpy(s.astype(np.float32)).view(shape) for s in (first, second)]
    return chunk[0].mul(shares[0]).addcmul_(chunk[1], shares[1])


def _arc_shares(dots: np.ndarray, t: float) -> tuple[np.ndarray, np.ndarray]:
    """The factors of the two ends of arcs, from their inner products float64 [..., 2, 2]."""
    norms = np.sqrt(dots[..., 0, 0] * dots[..., 1, 1])
    cosine = np.clip(dots[..., 0, 1] / np.where(norms > 0, norms, 1.0), -1.0, 1.0)
    straight = (norms == 0) | (1 - cosine**2 < COLLINEAR)
    theta = np.arccos(np.where(straight, 0.0, cosine))
    sine = np.where(straight, 1.0, np.sin(theta))
    first = np.where(straight, 1 - t, np.sin((1 - t) * theta) / sine)
    return first, np.where(straight, t, np.sin(t * theta) / sine)


@operator(
    space="delta",
    paper="goddard.blog/posts/multislerp-wow-what-a-cool-idea",
    statistics=products,
    exact_on_samples=False,
)
def multislerp(
    chunk: Tensor,
    statistics: np.ndarray,
    place: Place = HERE,
    *,
    weights: Sequence[float] | None = None,
    normalize: bool = True,
    origin: Origin = "base",
) -> Tensor:
    """The weighted mean direction of the deltas at their weighted mean norm.

    Args:
        chunk: float32 [models, rows, cols], deltas from the base (weights with `origin: zero`).
        statistics: inner products of the models over the whole tensor.
        weights: one per model; equal by default.
        normalize: divide the weights by their sum.
        origin: the centre of the sphere: the base, or zero, which needs no base.

    Returns:
        float32 [rows, cols], a delta (weights with `origin: zero`). The step in the tangent space
        that mergekit takes from the mean direction is zero whatever the models are, so it is left
        out. Two models in opposite directions are interpolated linearly.

    Raises:
        OperatorError: three or more models whose directions cancel out.
    """
    given = per_model(weights, len(chunk))
    shares = np.array(weight_shares("multislerp", given) if normalize or not weights else given)
    norms, units = _units(statistics)
    length = math.sqrt(max(0.0, shares @ units @ shares))
    if length > OPPOSITE * np.abs(shares[norms > 0]).sum():
        return _at_norm(chunk, shares / length, norms, float(shares @ norms))
    if len(chunk) > 2 and norms.any():
        raise _cancellation("multislerp", place)
    return weighted_sum(chunk, shares.tolist())


@operator(space="weight", paper="arXiv 2603.04972", statistics=products, exact_on_samples=False)
def karcher(
    chunk: Tensor,
    statistics: np.ndarray,
    place: Place = HERE,
    *,
    weights: Sequence[float] | None = None,
    steps: int = 100,
    tolerance: float = 1e-7,
) -> Tensor:
    """The spherical mean of the models: least in squared angles, at their mean norm.

    Args:
        chunk: float32 [models, rows, cols], weights.
        statistics: inner products of the models over the whole tensor.
        weights: one per model, divided by their sum; equal by default.
        steps: how often the mean is moved at most.
        tolerance: a move by a smaller angle is the last.

    Returns:
        float32 [rows, cols]: the Karcher (Fréchet) mean of the directions, times the weighted mean
        of the norms. Models that are zero in this tensor have no direction and only shrink it.

    Raises:
        OperatorError: directions that cancel out, so that no mean is nearest to all.
    """
    shares = np.array(weight_shares("karcher", per_model(weights, len(chunk))))
    norms, units = _units(statistics)
    if not norms.any():
        return weighted_sum(chunk, shares.tolist())
    middle = _middle(units, np.where(norms > 0, shares, 0.0), int(steps), tolerance, place)
    return _at_norm(chunk, middle, norms, float(shares @ norms))


def _middle(
    units: np.ndarray, shares: np.ndarray, steps: int, tolerance: float, place: Place
) -> np.ndarray:
    """The factors of the unit vectors in their spherical mean, by steps along the mean log map."""
    shares = shares / shares.sum()
    length = math.sqrt(max(0.0, shares @ units @ shares))
    if length <= OPPOSITE:
        raise _cancellation("karcher", place)
    middle = shares / length
    for _ in range(steps):
        cosines = np.clip(units @ middle, -1.0, 1.0)
        angles = np.arccos(cosines)
        pull = shares / np.sinc(np.minimum(angles / np.pi, 1 - OPPOSITE))
        tangent = pull - (pull @ cosines) * middle
        move = math.sqrt(max(0.0, tangent @ units @ tangent))
        if move < tolerance or move == 0:  # a tolerance of zero stops here too
            break
        middle = math.cos(move) * middle + (math.sin(move) / move) * tangent
        middle /= math.sqrt(middle @ units @ middle)
    return middle


def _units(dots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The models' norms, and the inner products of their directions (0 for a zero tensor)."""
    norms = np.sqrt(np.diagonal(dots))
    norms = np.where(norms > NO_DIRECTION, norms, 0.0)
    safe = np.where(norms > 0, norms, np.inf)
    return norms, dots / np.outer(safe, safe)


def _at_norm(chunk: Tensor, direction: np.ndarray, norms: np.ndarray, norm: float) -> Tensor:
    """A sum of directions, given by its factors, at this norm; in two steps that float32 holds."""
    factors = direction / np.where(norms > 0, norms, np.inf)
    return weighted_sum(chunk, factors.tolist()).mul_(norm)


def _cancellation(name: str, place: Place) -> OperatorError:
    where = f" of {place.tensor}" if place.tensor else ""
    return OperatorError(
        f"{name}: the models' directions{where} cancel out, so their mean has none",
        hint="give other weights, or use linear",
    )
