"""Which families of features a pair has: without a base or a probe pass some are missing.

A predictor must have seen a gap to cope with it, so training hides whole families, and every
pattern of what is missing has intervals of its own.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from simmerge_hub.selector.tables.rows import Floats
from simmerge_hub.signatures.features.vector import REGISTRY

FAMILIES = ("base", "behaviour", "attention")
"""What may be missing: a common base, the probe pass, the attention rows of the probe pass."""

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
"""All that can happen: without a probe pass there is no attention either."""


def members(names: Sequence[str]) -> NDArray[np.bool_]:
    """[families, names]: which features need which family; one may need several."""
    needs = [REGISTRY[name].needs if name in REGISTRY else frozenset() for name in names]
    return np.array([[family in families for families in needs] for family in FAMILIES])


def hide(values: Floats, names: Sequence[str], pattern: Pattern) -> Floats:
    """A copy of `values` [..., names] without the families of `pattern`."""
    hidden = np.isin(FAMILIES, pattern)
    return np.where(members(names)[hidden].any(axis=0), np.nan, values)


def hide_each(values: Floats, names: Sequence[str], patterns: NDArray[np.intp]) -> Floats:
    """A copy of `values` [n, names], each row without the families of its own of `PATTERNS`."""
    hidden = values.copy()
    for number, pattern in enumerate(PATTERNS):
        hidden[patterns == number] = hide(values[patterns == number], names, pattern)
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
