"""What fixed arms reached on models far beyond every held-out pair, where nothing was predicted.

It says which arm is safe where the record (`predictor.record`) has no case as far away.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simmerge_hub.errors import PredictorError
from simmerge_hub.operators import ARMS, FED_ARMS

SIMPLEST_FIRST = {arm.label: place for place, arm in enumerate((*ARMS, *FED_ARMS))}
TIED = 0.02
"""Arms that differ by no more are as good as each other: so much is noise of so few pairs."""
REAL_PAIRS = Path(__file__).parent / "real_pairs.json"
ANOTHER_FAMILY = Path(__file__).parent / "another_family.json"
"""Of models whose architecture, tokenizer and training are others: nothing was chosen by them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Outcomes of fixed arms.

    Args:
        of: what was merged, in words.
        origin: who measured it, and how.
        parameters: of the base.
        pairs: how many.
        gains: arm label -> mean share of the gap closed, the simplest arm first.
    """

    of: str
    origin: str
    parameters: int
    pairs: int
    gains: Mapping[str, float]

    def best(self, labels: Collection[str]) -> str | None:
        """The arm of `labels` that reached most; None if none of them was measured.

        Of arms that are tied with it, the one that is listed first: the simplest.
        """
        there = {label: gain for label, gain in self.gains.items() if label in labels}
        most = max(there.values(), default=0.0)
        return next((label for label, gain in there.items() if gain >= most - TIED), None)

    def says(self, label: str) -> str:
        """How the arm did there, in words; it is the best of those that can be used."""
        own, better = self.gains[label], self.best(self.gains)
        said = (
            f"on {self.pairs} {self.of}, the nearest evidence there is, {label} closed "
            f"{own:.2f} of the gap; of those that can be used here none did clearly better"
        )
        if better is None or self.gains[better] <= own + TIED:
            return said
        return f"{said}; one that cannot closed {self.gains[better]:.2f}"


def read(path: Path = REAL_PAIRS) -> Measured:
    """The outcomes in the package, or those of another file.

    Raises:
        PredictorError: it holds something else.
    """
    try:
        return parse(json.loads(path.read_text()))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise PredictorError(f"{path.name} holds no outcomes of fixed arms: {error!r}") from error


def parse(entry: Mapping[str, Any]) -> Measured:
    """The outcomes as plain data describes them. ValueError, LookupError or TypeError if not."""
    gains = {str(label): float(gain) for label, gain in entry["gains"].items()}
    last = len(SIMPLEST_FIRST)
    outcomes = Measured(
        of=str(entry["of"]),
        origin=str(entry["origin"]),
        parameters=int(entry["parameters"]),
        pairs=int(entry["pairs"]),
        gains=dict(sorted(gains.items(), key=lambda each: SIMPLEST_FIRST.get(each[0], last))),
    )
    if not outcomes.gains or not all(-1 <= gain <= 1.5 for gain in outcomes.gains.values()):
        raise ValueError("a gain lies outside -1 to 1.5, or there is none")
    return outcomes
