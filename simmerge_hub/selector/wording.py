"""Why an arm is predicted best, in plain words: made of what its features say.

Knows predictions and contributions; how they come about is `selector.predictor`'s.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from simmerge_hub.selector.novelty import Novelty
from simmerge_hub.selector.rows import Floats
from simmerge_hub.signatures.effects import EFFECTS
from simmerge_hub.signatures.phrases import phrase
from simmerge_hub.signatures.registry import REGISTRY

if TYPE_CHECKING:
    from simmerge_hub.selector.ranking import Contribution, Prediction
    from simmerge_hub.selector.trust import Trust

TIE = 0.02
"""Arms whose utilities differ by no more count as equal."""
LEAST = 0.005
"""A lead below this is shown as +0.00, and is no reason."""
NAMED = 3
"""Reasons that are named."""


def sentence(
    kept: "Sequence[Prediction]",
    contributions: "Sequence[Contribution]",
    novelty: Novelty,
    trust: "Trust",
) -> str:
    """`slerp (tied with linear) over ties by 0.12, because the expert's delta is small (…)`.

    Args:
        kept: predictions, highest utility first.
        contributions: the features that decided, strongest first.
        novelty: how far the pair is from the training data; said where it extrapolates.
        trust: whether the first is taken; where it is not, its own reason says why.
    """
    best, other = kept[0], rival(kept)
    tied = [p.arm.label for p in kept[1:] if best.utility - p.utility <= TIE]
    said = best.arm.label + (f" (tied with {', '.join(tied)})" if tied else "")
    if other is None:
        said += " is the only arm that can be used"
    elif other.arm.label not in tied:
        because = [c.says for c in decisive(contributions)]
        said += f" over {other.arm.label} by {best.utility - other.utility:.2f}"
        said += f", because {listed(because)}" if because else ""
    said += f"; {novelty.reason}" if novelty.status == "extrapolated" else ""
    return said if trust.followed else f"{said}; not followed: {trust.safe} is the safe choice"


def rival(kept: "Sequence[Prediction]") -> "Prediction | None":
    """The arm the best one is compared with: the first that is not tied with it."""
    apart = (p for p in kept[1:] if kept[0].utility - p.utility > TIE)
    return next(apart, kept[1] if len(kept) > 1 else None)


def decisive(contributions: "Sequence[Contribution]") -> "list[Contribution]":
    """The few that speak for the best arm, strongest first; parts of one feature count once."""
    found: dict[str, Contribution] = {}
    for each in contributions:
        if each.lead >= LEAST and not math.isnan(each.value):
            found.setdefault(each.feature.partition(".")[0], each)
    return list(found.values())[:NAMED]


def says(name: str, value: float, knots: Floats) -> str:
    """A feature's value in plain words.

    Args:
        name: of the feature or effect; one of no registry is said by its name.
        value: of it.
        knots: [1, knots], its quantiles in training, ascending; [0, knots] of an effect.
    """
    if name in EFFECTS and math.isfinite(value):
        return phrase(EFFECTS[name].says, value, 0.5)
    known = REGISTRY.get(name)
    if known is None or math.isnan(value):
        return f"{name} is {value:.3g}"
    (quantiles,) = knots
    below = np.searchsorted(quantiles, value)
    up_to = np.searchsorted(quantiles, value, side="right")
    return phrase(known.says, value, float(below + up_to) / (2 * len(quantiles)))


def listed(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last
