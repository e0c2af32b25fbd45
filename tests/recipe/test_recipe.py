"""A recipe survives its YAML, and nothing but a recipe gets through."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from simmerge_hub import localhub
from simmerge_hub.errors import OperatorError, RecipeError, RepoNotFound, SimmergeError
from simmerge_hub.hub.resolve import resolve
from simmerge_hub.recipe import (
    FILE,
    SHARD_SIZE,
    Recipe,
    Source,
    Step,
    dump_yaml,
    fetch,
    load,
    parse,
    pinned,
    source,
)
from tests import nano

REDO = "## Redo it\n\n```yaml\n"
GOOD = """\
simmerge: 1
base: {model: org/base, commit: abc}
models:
- {model: org/a, commit: def}
- {model: org/b}
steps:
- operator: ties
  models: [org/a, org/b]
  parameters: {density: 0.2, weights: [1, 2.5]}
dtype: bfloat16
seed: 3
"""


def read(text: str, **how: Any) -> Recipe:
    return parse(text, "plan.yaml", **how)[0]


def changed(**fields: Any) -> str:
    """The good recipe with some top-level keys replaced, or removed by None."""
    data = yaml.safe_load(GOOD) | fields
    return yaml.safe_dump({k: v for k, v in data.items() if v is not None})


def step(**fields: Any) -> str:
    return changed(steps=[{"operator": "linear", "models": ["org/a", "org/b"]} | fields])


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


class TestRefused:
    @pytest.mark.parametrize(
        ("text", "seen"),
        [
            ("", "it has no `simmerge: 1` line"),
            ("[]", "it has no `simmerge: 1` line"),
            ("text", "it has no `simmerge: 1` line"),
            ("merge_method: slerp", "it has no `simmerge: 1` line"),
            (changed(models=None), "it needs `models:` and `steps:`, each a list"),
            (changed(steps={}), "it needs `models:` and `steps:`, each a list"),
            (changed(models="org/a"), "it needs `models:` and `steps:`, each a list"),
            (changed(steps=[]), "it has no step"),
            (changed(extra=1, more=2), "it has unknown keys: extra, more"),
            (changed(**{"1": 1}) + "2: 3\n", "it has unknown keys: 1, 2"),
            (changed(seed="3"), "seed is '3', and must be a whole number"),
            (changed(seed=-1), "seed is -1, and must be a whole number"),
            (changed(seed=True), "seed is True, and must be a whole number"),
            (changed(shard_size=1.5), "shard_size is 1.5, and must be a whole number"),
            (changed(dtype="int8"), "dtype is 'int8'; write one of float32, float16, bfloat16"),
            (changed(dtype=16), "dtype is 16: write it as text"),
            (changed(tokenizer="org/x"), "tokenizer is 'org/x'; write base, union or a model"),
            (changed(tokenizer=["a"]), "tokenizer is ['a']: write it as text"),
            (changed(base=3), "a model is written as 3"),
            (changed(models=[3]), "a model is written as 3"),
            (changed(models=[{"repo": "org/a"}]), "a model is written as {'repo': 'org/a'}"),
            (changed(models=[{"commit": "abc"}]), "has neither `model:` nor `folder:`"),
            (changed(models=[{"model": "org/a", "commit": 1234567}]), "commit is 1234567: "),
            (changed(models=[{"model": ["org/a"]}]), "model is ['org/a']: write it as text"),
            (changed(models=[{"folder": 5}]), "folder is 5: write it as text"),
            (changed(models=["org/a", "org/a"]), "two inputs are called the same"),
            (changed(base="org/a"), "two inputs are called the same (org/a, org/a, org/b)"),
            (changed(models=["org/a", "org/b", "org/c"]), "no step uses org/c"),
            (changed(steps=["linear"]), "a step is written as 'linear'"),
            (changed(steps=[{"models": ["org/a"]}]), "a step is written as {'models': ['org/a']}"),
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
            read(changed(base=None))
        assert "ties merges differences from a base, and there is no base" in str(caught.value)
        assert caught.value.hint == "add a `base:` to the recipe, or name one with --base"

    def test_a_result_that_nobody_uses(self) -> None:
        steps = [{"operator": "linear", "models": ["org/a", "org/b"]}] * 2
        with pytest.raises(RecipeError, match="no step uses the result of a step without a name"):
            read(changed(steps=steps))

    def test_a_step_cannot_use_a_later_one(self) -> None:
        steps = [
            {"operator": "linear", "models": ["org/a", "y"], "name": "x"},
            {"operator": "linear", "models": ["org/b", "x"], "name": "y"},
        ]
        with pytest.raises(RecipeError, match="a step uses 'y', which is no model and no earlier"):
            read(changed(steps=steps))

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
        text = f"{bomb}\n{changed(**{at: None})}{at}: {value}"
        with pytest.raises(RecipeError) as caught:
            read(text)
        assert len(str(caught.value)) < 400


class TestFolders:
    def test_relative_to_the_file(self, tmp_path: Path) -> None:
        nano.model(tmp_path / "models" / "a")
        nano.model(tmp_path / "models" / "b", 1)
        (tmp_path / "plans").mkdir()
        path = tmp_path / "plans" / "plan.yaml"
        path.write_text(
            "simmerge: 1\nmodels: [{folder: ../models/a}, ../models/b]\n"
            "steps: [{operator: linear, models: [a, b]}]\n"
        )
        recipe, _ = load(path)
        assert [m.name for m in recipe.models] == ["a", "b"]
        assert [fetch(m).name for m in recipe.models] == ["a", "b"]

    def test_a_plan_may_be_written_anywhere(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`plan ./a -o plans/plan.yaml`: the folder is written as it lies, not as it was typed."""
        nano.model(tmp_path / "a")
        (tmp_path / "plans").mkdir()
        monkeypatch.chdir(tmp_path)
        found = source(resolve("./a"))
        recipe = Recipe(
            base=None,
            models=(found,),
            steps=(Step(operator="linear", models=("a",), parameters={}),),
        )
        (tmp_path / "plans" / "plan.yaml").write_text(recipe.to_yaml())
        assert fetch(load("plans/plan.yaml")[0].models[0]).name == "a"
        assert str(tmp_path) not in recipe.to_yaml(published=True)

    def test_another_digest(self, tmp_path: Path) -> None:
        known = source(resolve(str(nano.model(tmp_path / "a"))))
        assert fetch(known).tensors
        (tmp_path / "a" / "config.json").write_text('{"model_type": "other"}')
        with pytest.raises(RecipeError) as caught:
            fetch(known)
        assert str(caught.value).startswith(
            f"{tmp_path}/a is not what the recipe was made from: digest "
        )
        assert caught.value.hint == "restore that version of the model, or plan again"

    def test_a_folder_of_another_machine(self) -> None:
        with pytest.raises(RecipeError) as caught:
            fetch(Source(name="a", digest="0123456789abcdef"))
        assert str(caught.value) == "a was a folder on another machine (digest 0123456789abcdef)"
        assert caught.value.hint.startswith("add `folder: <path>` to its entry")

    def test_a_folder_that_is_gone(self, tmp_path: Path) -> None:
        with pytest.raises(RepoNotFound, match="there is no folder"):
            fetch(Source(name="a", folder=tmp_path / "gone"))


class TestLoad:
    def test_a_file_that_is_not_there(self) -> None:
        with pytest.raises(RecipeError) as caught:
            load("no/plan.yaml")
        assert str(caught.value) == "there is no file no/plan.yaml"
        assert caught.value.hint == "simmerge-hub plan -o writes one"

    def test_a_merged_folder(self, tmp_path: Path) -> None:
        (tmp_path / FILE).write_text(GOOD)
        assert load(tmp_path)[0] == read(GOOD)

    @pytest.mark.parametrize("card", ["", "# Nothing\n", "```yaml\nmerge_method: x\n```\n"])
    def test_a_model_without_recipe(self, tmp_path: Path, card: str) -> None:
        folder = nano.model(tmp_path / "model", card=card)
        with pytest.raises(RecipeError) as caught:
            load(folder)
        assert str(caught.value) == f"{folder} has no recipe on its card"
        assert "only models pushed by simmerge-hub can be redone" in caught.value.hint

    def test_a_card_on_the_hub(self, hub: localhub.Hub, org: str, tmp_path: Path) -> None:
        nano.push(
            nano.model(tmp_path / "m", card=f"---\nlicense: mit\n---\n\n{REDO}{GOOD}```\n"),
            f"{org}/m",
        )
        assert load(f"{org}/m")[0] == read(GOOD)

    def test_only_the_block_under_redo_it_counts(self, tmp_path: Path) -> None:
        other = GOOD.replace("seed: 3", "seed: 4")
        before = f"# M\n\n```yaml\n{other}```\n\nSays ## Redo it ```yaml\n{other}```\n\n"
        card = f"{before}{REDO}{GOOD}```\n"
        assert load(nano.model(tmp_path / "m", card=card))[0] == read(GOOD)
        with pytest.raises(RecipeError, match="has no recipe on its card"):
            load(nano.model(tmp_path / "n", card=f"# N\n\n```yaml\n{other}```\n"))

    @pytest.mark.parametrize("entry", ["folder: {0}", "'{0}'"])
    def test_a_card_cannot_ask_for_a_folder_of_ours(self, tmp_path: Path, entry: str) -> None:
        entry = entry.format(nano.model(tmp_path / "private"))
        models = f"[{{{entry}}}]" if entry.startswith("folder") else f"[{entry}]"
        recipe = (
            f"simmerge: 1\nmodels: {models}\nsteps: [{{operator: linear, models: [private]}}]\n"
        )
        folder = nano.model(tmp_path / "m", card=f"{REDO}{recipe}```\n")
        with pytest.raises(RecipeError, match=r"asks for the folder .*private of this machine"):
            load(folder)


def test_pins(tmp_path: Path) -> None:
    checkpoint = resolve(str(nano.model(tmp_path / "x")))
    recipe = replace(read(GOOD), dtype="")
    found = pinned(recipe, {s.name: checkpoint for s in recipe.sources}, "float16")
    assert found.dtype == "float16"
    assert [s.name for s in found.sources] == [s.name for s in recipe.sources]
    assert all(s.digest for s in found.sources)
    assert pinned(read(GOOD), {s.name: checkpoint for s in recipe.sources}, "float16").dtype == (
        "bfloat16"
    )


def test_every_refusal_has_a_hint() -> None:
    for text in ("", "simmerge: 2", GOOD.replace("ties", "x"), GOOD.replace("0.2", "7")):
        with pytest.raises(SimmergeError) as caught:
            read(text)
        assert caught.value.hint
