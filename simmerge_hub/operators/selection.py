"""Deltas taken over entry by entry: SCE, Arcee Fusion, NearSwap, RAM and RAM+."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from simmerge_hub.errors import OperatorError
from simmerge_hub.operators.averaging import weighted_sum
from simmerge_hub.operators.products import row_sums
from simmerge_hub.operators.registry import HERE, Chunks, Place, operator
from simmerge_hub.operators.sparse.sums import add_agreeing
from simmerge_hub.operators.sparse.thresholds import Derived, largest

if TYPE_CHECKING:
    from torch import Tensor

FAINT = 1e-20
"""The least energy of a model relative to the greatest, so that float32 holds both."""
SOFTMAX_FLOOR = 1e-8
"""Added to every probability of a softmax, as in mergekit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Energies:
    """The spread from which on entries are selected, and each model's energy in those."""

    threshold: float
    energies: Sequence[float]


def energies(chunks: Chunks, *, density: float = 0.1) -> Energies:
    """The spread that a share `density` of the entries with any reaches; energies in float64."""
    threshold = 0.0
    if density < 1:
        moved: dict[int, tuple[int, int]] = {}

        def spread(chunk: Tensor, low: int) -> Tensor:
            spreads = _spread(chunk)
            moved[low] = int(spreads.count_nonzero()), spreads.numel()
            return spreads.unsqueeze(0)

        def ranks(_: int, entries: int) -> list[int]:
            some, seen = map(sum, zip(*moved.values(), strict=True))
            return [max(1, int(density * (entries * some // max(1, seen))))]

        thresholds = largest(Derived(chunks, spread), ranks)
        threshold = thresholds[0][0] if thresholds else 0.0
    squares = []
    for chunk in chunks:
        wide = [part.double().numpy() for part in _select(chunk, threshold)]
        squares.append(np.stack([np.einsum("rc,rc->r", w, w) for w in wide], axis=1))
    return Energies(threshold=threshold, energies=row_sums(squares).tolist() if squares else [])


@operator(space="delta", paper="arXiv 2408.07990", statistics=energies, exact_on_samples=False)
def sce(chunk: Tensor, statistics: Energies, *, density: float = 0.1) -> Tensor:
    """Select entries where the models differ, weigh models by energy, erase minority signs.

    Args:
        chunk: float32 [models, rows, cols], deltas from the base.
        statistics: threshold and energies of the whole tensor.
        density: the share of entries to select by their variance over the models, of those that
            have any; ties with the last are selected too. Where the models do not differ at all,
            everything is.

    Returns:
        float32 [rows, cols], a delta: Σ eᵢτᵢ / Σ eᵢ over the models whose delta has the sign of
        the sum, eᵢ the sum of squares of what was selected (Wan et al. 2024).
    """
    most = max(statistics.energies, default=0.0) or 1.0
    shares = [max(e / most, FAINT) for e in statistics.energies]
    return add_agreeing(_select(chunk, statistics.threshold), shares, shares)


def _spread(chunk: Tensor) -> Tensor:
    """Σ (τᵢ − mean)², which orders entries as their variance does: float32 [rows, cols]."""
    mean = weighted_sum(chunk, [1 / len(chunk)] * len(chunk))
    total = mean.new_zeros(mean.shape)
    for delta in chunk:
        apart = delta - mean
        total.addcmul_(apart, apart)
    return total


def _select(chunk: Tensor, threshold: float) -> list[Tensor]:
    """Every model's delta where the models spread enough, zero elsewhere; new tensors."""
    if threshold == 0:
        return [delta.clone() for delta in chunk]
    spread = _spread(chunk)
    chosen = spread.ge_(threshold)
    return [delta * chosen for delta in chunk]


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """The importance from which on entries are taken over, and each row's divergence."""

    threshold: float
    divergences: Tensor


def importances(chunks: Chunks) -> Importance:
    """Median + 1.5 · (third − first quartile) of the importance of all entries."""
    import torch

    known: dict[int, Tensor] = {}

    def importance(chunk: Tensor, low: int) -> Tensor:
        if low not in known:
            known[low] = _divergence(chunk)
        return _importance(chunk, known[low]).unsqueeze(0)

    def ranks(_: int, entries: int) -> list[int]:
        return [max(1, entries - int(q * (entries - 1))) for q in (0.25, 0.5, 0.75)]

    quartiles = largest(Derived(chunks, importance), ranks)
    first, median, third = map(np.float32, quartiles[0] if quartiles else (0, 0, 0))
    return Importance(
        threshold=float(median + np.float32(1.5) * (third - first)),
        divergences=torch.cat(list(known.values())) if known else torch.empty(0),
    )


@operator(
    space="anchored",
    paper="none: Arcee AI, mergekit",
    models=(1, 1),
    statistics=importances,
    exact_on_samples=False,
)
def arcee_fusion(chunk: Tensor, statistics: Importance, place: Place = HERE) -> Tensor:
    """Take over the entries of one model whose change is an outlier in importance.

    Args:
        chunk: float32 [2, rows, cols], weights: the base's, then the model's.
        statistics: the threshold of importance, |change| · KL(softmax of the model's row ‖ of the
            base's row): median + 1.5 · (third − first quartile) over the whole tensor, exactly.

    Returns:
        float32 [rows, cols], weights: the model's where importance reaches the threshold, the
        base's elsewhere.
    """
    importance = _importance(chunk, statistics.divergences[place.low :][: chunk.shape[1]])
    return chunk[1].where(importance >= statistics.threshold, chunk[0])


def _divergence(chunk: Tensor) -> Tensor:
    """KL(softmax of the model's row ‖ of the base's), in float64 as it cancels: float32 [rows]."""
    import torch

    p, q = (t.double().softmax(dim=1).add_(SOFTMAX_FLOOR) for t in chunk.flip(0))
    divergences = np.einsum("rc,rc->r", p.numpy(), p.div(q).log_().numpy())
    return torch.from_numpy(divergences.astype(np.float32)).clamp_(min=0)


def _importance(chunk: Tensor, divergences: Tensor) -> Tensor:
    """|change| times the divergence of its row: float32 [rows, cols]."""
    return (chunk[1] - chunk[0]).abs_().mul_(divergences.unsqueeze(1))


@operator(
    space="delta", paper="huggingface.co/alchemonaut/QuartetAnemoi-70B-t0.0001", models=(1, 1)
)
def nearswap(chunk: Tensor, _: None = None, *, limit: float = 1e-4) -> Tensor:
    """Move the base to a model, but no entry by more than a limit.

    Args:
        chunk: float32 [1, rows, cols], the model's delta from the base.
        limit: the greatest change of an entry; mergekit's `t`.

    Returns:
        float32 [rows, cols], a delta.
    """
    if limit < 0:
        raise OperatorError(
            f"nearswap: limit is {limit}", hint="give a number that is not negative"
        )
    return chunk[0].clamp(-limit, limit)


@operator(space="delta", paper="arXiv 2601.13572")
def ram(chunk: Tensor, _: None = None, *, floor: float = 1e-5) -> Tensor:
    """The mean of the deltas over the models that moved an entry.

    Args:
        chunk: float32 [models, rows, cols], deltas from the base.
        floor: a delta of at most this magnitude has not moved; mergekit's `epsilon`. Absolute, as
            the method defines it.

    Returns:
        float32 [rows, cols], a delta: entries that one model moved keep its delta in full.
    """
    total, movers = _sum_moved(chunk, floor)
    return total.div_(movers.clamp_min_(1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Per model, how many of the entries it moved others moved too, and how many it alone moved."""

    shared: Sequence[int]
    unique: Sequence[int]


def overlap(chunks: Chunks, *, floor: float = 1e-5) -> Overlap:
    """Counts over the whole tensor."""
    moved, unique = Counter[int](), Counter[int]()
    for chunk in chunks:
        movers = _sum_moved(chunk, floor)[1]
        alone = movers.eq_(1)
        for i, delta in enumerate(chunk):
            kept = delta.hardshrink(floor)
            moved[i] += int(kept.count_nonzero())
            unique[i] += int(kept.mul_(alone).count_nonzero())
    return Overlap(
        shared=[moved[i] - unique[i] for i in sorted(moved)],
        unique=[unique[i] for i in sorted(moved)],
    )


@operator(space="delta", paper="arXiv 2601.13572", statistics=overlap, exact_on_samples=False)
def ramplus_tl(
    chunk: Tensor,
    statistics: Overlap,
    *,
    boost: float = 0.1,
    ceiling: float = 0.2,
    floor: float = 1e-5,
) -> Tensor:
    """RAM, with the entries that one model alone moved enlarged, tensor by tensor.

    Args:
        chunk: float32 [models, rows, cols], deltas from the base.
        statistics: how the models' entries overlap in the whole tensor.
        boost: how strongly; mergekit's `r`.
        ceiling: the greatest ratio of shared to unique entries that counts; mergekit's `alpha`.
        floor: a delta of at most this magnitude has not moved; mergekit's `epsilon`.

    Returns:
        float32 [rows, cols], a delta: RAM's, times 1 + boost · min(shared / unique, ceiling) of
        the model where it is the only one that moved.
    """
    total, movers = _sum_moved(chunk, floor)
    total.div_(movers.clamp_min(1))
    alone = movers.eq_(1)
    for i, delta in enumerate(chunk):
        extra = boost * min(statistics.shared[i] / max(statistics.unique[i], 1), ceiling)
        total.addcmul_(delta.hardshrink(floor), alone, value=extra)
    return total


def _sum_moved(chunk: Tensor, floor: float) -> tuple[Tensor, Tensor]:
    """The sum of the deltas that moved, and how many did, entry by entry."""
    total, movers = (chunk.new_zeros(chunk.shape[1:]) for _ in range(2))
    for delta in chunk:
        kept = delta.hardshrink(floor)
        total.add_(kept)
        movers.add_(kept.sign_().abs_())
    return total, movers
