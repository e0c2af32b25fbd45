"""The registry of features: what one is, and how it is declared.

A feature is a small function of a `Pair` under `@feature(...)`. Its name is the function's, its
description the docstring's first line; with `sides` or `groups` it is one function for several
numbers. To add one, write the function in the file of its family, say it in phrases.py, and raise
FEATURE_SCHEMA in vector.py unless it is optional.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from simmerge_hub.signatures.features import phrases
from simmerge_hub.signatures.features.context import SIDES, Needs, Pair


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One number.

    `needs` says what must be there for it not to be missing, and so which blocks training masks
    together. `swap` is what becomes of it when expert and auxiliary change places: `same`,
    `negated`, or the name of the feature it becomes. `says` is a clause of `phrases`, for people.
    """

    name: str
    summary: str
    family: str
    needs: frozenset[Needs]
    swap: str
    says: str
    compute: Callable[[Pair], float] = field(repr=False)


REGISTRY: dict[str, Feature] = {}
OPTIONAL: dict[str, Feature] = {}
"""Features that a predictor may have been trained without: only those it reads are computed."""


def feature(
    *needs: Needs,
    swap: Literal["same", "negated"] = "same",
    sides: bool = False,
    groups: Sequence[str] = (),
    optional: bool = False,
) -> Callable[[Callable[..., float]], Callable[..., float]]:
    """Declare a function of a pair to be a feature.

    Args:
        needs: what it cannot do without.
        swap: how it changes when the models change places.
        sides: it takes `expert` or `auxiliary` as second argument, and is one feature for each.
        groups: it takes one of these as last argument, and is one feature for each.
        optional: it is read only by predictors that were trained with it.
    """
    entries = OPTIONAL if optional else REGISTRY

    def register(compute: Callable[..., float]) -> Callable[..., float]:
        name, summary = compute.__name__, (inspect.getdoc(compute) or "").partition("\n")[0]
        family = compute.__module__.rpartition(".")[2]
        for side in SIDES if sides else ("",):
            for group in groups or ("",):
                own = _name(name, side, group)
                other = _name(name, SIDES[1 - SIDES.index(side)], group) if side else swap
                entries[own] = Feature(
                    name=own,
                    summary=summary,
                    family=family,
                    needs=frozenset(needs),
                    swap=other,
                    says=phrases.clause(name, side, group),
                    compute=_bind(compute, *(word for word in (side, group) if word)),
                )
        return compute

    return register


def _name(name: str, side: str, group: str) -> str:
    return "_".join(word for word in (name, side) if word) + (f".{group}" if group else "")


def _bind(compute: Callable[..., float], *words: str) -> Callable[[Pair], float]:
    def call(pair: Pair) -> float:
        return compute(pair, *words)

    return call
