"""Which trees there are, which are the same, and how they become recipes and text."""

from itertools import permutations

import pytest

from simmerge_hub.operators import arm
from simmerge_hub.planning.tree import (
    AT_ONCE,
    Tree,
    at_once,
    draw,
    enumerate_trees,
    identity,
    join,
    leaf,
    pairwise,
    steps,
)

A, B, C, D = map(leaf, "abcd")
LINEAR, TIES, SUM = arm("linear"), arm("ties", density=0.5), arm("task_arithmetic", scale=1.0)


@pytest.mark.parametrize(("models", "count"), [("a", 1), ("ab", 3), ("abc", 36), ("abcd", 606)])
def test_every_distinct_tree_is_found_once(models: str, count: int) -> None:
    found = enumerate_trees(models)
    assert len(found) == len({identity(tree) for tree in found}) == count
    assert all(sorted(tree.models) == list(models) for tree in found)


def test_the_order_models_are_given_in_changes_nothing() -> None:
    wanted = {identity(tree) for tree in enumerate_trees("abc")}
    for order in permutations("abc"):
        assert {identity(tree) for tree in enumerate_trees(order)} == wanted


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (join(TIES, A, B), join(TIES, B, A)),
        (join(SUM, join(SUM, A, B), C), join(SUM, A, B, C)),
        (
            join(arm("linear", weights=(2 / 3, 1 / 3)), join(LINEAR, A, B), C),
            join(LINEAR, C, A, B),
        ),
        (join(TIES, join(LINEAR, A, B), C), join(TIES, C, join(LINEAR, B, A))),
    ],
)
def test_trees_of_the_same_merge_are_the_same(one: Tree, other: Tree) -> None:
    assert identity(one) == identity(other)


def test_order_counts_where_weights_do() -> None:
    assert identity(join(LINEAR, join(LINEAR, A, B), C)) != identity(
        join(LINEAR, join(LINEAR, A, C), B)
    )
    unequal = arm("ties", density=0.5, weights=(0.7, 0.3))
    assert identity(join(unequal, A, B)) != identity(join(unequal, B, A))


def test_without_a_base_only_weights_are_merged() -> None:
    assert [a.operator for a in pairwise(A, join(LINEAR, B, C), base=False)] == ["linear"] * 2
    assert {t.arm.operator for t in at_once("abc", base=False) if t.arm} == {"linear", "karcher"}
    assert len(at_once("abc")) == len(AT_ONCE)
    assert at_once("ab") == []


def test_steps_name_what_later_steps_use() -> None:
    tree = join(LINEAR, join(TIES, A, B), join(SUM, C, D))
    assert tree.shape == "balanced"
    assert [(s.operator, s.models, s.name) for s in steps(tree)] == [
        ("ties", ("a", "b"), "step-1"),
        ("task_arithmetic", ("c", "d"), "step-2"),
        ("linear", ("step-1", "step-2"), ""),
    ]


def test_a_tree_is_drawn_as_text() -> None:
    tree = join(LINEAR, join(TIES, A, B), C)
    assert draw(tree, {tree.label: "→ 0.5", "c": "(math)"}) == [
        "linear  → 0.5",
        "├─ ties(density=0.5)",
        "│  ├─ a",
        "│  └─ b",
        "└─ c  (math)",
    ]
