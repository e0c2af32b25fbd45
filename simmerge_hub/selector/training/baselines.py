"""What a learned selector must beat: from one arm for all to a random forest.

Each baseline looks at training rows and gives a score per arm to each test row; the arm with the
highest score is its choice. None may look at the test rows' gains.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

import numpy as np

from simmerge_hub.selector.models import linear
from simmerge_hub.selector.models.mixture import INNER_FOLDS
from simmerge_hub.selector.tables.rows import Floats, Rows, splits

Setting = TypeVar("Setting", int, float)
Baseline = Callable[[Rows, Rows], Floats]
"""(training rows, test rows) -> [test rows, arms], scores."""

FEWEST_ROWS = 5
"""Rows that a group or a side of a threshold must hold to have an arm of its own."""
NORMS = ("delta_norm", "delta_log_ratio")
"""Beginnings of the names of features that are norms of deltas, or ratios of them."""
NEIGHBOURS = (5, 10, 20, 40)
FOREST = {
    "objective": "reg:squarederror",
    "tree_method": "hist",
    "num_parallel_tree": 50,
    "eta": 1.0,
    "lambda": 0.0,
    "max_depth": 8,
    "min_child_weight": 3,
    "subsample": 0.63,
    "colsample_bytree": 0.33,
    "max_bin": 64,
    "nthread": 1,
}


def best_fixed(train: Rows, test: Rows) -> Floats:
    """The arm with the highest mean in training, for every row."""
    return np.tile(train.gains.mean(axis=0), (len(test), 1))


def per_task(train: Rows, test: Rows) -> Floats:
    """The best arm of each task in training; of all rows for a task not seen."""
    return _group_means(train, test, train.tasks, test.tasks)


def label_only(train: Rows, test: Rows) -> Floats:
    """The best arm for each (domain of the task, domain of the auxiliary): no signals at all."""
    return _group_means(train, test, _labels(train), _labels(test))


def norm_rule(train: Rows, test: Rows) -> Floats:
    """One threshold on one norm, an arm below and an arm above: the best such rule in training."""
    scores, best = best_fixed(train, test), float(train.gains.sum(axis=0).max())
    for column in [i for i, n in enumerate(train.names) if n.startswith(NORMS)]:
        rule = _threshold(train.values[:, column], train.gains)
        if rule is not None and rule[0] > best:
            best, cut, below, above = rule
            scores = np.where((test.values[:, column] <= cut)[:, None], below, above)
    return scores


def nearest(train: Rows, test: Rows) -> Floats:
    """The mean gains of the nearest training rows in standardised features, k chosen inside."""
    k = _best(NEIGHBOURS, _nearest, train)
    return _nearest(train, test, k)


def ridge(train: Rows, test: Rows) -> Floats:
    """Ridge regression on standardised features, one per arm, penalty chosen inside."""
    inside = splits(train, INNER_FOLDS, seed=0, across=False)
    return linear.predict(linear.fit(train, linear.best_penalty(train, inside)), test.values)


def random_forest(train: Rows, test: Rows) -> Floats:
    """A random forest per arm (Breiman 2001), by XGBoost: 50 trees side by side, of depth 8."""
    from xgboost import DMatrix
    from xgboost import train as grow

    asked = DMatrix(test.values, nthread=1)
    columns = [
        grow(FOREST, DMatrix(train.values, label=gains, nthread=1), 1).predict(asked)
        for gains in train.gains.T
    ]
    return np.stack(columns, axis=1).astype(np.float64)


BASELINES: dict[str, Baseline] = {
    "best fixed": best_fixed,
    "per task": per_task,
    "label only": label_only,
    "norm rule": norm_rule,
    "nearest": nearest,
    "ridge": ridge,
    "random forest": random_forest,
}


def _group_means(
    train: Rows, test: Rows, seen: Sequence[Hashable], asked: Sequence[Hashable]
) -> Floats:
    groups: dict[Hashable, list[int]] = {}
    for place, group in enumerate(seen):
        groups.setdefault(group, []).append(place)
    means = {g: train.gains[p].mean(axis=0) for g, p in groups.items() if len(p) >= FEWEST_ROWS}
    overall = train.gains.mean(axis=0)
    return np.array([means.get(group, overall) for group in asked])


def _labels(rows: Rows) -> list[tuple[str, str]]:
    """Domains of the task and of what the auxiliary is the expert for, if any row says so."""
    domains = {e: t.partition("/")[0] for e, t in zip(rows.experts, rows.tasks, strict=True)}
    auxiliaries = [domains.get(auxiliary, "") for auxiliary in rows.auxiliaries]
    return [(t.partition("/")[0], d) for t, d in zip(rows.tasks, auxiliaries, strict=True)]


def _threshold(values: Floats, gains: Floats) -> tuple[float, float, Floats, Floats] | None:
    """The best total, the cut, and the sums at or below and above it; missing counts above."""
    order = np.argsort(values, kind="stable")
    ordered, below = values[order], np.cumsum(gains[order], axis=0)
    places = np.arange(FEWEST_ROWS - 1, len(values) - FEWEST_ROWS)
    places = places[ordered[places] < ordered[places + 1]]
    if not len(places):
        return None
    totals = below[places].max(axis=1) + (below[-1] - below[places]).max(axis=1)
    cut = int(places[np.argmax(totals)])
    return float(totals.max()), float(ordered[cut]), below[cut], below[-1] - below[cut]


def _best(
    grid: Sequence[Setting], method: Callable[[Rows, Rows, Setting], Floats], rows: Rows
) -> Setting:
    """The setting with the least squared error on models held out of `rows`."""
    errors = np.zeros(len(grid))
    for split in splits(rows, INNER_FOLDS, seed=0, across=False):
        train, test = rows.take(split.train), rows.take(split.test)
        errors += [np.square(method(train, test, setting) - test.gains).sum() for setting in grid]
    return grid[int(np.argmin(errors))]


def _nearest(train: Rows, test: Rows, k: int) -> Floats:
    known, asked = _standardise(train, test)
    squares = np.square(asked[:, None] - known[None]).sum(axis=2)
    return train.gains[np.argsort(squares, axis=1, kind="stable")[:, :k]].mean(axis=1)


def _standardise(train: Rows, test: Rows) -> tuple[Floats, Floats]:
    """Both in units of the training rows' spread; missing values are the mean."""
    scale = linear.fit(train, linear.PENALTIES[-1])
    known, asked = (
        linear.standardise(rows.values, scale.mean, scale.spread) for rows in (train, test)
    )
    return known, asked
