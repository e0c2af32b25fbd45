"""A recipe survives its YAML, and nothing but a recipe gets through."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from simmerge_hub.errors import OperatorError, RecipeError, SimmergeError
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


def change(**fields: Any) -> str:
    """The good recipe with some top-level keys replaced, or removed by None."""
    data = yaml.safe_load(GOOD) | fields
    return yaml.safe_dump({k: v for k, v in data.items() if v is not None})


def step(**fields: Any) -> str:
    return change(steps=[{"operator": "linear", "models": ["org/a", "org/b"]} | fields])


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


class TestRefused:
    @pytest.mark.parametrize(
        ("text", "seen"),
        [
            ("", "it has no `simmerge: 1` line"),
            ("[]", "it has no `simmerge: 1` line"),
            ("text", "it has no `simmerge: 1` line"),
            ("merge_method: slerp", "it has no `simmerge: 1` line"),
            (change(models=None), "it needs `models:` and `steps:`, each a list"),
            (change(steps={}), "it needs `models:` and `steps:`, each a list"),
            (change(models="org/a"), "it needs `models:` and `steps:`, each a list"),
            (change(steps=[]), "it has no step"),
            (change(extra=1, more=2), "it has unknown keys: extra, more"),
            (change(**{"1": 1}) + "2: 3\n", "it has unknown keys: 1, 2"),
            (change(seed="3"), "seed is '3', and must be a whole number"),
            (change(seed=-1), "seed is -1, and must be a whole number"),
            (change(seed=True), "seed is True, and must be a whole number"),
            (change(shard_size=1.5), "shard_size is 1.5, and must be a whole number"),
            (change(dtype="int8"), "dtype is 'int8'; write one of float32, float16, bfloat16"),
            (change(dtype=16), "dtype is 16: write it as text"),
            (change(tokenizer="org/x"), "tokenizer is 'org/x'; write base, union or a model"),
            (change(tokenizer=["a"]), "tokenizer is ['a']: write it as text"),
            (change(base=3), "a model is written as 3"),
            (change(models=[3]), "a model is written as 3"),
            (change(models=[{"repo": "org/a"}]), "a model is written as {'repo': 'org/a'}"),
            (change(models=[{"commit": "abc"}]), "has neither `model:` nor `folder:`"),
            (change(models=[{"model": "org/a", "commit": 1234567}]), "commit is 1234567: "),
            (change(models=[{"model": ["org/a"]}]), "model is ['org/a']: write it as text"),
            (change(models=[{"folder": 5}]), "folder is 5: write it as text"),
            (change(models=["org/a", "org/a"]), "two inputs are called the same"),
            (change(base="org/a"), "two inputs are called the same (org/a, org/a, org/b)"),
            (change(models=["org/a", "org/b", "org/c"]), "no step uses org/c"),
            (change(steps=["linear"]), "a step is written as 'linear'"),
            (change(steps=[{"models": ["org/a"]}]), "a step is written as {'models': ['org/a']}"),
            (step(method="x"), "a step is written as"),
            (step(models="org/a"), "the models of a step are 'org/a': write a list of names"),
            (step(models=5), "the models of a step are 5"),
            (step(models={"org/a": 1}), "the models of a step are {'org/a': 1}"),
            (step(models=["org/a", 5]), "the models of a step are ['org/a', 5]"),
            (step(models=["org/a", "org/x"]), "a step uses 'org/x', which is no model and no earl"),
            (step(models=["org/a", ""]), "a step uses ''"),
            (step(parameters=[1]), "parameters are [1]: write `name: value` lines"),
            (step(parameters="t"), "parameters are 't'"),
            (step(parameters={1: 2}), "parameters are {1: 2}"),
            (step(operator=3), "operator is 3: write it as text"),
            (step(name="org/a"), "a step is called 'org/a', as is something before it"),
            (step(name="a\nb"), "the name 'a\\nb' would not print well: choose another"),
            (step(name="a`b"), "the name 'a`b' would not print well: choose another"),
            (step(name="a | b"), "would not print well"),
            (step(name="<b>"), "would not print well"),
        ],
    )  # fmt: skip
    def test_what_is_no_recipe(self, text: str, seen: str) -> None:
        with pytest.raises(RecipeError) as caught:
            read(text)
        assert str(caught.value).startswith("plan.yaml is no recipe: ")
        assert seen in str(caught.value)
        assert caught.value.hint == "docs/reference/recipe.md shows one"

    @pytest.mark.parametrize(
        ("parameters", "seen"),
        [
            ({"t": "0.5"}, "slerp: t is '0.5'"),
            ({"t": [0.5]}, r"slerp: t is \(0.5,\)"),
            ({"t": None}, "slerp: t is None"),
            ({"t": float("nan")}, "slerp: t is nan"),
            ({"T": 0.5}, "slerp has no parameter 'T'"),
        ],
    )
    def test_parameters_an_operator_does_not_take(
        self, parameters: dict[str, Any], seen: str
    ) -> None:
        with pytest.raises(OperatorError, match=seen):
            read(step(operator="slerp", parameters=parameters))

    def test_an_unknown_operator(self) -> None:
        with pytest.raises(OperatorError) as caught:
            read(step(operator="slrep"))
        assert caught.value.hint.startswith("did you mean slerp")

    def test_a_delta_operator_without_base(self) -> None:
        with pytest.raises(RecipeError) as caught:
            read(change(base=None))
        assert "ties merges differences from a base, and there is no base" in str(caught.value)
        assert caught.value.hint == "add a `base:` to the recipe, or name one with --base"

    def test_a_result_that_nobody_uses(self) -> None:
        steps = [{"operator": "linear", "models": ["org/a", "org/b"]}] * 2
        with pytest.raises(RecipeError, match="no step uses the result of a step without a name"):
            read(change(steps=steps))

    def test_a_step_cannot_use_a_later_one(self) -> None:
        steps = [
            {"operator": "linear", "models": ["org/a", "y"], "name": "x"},
            {"operator": "linear", "models": ["org/b", "x"], "name": "y"},
        ]
        with pytest.raises(RecipeError, match="a step uses 'y', which is no model and no earlier"):
            read(change(steps=steps))

    @pytest.mark.parametrize("version", [2, 0, "1", 1.0, True, None, [1]])
    def test_another_version(self, version: Any) -> None:
        with pytest.raises(RecipeError) as caught:
            read(GOOD.replace("simmerge: 1", f"simmerge: {version!r}".replace("None", "null")))
        assert "; this release reads 1" in str(caught.value)
        assert caught.value.hint == "upgrade: pip install -U simmerge-hub"

    @pytest.mark.parametrize(
        "text",
        [
            "a: [",
            "a: b: c",
            "\tsimmerge: 1",
            "simmerge: !!python/object/apply:os.system ['touch /tmp/pwned']",
            "simmerge: !!python/name:os.system",
            "simmerge: 2024-13-45",
            "simmerge: \x00",
            "[" * 500,
        ],
        ids=range(8),
    )
    def test_what_is_no_yaml(self, text: str) -> None:
        with pytest.raises(RecipeError) as caught:
            read(text)
        assert str(caught.value).startswith("plan.yaml is not YAML: ")
        assert caught.value.hint == "check its indentation"

    @pytest.mark.parametrize("at", ["models", "steps", "seed", "base", "dtype", "extra"])
    def test_a_yaml_bomb_is_never_written_out(self, at: str) -> None:
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
        lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 8)]
        bomb = "\n".join(lines).replace("a0:", "why: {a0:", 1).replace("\n", ", ") + "}"
        value = "[*a7]" if at in ("models", "steps") else "*a7"
        text = f"{bomb}\n{change(**{at: None})}{at}: {value}"
        with pytest.raises(RecipeError) as caught:
            read(text)
        assert len(str(caught.value)) < 400


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


def test_every_refusal_has_a_hint() -> None:
    for text in ("", "simmerge: 2", GOOD.replace("ties", "x"), GOOD.replace("0.2", "7")):
        with pytest.raises(SimmergeError) as caught:
            read(text)
        assert caught.value.hint
