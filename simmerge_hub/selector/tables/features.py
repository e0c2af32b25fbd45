"""The features table beside the outcomes: one vector per expert, auxiliary and task.

    {"format": "simmerge-hub features", "schema": 1, "features": 3, "names": [...], "effects": []}
    {"expert": "code-1", "auxiliary": "math-3", "task": "code/f", "values": [0.1, null, ...],
     "effects": {"slerp": [0.7, ...], ...}}

`features` is the schema of the vector itself, as `signatures.features` numbers it; `effects` is
what each arm does to the pair, and may be left out; null is missing.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from simmerge_hub.errors import PredictorError
from simmerge_hub.selector.tables.availability import Floats
from simmerge_hub.selector.tables.lines import TABLES, read_lines, write_text
from simmerge_hub.selector.tables.outcomes import Key, check_header

FORMAT = "simmerge-hub features"
SCHEMA = 1
LARGEST_NUMBER = 1e12
"""Beyond any number that features or weights have; keeps sums finite."""
DIGITS = 6
"""Significant digits kept in the file: more than sampling and probes can tell apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureTable:
    """Features of many pairs: `rows[expert, auxiliary, task]` is float64 [names], NaN = missing.

    `effects[key][arm label]` is float64 [effect_names]: what the arm does to the pair.
    """

    names: tuple[str, ...]
    schema: int
    rows: Mapping[Key, Floats]
    effect_names: tuple[str, ...] = ()
    effects: Mapping[Key, Mapping[str, Floats]] = field(default_factory=dict)


def save_features(table: FeatureTable, path: Path) -> None:
    """Write the table to `path`, sorted by key, as JSON Lines of at most 6 significant digits."""
    header = {
        "format": FORMAT,
        "schema": SCHEMA,
        "features": table.schema,
        "names": list(table.names),
        "effects": list(table.effect_names),
    }
    lines = [header, *(_entry(table, key) for key in sorted(table.rows))]
    write_text(path, "".join(json.dumps(line) + "\n" for line in lines))


def load_features(path: Path) -> FeatureTable:
    """Read and check the table at `path`. Raises PredictorError naming the line that is wrong."""
    try:
        header, *entries = [entry for _, entry in read_lines(path)]
    except ValueError as error:
        raise PredictorError(f"{path} is not a table of features: {error}", hint=TABLES) from error
    check_header(header, FORMAT, SCHEMA, path)
    try:
        names = tuple(str(name) for name in header["names"])
        schema = int(header["features"])
        effect_names = tuple(str(name) for name in header.get("effects", ()))
        rows = {_key(e): numbers(e["values"]) for e in entries}
        effects = {_key(e): _by_arm(e["effects"]) for e in entries if "effects" in e}
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise PredictorError(f"{path} is not a table of features: {error!r}") from error
    if len(rows) < len(entries):
        twice = next(key for key, count in Counter(map(_key, entries)).items() if count > 1)
        raise PredictorError(f"{path}: two rows for {' + '.join(twice)}", hint="keep one of them")
    for key, values in rows.items():
        _check(values, names, f"{path}: {' + '.join(key)}")
        for label, vector in effects.get(key, {}).items():
            _check(vector, effect_names, f"{path}: {' + '.join(key)}, effects of {label}:")
    return FeatureTable(
        names=names, schema=schema, rows=rows, effect_names=effect_names, effects=effects
    )


def _check(values: Floats, names: Sequence[str], where: str) -> None:
    if len(values) != len(names) or np.isinf(values).any():
        raise PredictorError(f"{where} needs {len(names)} finite or missing values")


def _key(entry: Mapping[str, Any]) -> Key:
    return (entry["expert"], entry["auxiliary"], entry["task"])


def _entry(table: FeatureTable, key: Key) -> dict[str, Any]:
    entry = dict(zip(("expert", "auxiliary", "task"), key, strict=True))
    effects = {label: plain(values) for label, values in table.effects.get(key, {}).items()}
    return entry | {"values": plain(table.rows[key])} | ({"effects": effects} if effects else {})


def plain(values: Floats, digits: int = DIGITS) -> list[float | None]:
    """Numbers as a file holds them: so many significant digits, None where missing."""
    return [None if math.isnan(v) else float(f"{v:.{digits}g}") for v in values.tolist()]


def _by_arm(given: Mapping[str, list[float | None]]) -> dict[str, Floats]:
    return {str(label): numbers(values) for label, values in given.items()}


def numbers(given: Sequence[float | None]) -> Floats:
    """The inverse of `plain`: float64, NaN where missing."""
    return np.array([math.nan if v is None else float(v) for v in given], dtype=np.float64)
