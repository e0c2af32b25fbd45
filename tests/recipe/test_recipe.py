"""A recipe survives its YAML, and nothing but a recipe gets through."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from simmerge_hub.recipe import (
    SHARD_SIZE,
    Recipe,
    Source,
    Step,
    dump_yaml,
    parse,
    sealed,
)
from tests.recipe.conftest import GOOD, read


def test_what_a_recipe_says() -> None:
    recipe = read(GOOD)
    assert recipe == Recipe(
        base=Source(name="org/base", repo="org/base", commit="abc"),
        models=(
            Source(name="org/a", repo="org/a", commit="def"),
            Source(name="org/b", repo="org/b"),
        ),
        steps=(
            Step(
                operator="ties",
                models=("org/a", "org/b"),
                parameters={"density": 0.2, "weights": (1, 2.5)},
            ),
        ),
        dtype="bfloat16",
        tokenizer="base",
        seed=3,
        shard_size=SHARD_SIZE,
    )
    assert [s.name for s in recipe.sources] == ["org/base", "org/a", "org/b"]


NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=("C", "Z"), exclude_characters="`|<>@"),
    min_size=1,
    max_size=12,
) | st.sampled_from(
    ["true", "1e5", "0x1f", "~", "null", "- a", "a: b", "#x", "org/a", "2024-01-01", "ß d"]
)
NUMBERS = st.integers(-9, 9) | st.floats(-1e15, 1e15).filter(lambda x: x == 0 or abs(x) > 1e-30)


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    names = draw(st.lists(NAMES, min_size=4, max_size=4, unique=True))
    commit = st.sampled_from(["", "0123456", "1e10", "a" * 40, "v1.0", "refs/pr/1"])
    folders = st.none() | st.sampled_from([Path("/x/y"), Path("/a b/ü"), Path("/~/1")])
    sources = [
        Source(name=n, repo=r, commit=draw(commit), folder=None if r else draw(folders), digest=d)
        for n in names[:3]
        for r, d in [draw(st.sampled_from([("org/x", ""), ("", "0" * 64), ("", "12345")]))]
    ]
    weights = draw(st.none() | st.tuples(NUMBERS, NUMBERS).filter(lambda w: abs(sum(w)) > 1e-3))
    first = Step(
        operator="task_arithmetic",
        models=(names[1], names[2]),
        parameters={"scale": draw(NUMBERS)} | ({"weights": weights} if weights else {}),
        name=names[3],
    )
    last = Step(
        operator="slerp", models=(names[3], names[0]), parameters={"t": draw(st.floats(0, 1))}
    )
    return Recipe(
        base=sources[0],
        models=tuple(sources[1:]),
        steps=(first, last),
        dtype=draw(st.sampled_from(["", "float16", "float32"])),
        tokenizer=draw(st.sampled_from(["base", names[1]])),
        seed=draw(st.integers(0, 2**63)),
        shard_size=draw(st.integers(1, 2**40)),
    )


@settings(deadline=None)
@given(recipes())
def test_yaml_there_and_back(recipe: Recipe) -> None:
    again, why = parse(recipe.to_yaml(), "x")
    assert again == recipe
    assert why == {}
    assert again.fingerprint == recipe.fingerprint
    published, _ = parse(recipe.to_yaml(published=True), "x")
    assert all(s.folder is None for s in published.sources)
    assert published.fingerprint == recipe.fingerprint
    assert "folder" not in yaml.safe_load(recipe.to_yaml(published=True))["base"]


def test_everything_but_names_changes_the_fingerprint() -> None:
    recipe = read(GOOD)
    others = [
        replace(recipe, seed=4),
        replace(recipe, dtype="float32"),
        replace(recipe, models=recipe.models[::-1]),
        replace(recipe, base=None),
        replace(recipe, tokenizer="org/a"),
        replace(recipe, shard_size=1),
        replace(recipe, steps=(replace(recipe.steps[0], parameters={"density": 0.3}),)),
    ]
    assert len({r.fingerprint for r in (recipe, *others)}) == len(others) + 1


def test_short_lists_stay_on_one_line() -> None:
    assert "  models: [org/a, org/b]\n" in read(GOOD).to_yaml()
    assert dump_yaml({"a": [1, 2], "b": {"c": "ü"}}) == "a: [1, 2]\nb:\n  c: ü\n"


WHY = {
    "choice": "ties", "status": "calibrated", "reason": "", "coverage": 0.9, "predictor": "p",
    "predictor_from": "the package",
    "objective": {"heading": "mean", "description": "the best mean"},
    "tasks": [{"task": "code", "expert": "org/a", "probes": "x"}],
    "predictions": [
        {"arm": "ties", "score": [0.5, 0.2, 0.8], "tasks": {"code": [0.5, 0.2, 0.8]},
         "pareto": True},
    ],
}  # fmt: skip


class TestWhy:
    def plan(self, recipe: Recipe, **fields: Any) -> str:
        why = {"recipe": recipe.fingerprint, **WHY, **fields}
        return recipe.to_yaml() + dump_yaml({"why": sealed(why)})

    def test_a_plan_keeps_its_why(self) -> None:
        recipe, why = parse(self.plan(read(GOOD)), "x")
        assert recipe == read(GOOD)
        assert why["choice"] == "ties"

    def test_an_edited_plan_loses_it(self) -> None:
        text = self.plan(read(GOOD)).replace("density: 0.2", "density: 0.3")
        recipe, why = parse(text, "x")
        assert recipe.steps[0].parameters["density"] == 0.3
        assert why == {}

    def test_layout_and_comments_are_no_edit(self) -> None:
        text = "# my plan\n" + self.plan(read(GOOD)).replace("seed: 3", "seed:   3  # lucky")
        assert parse(text, "x")[1]

    @pytest.mark.parametrize("why", ["text", "[]", "{recipe: x}", "3"])
    def test_what_is_no_why_is_dropped(self, why: str) -> None:
        assert parse(f"{GOOD}why: {why}\n", "x")[1] == {}

    @pytest.mark.parametrize(
        ("said", "forged"),
        [("0.9", "0.99"), ("[0.5, 0.2, 0.8]", "[0.9, 0.8, 1.0]"), ("calibrated", "abstained")],
    )
    def test_an_edited_why_is_dropped(self, said: str, forged: str) -> None:
        text = self.plan(read(GOOD))
        assert parse(text.replace(said, forged), "x") == (read(GOOD), {})
        assert text.replace(said, forged) != text

    def test_a_why_without_seal_is_dropped(self) -> None:
        recipe = read(GOOD)
        why = {"recipe": recipe.fingerprint, **WHY}
        assert parse(recipe.to_yaml() + dump_yaml({"why": why}), "x")[1] == {}

    def test_the_seal_is_of_all_but_itself(self) -> None:
        once = sealed({"b": 1, "a": [0.5, "ü"]})
        assert sealed(once) == once == sealed({"a": (0.5, "ü"), "b": 1}) | {"a": [0.5, "ü"]}
        assert sealed({"b": 2, "a": [0.5, "ü"]})["seal"] != once["seal"]

    @pytest.mark.parametrize(
        "broken",
        [
            {"status": "certain"},
            {"status": ["calibrated"]},
            {"reason": None},
            {"coverage": "90%"},
            {"coverage": 10**400},
            {"tasks": {"code": 1}},
            {"tasks": ["code"]},
            {"tasks": [{"task": "code", "expert": "org/a"}]},
            {"predictions": None},
            {"objective": "mean"},
            {"objective": {"heading": "mean"}},
            {"predictor_from": 3},
            *(
                {"predictions": [{"arm": "ties", "score": [1, 2, 3], "pareto": True, **wrong}]}
                for wrong in (
                    {"tasks": {}},
                    {"tasks": {"code": [1, 2, "x"]}},
                    {"tasks": {"code": [1, 2, 3]}, "score": [1, 2]},
                    {"tasks": {"code": [1, 2, 3]}, "pareto": "yes"},
                )
            ),
        ],
        ids=str,
    )
    def test_a_sealed_why_that_no_card_can_print_is_dropped(self, broken: dict) -> None:
        assert parse(self.plan(read(GOOD), **broken), "x")[1] == {}

    @pytest.mark.parametrize(
        "odd", ["2024-01-01", "{1: a, b: c}", "&x [*x]", "!!binary aGk="], ids=range(4)
    )
    def test_what_json_cannot_hold_is_dropped(self, odd: str) -> None:
        text = self.plan(read(GOOD)) + f"  left_out: {odd}\n"
        assert parse(text, "x")[1] == {}

    def test_a_bomb_inside_a_why_is_dropped_unexploded(self) -> None:
        lines = ["  a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
        lines += [f"  a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 20)]
        assert parse(self.plan(read(GOOD)) + "\n".join(lines), "x")[1] == {}

    def test_a_why_without_its_predictions_is_dropped(self) -> None:
        recipe = read(GOOD)
        text = recipe.to_yaml() + dump_yaml({"why": {"recipe": recipe.fingerprint}})
        assert parse(text, "x")[1] == {}
