"""Which pairs come first: far from each other, then where predictors disagree."""

from dataclasses import replace

import numpy as np
import pytest

from simmerge_hub.learning.design import (
    all_pairs,
    choose_pairs,
    least_sure,
    round_sizes,
    spread_out,
)
from simmerge_hub.operators import arm
from simmerge_hub.selector.tables.rows import Rows


@pytest.mark.parametrize("pairs", [0, 1, 2, 7, 40])
def test_rounds_add_up_and_half_comes_first(pairs: int) -> None:
    sizes = round_sizes(pairs)
    assert sum(sizes) == pairs
    assert not sizes or sizes[0] == -(-pairs // 2)


def test_pairs_far_apart_come_first() -> None:
    places = {"a": 0.0, "b": 0.1, "c": 0.2, "d": 9.0, "e": -9.0}
    points = {(name, "z"): np.array([x, np.nan]) for name, x in places.items()}
    chosen = spread_out(points, 3, seed=0)
    assert {name for name, _ in chosen} >= {"d", "e"}
    assert chosen == spread_out(points, 3, seed=0)
    assert len(spread_out(points, 99, seed=0)) == 5
    assert spread_out({}, 3, seed=0) == []


def _rows(values: np.ndarray, gains: np.ndarray) -> Rows:
    n = len(values)
    return Rows(
        experts=tuple(f"e{i}" for i in range(n)),
        auxiliaries=tuple(f"x{i}" for i in range(n)),
        tasks=("t",) * n,
        regimes=("r",) * n,
        names=("x",),
        schema=1,
        arms=(arm("linear"), arm("slerp")),
        values=values,
        gains=gains,
        halves=np.full((n, 2, 2), np.nan),
        base_gains=np.zeros(n),
        effect_names=(),
        effects=np.zeros((n, 2, 0)),
        weights=np.ones(n),
    )


def test_predictors_disagree_where_nothing_was_measured() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 1))
    known = _rows(x, 0.05 * np.hstack([x, -x]) + random.normal(scale=0.3, size=(60, 2)))
    asked = _rows(np.array([[0.0], [9.0]]), np.zeros((2, 2)))
    doubts = least_sure(known, asked, seed=0)
    assert doubts["e1", "x1"] > doubts["e0", "x0"]
    assert choose_pairs(doubts, 1) == [("e1", "x1")]
    other = replace(asked, gains=np.ones((2, 2)))
    assert least_sure(known, other, seed=0) == doubts  # their gains are not looked at


def test_pairs_are_sorted() -> None:
    assert all_pairs(["c", "a", "b"]) == [("a", "b"), ("a", "c"), ("b", "c")]
