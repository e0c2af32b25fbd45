"""`calibration:` both ways through YAML, and what is refused before anything is fetched."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from simmerge_hub import operators
from simmerge_hub.errors import OperatorError, RecipeError, SimmergeError
from simmerge_hub.recipe import RECIPE_FILE, check_recipe, load
from simmerge_hub.recipe.calibration import ANSWER_TOKENS, Calibration, Prompts, list_prompt_files
from simmerge_hub.recipe.checks import LARGEST_ANSWER
from tests import nano
from tests.recipe.conftest import change, read

FED = {"org/a": "simmerge-hub:math", "org/b": "simmerge-hub:code"}
STEP = {"operator": "regmean", "models": ["org/a", "org/b"]}


def written(calibration: Any = {"prompts": FED}, **fields: Any) -> str:  # noqa: B006
    """A recipe that merges by RegMean; `calibration` as its YAML has it."""
    return change(**{"calibration": calibration, "steps": [STEP], **fields})


def test_the_shortest_way_to_write_it() -> None:
    recipe = read(written())
    assert recipe.calibration == Calibration(
        prompts={name: (Prompts(source=source),) for name, source in FED.items()},
        answers=ANSWER_TOKENS,
    )
    assert recipe.sees_activations


@pytest.mark.parametrize(
    "entry",
    [
        "simmerge-hub:math",
        {"source": "simmerge-hub:math"},
        ["simmerge-hub:math"],
        [{"source": "simmerge-hub:math"}],
    ],
    ids=str,
)
def test_one_set_of_prompts_in_every_spelling(entry: Any) -> None:
    recipe = read(written({"prompts": FED | {"org/a": entry}}))
    assert recipe.calibration
    assert recipe.calibration.prompts["org/a"] == (Prompts(source="simmerge-hub:math"),)


@pytest.mark.parametrize("published", [False, True])
def test_yaml_both_ways(published: bool) -> None:
    sets = ["simmerge-hub:math", {"source": "org/data@abc:train:text", "digest": "1" * 64}]
    recipe = read(written({"prompts": FED | {"org/a": sets}, "answers": 0}))
    assert recipe.calibration
    assert recipe.calibration.answers == 0
    assert recipe.calibration.prompts["org/a"][1].digest == "1" * 64
    assert read(recipe.to_yaml(published=published)) == recipe


def test_a_recipe_without_it_says_nothing_of_it() -> None:
    recipe = read(change())
    assert recipe.calibration is None
    assert not recipe.sees_activations
    assert "calibration" not in recipe.to_yaml()


def test_files_lie_beside_the_recipe_and_are_published_by_name(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(written({"prompts": FED | {"org/a": "data/sums.jsonl"}}))
    recipe, _ = load(path)
    assert recipe.calibration
    assert recipe.calibration.prompts["org/a"][0].source == str(tmp_path / "data" / "sums.jsonl")
    again = read(recipe.to_yaml(), folder=tmp_path / "elsewhere")
    assert again.calibration == recipe.calibration
    public = yaml.safe_load(recipe.to_yaml(published=True))
    assert public["calibration"]["prompts"]["org/a"] == [{"source": "sums.jsonl"}]
    assert str(tmp_path) not in recipe.to_yaml(published=True)


def test_a_file_at_home_is_found_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    recipe = read(written({"prompts": FED | {"org/a": "~/sums.txt"}}), folder=tmp_path / "recipes")
    assert recipe.calibration
    assert recipe.calibration.prompts["org/a"][0].source == str(tmp_path / "sums.txt")


def test_a_card_cannot_ask_for_a_file(tmp_path: Path) -> None:
    text = written({"prompts": FED | {"org/a": "sums.txt"}})
    public = read(text).to_yaml(published=True)
    folder = nano.model(tmp_path / "m", card=f"## Redo it\n\n```yaml\n{public}```\n")
    (tmp_path / "sums.txt").write_text("1 + 1 =")
    with pytest.raises(RecipeError, match=r"asks for the prompts in sums\.txt, a file") as caught:
        load(folder)
    assert "copy the recipe into a file beside it" in caught.value.hint
    looked_at = load(folder, to_run=False)[0].calibration
    assert list_prompt_files(looked_at) == ["sums.txt"]
    (tmp_path / RECIPE_FILE).write_text(text)  # as the hint says
    assert load(tmp_path)[0].calibration


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        ([], r"calibration is written as \[\]"),
        ("simmerge-hub:math", "calibration is written as 'simmerge-hub:math'"),
        ({}, r"calibration is written as \{\}"),
        ({"prompts": []}, "calibration is written as"),
        ({"prompts": FED, "tokens": 3}, "calibration is written as"),
        ({"prompts": {1: "x"}}, "calibration is written as"),
        ({"prompts": FED | {"org/a": 3}}, "prompts are written as 3"),
        ({"prompts": FED | {"org/a": {"file": "x"}}}, "prompts are written as"),
        ({"prompts": FED | {"org/a": {"digest": "x"}}}, "prompts without a `source:`"),
        ({"prompts": FED | {"org/a": ""}}, "prompts without a `source:`"),
        ({"prompts": FED | {"org/a": {"source": 3}}}, "source"),
        ({"prompts": FED, "answers": -1}, "answers"),
        ({"prompts": FED, "answers": "many"}, "answers"),
        ({"prompts": FED, "answers": True}, "answers"),
        ({"prompts": FED, "answers": LARGEST_ANSWER + 1}, "answers is 4097, and may be 4096"),
        ({"prompts": FED | {"org/c": "x/y"}}, "feeds 'org/c', which is no model of it"),
        ({"prompts": FED | {"org/base": "x/y"}}, "feeds 'org/base', which is no model of it"),
    ],
    ids=str,
)
def test_what_is_written_wrongly(calibration: Any, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        read(written(calibration))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("fields", "message", "hint"),
    [
        ({"calibration": None}, "and the recipe has none for org/a and org/b",
         "{org/a: simmerge-hub:math, org/b: simmerge-hub:math}"),
        (
            {"calibration": {"prompts": {"org/a": "simmerge-hub:math"}}},
            "and the recipe has none for org/b",
            "{org/a: simmerge-hub:math, org/b: simmerge-hub:math}",
        ),
        (
            {"calibration": {"prompts": FED | {"org/b": []}}},
            "and the recipe has none for org/b",
            "calibration: {prompts:",
        ),
        (
            {"steps": [], "slices": [{"layers": {"org/a": [0, 1], "org/b": [0, 1]},
                                      "steps": [STEP]}]},
            "the recipe has slices", "whole models",
        ),
        (
            {"steps": [{"operator": "linear", "models": ["org/a", "org/b"], "name": "mean"},
                       {"operator": "regmean", "models": ["mean", "org/b"]}]},
            "regmean merges 'mean', which was never run", "in one step",
        ),
        (
            {"steps": [STEP | {"name": "one"},
                       {"operator": "ties", "models": ["one", "org/b"],
                        "parameters": {"trim": "model"}}]},
            "`trim: model` looks at all tensors before the first is merged", "trim: tensor",
        ),
        (
            {"steps": [STEP | {"parameters": {"others": "sum"}}], "base": None},
            "regmean merges differences from a base, and there is no base", "base",
        ),
        (
            {"steps": [STEP | {"parameters": {"weights": [1, -1]}}]},
            "not all positive", "at least 0",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_merged_so(fields: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(SimmergeError, match=message) as caught:
        check_recipe(read(written(**fields)))
    assert hint in caught.value.hint


def test_the_hint_for_missing_prompts_works() -> None:
    with pytest.raises(OperatorError) as caught:
        read(written({"prompts": {}}))
    stated = yaml.safe_load(caught.value.hint.split("`")[1])
    assert set(read(written(stated["calibration"])).calibration.prompts) == {"org/a", "org/b"}


def test_the_hint_keeps_the_prompts_that_are_stated() -> None:
    with pytest.raises(OperatorError, match=r"has none for org/b$") as caught:
        read(written({"prompts": {"org/a": "org/mine"}}))
    stated = yaml.safe_load(caught.value.hint.split("`")[1])["calibration"]["prompts"]
    assert stated["org/a"] == "org/mine" and stated["org/b"]


def test_it_needs_no_base() -> None:
    assert read(written(base=None)).base is None


def test_a_step_after_it_may_use_what_it_made() -> None:
    steps = [STEP | {"name": "one"}, {"operator": "linear", "models": ["one", "org/a"]}]
    assert read(written(steps=steps)).sees_activations
    assert operators.find("regmean").activations


def test_models_that_no_step_looks_at_that_way_need_none() -> None:
    models = [{"model": "org/a"}, {"model": "org/b"}, {"model": "org/c"}]
    steps = [STEP | {"name": "one"}, {"operator": "linear", "models": ["one", "org/c"]}]
    assert read(written(steps=steps, models=models)).calibration
