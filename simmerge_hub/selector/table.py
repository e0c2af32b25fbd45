"""The features table beside the outcomes: one vector per expert, auxiliary and task.

    {"format": "simmerge-hub features", "schema": 1, "features": 3, "names": [...]}
    {"expert": "code-1", "auxiliary": "math-3", "task": "code/f", "values": [0.1, null, ...]}

`features` is the schema of the vector itself, as `signatures.features` numbers it; null is missing.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simmerge_hub.errors import PredictorError
from simmerge_hub.selector.outcomes import Key, check_header

FORMAT = "simmerge-hub features"
SCHEMA = 1
DIGITS = 6
"""Significant digits kept in the file: more than sampling and probes can tell apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureTable:
    """Features of many pairs: `rows[expert, auxiliary, task]` is float64 [names], NaN = missing."""

    names: tuple[str, ...]
    schema: int
    rows: Mapping[Key, NDArray[np.float64]]


def save_features(table: FeatureTable, path: Path) -> None:
    """Write the table to `path`, sorted by key, as JSON Lines of at most 6 significant digits."""
    header = {
        "format": FORMAT,
        "schema": SCHEMA,
        "features": table.schema,
        "names": list(table.names),
    }
    lines = [header, *(_entry(key, values) for key, values in sorted(table.rows.items()))]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def load_features(path: Path) -> FeatureTable:
    """Read and check the table at `path`. Raises PredictorError naming the line that is wrong."""
    try:
        header, *entries = [json.loads(line) for line in path.read_text().splitlines()]
    except (OSError, ValueError) as error:
        raise PredictorError(f"{path} is not a table of features: {error}") from error
    check_header(header, FORMAT, SCHEMA, path)
    try:
        names = tuple(str(name) for name in header["names"])
        schema = int(header["features"])
        rows = {(e["expert"], e["auxiliary"], e["task"]): _values(e["values"]) for e in entries}
    except (KeyError, TypeError, ValueError) as error:
        raise PredictorError(f"{path} is not a table of features: {error!r}") from error
    for key, values in rows.items():
        if len(values) != len(names) or np.isinf(values).any():
            raise PredictorError(
                f"{path}: {' + '.join(key)} needs {len(names)} finite or missing values"
            )
    return FeatureTable(names=names, schema=schema, rows=rows)


def _entry(key: Key, values: NDArray[np.float64]) -> dict[str, Any]:
    expert, auxiliary, task = key
    plain = [None if math.isnan(v) else float(f"{v:.{DIGITS}g}") for v in values.tolist()]
    return {"expert": expert, "auxiliary": auxiliary, "task": task, "values": plain}


def _values(given: list[float | None]) -> NDArray[np.float64]:
    return np.array([math.nan if v is None else float(v) for v in given], dtype=np.float64)
