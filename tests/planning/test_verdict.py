"""What is said of scored trees: whether a merge is worth it, and which models go on."""

from dataclasses import replace
from typing import Any, cast

from simmerge_hub.planning.objective import MEAN

from simmerge_hub.operators import arm
from simmerge_hub.planning.tree import join, leaf
from simmerge_hub.planning.trees.forecast import Belief, Candidate, Forecast
from simmerge_hub.planning.verdict import left_out, narrowed, reasons
from tests.planning.trees.test_search import Known, found


def merge(first: str, second: str, mean: float) -> Candidate:
    tree = join(arm("linear"), leaf(first), leaf(second))
    return Candidate(tree=tree, beliefs=dict.fromkeys("ab", Belief(mean=mean)))


def test_a_merge_that_is_not_better_than_a_model_alone_says_so() -> None:
    forecast = cast(Forecast, Known("ab"))
    assert "a alone has 0.50: no merge is predicted to be better" in " ".join(
        reasons([merge("a", "b", 0.4)], MEAN, forecast)
    )
    assert "alone" not in " ".join(reasons([merge("a", "b", 0.6)], MEAN, forecast))


def test_models_of_the_best_pairs_go_on() -> None:
    pairs = found(Known("abcd", bad="a"), most=2)
    assert set(narrowed(pairs, 3)) == {"b", "c", "d"}
    assert len(narrowed(pairs, 9)) == 4


def test_where_nothing_is_predicted_the_rest_is_told_so() -> None:
    taken: Any = merge("a", "b", 0.0)
    assert left_out([taken], MEAN, "abc") == {
        "c": "nothing is predicted, and the experts of the first tasks are taken"
    }


def test_a_model_that_adds_too_little_is_told_how_much_it_would_have_to() -> None:
    best, other = merge("a", "b", 0.5), replace(merge("a", "c", 0.51), idle=frozenset("c"))
    told = left_out([best, other], MEAN, "abc")["c"]
    assert told.endswith(
        "to reach 0.51, without 0.50; it is the best at no task, and must add 0.05"
    )
    said = reasons([best, other], MEAN, cast(Forecast, Known("ab")))
    assert said[1].startswith(f"{other.tree.label} has 0.51, but holds a model that is the best at")


def test_nothing_of_idle_models_is_said_of_others() -> None:
    best = merge("a", "b", 0.5)
    behind = replace(merge("c", "x", 0.51), idle=frozenset("x"))
    far = merge("a", "d", 0.9)  # what must be kept puts it last
    told = left_out([best, behind, far], MEAN, "abcd")
    assert "task" not in told["c"] + told["d"]


def test_what_is_lost_is_said() -> None:
    tree = join(arm("linear"), leaf("a"), leaf("b"))
    taken = Candidate(tree=tree, beliefs={"a": Belief(mean=0.05), "b": Belief(mean=0.9)})
    said = reasons([taken], MEAN, cast(Forecast, Known("ab")))
    assert said[1] == "Next to nothing is expected to be kept of a"
