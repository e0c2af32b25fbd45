"""A plan's `why`: read as it was written, and nothing else is believed."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simmerge_hub.errors import RecipeError
from simmerge_hub.recipe import Recipe, dump_yaml, parse
from simmerge_hub.recipe.why import (
    MOST_VALUES,
    UNIT,
    Aim,
    Why,
    WhyMerge,
    WhyStep,
    WhyTask,
    read_why,
    seal,
)
from tests.recipe.conftest import GOOD

SPREAD = (0.5, 0.2, 0.8)
RECIPE: Recipe = parse(GOOD, "x")[0]
WHY = Why(
    recipe=RECIPE.fingerprint,
    choice="ties",
    status="calibrated",
    objective=Aim(heading="mean", description="the best mean"),
    reason="Because.",
    coverage=0.9,
    predictor="p",
    predictor_from="the package",
    tasks=(WhyTask(task="code", expert="org/a", probes="x"),),
    predictions=(
        WhyMerge(
            merge="ties", utility=(0.5, 0.2, 0.8), tasks={"code": (0.5, 0.2, 0.8)}, pareto=True
        ),
    ),
)
FULL = replace(
    WHY,
    status="extrapolated",
    objective=Aim(
        heading="worst of the others",
        description="the best worst task",
        worst=True,
        weights={"code": 2.0},
        keep={"code": 0.8},
    ),
    tasks=(
        WhyTask(
            task="code",
            expert="org/a",
            probes="simmerge-hub:code",
            digest="d" * 64,
            probability=0.875,
            scores={"org/a": 0.61, "org/b": 0.0},
            novelty={"status": "extrapolated", "outside": 0.25, "distance": 0.0},
        ),
    ),
    predictions=(
        replace(
            WHY.predictions[0],
            pareto=False,
            missing={"code": 0.3},
            kept={"code": {"answers": 0.5, "tokens": 0.75, "regained": 0.9}},
            predicted={"code": SPREAD},
        ),
    ),
    left_out={"rag": "only one model states a score"},
    tree=("linear", "├─ org/a", "└─ org/b"),
    steps=(WhyStep(step="step-1", tasks={"code": (0.5, 0.2, 0.8)}), WhyStep(step="", tasks={})),
    tried=("ties",),
)


def text(data: dict[str, Any]) -> str:
    return RECIPE.to_yaml() + dump_yaml({"why": data})


def forged(**fields: Any) -> str:
    """The good `why` with other fields, and a seal that fits."""
    return text(seal(WHY.to_dict() | fields))


class TestRoundTrip:
    @pytest.mark.parametrize("why", [WHY, FULL], ids=["small", "full"])
    def test_what_is_read_is_what_was_written(self, why: Why) -> None:
        assert parse(text(why.to_dict()), "x") == (RECIPE, why)

    def test_it_is_written_the_same_again(self) -> None:
        once = text(FULL.to_dict())
        again = parse(once, "x")[1]
        assert again is not None
        assert text(again.to_dict()) == once

    @given(st.floats(0, 1.5), st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
    def test_numbers_are_rounded_and_text_is_kept(self, utility: float, said: str) -> None:
        why = replace(
            WHY,
            reason=said,
            predictions=(replace(WHY.predictions[0], utility=(utility, 0.0, 1.5), merge=said),),
        )
        again = parse(text(why.to_dict()), "x")[1]
        assert again is not None
        assert (again.reason, again.predictions[0].merge) == (said, said)
        assert again.predictions[0].utility == (round(utility, 4), 0.0, 1.5)

    def test_it_names_its_unit(self) -> None:
        assert WHY.to_dict()["unit"] == UNIT
        assert next(iter(WHY.to_dict())) == "unit"

    def test_layout_and_comments_are_no_edit(self) -> None:
        written = "# my plan\n" + text(WHY.to_dict()).replace("seed: 3", "seed:   3  # lucky")
        assert parse(written, "x")[1] == WHY


class TestEdits:
    def test_an_edited_plan_loses_it(self) -> None:
        recipe, why = parse(text(WHY.to_dict()).replace("density: 0.2", "density: 0.3"), "x")
        assert recipe.steps[0].parameters["density"] == 0.3
        assert why is None

    @pytest.mark.parametrize(
        ("said", "forgery"),
        [("0.9", "0.99"), ("[0.5, 0.2, 0.8]", "[0.9, 0.8, 1.0]"), ("calibrated", "abstained")],
    )
    def test_an_edited_why_is_dropped(self, said: str, forgery: str) -> None:
        written = text(WHY.to_dict())
        assert parse(written.replace(said, forgery), "x") == (RECIPE, None)
        assert written.replace(said, forgery) != written

    def test_a_why_without_seal_is_dropped(self) -> None:
        data = WHY.to_dict()
        del data["seal"]
        assert parse(text(data), "x")[1] is None

    def test_a_why_of_another_recipe_is_dropped(self) -> None:
        assert read_why(WHY.to_dict(), "another") is None
        assert read_why(WHY.to_dict(), RECIPE.fingerprint) == WHY

    def test_the_seal_is_of_all_but_itself(self) -> None:
        once = seal({"b": 1, "a": [0.5, "ü"]})
        assert seal(once) == once == seal({"a": (0.5, "ü"), "b": 1}) | {"a": [0.5, "ü"]}
        assert seal({"b": 2, "a": [0.5, "ü"]})["seal"] != once["seal"]


class TestHostile:
    """None, never an exception: a card that is shown may be anybody's."""

    @pytest.mark.parametrize("why", ["text", "[]", "{recipe: x}", "3", "null", "{}"])
    def test_what_is_no_why(self, why: str) -> None:
        assert parse(f"{GOOD}why: {why}\n", "x")[1] is None

    @pytest.mark.parametrize(
        "broken",
        [
            {"status": "certain"},
            {"status": ["calibrated"]},
            {"unit": "share of the gap closed"},
            {"unit": None},
            {"reason": None},
            {"choice": 3},
            {"coverage": "90%"},
            {"coverage": True},
            {"coverage": 10**400},
            {"coverage": float("nan")},
            {"coverage": float("inf")},
            {"tasks": {"code": 1}},
            {"tasks": ["code"]},
            {"tasks": None},
            {"tasks": [{"task": "code", "expert": "org/a"}]},
            {"tasks": [{"task": "code", "expert": "org/a", "probes": "x", "probability": "1"}]},
            {"tasks": [{"task": "code", "expert": "org/a", "probes": "x", "scores": [1]}]},
            {"tasks": [{"task": "code", "expert": "org/a", "probes": "x", "novelty": {"a": []}}]},
            {"predictions": None},
            {"predictions": "ties"},
            {"objective": "mean"},
            {"objective": {"heading": "mean"}},
            {"objective": {"heading": "mean", "description": "", "keep": {"code": "all"}}},
            {"predictor_from": 3},
            {"left_out": ["rag"]},
            {"left_out": {"rag": 1}},
            {"tree": "linear"},
            {"tree": [1]},
            {"steps": [{"step": "", "tasks": {"code": [0.5]}}]},
            {"steps": ["step-1"]},
            {"tried": {"ties": 1}},
            *(
                {"predictions": [{"merge": "ties", "utility": [1, 2, 3], "pareto": True, **wrong}]}
                for wrong in (
                    {},
                    {"tasks": {}},
                    {"tasks": {"math": [1, 2, 3]}},
                    {"tasks": {"code": [1, 2, "x"]}},
                    {"tasks": {"code": [1, 2, float("nan")]}},
                    {"tasks": {"code": [1, 2, 3, 4]}},
                    {"tasks": {"code": [1, 2, 3]}, "utility": [1, 2]},
                    {"tasks": {"code": [1, 2, 3]}, "utility": [-float("inf"), 2, 3]},
                    {"tasks": {"code": [1, 2, 3]}, "pareto": "yes"},
                    {"tasks": {"code": [1, 2, 3]}, "merge": None},
                    {"tasks": {"code": [1, 2, 3]}, "missing": {"code": []}},
                    {"tasks": {"code": [1, 2, 3]}, "kept": {"code": {"answers": 0.5}}},
                    {"tasks": {"code": [1, 2, 3]}, "predicted": {"code": 0.5}},
                )
            ),
        ],
        ids=str,
    )
    def test_a_sealed_why_that_no_card_can_print(self, broken: dict[str, Any]) -> None:
        try:
            assert parse(forged(**broken), "x")[1] is None
        except RecipeError as error:  # what no YAML of ours holds either
            assert "a number has 401 characters" in str(error)

    @pytest.mark.parametrize("gone", sorted(WHY.to_dict()))
    def test_a_why_that_lacks_something(self, gone: str) -> None:
        data = WHY.to_dict()
        del data[gone]
        sealed = data if gone == "seal" else seal(data)
        assert parse(text(sealed), "x")[1] is None

    @pytest.mark.parametrize("odd", ["2024-01-01", "{1: a, b: c}", "!!binary aGk="], ids=range(3))
    def test_what_json_cannot_hold(self, odd: str) -> None:
        assert parse(f"{text(WHY.to_dict())}  left_out: {odd}\n", "x")[1] is None

    def test_a_bomb_inside_is_not_exploded(self) -> None:
        lines = ["  a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
        lines += [f"  a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 20)]
        with pytest.raises(RecipeError, match="unfolds into more than"):
            parse(text(WHY.to_dict()) + "\n".join(lines), "x")
        with pytest.raises(RecipeError, match="refers to itself"):
            parse(f"{text(WHY.to_dict())}  left_out: &x [*x]\n", "x")

    def test_a_huge_one(self) -> None:
        data = seal(WHY.to_dict() | {"tried": ["ties"] * MOST_VALUES})
        assert read_why(data, RECIPE.fingerprint) is None
        small = seal(WHY.to_dict() | {"tried": ["ties"] * 100})
        assert read_why(small, RECIPE.fingerprint) is not None

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
            ),
            max_leaves=8,
        ),
        st.sampled_from(sorted(WHY.to_dict().keys() - {"seal", "recipe"})),
    )
    def test_any_value_in_any_field(self, value: Any, field: str) -> None:
        data = seal(WHY.to_dict() | {field: value})
        why = read_why(data, RECIPE.fingerprint)
        assert why is None or isinstance(why, Why)
