"""What merges are called: every operator has a proper name, and no two arms have the same."""

import pytest

from simmerge_hub.operators import ARMS, FED_ARMS, OPERATORS, arm
from simmerge_hub.planning.tree import join, leaf
from simmerge_hub.planning.words.names import PROPER, name_arm, name_operator, name_tree, shorten

CODE, MATH, RAG = map(leaf, ("org/code", "org/math", "org/rag"))
SHORT = shorten(["org/code", "org/math", "org/rag"])


def test_every_operator_has_a_proper_name() -> None:
    assert set(PROPER) == set(OPERATORS)


def test_no_two_arms_are_called_alike() -> None:
    names = [name_arm(each, ("a", "b")) for each in (*ARMS, *FED_ARMS)]
    assert len(set(names)) == len(names)
    assert not any("_" in name or "=" in name for name in names)


@pytest.mark.parametrize(
    ("operator", "parameters", "name"),
    [
        ("linear", {}, "plain average"),
        ("ties", {"density": 0.2}, "TIES (density 0.2)"),
        ("ties", {"density": 1.0}, "TIES (density 1)"),
        ("task_arithmetic", {"scale": 0.7}, "task arithmetic (scale 0.7)"),
        ("task_arithmetic", {"scale": 1}, "task arithmetic"),
        ("regmean", {"alpha": 0.9}, "RegMean"),
        ("regmean", {"alpha": 0.98, "inputs": "merge"}, "RegMean++"),
        ("breadcrumbs", {"density": 0.9, "gamma": 0.01}, "Breadcrumbs (density 0.9, gamma 0.01)"),
        ("of_tomorrow", {}, "of tomorrow"),
    ],
)
def test_operators(operator: str, parameters: dict[str, object], name: str) -> None:
    assert name_operator(operator, parameters) == name


def test_trees() -> None:
    leaning = join(arm("linear", weights=(0.7, 0.3)), CODE, MATH)
    assert name_tree(CODE, SHORT) == "code"
    assert name_tree(leaning, SHORT) == "average, 70 % code + 30 % math"
    inner = join(arm("linear"), CODE, MATH)
    assert name_tree(inner, SHORT) == "plain average of code + math"
    outer = join(arm("ties", density=0.5), inner, RAG)
    assert name_tree(outer, SHORT) == "TIES (density 0.5) of (plain average of code + math) + rag"


def test_models_are_short_only_where_that_tells_them_apart() -> None:
    short = shorten(["a/code", "b/code", "b/math"])
    assert [short(name) for name in ("a/code", "b/code", "b/math", "c/else")] == [
        "a/code", "b/code", "math", "c/else",
    ]  # fmt: skip


def test_weights_that_are_no_shares_are_said_as_they_are() -> None:
    scaled = arm("task_arithmetic", weights=(1.0, 0.4))
    assert name_arm(scaled, ("code", "math")) == "task arithmetic, 1 × code + 0.4 × math"
    shared = arm("task_arithmetic", weights=(1.0, 0.25), normalize=True)
    assert name_arm(shared, ("code", "math")).endswith(", 80 % code + 20 % math")
