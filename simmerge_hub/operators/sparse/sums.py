"""How sparse deltas are added: all of them, or those whose sign is elected."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from simmerge_hub.operators.averaging import weight_shares
from simmerge_hub.operators.registry import per_model

if TYPE_CHECKING:
    from torch import Tensor

SMALLEST_FLOAT32 = float(np.finfo(np.float32).tiny)


def add_up(
    name: str,
    survivors: Sequence[Tensor],
    factors: Sequence[float] | None,
    scale: float,
    weights: Sequence[float] | None,
    normalize: bool,
) -> Tensor:
    """The weighted sum of the survivors, which are used up."""
    given = per_model(weights, len(survivors))
    shares = weight_shares(name, given) if normalize else given
    gains = factors or [1.0] * len(survivors)
    return add_weighted(survivors, [scale * s * f for s, f in zip(shares, gains, strict=True)])


def elect(
    survivors: Sequence[Tensor],
    factors: Sequence[float] | None,
    scale: float,
    weights: Sequence[float] | None,
    normalize: bool,
) -> Tensor:
    """The sum or mean of the weighted survivors with the elected sign; they are used up."""
    given = per_model(weights, len(survivors))
    gains = factors or [1.0] * len(survivors)
    for part, weight, factor in zip(survivors, given, gains, strict=True):
        if weight * factor != 1:
            part.mul_(weight * factor)
    return add_agreeing(survivors, [scale] * len(given), given if normalize else None)


def add_weighted(parts: Iterable[Tensor], weights: Sequence[float]) -> Tensor:
    """Σ weights[i] · parts[i]; the parts are used up."""
    total: Tensor | None = None
    for part, weight in zip(parts, weights, strict=True):
        total = part.mul_(weight) if total is None else total.add_(part, alpha=weight)
    assert total is not None
    return total


def add_agreeing(
    parts: Sequence[Tensor], gains: Sequence[float], masses: Sequence[float] | None
) -> Tensor:
    """Elect a sign for each entry by the sum of the parts; add up the parts that have it.

    Args:
        parts: float32 [rows, cols] each; used up. A sum of exactly zero elects +.
        gains: the factors with which agreeing parts are added.
        masses: divide by the sum of these over the agreeing parts (1 where it is zero), or not.

    Returns:
        float32 [rows, cols].
    """
    total = parts[0].add(parts[1]) if len(parts) > 1 else parts[0].clone()
    for part in parts[2:]:
        total.add_(part)
    sign = total.sign_().add_(0.5).sign_()  # zero elects +
    kept = [part.mul_(sign).clamp_min_(0) for part in parts]
    total = _weigh(kept, gains, out=sign.new_empty(sign.shape)).mul_(sign)
    if masses is None:
        return total
    mass = _weigh([part.sign_() for part in kept], masses, out=sign)
    if min(masses) >= 0:
        least = min((m for m in masses if m > 0), default=1.0)
        return total.div_(mass.clamp_min_(max(least, SMALLEST_FLOAT32)))
    return total.div_(mass.add_(mass.eq(0)))


def _weigh(parts: Sequence[Tensor], weights: Sequence[float], out: Tensor) -> Tensor:
    """Σ weights[i] · parts[i], into `out`."""
    import torch

    if len(parts) > 1 and weights[0] == 1:
        torch.add(parts[0], parts[1], alpha=weights[1], out=out)
        rest = 2
    else:
        torch.mul(parts[0], weights[0], out=out)
        rest = 1
    for part, weight in zip(parts[rest:], weights[rest:], strict=True):
        out.add_(part, alpha=weight)
    return out
