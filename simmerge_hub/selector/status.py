"""How far to believe a plan: in a word, and in the sentence that goes with it wherever it is told.

Knows nothing about how it is found out: that is `selector.novelty`'s and `selector.trust`'s.
"""

from collections.abc import Iterable
from typing import Literal

Status = Literal["calibrated", "extrapolated", "abstained"]
RANKS: tuple[Status, ...] = ("calibrated", "extrapolated", "abstained")
"""From the best to the worst."""
MEANING: dict[str, str] = {
    "calibrated": "like the pairs the predictor was calibrated on; the intervals hold",
    "extrapolated": (
        "farther from training than is usual; chosen by what held-out pairs at least as far "
        "showed, and the intervals do not hold"
    ),
    "abstained": (
        "no held-out pair was this far from training; the ranking is not followed, and the safe "
        "operator is taken"
    ),
}
"""What each says of a plan."""
SURER = "To be surer, evaluate this merge, and one with another operator beside it"
"""What helps where the ranking is not followed."""


def worst(statuses: Iterable[Status]) -> Status:
    """The one that says least; `calibrated` of none."""
    return RANKS[max((RANKS.index(each) for each in statuses), default=0)]
