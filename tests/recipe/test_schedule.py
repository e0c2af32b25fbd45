"""Parameters over depth and by name."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simmerge_hub.errors import OperatorError, RecipeError
from simmerge_hub.recipe import Recipe, Source, Step, check_recipe, parse, schedule

MLP, ATTENTION = "model.layers.3.mlp.up_proj.weight", "model.layers.3.self_attn.q_proj.weight"


@pytest.mark.parametrize(
    ("value", "depth", "expected"),
    [
        (0.3, 0.5, 0.3),
        ({"gradient": (0, 1)}, 0.25, 0.25),
        ({"gradient": (0, 0.5, 0.3, 1)}, 1 / 3, 0.5),
        ({"gradient": (0, 0.5, 0.3, 1)}, 0.5, 0.4),
        ({"gradient": (0.7,)}, 1.0, 0.7),
        ({"gradient": (True, False)}, 0.9, True),
        ({"gradient": (True, False)}, 1.0, False),
        ({"gradient": ("l1", "none")}, 0.4, "l1"),
        ({"filter": {"mlp": 0.1, "up": 0.2, "*": 0.9}}, 0.0, 0.1),
        ({"filter": {"self_attn": 0.1, "*": 0.9}}, 0.0, 0.9),
        ({"filter": {"mlp": {"gradient": (0, 1)}, "*": 0.9}}, 0.5, 0.5),
        (({"gradient": (0, 1)}, 0.3), 0.5, (0.5, 0.3)),
    ],
)
def test_a_value_for_a_tensor(value: Any, depth: float, expected: Any) -> None:
    evaluated = schedule.evaluate({"t": value}, MLP, depth)["t"]
    assert evaluated == (pytest.approx(expected) if isinstance(expected, float) else expected)


@pytest.mark.parametrize("layers", [2, 50, 104])
def test_a_word_for_each_layer_is_that_layers(layers: int) -> None:
    words = tuple(f"word {number}" for number in range(layers))
    depths = [number / (layers - 1) for number in range(layers)]
    given = [schedule.evaluate({"x": {"gradient": words}}, MLP, depth)["x"] for depth in depths]
    assert tuple(given) == words


def test_the_first_filter_that_matches_counts() -> None:
    value = {"filter": {"layers.3": 1, "mlp": 2, "*": 3}}
    assert schedule.evaluate({"x": value}, ATTENTION, 0)["x"] == 1
    assert schedule.evaluate({"x": value}, "model.layers.4.mlp.up_proj.weight", 0)["x"] == 2
    assert schedule.evaluate({"x": value}, "lm_head.weight", 0)["x"] == 3


@given(
    st.lists(st.floats(-5, 5), min_size=1, max_size=6),
    st.floats(0, 1),
)
def test_a_gradient_stays_between_its_neighbours(values: list[float], depth: float) -> None:
    value = schedule.evaluate({"x": {"gradient": tuple(values)}}, "w", depth)["x"]
    place = depth * (len(values) - 1)
    near = [v for i, v in enumerate(values) if abs(i - place) <= 1]
    assert min(near) - 1e-9 <= value <= max(near) + 1e-9


def test_extremes_hold_every_value() -> None:
    parameters = {
        "density": ({"gradient": (0.1, 0.2, 0.3)}, 0.5),
        "scale": {"filter": {"mlp": 2, "*": 1}},
        "normalize": True,
    }
    sets = list(schedule.extremes(parameters))
    assert {d for one in sets for d in one["density"]} == {0.1, 0.2, 0.3, 0.5}
    assert {one["scale"] for one in sets} == {1, 2}
    assert all(one["normalize"] is True and len(one["density"]) == 2 for one in sets)
    assert list(schedule.extremes({})) == [{}]


def recipe(operator: str = "ties", **parameters: Any) -> Recipe:
    return Recipe(
        base=Source(name="base", repo="org/base"),
        models=(Source(name="a", repo="org/a"), Source(name="b", repo="org/b")),
        steps=(Step(operator=operator, models=("a", "b"), parameters=parameters),),
    )


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        ({"a": 1}, "it is a mapping with the keys a"),
        ({}, "it is a mapping with the keys none"),
        ({"gradient": 3}, "a gradient is a list of values"),
        ({"gradient": ()}, "a gradient is a list of values"),
        ({"gradient": (0, (1, 2))}, "a gradient holds plain values only"),
        ({"gradient": (0, {"gradient": (1,)})}, "a gradient holds plain values only"),
        ({"filter": (1, 2)}, "a filter maps texts to values"),
        ({"filter": {1: 2, "*": 3}}, "a filter maps texts to values"),
        ({"filter": {"mlp": 0.5}}, 'its filter says nothing about other tensors: add "*"'),
        ({"filter": {"*": {"filter": {"*": 1}}}}, "a filter holds another filter"),
        ({"filter": {"*": (0.5, 0.5)}}, "a filter holds a list; one value for each model goes"),
        ((0.5, (0.5,)), "a list holds a list"),
    ],
)
def test_what_is_no_schedule(value: Any, seen: str) -> None:
    with pytest.raises(RecipeError) as caught:
        check_recipe(recipe(density=value))
    assert str(caught.value).startswith("the recipe: ties: density is no parameter: ")
    assert seen in str(caught.value)
    assert caught.value.hint == "write {gradient: [0, 1]} or {filter: {mlp: 0.3, '*': 0.5}}"


@pytest.mark.parametrize(
    "value",
    [
        {"gradient": (0.5, 1.5)},
        {"filter": {"mlp": 1.5, "*": 0.5}},
        ({"gradient": (0.5, 0.2, 1.5)}, 0.5),
    ],
)
def test_every_value_of_a_schedule_is_checked(value: Any) -> None:
    with pytest.raises(OperatorError, match=r"density is .*1\.5.*is no share to keep|1\.5"):
        check_recipe(recipe(density=value))


def test_what_an_operator_sees_cannot_change_between_tensors() -> None:
    with pytest.raises(OperatorError, match="nuslerp: origin is the same for all tensors"):
        check_recipe(recipe("nuslerp", origin={"gradient": ("base", "zero")}))
    with pytest.raises(OperatorError, match="ties: trim is the same for all tensors"):
        check_recipe(recipe(trim={"filter": {"*": "model"}}))


def test_yaml_keeps_schedules() -> None:
    first = recipe(
        density={"filter": {"mlp": {"gradient": (0.1, 0.9)}, "*": 0.5}},
        weights=({"gradient": (0, 1)}, 0.3),
    )
    again, _ = parse(first.to_yaml(), "x")
    assert again == first
    assert "mlp:\n          gradient: [0.1, 0.9]" in first.to_yaml()


def test_aliases_cannot_make_a_schedule_explode() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    head = recipe().to_yaml().replace("  models: [a, b]", "  models: [a, b]\n  parameters: *x", 1)
    bomb = "why:\n  " + "\n  ".join(lines) + "\n  x: &x {density: {gradient: *a11}}\n"
    with pytest.raises(RecipeError, match="unfolds into more than"):
        parse(bomb + head, "x")
