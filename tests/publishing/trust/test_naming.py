"""A merge in words; a recorded plan says of it what `plan` said: to make it, or rather not."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from simmerge_hub.publishing.trust.naming import name_recipe, speak_against
from simmerge_hub.recipe import Recipe, Source, Step
from simmerge_hub.recipe.why import Aim, Status, Why, WhyMerge, WhyTask

NAMES = ("org/a", "org/b")
RECIPE = Recipe(
    base=None,
    models=tuple(Source(name=name) for name in NAMES),
    steps=(Step(operator="linear", models=NAMES, parameters={}),),
)


def why(
    code: float, math: float, status: Status = "calibrated", keep: Mapping[str, float] = {}
) -> Why:
    tasks = {"code": (code, code, code), "math": (math, math, math)}
    mean = (code + math) / 2
    kept = WhyMerge(merge="linear", utility=(mean, mean, mean), tasks=tasks, pareto=True)
    return Why(
        recipe="",
        choice="linear",
        status=status,
        objective=Aim(heading="mean", description="", keep=keep),
        reason="",
        coverage=0.9,
        predictor="",
        predictor_from="",
        tasks=tuple(WhyTask(task=t, expert=e) for t, e in zip(tasks, NAMES, strict=True)),
        predictions=(kept,),
    )


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (why(0.8, 0.7), ""),
        (why(1.2, 0.05), "keep them apart: merging is expected to lose math"),
        (why(0.45, 0.4), "a alone is expected to be at least as good as this merge"),
        (why(0.45, 0.4, keep={"math": 0.3}), ""),
        (why(0.01, 0.01, "abstained"), ""),
    ],
    ids=["good", "lost", "alone", "alone and keeps too little", "nobody knows"],
)
def test_what_speaks_against_a_planned_merge(made: Why, said: str) -> None:
    assert speak_against(made, RECIPE) == said


@pytest.mark.parametrize("weights", [{"code": 0.0, "math": 0.0}, {"nothing": 1.0}])
def test_a_record_that_nobody_planned_is_shown_all_the_same(weights: dict[str, float]) -> None:
    """Strangers' records: weights of nothing, scores below zero beside an expert's of zero."""
    made = why(0.4, 0.4)
    tasks = tuple(replace(task, scores={"org/a": 0.0, "org/b": -1.0}) for task in made.tasks)
    assert "alone" in speak_against(replace(made, tasks=tasks), RECIPE)
    aim = Aim(heading="mean", description="", weights=weights)
    assert speak_against(replace(made, tasks=tasks, objective=aim), RECIPE) == ""


def test_a_base_that_is_merged_is_called_like_the_others() -> None:
    """As in mergekit's recipes for SLERP, where the base is the first model."""
    step = Step(operator="slerp", models=NAMES, parameters={"t": 0.4})
    recipe = Recipe(base=Source(name=NAMES[0]), models=(Source(name=NAMES[1]),), steps=(step,))
    assert name_recipe(recipe) == "SLERP (t 0.4) of a + b"
