"""Why an arm is predicted best, in plain words: made of what its features say.

Knows predictions and contributions; how they come about is `selector.predictor`'s.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from simmerge_hub.names import join_names
from simmerge_hub.selector.predictor.novelty import Novelty
from simmerge_hub.selector.tables.rows import Floats
from simmerge_hub.signatures.features.phrases import phrase, subject
from simmerge_hub.signatures.features.vector import KNOWN
from simmerge_hub.signatures.merged.effects import EFFECTS

if TYPE_CHECKING:
    from simmerge_hub.selector.predictor.ranking import Contribution
    from simmerge_hub.selector.predictor.trust import Trust

TIE = 0.02
"""Arms whose gains differ by no more count as equal."""
LEAST_LEAD = 0.005
"""A lead below this is shown as +0.00, and is no reason."""
REASONS_SHOWN = 3
"""Reasons that are named."""
OWN_WEIGHT = "a row of its own tables counts"
"""Where a report says how much, beside rows of others that were learned from as well."""


def sentence(
    values: Sequence[tuple[str, float]],
    contributions: "Sequence[Contribution]",
    novelty: Novelty,
    *,
    gap: float = 1.0,
    trust: "Trust | None" = None,
) -> str:
    """`slerp (tied with linear) over ties by 0.12, because the expert's delta is small (…)`.

    Args:
        values: label of an arm, and the gain it is expected to give, highest first.
        contributions: the features that decided, strongest first, in the unit of the lead.
        gap: the lead that is told is so many times that in gain.
        novelty: how far the pair is from the training data; said where it extrapolates.
        trust: whether the first is taken; where it is not, its own reason says why.
    """
    (best, most), other = values[0], rival(values)
    tied = [label for label, value in values[1:] if most - value <= TIE]
    said = best + (f" (tied with {', '.join(tied)})" if tied else "")
    if other is None:
        said += " is the only merge that can be used"
    elif other[0] not in tied:
        because = [c.says for c in decisive(contributions)]
        said += f" over {other[0]} by {gap * (most - other[1]):.2f}"
        said += f", because {join_names(because)}" if because else ""
    said += f"; {novelty.reason}" if novelty.status == "extrapolated" else ""
    if trust is None or trust.followed:
        return said
    return f"{said}; not followed: {trust.safe} is the safe choice"


def rival(values: Sequence[tuple[str, float]]) -> tuple[str, float] | None:
    """What the first of these is compared with: the next that is not tied with it."""
    apart = (each for each in values[1:] if values[0][1] - each[1] > TIE)
    return next(apart, values[1] if len(values) > 1 else None)


def decisive(contributions: "Sequence[Contribution]") -> "list[Contribution]":
    """The few that speak for the best arm, strongest first; parts of one feature count once."""
    by_feature: dict[str, Contribution] = {}
    for each in contributions:
        if each.lead >= LEAST_LEAD and not math.isnan(each.value):
            by_feature.setdefault(each.feature.partition(".")[0], each)
    return list(by_feature.values())[:REASONS_SHOWN]


def says(name: str, value: float, knots: Floats) -> str:
    """A feature's value in plain words.

    Args:
        name: of the feature or effect; one of no registry is said by its name.
        value: of it.
        knots: [1, knots], its quantiles in training, ascending; [0, knots] of an effect.
    """
    if name in EFFECTS and math.isfinite(value):
        return phrase(EFFECTS[name].says, value, 0.5)
    known = KNOWN.get(name)
    if known is None or math.isnan(value):
        return f"{name} is {value:.3g}"
    (quantiles,) = knots
    below = np.searchsorted(quantiles, value)
    up_to = np.searchsorted(quantiles, value, side="right")
    return phrase(known.says, value, float(below + up_to) / (2 * len(quantiles)))


def describe(name: str) -> str:
    """What a feature is about, in plain words; one of no registry is said by its name."""
    return subject(KNOWN[name].says) if name in KNOWN else name
