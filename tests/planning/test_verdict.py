"""What is said of judged merges: whether one is worth it, what each leaves out, what is lost."""

from dataclasses import replace

from simmerge_hub.operators import arm
from simmerge_hub.planning.ask.objective import MEAN
from simmerge_hub.planning.choice import CAUTION, Belief, Choice, Order, model_alone
from simmerge_hub.planning.tree import join, leaf
from simmerge_hub.planning.verdict import Verdict, leave_out, reasons, worst

KNOWN = {"a": {"a": 1.0}, "b": {"b": 1.0}}
CAREFUL, BOLD = (Order(objective=MEAN, caution=caution) for caution in (CAUTION, 0.0))
ALONE = [model_alone(model, KNOWN) for model in "ab"]


def merge(first: str, second: str, a: float, b: float | None = None) -> Choice:
    """A merge with utilities on the tasks a and b."""
    tree = join(arm("linear"), leaf(first), leaf(second))
    beliefs = {"a": Belief(mean=a), "b": Belief(mean=a if b is None else b)}
    return Choice(tree=tree, beliefs=beliefs, label=tree.label)


def test_a_merge_that_is_not_better_than_a_model_alone_says_so() -> None:
    assert "a alone has 0.50: no merge is predicted to be better" in " ".join(
        reasons([merge("a", "b", 0.4)], CAREFUL, ALONE)
    )
    assert "alone" not in " ".join(reasons([merge("a", "b", 0.6)], CAREFUL, ALONE))


def test_where_nothing_is_predicted_the_rest_is_told_so() -> None:
    assert leave_out([merge("a", "b", 0.0)], CAREFUL, "abc") == {
        "c": "nothing is predicted, and the experts of the first tasks are taken"
    }


def test_a_model_that_adds_too_little_is_told_how_much_it_would_have_to() -> None:
    best, other = merge("a", "b", 0.5), replace(merge("a", "c", 0.51), idle=frozenset("c"))
    told = leave_out([best, other], CAREFUL, "abc")["c"]
    assert told.endswith(
        "to reach 0.51, without 0.50; it is the best at no task, and must add 0.05"
    )
    said = reasons([best, other], CAREFUL, ALONE)
    (idle,) = [text for text in said if "holds a model" in text]
    assert idle.startswith(f"{other.label} has 0.51, but holds a model that is the best at")


def test_nothing_of_idle_models_is_said_of_others() -> None:
    best = merge("a", "b", 0.5)
    behind = replace(merge("c", "x", 0.51), idle=frozenset("x"))
    far = merge("a", "d", 0.9)  # what must be kept puts it last
    told = leave_out([best, behind, far], CAREFUL, "abcd")
    assert "task" not in told["c"] + told["d"]


def test_what_is_lost_is_said() -> None:
    said = reasons([merge("a", "b", 0.05, 0.9)], CAREFUL, ALONE)
    assert said[1] == "Next to nothing is expected to be kept of a"


def test_with_caution_the_first_sentence_says_what_was_taken_off() -> None:
    doubtful = dict.fromkeys("ab", Belief(mean=0.6, variance=0.01))
    best, rest = replace(merge("a", "b", 0.6), beliefs=doubtful), merge("a", "c", 0.4)
    cautious, bold = (reasons([best, rest], order, ALONE)[0] for order in (CAREFUL, BOLD))
    assert "of 2 merges: 0.60 (0.50 with one standard deviation taken off); next" in cautious
    assert "of 2 merges: 0.60; next" in bold


def test_the_best_of_another_shape_is_named() -> None:
    chain = join(arm("linear"), join(arm("linear"), leaf("a"), leaf("b")), leaf("c"))
    other = Choice(tree=chain, beliefs=dict.fromkeys("ab", Belief(mean=0.55)), label=chain.label)
    ranked = [merge("a", "b", 0.7), merge("a", "c", 0.6), other]
    assert reasons(ranked, BOLD, ALONE)[0].endswith(
        "; next linear[a, c], 0.60, the best chain 0.55"
    )


def test_the_front_holds_what_no_other_is_better_than_on_every_task() -> None:
    choices = (merge("a", "b", 0.6, 0.6), merge("a", "c", 0.7, 0.2), merge("b", "c", 0.6, 0.2))
    verdict = Verdict(choices=choices, status="calibrated", because=(), standings={})
    assert verdict.pareto == choices[:2]
    assert [verdict.on_front(choice) for choice in choices] == [True, True, False]


def test_the_worst_status_counts() -> None:
    assert worst(["calibrated", "abstained", "extrapolated"]) == "abstained"
    assert worst(["calibrated", "extrapolated"]) == "extrapolated"
    assert worst([]) == "calibrated"
