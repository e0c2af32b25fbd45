"""What makes a recipe impossible, by hand-made recipes that no YAML stands for."""

from dataclasses import replace
from typing import Any

import pytest

from simmerge_hub.errors import OperatorError, RecipeError, SimmergeError
from simmerge_hub.recipe import Recipe, Slice, Source, Step, check_recipe

A, B, BASE = (Source(name=n, repo=f"org/{n}") for n in ("a", "b", "base"))


def step(operator: str = "linear", *models: str, name: str = "", **parameters: Any) -> Step:
    return Step(operator=operator, models=models or ("a", "b"), parameters=parameters, name=name)


def recipe(*steps: Step, **fields: Any) -> Recipe:
    return Recipe(**{"base": None, "models": (A, B), "steps": steps or (step(),), **fields})


@pytest.mark.parametrize(
    "good",
    [
        recipe(),
        recipe(step("ties"), base=BASE),
        recipe(step("ties"), output="adapter", rank=4),  # what adapters share is their base
        recipe(step(name="x"), step("linear", "x", "a")),
        recipe(slices=(Slice(layers={"a": (0, 2), "b": (3, 5)}),)),
        recipe(step("ties"), base=BASE, slices=(Slice(layers={"a": (0, 2), "b": (0, 2)}),)),
        recipe(step("slerp", t={"filter": {"mlp": {"gradient": (0, 1)}, "*": 0.5}})),
        recipe(tokenizer="b", dtype="float16", unmatched="keep"),
    ],
)
def test_what_can_be_run(good: Recipe) -> None:
    check_recipe(good)


@pytest.mark.parametrize(
    ("wrong", "seen"),
    [
        (recipe(steps=()), "it has no step"),
        (recipe(step("linear", "a")), "no step uses b"),
        (recipe(step(name="x"), step()), "no step uses x"),
        (recipe(models=(A, replace(B, name="a"))), r"called the same \(a, a\)"),
        (recipe(models=(A, B, replace(B, name="c|d")), steps=(step("linear", "a", "b", "c|d"),)),
         r"the name 'c\|d' would not print well"),
        (recipe(slices=(Slice(layers={"a": (0, 2), "b": (0, 3)}),)), "different numbers of layers"),
        (recipe(slices=(Slice(layers={"a": (2, 2), "b": (1, 1)}),)), r"takes layers \[2, 2\] of a"),
        (recipe(slices=(Slice(layers={"a": (-1, 1), "b": (0, 2)}),)), r"layers \[-1, 1\] of a"),
        (recipe(slices=(Slice(layers={"a": (0, 2)}),)), "a slice uses b, and does not say which"),
        (recipe(slices=(Slice(layers={"a": (0, 2), "b": (0, 2)}),
                        Slice(layers={"b": (0, 1), "a": (4, 5)}, steps=(step("linear", "a"),)))),
         "a slice takes layers of b, and merges it nowhere"),  # the first says what its layers are
        (recipe(step("ties", trim="model"), base=BASE,
                slices=(Slice(layers={"a": (0, 2), "b": (0, 2)}),)), "looks at a whole model"),
        (recipe(dtype="int8"), "dtype is 'int8'; write one of float32, float16, bfloat16"),
        (recipe(tokenizer="c"), "tokenizer is 'c'; write auto, base, union or a model's name"),
        (recipe(unmatched="x"), "unmatched is 'x'; write refuse, drop, keep"),
        (recipe(rank=2), "rank is 2, which only `output: adapter` has"),
        (recipe(step(name="x"), step("linear", "x", "a"), output="adapter"), "it has one step and"),
        (recipe(step("slerp", t={"gradient": (0, 1)}), output="adapter"), "the same for all tens"),
        (recipe(step("ties")), "ties merges differences from a base, and there is no base"),
    ],
)  # fmt: skip
def test_what_cannot(wrong: Recipe, seen: str) -> None:
    with pytest.raises(RecipeError, match=seen) as caught:
        check_recipe(wrong, "plan.yaml")
    assert str(caught.value).startswith("plan.yaml")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("parameters", "seen"),
    [
        ({"density": {"gradient": (0.2, 1.5)}}, "density"),  # one end is no share
        ({"density": {"gradient": (0.1, 0.2)}, "trim": "model"}, "a share of the whole model"),
        ({"trim": {"filter": {"mlp": "model", "*": "tensor"}}}, "trim is the same for all tensors"),
        ({"density": {"gradient": ()}}, "a gradient is a list of values"),
        ({"nothing": 1}, "ties has no parameter 'nothing'"),
    ],
)
def test_parameters(parameters: dict[str, Any], seen: str) -> None:
    with pytest.raises((OperatorError, RecipeError), match=seen):
        check_recipe(recipe(step("ties", **parameters), base=BASE))


def test_a_base_among_the_slices_needs_no_layers_of_its_own() -> None:
    """The reference takes the range of the first model; any other must say which."""
    part = Slice(layers={"a": (0, 2), "b": (0, 2)})
    check_recipe(recipe(step("linear", "base", "a", "b"), base=BASE, slices=(part,)))
    with pytest.raises(SimmergeError, match="a slice takes layers of 'x', which is no model"):
        check_recipe(recipe(slices=(Slice(layers={"a": (0, 2), "b": (0, 2), "x": (0, 2)}),)))
