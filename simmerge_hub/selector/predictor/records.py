"""A record as plain data in a predictor's file, and back, checked before it is believed.

Shares are whole hundredths, so that a few thousand rows stay small; null is an arm that cannot be
used.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from simmerge_hub.operators import Arm
from simmerge_hub.selector.predictor.record import Numbers, Record
from simmerge_hub.selector.tables.availability import spellings
from simmerge_hub.selector.tables.outcomes import HIGHEST, LOWEST
from simmerge_hub.selector.tables.rows import Floats

LARGEST_RECORD = 100_000
"""Rows that are read at most."""


def plain(record: Record) -> dict[str, Any]:
    """The record as JSON: the inverse of `parse`."""
    return {
        "kinds": list(record.kinds),
        "experts": record.experts.tolist(),
        "auxiliaries": record.auxiliaries.tolist(),
        "gains": _hundredths(record.gains),
        "predicted": {name: _hundredths(part) for name, part in record.predicted.items()},
        "distances": {name: part.tolist() for name, part in record.distances.items()},
        "sizes": [None if math.isnan(size) else round(size) for size in record.sizes.tolist()],
    }


def parse(entry: Mapping[str, Any], arms: Sequence[Arm]) -> Record:
    """The record that plain data describes.

    Raises:
        ValueError, TypeError, LookupError: it cannot be believed.
    """
    kinds = tuple(str(kind) for kind in entry["kinds"])
    known = spellings()
    if len(kinds) > LARGEST_RECORD or not known >= set(entry["predicted"]) == set(
        entry["distances"]
    ):
        raise ValueError("the record has unknown patterns of features, or far too many rows")
    gains = _shares(entry["gains"], len(kinds), len(arms))
    if np.isnan(gains).any():
        raise ValueError("an outcome of the record is missing")
    return Record(
        arms=tuple(arms),
        kinds=kinds,
        experts=_numbers(entry["experts"], len(kinds)),
        auxiliaries=_numbers(entry["auxiliaries"], len(kinds)),
        gains=gains,
        predicted={p: _shares(e, len(kinds), len(arms)) for p, e in entry["predicted"].items()},
        distances={p: _distances(e, len(kinds)) for p, e in entry["distances"].items()},
        sizes=_sizes(entry.get("sizes") or [None] * len(kinds), len(kinds)),
    )


def _hundredths(values: Floats) -> list[list[int | None]]:
    return [[None if math.isnan(v) else round(100 * v) for v in row] for row in values.tolist()]


def _shares(given: Any, rows: int, arms: int) -> Floats:
    shares = np.array(given, dtype=np.float64).reshape(-1, arms) / 100
    if len(shares) != rows or ((shares < LOWEST) | (shares > HIGHEST)).any():
        raise ValueError("shares of the record do not fit its rows, or are none")
    return shares


def _numbers(given: Any, rows: int) -> Numbers:
    models = np.array(given, dtype=np.intp)
    if models.shape != (rows,) or (models < 0).any():
        raise ValueError("models of the record do not fit its rows")
    return models


def _distances(given: Any, rows: int) -> Floats:
    distances = np.array(given, dtype=np.float64).reshape(-1, 3)
    if len(distances) != rows or not np.isfinite(distances).all() or (distances < 0).any():
        raise ValueError("distances of the record do not fit its rows, or are none")
    return distances


def _sizes(given: Any, rows: int) -> Floats:
    sizes = np.array([math.nan if size is None else float(size) for size in given])
    if sizes.shape != (rows,) or np.isinf(sizes).any() or (sizes <= 0).any():
        raise ValueError("sizes of the record do not fit its rows, or are none")
    return sizes
