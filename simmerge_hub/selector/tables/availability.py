"""Which families of features a pair has: without a base or a probe pass some are missing.

A predictor must have seen a gap to cope with it, so training hides whole families, and every
pattern of what is missing has intervals of its own.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from simmerge_hub.signatures.features.vector import KNOWN

Floats = NDArray[np.float64]
FAMILIES = ("base", "behaviour", "attention", "dose", "cross")
"""What may be missing: a common base, the probe pass, the attention rows of the probe pass, the
response to doses of a delta, the answers of the mean of both models."""
OPTIONAL_FAMILIES = ("dose", "cross")
"""What whole tables may lack, and predictors that learned from them."""

Pattern = tuple[str, ...]
"""The families that are missing, in the order of FAMILIES."""

PATTERNS: tuple[Pattern, ...] = (
    (),
    ("attention",),
    ("behaviour", "attention"),
    ("base",),
    ("base", "attention"),
    ("base", "behaviour", "attention"),
)
"""All that can happen without optional families: without a probe pass there is no attention."""


def members(names: Sequence[str]) -> NDArray[np.bool_]:
    """[families, names]: which features need which family; one may need several."""
    needs = [KNOWN[name].needs if name in KNOWN else frozenset() for name in names]
    return np.array([[family in families for families in needs] for family in FAMILIES])


def patterns(names: Sequence[str]) -> tuple[Pattern, ...]:
    """All that can happen to rows of these features; PATTERNS, if they have no optional family.

    Answers are read at parts of a delta only where there are a base and probes, and by the mean of
    two models only where they were at parts of a delta.
    """
    optional = [f for f, any_ in zip(FAMILIES, np.asarray(members(names).any(axis=1)), strict=True)
                if any_ and f in OPTIONAL_FAMILIES]  # fmt: skip
    return tuple(
        (*pattern, *optional[kept:])
        for pattern in PATTERNS
        for kept in range(len(optional), -1, -1)
        if not kept or not {"base", "behaviour"} & set(pattern)
    )


def measured_columns(values: Floats, names: Sequence[str]) -> NDArray[np.bool_]:
    """[names]: False for the features of optional families that `values` [n, names] lack wholly."""
    needs = members(names)
    absent = [
        family in OPTIONAL_FAMILIES and not np.isfinite(values[:, need]).any()
        for family, need in zip(FAMILIES, needs, strict=True)
    ]
    return ~np.asarray(needs[absent].any(axis=0), np.bool_)


def hide(values: Floats, names: Sequence[str], pattern: Pattern) -> Floats:
    """A copy of `values` [..., names] without the families of `pattern`."""
    hidden = np.isin(FAMILIES, pattern)
    return np.where(members(names)[hidden].any(axis=0), np.nan, values)


def hide_each(values: Floats, names: Sequence[str], places: NDArray[np.intp]) -> Floats:
    """A copy of `values` [n, names], each row without the families of its own of `patterns`."""
    hidden = values.copy()
    for number, pattern in enumerate(patterns(names)):
        hidden[places == number] = hide(values[places == number], names, pattern)
    return hidden


def missing(values: Floats, names: Sequence[str]) -> Pattern:
    """The families of which `values` [names] has nothing, though `names` has them.

    A feature that needs two families says nothing about either by being missing, so only a family
    without any finite feature counts.
    """
    needs = members(names)
    absent = needs.any(axis=1) & ~(needs & np.isfinite(values)).any(axis=1)
    return tuple(FAMILIES[i] for i in np.flatnonzero(absent))


def spell(pattern: Pattern) -> str:
    """The pattern as a name in files and messages: `complete`, `without base, behaviour`."""
    return f"without {', '.join(pattern)}" if pattern else "complete"


def spellings() -> set[str]:
    """Every pattern that the file of a predictor may name."""
    tails = ((), ("cross",), ("dose",), OPTIONAL_FAMILIES)
    return {spell((*pattern, *tail)) for pattern in PATTERNS for tail in tails}
