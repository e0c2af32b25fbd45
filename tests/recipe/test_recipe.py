"""A recipe survives its YAML, and nothing but a recipe gets through."""

from dataclasses import replace
from pathlib import Path

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
        tokenizer="auto",
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
    assert why is None
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
