"""What was predicted of held-out pairs, what came of it, and how far from training each was.

A table of numbers that a predictor carries with it: the evidence a plan's choice must stand on
(`predictor.trust`). Knows nothing about how it was made (`training.scenarios`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from simmerge_hub.operators import Arm
from simmerge_hub.selector.tables.rows import Floats, Places

Numbers = NDArray[np.intp]
SAME_SIZE = 1.25
"""Bases that differ by no larger factor in parameters are of one size: 7 billion are 6.7 or 8."""


def alike(sizes: Floats, parameters: float | None) -> NDArray[np.bool_]:
    """[n]: which bases have about as many `parameters`; none where that is not known."""
    if parameters is None:
        return np.zeros(sizes.shape, dtype=bool)
    return np.maximum(sizes / parameters, parameters / sizes) <= SAME_SIZE


@dataclass(frozen=True, slots=True, kw_only=True)
class Cases:
    """m held-out cases that a choice was made for: a pair on a task, or on both its tasks at once.

    Args:
        first, second: [m], numbers of the models.
        predicted: [m, arms], NaN for an arm that could not be used.
        gains: [m, arms], what was measured.
        distances: [m, 3], as `Novelty.coordinates`.
        sizes: [m], parameters of the base; NaN where nobody says.
    """

    first: Numbers
    second: Numbers
    predicted: Floats
    gains: Floats
    distances: Floats
    sizes: Floats

    def take(self, places: Places | NDArray[np.bool_]) -> "Cases":
        """The cases at `places`."""
        return Cases(
            first=self.first[places],
            second=self.second[places],
            predicted=self.predicted[places],
            gains=self.gains[places],
            distances=self.distances[places],
            sizes=self.sizes[places],
        )

    def beyond(self, coordinates: Floats, models: int, parameters: float | None) -> "Cases":
        """Those at least as far from their training as `coordinates` [3]: nearer in none.

        Of these the nearest in scale that are of so many `models`; all of them where none are. What
        is foreseen of models of another size errs far more than what is foreseen of one's own. And
        a case of a size that was trained on speaks for bases of that size alone: that small models
        are foreseen well by a thousand rows says nothing about large ones and thirty.

        Args:
            coordinates: [3], how far the pair in question is.
            models: how many are enough.
            parameters: of its base.
        """
        there = np.all(self.distances >= coordinates, axis=1)
        far = self.take(there & ((self.distances[:, 0] > 0) | alike(self.sizes, parameters)))
        scales = far.distances[:, 0]
        near = (far.take(scales <= scale) for scale in np.unique(scales))
        return next((cases for cases in near if cases.models >= models), far)

    @property
    def models(self) -> int:
        """How many models take part."""
        return len({*self.first.tolist(), *self.second.tolist()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """n rows, each an expert, an auxiliary and the expert's task, predicted without either model.

    Args:
        arms: the a arms that were predicted and measured.
        kinds: n names of what was left out of training: `models`, `size`, `regime`, `domain`.
        experts, auxiliaries: [n], numbers of the models.
        gains: [n, a], share of the gap closed.
        predicted: pattern of missing features -> [n, a], NaN where an arm cannot be used.
        distances: pattern -> [n, 3], how far each row was from what it was predicted by.
        sizes: [n], parameters of each row's base; NaN where nobody says.
    """

    arms: tuple[Arm, ...]
    kinds: tuple[str, ...]
    experts: Numbers = field(repr=False)
    auxiliaries: Numbers = field(repr=False)
    gains: Floats = field(repr=False)
    predicted: Mapping[str, Floats] = field(repr=False)
    distances: Mapping[str, Floats] = field(repr=False)
    sizes: Floats = field(repr=False)

    def __len__(self) -> int:
        return len(self.kinds)

    def take(self, places: Places | NDArray[np.bool_]) -> "Record":
        """The rows at `places`."""
        chosen = np.arange(len(self))[places]
        return replace(
            self,
            kinds=tuple(self.kinds[i] for i in chosen),
            experts=self.experts[chosen],
            auxiliaries=self.auxiliaries[chosen],
            gains=self.gains[chosen],
            predicted={name: part[chosen] for name, part in self.predicted.items()},
            distances={name: part[chosen] for name, part in self.distances.items()},
            sizes=self.sizes[chosen],
        )

    def each_task(self, pattern: str) -> Cases:
        """One case a row; none of a pattern that was never predicted."""
        known = pattern in self.predicted
        rows = self if known else self.take(np.empty(0, dtype=np.intp))
        return Cases(
            first=rows.experts,
            second=rows.auxiliaries,
            predicted=rows.predicted[pattern] if known else np.empty((0, len(self.arms))),
            gains=rows.gains,
            distances=rows.distances[pattern] if known else np.empty((0, 3)),
            sizes=rows.sizes,
        )

    def both_tasks(self, pattern: str) -> Cases:
        """One case per pair of which both were the expert: the mean of its rows, arms written for
        the model of the lower number, as far from training as the farther row."""
        rows, members = self.each_task(pattern), self.pairs()
        if not len(rows.first) or not members or not self.is_closed:
            return rows.take(np.empty(0, dtype=np.intp))
        labels = [arm.label for arm in self.arms]
        swapped = [labels.index(arm.swapped().label) for arm in self.arms]
        turned = (self.experts > self.auxiliaries)[:, None]
        predicted = np.where(turned, rows.predicted[:, swapped], rows.predicted)
        gains = np.where(turned, rows.gains[:, swapped], rows.gains)
        return Cases(
            first=np.array([min(self.experts[p[0]], self.auxiliaries[p[0]]) for p in members]),
            second=np.array([max(self.experts[p[0]], self.auxiliaries[p[0]]) for p in members]),
            predicted=np.array([predicted[places].mean(axis=0) for places in members]),
            gains=np.array([gains[places].mean(axis=0) for places in members]),
            distances=np.array([rows.distances[places].max(axis=0) for places in members]),
            sizes=np.array([rows.sizes[places[0]] for places in members]),
        )

    @property
    def is_closed(self) -> bool:
        """Whether the arms are closed under swapping the two models."""
        labels = {arm.label for arm in self.arms}
        return labels == {arm.swapped().label for arm in self.arms}

    def pairs(self) -> list[list[int]]:
        """Places of the rows of each pair of which both models were the expert, by kind."""
        by_pair: dict[tuple[str, int, int], list[int]] = {}
        both = zip(self.kinds, self.experts.tolist(), self.auxiliaries.tolist(), strict=True)
        for place, (kind, expert, auxiliary) in enumerate(both):
            key = (kind, min(expert, auxiliary), max(expert, auxiliary))
            by_pair.setdefault(key, []).append(place)
        return [
            places
            for (_, *pair), places in sorted(by_pair.items())
            if {int(self.experts[i]) for i in places} == set(pair)
        ]
