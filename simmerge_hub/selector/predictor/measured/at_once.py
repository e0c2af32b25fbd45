"""What merges of three models and more in one step reached, by what their layers are fed.

Measured by `benchmarks/at_once.py`, and not predicted from the models: on sets of nano models, near
what a predictor learned from, and on sets of specialists of a real language model, far away.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

AT_ONCE = Path(__file__).parent / "at_once.json"
Gain = tuple[float, float]
"""The mean share of the gap that was closed, and the half-width that holds 90 % of the cases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AtOnce:
    """Outcomes of arms that look at activations.

    Args:
        of: what was merged, in words.
        sets: number of models -> how many sets.
        gains: arm label -> number of models -> what was reached.
    """

    of: str
    sets: Mapping[int, int]
    gains: Mapping[str, Mapping[int, Gain]]

    def expect(self, label: str, models: int) -> Gain:
        """What a merge of so many models reaches; of more than were measured, as of the most.

        KeyError for an arm that was not measured.
        """
        gains = self.gains[label]
        return gains[min(models, max(gains))]

    def says(self, models: int) -> str:
        """What is known of merges of so many models, in words."""
        count = min(models, max(self.sets))
        return f"{self.sets[count]} {self.of}, of {count} models each"


@cache
def read(where: Literal["near", "far"] = "near") -> AtOnce:
    """The outcomes in the package, near training or far from it."""
    entry = json.loads(AT_ONCE.read_text())[where]
    return AtOnce(
        of=entry["of"],
        sets={int(size): int(count) for size, count in entry["sets"].items()},
        gains={
            label: {
                int(size): (float(each["gain"]), float(each["radius"]))
                for size, each in by_size.items()
            }
            for label, by_size in entry["gains"].items()
        },
    )
