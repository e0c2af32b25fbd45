"""One parameter of mergekit as a value or schedule, worked out by hand."""

from typing import Any

import pytest

from simmerge_hub.errors import RecipeError
from simmerge_hub.recipe.mergekit.parameters import RESCALE, Parameter
from simmerge_hub.recipe.mergekit.settings import (
    combine,
    map_scalars,
    pointwise,
    resolve_setting,
    scalars,
    share_of_second,
    texts_with_digits,
    to_setting,
)

WEIGHT = Parameter(name="weight", ours="weights")
SCALE = Parameter(name="lambda", ours="scale", default=1.0)
STEPS = Parameter(name="max_iter", ours="steps", kind="whole", default=10)
FLAG = Parameter(name="rescale", ours="rescale", kind="flag", default=False, words=RESCALE)


def gradient(*values: Any) -> dict[str, Any]:
    return {"gradient": values}


class TestResolve:
    @pytest.mark.parametrize(
        ("parameter", "scopes", "expected"),
        [
            (SCALE, [{}], 1.0),
            (SCALE, [{"lambda": "1e-5"}], 1e-5),
            (SCALE, [{}, {"lambda": 0.5}], 0.5),
            (SCALE, [{"lambda": 0.2}, {"lambda": 0.5}], 0.2),
            (SCALE, [{"lambda": [0, 1]}], gradient(0.0, 1.0)),
            (SCALE, [{"lambda": [0.3]}], 0.3),
            (STEPS, [{"max_iter": 3.0}], 3),
            (FLAG, [{}], "none"),
            (FLAG, [{"rescale": "yes"}], "l1"),
            (FLAG, [{"rescale": [1, 0]}], gradient("l1", "none")),
        ],
    )
    def test_the_first_scope_that_has_it(
        self, parameter: Parameter, scopes: list[dict[str, Any]], expected: Any
    ) -> None:
        assert resolve_setting(parameter, scopes, "m.yml") == expected

    def test_where_no_filter_matches_the_next_scope_is_asked(self) -> None:
        """The mlp of the inner scope, attention of the outer, and the default elsewhere."""
        inner = {"lambda": [{"filter": "mlp", "value": 0.1}]}
        outer = {
            "lambda": [{"filter": "mlp", "value": 0.7}, {"filter": "self_attn", "value": [0, 1]}]
        }
        assert resolve_setting(SCALE, [inner, outer], "m.yml") == {
            "filter": {"mlp": 0.1, "self_attn": gradient(0.0, 1.0), "*": 1.0}
        }

    def test_a_value_for_the_rest_ends_the_search(self) -> None:
        inner = {"lambda": [{"filter": "mlp", "value": 0.1}, {"value": 0.2}]}
        assert resolve_setting(SCALE, [inner, {"lambda": 0.9}], "m.yml") == {
            "filter": {"mlp": 0.1, "*": 0.2}
        }

    def test_one_that_must_be_given(self) -> None:
        scopes = [{"weight": [{"filter": "mlp", "value": 1}]}]
        with pytest.raises(RecipeError) as caught:
            resolve_setting(WEIGHT, scopes, "m.yml", "org/a")
        assert str(caught.value) == (
            "m.yml: missing required parameter weight for org/a where no filter (mlp) matches"
        )

    @pytest.mark.parametrize(
        ("parameter", "value", "kind"),
        [
            (SCALE, "much", "a number"),
            (SCALE, float("inf"), "a number"),
            (SCALE, None, "a number"),
            (SCALE, [{"value": []}], "a number"),
            (SCALE, [{"filter": "mlp"}], "a number"),
            (SCALE, [{"filter": 3, "value": 1}], "a number"),
            (STEPS, 2.5, "a whole number"),
            (FLAG, 2, "true or false"),
        ],
    )
    def test_what_mergekit_does_not_read(self, parameter: Parameter, value: Any, kind: str) -> None:
        with pytest.raises(RecipeError, match=rf"m\.yml: {parameter.name} is ") as caught:
            resolve_setting(parameter, [{parameter.name: value}], "m.yml")
        assert caught.value.hint.startswith(f"give {kind}, ")

    def test_a_whole_number_has_no_gradient(self) -> None:
        with pytest.raises(RecipeError, match="max_iter is a gradient, and must be a whole"):
            resolve_setting(STEPS, [{"max_iter": [3, 4]}], "m.yml")
        assert resolve_setting(STEPS, [{"max_iter": [3]}], "m.yml") == 3


MIXED = {"filter": {"mlp": gradient(1, 2), "layers.3.": 3, "*": 4}}


def test_every_scalar() -> None:
    assert map_scalars(MIXED, lambda x: 10 * x) == {
        "filter": {"mlp": gradient(10, 20), "layers.3.": 30, "*": 40}
    }
    assert scalars(MIXED) == {1, 2, 3, 4}
    assert scalars("l1") == {"l1"}


def test_texts_that_hold_the_number_of_a_layer() -> None:
    assert texts_with_digits(MIXED) == ["layers.3."]
    assert texts_with_digits(gradient(1, 2)) == []


def test_as_mergekit_writes_it() -> None:
    assert to_setting(MIXED) == [
        {"filter": "mlp", "value": [1, 2]},
        {"filter": "layers.3.", "value": 3},
        {"value": 4},
    ]
    assert to_setting("l1") == "l1"


@pytest.mark.parametrize(
    ("first", "second", "share"),
    [
        (1, 3, 0.75),
        (1, -1, 0.5),  # they cancel out
        (gradient(0, 1), gradient(1, 0), gradient(1.0, 0.0)),
        (gradient(1, 2), gradient(3, 6), None),  # the sum is 4, then 8
        (gradient(0, 2), gradient(2, 1, 0), gradient(1.0, 0.5, 0.0)),
        (gradient(1, 1), 1, 0.5),
    ],
)
def test_two_weights_as_one_share(first: Any, second: Any, share: Any) -> None:
    assert share_of_second(first, second) == share


def test_two_schedules_as_one() -> None:
    filtered = {"filter": {"mlp": 1, "*": 3}}
    assert combine(filtered, 1, share_of_second) == {"filter": {"mlp": 0.5, "*": 0.25}}
    assert combine(1, 3, share_of_second) == 0.75
    assert combine(filtered, {"filter": {"attn": 1, "*": 3}}, share_of_second) is None
    assert combine(filtered, gradient(1, 2), share_of_second) is None


def test_two_gradients_of_words_point_by_point() -> None:
    join = pointwise(lambda a, b: f"{a}{b}")
    assert join("x", "y") == "xy"
    assert join(gradient("a", "b"), "y") == gradient("ay", "by")
    assert join(gradient("a", "b"), gradient("c", "d")) == gradient("ac", "bd")
    assert join(gradient("a", "b"), gradient("c", "d", "e")) is None
