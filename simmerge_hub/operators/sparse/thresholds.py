"""Exact order statistics of magnitudes without sorting.

The bit pattern of a non-negative float32 grows with its value, so a histogram over the upper 15
magnitude bits finds the bucket that holds the k-th largest entry, and one over the lower 16 bits
finds the entry itself: exact, and independent of how the tensor is cut. Differences of bfloat16
weights seldom use the lower bits; while the entries that do are few they are remembered, and the
second pass over the chunks is spared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from simmerge_hub.operators.registry import Chunks, PerModel

if TYPE_CHECKING:
    from torch import Tensor

LOW_BITS = 16
BUCKETS = 1 << 15
ODD_SHARE, ODD_MOST = 16, 1 << 22
"""At most one entry in 16 of a chunk is remembered for its lower bits, and 16 MB of them."""
FEW = 1 << 14
"""Up to this many entries are kept and partitioned instead: a histogram costs more than they do."""
MAGNITUDE = 0x7FFFFFFF
ALL = (0, MAGNITUDE + 1)
SPARED = 8
"""A window is guessed from one entry in so many of the first chunk."""
MARGIN = 0.02
"""Ranks by which the window reaches farther than the wanted ones, as a share of the entries."""
Ranks = Callable[[int, int], Sequence[int]]
"""(slot, entries) -> which of the largest entries are wanted, counted from 1."""


@dataclass(slots=True)
class Magnitudes:
    """The entries of one tensor, counted.

    Of those with a bit pattern inside `window` (at or above its first, below its second, both
    whole buckets) `few` holds all patterns while they are few; then `counts` says how often each
    upper half occurs, and `odd` holds the patterns whose lower half is not zero (None: too many).
    `above` is how many lie above the window.
    """

    window: tuple[int, int] = ALL
    entries: int = 0
    above: int = 0
    few: list[np.ndarray] | None = field(default_factory=list)
    inside: int = 0
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    odd: list[np.ndarray] | None = field(default_factory=list)

    def add(self, tensor: Tensor) -> None:
        """Count the entries of a tensor."""
        import torch

        bits = tensor.contiguous().view(torch.int32).flatten()
        self.entries += len(bits)
        inside = bits if self.window == ALL else self._through_window(bits)
        self.inside += len(inside)
        if self.few is None:
            self._count(inside, len(bits))
        elif self.inside <= FEW:
            self.few.append(inside.numpy() & MAGNITUDE)
        else:
            self.counts = np.zeros(BUCKETS, np.int64)
            for kept in (*map(torch.from_numpy, self.few), inside):
                self._count(kept, len(bits))
            self.few = None

    def holds(self, ranks: Sequence[int]) -> bool:
        """Whether the entries of these ranks are inside the window."""
        return all(self.above < rank <= self.above + self.inside for rank in ranks)

    def _through_window(self, bits: Tensor) -> Tensor:
        import torch

        low, high = self.window
        patterns = np.bitwise_and(bits.numpy(), MAGNITUDE)
        self.above += int(np.count_nonzero(patterns >= high)) if high <= MAGNITUDE else 0
        patterns -= np.int32(low)  # what lies below wraps around, to the far end
        places = np.flatnonzero(patterns.view(np.uint32) < np.uint32(high - low))
        return torch.from_numpy(patterns.take(places) + np.int32(low))

    def _count(self, bits: Tensor, among: int) -> None:
        """16-bit halves are counted: they are half the memory, and a conversion drops the rest."""
        upper = bits.bitwise_right_shift(LOW_BITS).short().bitwise_and_(BUCKETS - 1)
        self.counts += upper.bincount(minlength=BUCKETS).numpy()
        if self.odd is not None:
            low = bits.short().numpy() != 0
            count = int(np.count_nonzero(low))
            if count * ODD_SHARE > among or count + sum(map(len, self.odd)) > ODD_MOST:
                self.odd = None
            elif count:
                self.odd.append(bits.numpy()[np.flatnonzero(low)] & MAGNITUDE)


@dataclass(frozen=True, slots=True)
class Derived:
    """Chunks of something computed from chunks, as often as they are iterated.

    `how(chunk, low)` is told the index of the chunk's first row.
    """

    chunks: Chunks
    how: Callable[[Tensor, int], Tensor]

    def __iter__(self) -> Iterator[Tensor]:
        low = 0
        for chunk in self.chunks:
            yield self.how(chunk, low)
            low += chunk.shape[1]


def magnitude_thresholds(chunks: Chunks, density: PerModel) -> list[float]:
    """Per model, the k-th largest magnitude of the tensor, k = max(1, ⌊density · entries⌋).

    Args:
        chunks: float32 [models, rows, cols] each; iterated at most twice.
        density: the share of entries to keep, in (0, 1]; one for all models or one for each.

    Returns:
        One float per model. Keeping entries with a magnitude at or above it keeps k entries, and
        all those tied with the k-th. 0.0 where the density is 1 (everything is kept).
    """
    if density == 1.0:
        return next(([0.0] * len(chunk) for chunk in chunks), [])

    def ranks(model: int, entries: int) -> list[int]:
        share = density[model] if isinstance(density, Sequence) else density
        return [max(1, int(share * entries))] if share < 1 else []

    return [values[0] if values else 0.0 for values in largest(chunks, ranks)]


def largest(chunks: Chunks, ranks: Ranks) -> list[list[float]]:
    """Per slot, the magnitudes that have the wanted ranks from the top, in the order wanted.

    Args:
        chunks: float32 [slots, rows, cols] each; iterated at most three times, mostly once.
        ranks: of so many entries of a slot; asked again as the number grows.

    Returns:
        One list per slot; of zeros if the tensor has no entries.
    """
    slots = _count_slots(chunks, ranks)
    wanted = [
        [rank - slot.above for rank in ranks(i, slot.entries)] for i, slot in enumerate(slots)
    ]
    places = [
        [_locate(slot.counts, rank) for rank in inner] if slot.few is None else []
        for slot, inner in zip(slots, wanted, strict=True)
    ]
    lower = _lower_halves(chunks, slots, places)
    return [
        _of_few(slot.few, inner)
        if slot.few is not None
        else [_float((b << LOW_BITS) | _locate(lower[i][b], rank)[0]) for b, rank in places[i]]
        for i, (slot, inner) in enumerate(zip(slots, wanted, strict=True))
    ]


def _count_slots(chunks: Chunks, ranks: Ranks) -> list[Magnitudes]:
    """Every slot counted near the wanted ranks, or whole where a window slid off them."""
    slots: list[Magnitudes] = []
    for chunk in chunks:
        slots = slots or [Magnitudes(window=_window(t, i, ranks)) for i, t in enumerate(chunk)]
        _add(slots, chunk)
        if not all(slot.holds(ranks(i, slot.entries)) for i, slot in enumerate(slots)):
            break
    else:
        return slots
    slots = [Magnitudes() for _ in slots]
    for chunk in chunks:
        _add(slots, chunk)
    return slots


def _add(slots: Sequence[Magnitudes], chunk: Tensor) -> None:
    for slot, tensor in zip(slots, chunk, strict=True):
        slot.add(tensor)


def _window(tensor: Tensor, slot: int, ranks: Ranks) -> tuple[int, int]:
    """Bit patterns between which the wanted ranks will lie if all is like this tensor."""
    if tensor.numel() <= FEW:
        return ALL
    some = Magnitudes(few=None, counts=np.zeros(BUCKETS, np.int64), odd=None)
    some.add(tensor.flatten()[::SPARED])
    wanted, slack = ranks(slot, some.entries), int(MARGIN * some.entries)
    if not wanted:
        return ALL
    first, last = min(wanted) - slack, max(wanted) + slack
    high = _locate(some.counts, first)[0] + 1 if first > 0 else BUCKETS
    low = _locate(some.counts, last)[0] if last <= some.entries else 0
    return low << LOW_BITS, high << LOW_BITS


def _of_few(few: list[np.ndarray], wanted: Sequence[int]) -> list[float]:
    bits = np.concatenate(few)
    if not len(bits) or not wanted:
        return [0.0] * len(wanted)
    ordered = np.partition(bits, [len(bits) - rank for rank in wanted])
    return [_float(ordered[len(bits) - rank]) for rank in wanted]


def _lower_halves(
    chunks: Chunks, slots: list[Magnitudes], places: list[list[tuple[int, int]]]
) -> list[dict[int, np.ndarray]]:
    """Per slot and wanted bucket, how often each lower half occurs in it."""
    histograms = [{b: np.zeros(1 << LOW_BITS, np.int64) for b, _ in wanted} for wanted in places]
    for slot, buckets in zip(slots, histograms, strict=True):
        if slot.odd is not None and buckets:
            bits = np.concatenate([*slot.odd, np.zeros(0, np.int32)])
            for bucket, counts in buckets.items():
                counts += _lower(bits, bucket)
                counts[0] = slot.counts[bucket] - counts.sum()
    unknown = [i for i, slot in enumerate(slots) if slot.odd is None and histograms[i]]
    for chunk in chunks if unknown else []:
        for i in unknown:
            bits = chunk[i].contiguous().numpy().view(np.int32).ravel()
            for bucket, counts in histograms[i].items():
                counts += _lower(bits, bucket)
    return histograms


def _lower(bits: np.ndarray, bucket: int) -> np.ndarray:
    """How often each lower half occurs among the entries of a bucket."""
    inside = bits[((bits >> LOW_BITS) & (BUCKETS - 1)) == bucket]
    return np.bincount(inside & ((1 << LOW_BITS) - 1), minlength=1 << LOW_BITS)


def _locate(histogram: np.ndarray, rank: int) -> tuple[int, int]:
    """The bin of the `rank`-th largest entry, and its rank inside that bin."""
    from_top = np.cumsum(histogram[::-1])
    place = int(np.searchsorted(from_top, rank))
    above = int(from_top[place - 1]) if place else 0
    return len(histogram) - 1 - place, rank - above


def _float(bits: int) -> float:
    return float(np.array([bits], dtype=np.uint32).view(np.float32)[0])
