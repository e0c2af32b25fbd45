"""What is said first: losses and merges that are no better than a model come before the merge."""

from dataclasses import replace
from typing import Any

import pytest

from simmerge_hub.planning.ask.objective import MEAN, Objective
from simmerge_hub.planning.choice import Belief, Choice
from simmerge_hub.planning.pairs import decide
from simmerge_hub.planning.tree import join, leaf
from simmerge_hub.planning.verdict import Verdict
from simmerge_hub.planning.words.advice import Advice, advise
from simmerge_hub.planning.words.decision import TASKS_SHOWN, summarize
from simmerge_hub.planning.words.names import shorten
from simmerge_hub.recipe.why import Status
from tests import rankings
from tests.rankings import GIANTS, LINEAR, ranking

NAMES = ("org/a", "org/b")
TWO = {"code": "org/a", "math": "org/b"}
THREE = {"code": "org/a", "math": "org/b", "rag": "org/c"}


def of_pair(
    code: dict[str, float], math: dict[str, float], objective: Objective = MEAN,
    status: Status = "calibrated",
) -> Advice:  # fmt: skip
    inputs = rankings.inputs(TWO, names=NAMES)
    ranked = {"code": ranking("code", status, **code), "math": ranking("math", **math)}
    verdict = decide(inputs, ranked, objective)
    return advise(verdict, inputs.tasks, inputs.names, shorten(inputs.names))


def of_three(merged: str, **kept: float) -> Advice:
    """The advice of a verdict with one merge, of the models with these letters."""
    inputs = rankings.inputs(THREE, names=tuple(THREE.values()))
    tree = join(LINEAR, *(leaf(f"org/{letter}") for letter in merged))
    beliefs = {task: Belief(mean=mean) for task, mean in kept.items()}
    choice = Choice(tree=tree, beliefs=beliefs, label=tree.label)
    verdict = Verdict(
        choices=(choice,), status="calibrated", because=(), standings={}, parts={tree.label: choice}
    )
    return advise(verdict, inputs.tasks, inputs.names, shorten(inputs.names))


def test_a_good_merge() -> None:
    advice = of_pair({"ties": 0.8}, {"ties": 0.7})
    assert advice == Advice(tone="good", headline="Merge a + b")


def test_a_lost_skill_comes_first() -> None:
    advice = of_pair({"ties": 1.2, "linear": 0.5}, {"ties": 0.05, "linear": 0.52})
    assert (advice.tone, advice.headline) == ("bad", "Merging a + b is expected to lose math")
    apart, even = advice.instead
    assert apart.startswith("keep them apart")
    assert even == "--objective worst: plain average of a + b keeps 50 % or more of each"


def test_beside_a_bandit_another_objective_is_named_as_it_can_be_asked_for() -> None:
    """`--bandit` refuses `--objective`, so the option alone ended in an error."""
    inputs = rankings.inputs(TWO, names=NAMES)
    ranked = {
        "code": ranking("code", "calibrated", ties=1.2, linear=0.5),
        "math": ranking("math", ties=0.05, linear=0.52),
    }
    verdict = replace(decide(inputs, ranked, MEAN), suggested={"code": "s000001"})
    advice = advise(verdict, inputs.tasks, inputs.names, shorten(inputs.names))
    assert advice.instead[1].startswith("--objective worst, without --bandit: plain average")


def test_nothing_else_is_suggested_that_is_hardly_more_even() -> None:
    advice = of_pair({"ties": 1.2, "linear": 1.1}, {"ties": 0.05, "linear": 0.14})
    assert len(advice.instead) == 1
    assert len(of_pair({"ties": 0.9, "linear": 0.8}, {"ties": 0.3, "linear": 0.39}).instead) == 1
    assert len(of_pair({"ties": 0.9, "linear": 0.7}, {"ties": 0.3, "linear": 0.41}).instead) == 2


def test_nothing_else_is_suggested_where_something_else_was_asked() -> None:
    asked = Objective(weights={"code": 9})
    advice = of_pair({"ties": 1.2, "linear": 0.5}, {"ties": 0.05, "linear": 0.52}, asked)
    assert len(advice.instead) == 1


def test_a_merge_that_is_no_better_than_a_model() -> None:
    advice = of_pair({"ties": 0.45}, {"ties": 0.4})
    assert advice.headline.startswith(
        "Rather do not merge: a alone is expected to be at least as good"
    )
    assert "(50 % against 43 %)" in advice.headline
    assert "keep them apart" in advice.instead[0]


def test_a_model_that_keeps_too_little_is_no_alternative() -> None:
    """It would be worth 100 % of what is judged, and have none of what must be kept."""
    advice = of_pair({"ties": 0.7}, {"ties": 0.85}, Objective(keep={"math": 0.8}))
    assert advice.headline == "Merge a + b"


def test_half_a_skill() -> None:
    advice = of_pair({"ties": 0.45}, {"ties": 0.9})
    assert advice.tone == "careful"
    assert advice.headline == "Merge a + b, but expect to lose more than half of code"


def test_where_nothing_can_be_predicted() -> None:
    advice = of_pair({"ties": 0.01}, {"ties": 0.01}, status="abstained")
    assert "cannot be predicted" in advice.headline
    assert advice.tone == "careful"


def test_a_third_model_whose_skill_is_lost_either_way() -> None:
    advice = of_three("ab", code=0.8, math=0.8, rag=0.0)
    assert advice.headline == (
        "Merge a + b, and keep c apart: no merge is expected to keep all 3 skills"
    )
    assert advice.instead == ("use c by itself for rag",)


def test_a_third_model_that_is_merged_and_lost() -> None:
    advice = of_three("abc", code=0.8, math=0.8, rag=0.0)
    assert advice.tone == "bad"
    assert advice.instead == ("plan a + b without c",)


def test_a_third_model_that_is_not_needed() -> None:
    advice = of_three("ab", code=0.8, math=0.8, rag=0.7)
    assert advice == Advice(tone="good", headline="Merge a + b, without c")


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("calibrated", "90 % of them ended inside"),
        ("extrapolated", "the ranges do not hold here: too large"),
        ("abstained", "nothing like it was tested (too large)"),
    ],
)
def test_how_sure(status: Status, said: str) -> None:
    assert said in summary(ranking("code", status, reason="too large", ties=0.6)).sure


def test_the_reason_is_that_of_the_task_that_decides_how_sure() -> None:
    near = ranking("code", reason="like the pairs seen in training", ties=0.6)
    far = ranking("math", "extrapolated", reason="too large", ties=0.6)
    assert summary(near, far).sure.endswith("do not hold here: too large")


def test_merges_that_keep_too_little_are_no_other_ways() -> None:
    given = ranking("code", ties=0.9, linear=0.7, scaled=0.85)
    (other,) = summary(given, objective=Objective(keep={"code": 0.8})).others
    assert other.values == ("85 %",)


def test_nothing_is_drawn_where_nothing_is_predicted() -> None:
    decision = summary(ranking("code", "abstained", ties=0.6, linear=0.5))
    assert [bar.spread for bar in decision.bars] == [None]
    assert decision.others == ()


def test_why_names_what_recipes_do_not() -> None:
    near, far = rankings.grounds(), rankings.grounds(far=True)
    for by in (near, far):
        decision = summary(ranking("code", "calibrated", by=by, ties=0.9, linear=0.5))
        assert "(" not in decision.why
        assert "arm" not in decision.why
    assert "tests" in summary(ranking("code", by=near, ties=0.9, linear=0.5)).why


def test_the_evidence_of_what_is_not_predicted() -> None:
    by = rankings.grounds(far=True)
    why = summary(ranking("code", "abstained", by=by, ties=0.9, linear=0.5)).why
    assert f"on {GIANTS.pairs} {GIANTS.of}" in why
    assert "ties(" not in why


def test_many_tasks_are_counted() -> None:
    tasks = {f"task-{number}": "org/a" for number in range(TASKS_SHOWN + 2)}
    inputs = rankings.inputs(tasks, names=NAMES)
    verdict = decide(inputs, {task: ranking(task, ties=0.9) for task in tasks}, MEAN)
    decision = summarize(verdict, inputs.tasks, inputs.names, coverage=0.9)
    assert (len(decision.bars), decision.more) == (TASKS_SHOWN, 2)


def summary(*ranked: Any, objective: Objective = MEAN) -> Any:
    inputs = rankings.inputs({each.task: "org/a" for each in ranked}, names=NAMES)
    verdict = decide(inputs, {each.task: each for each in ranked}, objective)
    return summarize(verdict, inputs.tasks, inputs.names, coverage=0.9)
