"""The heads: one small XGBoost regression per arm on top of a line, kept as JSON.

A head learns what its arm's line (`selector.models.linear`) leaves unexplained.

Every fit runs on one thread with a fixed seed, so the same rows give the same bytes; several heads
are fitted side by side, and none of them sees another.
"""

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from simmerge_hub.selector.models import linear
from simmerge_hub.selector.models.linear import Linear
from simmerge_hub.selector.tables.availability import hide_each, patterns
from simmerge_hub.selector.tables.outcomes import HIGHEST, LOWEST
from simmerge_hub.selector.tables.rows import Floats, Places, Rows

if TYPE_CHECKING:
    from xgboost import Booster

SETTINGS = {
    "objective": "reg:squarederror",
    "tree_method": "hist",
    "max_bin": 64,
    "max_depth": 3,
    "eta": 0.05,
    "subsample": 0.8,
    "colsample_bytree": 0.4,
    "nthread": 1,
}
TREE_COUNTS = (10, 25, 50, 100, 150)
"""Numbers of trees that compete inside the training rows."""


def fit(rows: Rows, line: Linear, *, trees: int, seed: int) -> "list[Booster]":
    """One head per arm, trained on `rows` and on copies of them with families hidden."""
    from xgboost import DMatrix, train

    values, places, _ = augment(rows, seed)
    rest = rows.gains[places] - linear.predict(line, values)
    weights = example_weights(rows, places)
    data = [DMatrix(values, label=column, weight=weights, nthread=1) for column in rest.T]

    def one(column: int) -> "Booster":
        return train(SETTINGS | {"seed": seed + column}, data[column], num_boost_round=trees)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(one, range(len(data))))


def predict(heads: "Sequence[Booster]", line: Linear, values: Floats, *, trees: int = 0) -> Floats:
    """[rows, heads]: the share of the gap each arm is predicted to close, in [-1, 1.5].

    Args:
        heads: as `fit` or `booster` gives them.
        line: what they were fitted on top of, one arm a head.
        values: [rows, features].
        trees: how many trees of each head to use; 0: all.
    """
    from xgboost import DMatrix

    data = DMatrix(values, nthread=1)
    columns = [head.predict(data, iteration_range=(0, trees)) for head in heads]
    rest = np.stack(columns, axis=1).astype(np.float64)
    return np.clip(linear.predict(line, values) + rest, LOWEST, HIGHEST)


def contributions(head: "Booster", values: Floats) -> Floats:
    """[features]: what each feature adds to what the forest predicts for `values` [features].

    XGBoost's exact SHAP values (Lundberg et al. 2020) without the constant term.
    """
    from xgboost import DMatrix

    shap = head.predict(DMatrix(values[None], nthread=1), pred_contribs=True)
    return np.asarray(shap[0, :-1], dtype=np.float64)


def augment(rows: Rows, seed: int) -> tuple[Floats, Places, Places]:
    """Every row as it is, and once more with a seeded pattern of families hidden.

    Returns:
        float64 [2n, features]; for each, the place of its row in `rows` and of its pattern in
        `patterns(rows.names)`.
    """
    drawn = np.random.default_rng(seed).integers(1, len(patterns(rows.names)), len(rows))
    hidden = hide_each(rows.values, rows.names, drawn)
    drawn_of_all = np.concatenate([np.zeros_like(drawn), drawn])
    return np.concatenate([rows.values, hidden]), np.tile(np.arange(len(rows)), 2), drawn_of_all


def example_weights(rows: Rows, places: Places) -> Floats | None:
    """[places]: how much each example counts, 1 on average over rows; None: all alike."""
    return None if np.ptp(rows.weights) == 0 else rows.shares[places]


def text(head: "Booster") -> str:
    """The head as XGBoost's JSON, keys sorted."""
    return _canonical(json.loads(bytes(head.save_raw("json"))))


@lru_cache(maxsize=64)
def booster(head: str) -> "Booster":
    """The head with this JSON, ready to predict on one thread."""
    from xgboost import Booster

    loaded = Booster({"nthread": 1})
    loaded.load_model(bytearray(head.encode()))
    return loaded


def _canonical(head: Any) -> str:
    return json.dumps(head, separators=(",", ":"), sort_keys=True)
