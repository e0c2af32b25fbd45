"""Sparse deltas and what they agree on: TIES, DARE, DELLA and Breadcrumbs, composed as data.

An operator here is a sparsifier (which entries of each delta survive), a rescaling (what makes up
for the others) and a consensus (how the survivors are added). Each line of `COMPOSITIONS` is one,
registered by the same door as an operator written out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter, Signature, signature
from typing import Any

import torch
from torch import Tensor

from simmerge_hub.operators.averaging import normalized
from simmerge_hub.operators.registry import HERE, Chunks, Place, keywords, operator, per_model
from simmerge_hub.operators.sparsify import (
    DROP,
    DROP_RANKED,
    TRIM,
    TRIM_BOTH,
    Rescale,
    Sparsifier,
    l1_factors,
    trim_thresholds,
)

TINY = float(torch.finfo(torch.float32).tiny)

__all__ = ["COMPOSITIONS", "Composition", "Survivors", "agreeing", "summed", "trim_thresholds"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Survivors:
    """What combining must know of a whole tensor: per model, the sparsifier's and a factor."""

    found: Sequence[Any] | None
    factors: Sequence[float] | None


def summed(parts: Iterable[Tensor], weights: Sequence[float]) -> Tensor:
    """Σ weights[i] · parts[i]; the parts are used up."""
    total: Tensor | None = None
    for part, weight in zip(parts, weights, strict=True):
        total = part.mul_(weight) if total is None else total.add_(part, alpha=weight)
    assert total is not None
    return total


def agreeing(
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
    total = torch.add(parts[0], parts[1]) if len(parts) > 1 else parts[0].clone()
    for part in parts[2:]:
        total.add_(part)
    sign = total.sign_().add_(0.5).sign_()  # zero elects +
    kept = [part.mul_(sign).clamp_min_(0) for part in parts]
    total = _weighted(kept, gains, out=torch.empty_like(sign)).mul_(sign)
    if masses is None:
        return total
    mass = _weighted([part.sign_() for part in kept], masses, out=sign)
    if min(masses) >= 0:
        least = min((m for m in masses if m > 0), default=1.0)
        return total.div_(mass.clamp_min_(max(least, TINY)))
    return total.div_(mass.add_(mass.eq(0)))


def _weighted(parts: Sequence[Tensor], weights: Sequence[float], out: Tensor) -> Tensor:
    """Σ weights[i] · parts[i], into `out`."""
    if len(parts) > 1 and weights[0] == 1:
        torch.add(parts[0], parts[1], alpha=weights[1], out=out)
        rest = 2
    else:
        torch.mul(parts[0], weights[0], out=out)
        rest = 1
    for part, weight in zip(parts[rest:], weights[rest:], strict=True):
        out.add_(part, alpha=weight)
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """One operator as data: which entries survive, and whether they vote.

    `elects`: only survivors with the elected sign count, and by default their mean is taken;
    otherwise survivors are added up.
    """

    summary: str
    paper: str
    sparsifier: Sparsifier
    elects: bool

    @property
    def own(self) -> Mapping[str, Parameter]:
        """The sparsifier's parameters."""
        return keywords(self.sparsifier.apply)

    def survivors(
        self, chunk: Tensor, found: Sequence[Any] | None, place: Place, given: Mapping[str, Any]
    ) -> list[Tensor]:
        """The surviving entries of every model, in new tensors."""
        mine = {key: given[key] for key in self.own}
        return [
            self.sparsifier.apply(delta, found[i] if found else None, place, i, **mine)
            for i, delta in enumerate(chunk)
        ]

    def statistics(self, chunks: Chunks, place: Place, given: Mapping[str, Any]) -> Survivors:
        """What the sparsifier needs to know, and the factors of an L1 rescaling."""
        found = None
        if self.sparsifier.measure is not None:
            mine = {key: given[key] for key in self.own}
            found = self.sparsifier.measure(chunks, **mine)
        if given["rescale"] != "l1":
            return Survivors(found=found, factors=None)
        factors = l1_factors(chunks, place, lambda c, p: self.survivors(c, found, p, given))
        return Survivors(found=found, factors=factors)

    def combine(
        self, chunk: Tensor, known: Survivors, place: Place, name: str, given: Mapping[str, Any]
    ) -> Tensor:
        """The merged delta of some rows."""
        parts = self.survivors(chunk, known.found, place, given)
        weights = per_model(given["weights"], len(chunk))
        factors = known.factors or [1.0] * len(chunk)
        if not self.elects:
            shares = normalized(name, weights) if given["normalize"] else weights
            gains = [given["scale"] * s * f for s, f in zip(shares, factors, strict=True)]
            return summed(parts, gains)
        for part, weight, factor in zip(parts, weights, factors, strict=True):
            if weight * factor != 1:
                part.mul_(weight * factor)
        return agreeing(
            parts, [given["scale"]] * len(parts), weights if given["normalize"] else None
        )


COMPOSITIONS: Mapping[str, Composition] = {
    "ties": Composition(
        summary="Trim each delta to its largest entries, elect a sign, average those that agree.",
        paper="arXiv 2306.01708",
        sparsifier=TRIM,
        elects=True,
    ),
    "dare_linear": Composition(
        summary="Drop random entries of each delta, rescale the others, add them up.",
        paper="arXiv 2311.03099",
        sparsifier=DROP,
        elects=False,
    ),
    "dare_ties": Composition(
        summary="Drop random entries of each delta, rescale the others, average those that agree.",
        paper="arXiv 2311.03099",
        sparsifier=DROP,
        elects=True,
    ),
    "della": Composition(
        summary="Drop small entries of each delta more often, rescale, average those that agree.",
        paper="arXiv 2406.11617",
        sparsifier=DROP_RANKED,
        elects=True,
    ),
    "della_linear": Composition(
        summary="Drop small entries of each delta more often, rescale the others, add them up.",
        paper="arXiv 2406.11617",
        sparsifier=DROP_RANKED,
        elects=False,
    ),
    "breadcrumbs": Composition(
        summary="Drop the smallest and the very largest entries of each delta, add up the others.",
        paper="arXiv 2312.06795",
        sparsifier=TRIM_BOTH,
        elects=False,
    ),
    "breadcrumbs_ties": Composition(
        summary="Drop the smallest and the very largest entries, average those that agree.",
        paper="arXiv 2312.06795 and 2306.01708",
        sparsifier=TRIM_BOTH,
        elects=True,
    ),
}
"""Sparsifier × consensus; which rescalings there are is the sparsifier's to say."""

PARAMETERS = """
Args:
    chunk: float32 [models, rows, cols], deltas from the base.
    found: thresholds and factors of the whole tensor.
    density: the share of entries that survive, for all models or for each.
    trim: the share is of each tensor, or of the whole model as in the paper's code (TIES).
    gamma: the share of largest entries that are dropped (Breadcrumbs).
    epsilon: how far the probability to survive moves from density with rank (DELLA).
    rescale: survivors are left as they are (none), divided by their probability to survive
        (density) or scaled to the L1 norm of the whole delta (l1).
    scale: λ, applied to the result.
    weights: one per model, applied before the election; 1 by default.
    normalize: divide by the weights of the deltas that were added, entry by entry after an
        election; otherwise the sum stays.

Returns:
    float32 [rows, cols], a delta.
"""


def _write_out(name: str, line: Composition) -> None:
    """Register a line of the table as functions with the signature and text it stands for."""
    named = {
        "rescale": ("none", Rescale),
        "scale": (1.0, float),
        "weights": (None, Sequence[float] | None),
        "normalize": (line.elects, bool),
    }
    shared = {
        key: Parameter(key, Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for key, (default, kind) in named.items()
    }
    options = {**line.own, **{key: p for key, p in shared.items() if key not in line.own}}
    defaults = {key: option.default for key, option in options.items()}

    def statistics(chunks: Chunks, place: Place = HERE, **given: Any) -> Survivors:
        return line.statistics(chunks, place, defaults | given)

    def combine(chunk: Tensor, known: Survivors, place: Place = HERE, **given: Any) -> Tensor:
        return line.combine(chunk, known, place, name, defaults | given)

    for function in (statistics, combine):
        positional = [p for p in signature(function).parameters.values() if p.name != "given"]
        function.__signature__ = Signature([*positional, *options.values()])  # type: ignore[attr-defined]
    combine.__name__, combine.__doc__ = name, f"{line.summary}\n{PARAMETERS}"
    operator(space="delta", paper=line.paper, statistics=statistics, exact_on_samples=False)(
        combine
    )


for _name, _line in COMPOSITIONS.items():
    _write_out(_name, _line)
