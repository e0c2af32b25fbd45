"""Nothing but a recipe gets through."""

from typing import Any

import pytest

from simmerge_hub.errors import OperatorError, RecipeError, SimmergeError
from tests.recipe.conftest import GOOD, change, read, step


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
            (change(tokenizer="org/x"), "tokenizer is 'org/x'; write auto, base, union or a model"),
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
            (step(models=["org/a", ""]), "a step uses '', which is no model"),
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
        if "which is no model" not in str(caught.value):
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
        assert (
            caught.value.hint == "add a `base:` to the recipe: what the models were fine-tuned from"
        )

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

    @pytest.mark.parametrize(
        ("used", "hint"),
        [("./h/a", "write org/a:"), ("org/aa", "write org/a:"), ("zzz", "write one of")],
    )
    def test_the_name_that_is_meant_is_said(self, used: str, hint: str) -> None:
        steps = [{"operator": "linear", "models": [used, "org/b"]}]
        with pytest.raises(RecipeError, match=f"a step uses '{used}'") as caught:
            read(change(steps=steps))
        assert caught.value.hint.startswith(hint)
        assert "a folder is called by its last part" in caught.value.hint

    def test_a_path_is_no_model(self) -> None:
        with pytest.raises(
            RecipeError, match=r"`model:` names a repository, and \./h/x is a path"
        ) as it:
            read(change(models=[{"model": "./h/x", "name": "x"}, "org/b"]))
        assert it.value.hint == "write `folder: ./h/x` instead of `model: ./h/x`"

    @pytest.mark.parametrize("version", [2, 0, "1", 1.0, True, None, [1]])
    def test_another_version(self, version: Any) -> None:
        with pytest.raises(RecipeError) as caught:
            read(GOOD.replace("simmerge: 1", f"simmerge: {version!r}".replace("None", "null")))
        assert "; this release reads 1" in str(caught.value)
        assert caught.value.hint == "run it with a newer version of simmerge-hub"

    @pytest.mark.parametrize(
        "text",
        [
            "a: [",
            "a: b: c",
            "\tsimmerge: 1",
            "simmerge: !!python/object/apply:os.system ['touch /tmp/pwned']",
            "simmerge: !!python/name:os.system",
            "simmerge: !!int ''",
            "simmerge: 1\nsimmerge: 1",
            "simmerge: \x00",
            "[" * 500,
        ],
        ids=range(9),
    )
    def test_what_is_no_yaml(self, text: str) -> None:
        with pytest.raises(RecipeError) as caught:
            read(text)
        assert str(caught.value).startswith("plan.yaml cannot be read as YAML: ")
        assert caught.value.hint == "correct that line; a key stands once"

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


def test_every_refusal_has_a_hint() -> None:
    for text in ("", "simmerge: 2", GOOD.replace("ties", "x"), GOOD.replace("0.2", "7")):
        with pytest.raises(SimmergeError) as caught:
            read(text)
        assert caught.value.hint
