"""What is written for mergekit reads back as the same merge, or is refused."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simmerge_hub.errors import RecipeError
from simmerge_hub.operators import OPERATORS, check
from simmerge_hub.recipe import Recipe, Slice, Source, Step, mergekit, schedule
from simmerge_hub.recipe.calibration import Calibration, Prompts
from simmerge_hub.recipe.mergekit.parameters import METHODS
from tests.recipe.mergekit.conftest import RECIPES

NAMES = ("model.embed_tokens.weight", "model.layers.1.mlp.up_proj.weight",
         "model.layers.2.self_attn.q_proj.weight")  # fmt: skip
DEPTHS = (0.0, 0.2, 1 / 3, 0.5, 0.9, 1.0)


def same(one: Recipe, two: Recipe) -> None:
    """They merge the same: inputs, layers, and every parameter at some names and depths."""
    assert (one.base, set(one.models)) == (two.base, set(two.models))
    assert (one.dtype, one.tokenizer) == (two.dtype, two.tokenizer)
    assert [part.layers for part in one.slices] == [part.layers for part in two.slices]
    for (a,), (b,) in zip(one.programs, two.programs, strict=True):
        assert (a.operator, a.models) == (b.operator, b.models)
        for name in NAMES:
            for depth in DEPTHS:
                assert values(a, name, depth) == values(b, name, depth)


def values(step: Step, name: str, depth: float) -> dict[str, Any]:
    """A step's parameters at a tensor: all of them, a value for each model where it may be."""
    given = {**OPERATORS[step.operator].parameters, **step.parameters}
    given = schedule.evaluate(given, name, depth)
    for key in OPERATORS[step.operator].per_model:
        value = 1.0 if given[key] is None else given[key]
        given[key] = value if isinstance(value, tuple) else (value,) * len(step.models)
    if step.operator == "karcher":
        del given["weights"]
    return {key: round_values(value) for key, value in given.items()}


def round_values(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(round_values, value))
    return round(value, 9) if isinstance(value, float) else value


@st.composite
def schedules(draw: st.DrawFn, leaf: st.SearchStrategy[Any], texts: list[str]) -> Any:
    """A value, a gradient, or a filter of those."""
    plain = leaf | st.lists(leaf, min_size=2, max_size=4).map(lambda v: {"gradient": tuple(v)})
    chosen = st.lists(st.sampled_from(texts), unique=True, min_size=1, max_size=2)
    if draw(st.integers(0, 3)):
        return draw(plain)
    return {"filter": {text: draw(plain) for text in [*draw(chosen), "*"]}}


LEAVES: dict[str, st.SearchStrategy[Any]] = {
    "weights": st.floats(0.1, 2),
    "density": st.floats(0.3, 0.7),
    "epsilon": st.floats(0.01, 0.25),
    "gamma": st.floats(0, 0.5),
    "tolerance": st.floats(1e-9, 1e-3),
    "along": st.sampled_from(["tensor", "row", "column"]),
    "rescale": st.sampled_from(["none", "l1"]),
}


@st.composite
def steps(draw: st.DrawFn, operator: str, names: list[str], base: str, texts: list[str]) -> Step:
    """A step that mergekit can be told; its parameters in any form."""
    given: dict[str, Any] = {}
    for key, default in OPERATORS[operator].parameters.items():
        if key in ("origin", "trim", "steps") or (operator == "karcher" and key == "weights"):
            continue
        kind = st.booleans() if isinstance(default, bool) else st.floats(0, 1)
        value = schedules(LEAVES.get(key, kind), texts)
        if key in OPERATORS[operator].per_model and (key == "weights" or draw(st.booleans())):
            given[key] = draw(st.tuples(*[value] * len(names)))
        elif default is not None and (key == "rescale" or draw(st.booleans())):
            given[key] = draw(value)
    if "origin" in OPERATORS[operator].parameters:
        given["origin"] = "base" if base else "zero"
    return Step(operator=operator, models=tuple(names), parameters=given)


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    """One step, or slices with the same models."""
    operator = draw(st.sampled_from(sorted(METHODS)))
    policy, (least, most) = METHODS[operator].base, OPERATORS[operator].models
    based = policy in ("required", "first") or draw(st.booleans())
    whole = not draw(st.booleans())
    least += operator == "multislerp"  # one model is left as it is by mergekit
    count = draw(st.integers(least, min(most or 3, 3)))
    names = [f"org/{letter}" for letter in "abc"[:count]]
    if based and (policy == "first" or (policy == "ignored" and whole)):
        names[0] = "org/base"
    texts = ["mlp", "self_attn", "proj", *(["layers.1."] if whole else [])]
    commits = st.sampled_from(["", "0123456789abcdef0123456789abcdef01234567"])
    sources = {n: Source(name=n, repo=n, commit=draw(commits)) for n in ["org/base", *names]}
    one = steps(operator, names, "org/base" if based else "", texts)
    layered = names + (["org/base"] if based and policy not in ("first", "ignored") else [])
    slices = []
    for _ in range(0 if whole else draw(st.integers(1, 3))):
        depth, starts = draw(st.integers(1, 4)), draw(st.permutations(range(5)))
        spans = {name: (at, at + depth) for name, at in zip(layered, starts, strict=False)}
        slices.append(Slice(layers=spans, steps=(draw(one),)))
    return Recipe(
        base=sources["org/base"] if based else None,
        models=tuple(sources[name] for name in names if not (based and name == "org/base")),
        steps=(draw(one),) if whole else (),
        slices=tuple(slices),
        dtype=draw(st.sampled_from(["", "float32", "float16", "bfloat16"])),
        tokenizer=draw(st.sampled_from(["base", "union"])),
    )


class TestWritten:
    @given(recipes())
    @settings(max_examples=150, deadline=None)
    def test_it_reads_back(self, recipe: Recipe) -> None:
        same(mergekit.read(mergekit.write(recipe), "written"), recipe)

    @pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
    def test_what_was_read(
        self, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("base", "a", "b", "c", "d", "lora"):
            (tmp_path / name).mkdir()
        (tmp_path / "lora" / "adapter_config.json").touch()
        monkeypatch.chdir(tmp_path)
        recipe = mergekit.read(path.read_text(), path.name)
        again = mergekit.read(mergekit.write(recipe), "written")
        assert (again.steps, again.slices, again.tokenizer) == (
            recipe.steps,
            recipe.slices,
            recipe.tokenizer,
        )

    def test_how_it_looks(self) -> None:
        recipe = Recipe(
            base=Source(name="org/base", repo="org/base", commit="abc"),
            models=(
                Source(name="org/a", repo="org/a"),
                Source(name="b", folder=Path("/models/b"), digest="0" * 64),
            ),
            steps=(
                Step(
                    operator="ties",
                    models=("org/a", "b"),
                    parameters={
                        "density": ({"filter": {"mlp": 0.3, "*": {"gradient": (0.5, 1)}}}, 0.4)
                    },
                ),
            ),
            dtype="bfloat16",
            tokenizer="b",
            shard_size=10**9,
        )
        assert (
            mergekit.write(recipe)
            == """\
# For mergekit 0.1.5.
# Shards of 1000000000 bytes: --out-shard-size in mergekit.
merge_method: ties
base_model: org/base@abc
models:
- model: org/a
  parameters:
    weight: 1.0
    density:
    - filter: mlp
      value: 0.3
    - value: [0.5, 1]
- model: /models/b
  parameters:
    weight: 1.0
    density: 0.4
parameters:
  normalize: true
  lambda: 1.0
  rescale: false
dtype: float32
out_dtype: bfloat16
tokenizer_source: /models/b
"""
        )

    def test_a_base_that_mergekit_would_merge_is_left_out(self) -> None:
        recipe = Recipe(
            base=Source(name="org/base", repo="org/base"),
            models=(Source(name="org/a", repo="org/a"), Source(name="org/b", repo="org/b")),
            steps=(Step(operator="linear", models=("org/a", "org/b"), parameters={}),),
        )
        text = mergekit.write(recipe)
        assert "base_model" not in text
        assert (
            "# config.json and tokenizer: mergekit takes those of any model, not org/base's."
            in text
        )
        slerp = Step(operator="slerp", models=("org/b", "org/a"), parameters={"t": 0.2})
        text = mergekit.write(Recipe(base=recipe.base, models=recipe.models, steps=(slerp,)))
        assert "base_model: org/b\n" in text
        assert "mergekit takes org/b's, not org/base's." in text

    def test_seeds_are_noted(self) -> None:
        drawn = Step(
            operator="dare_linear", models=("org/a",), parameters={"rescale": "l1", "density": 0.5}
        )
        recipe = Recipe(
            base=Source(name="org/base", repo="org/base"),
            models=(Source(name="org/a", repo="org/a"),),
            steps=(drawn,),
            seed=3,
        )
        assert "Random numbers differ: seed 3 here, --random-seed" in mergekit.write(recipe)

    def test_one_error_names_what_it_cannot_say(self) -> None:
        sources = {n: Source(name=n, repo=n) for n in ("org/base", "org/a", "org/b")}
        step = Step(operator="linear", models=("org/a", "org/b"), parameters={}, name="mean")
        recipe = Recipe(
            base=sources["org/base"],
            models=(sources["org/a"], sources["org/b"]),
            steps=(step, Step(operator="ties", models=("mean", "org/a"), parameters={})),
            unmatched="keep",
            custom_code=True,
        )
        with pytest.raises(RecipeError) as refused:
            mergekit.write(recipe)
        assert str(refused.value) == (
            "mergekit cannot do what this recipe says: custom_code: True, unmatched: keep, "
            "several steps"
        )

    @pytest.mark.parametrize(
        ("operator", "given", "seen"),
        [
            ("ties", {"trim": "model"}, "trim: model"),
            ("dare_ties", {}, "rescale: density of dare_ties"),
            ("della", {"rescale": {"gradient": ("l1", "density")}}, "rescale: density of della"),
            ("karcher", {"weights": (1, 2)}, "weights of karcher"),
            ("karcher", {"steps": {"gradient": (1, 5)}}, "steps of karcher by depth or name"),
            ("multislerp", {"models": ("org/base", "org/a")}, "multislerp of the base"),
            (
                "multislerp",
                {"models": ("org/a",), "normalize": False, "weights": (2,)},
                "one model",
            ),
            ("linear", {"models": ("org/a", "org/a", "org/b")}, "linear of a model with itself"),
        ],
    )
    def test_parameters_it_has_not(self, operator: str, given: dict[str, Any], seen: str) -> None:
        given = dict(given)
        models = given.pop("models", ("org/a", "org/b"))
        names = {n for n in models if n != "org/base"}
        recipe = Recipe(
            base=Source(name="org/base", repo="org/base"),
            models=tuple(Source(name=n, repo=n) for n in sorted(names)),
            steps=(Step(operator=operator, models=models, parameters=given),),
        )
        with pytest.raises(RecipeError, match=seen):
            mergekit.write(recipe)

    def test_slices_it_has_not(self) -> None:
        def part(first: int, models: tuple[str, ...], **weights: Any) -> Slice:
            step = Step(operator="linear", models=models, parameters=weights)
            return Slice(layers=dict.fromkeys(models, (first, first + 2)), steps=(step,))

        sources = tuple(Source(name=n, repo=n) for n in ("org/a", "org/b"))
        own = ({"filter": {"layers.3.": 1.0, "*": 2.0}}, 1.0)
        more = Recipe(
            base=None,
            models=sources,
            slices=(part(0, ("org/a",)), part(0, ("org/a", "org/b"), weights=own)),
        )
        with pytest.raises(RecipeError, match="a last slice of more models than the first"):
            mergekit.write(more)
        moved = Recipe(
            base=None, models=sources, slices=(part(1, ("org/a", "org/b"), weights=own),)
        )
        with pytest.raises(RecipeError, match=r"filter 'layers.3.' of weight"):
            mergekit.write(moved)

    def test_a_folder_of_another_machine(self) -> None:
        step = Step(operator="passthrough", models=("a",), parameters={})
        recipe = Recipe(base=None, models=(Source(name="a", digest="0" * 64),), steps=(step,))
        with pytest.raises(RecipeError, match="this recipe says: a") as refused:
            mergekit.write(recipe)
        assert refused.value.hint == "a: say where it is with `folder:`"

    def test_what_looks_at_activations(self) -> None:
        names = ("org/a", "org/b")
        recipe = Recipe(
            base=None,
            models=tuple(Source(name=n, repo=n) for n in names),
            steps=(Step(operator="regmean", models=names, parameters={}),),
            calibration=Calibration(
                prompts=dict.fromkeys(names, (Prompts(source="simmerge-hub:math"),))
            ),
        )
        with pytest.raises(
            RecipeError, match="cannot do what this recipe says: regmean"
        ) as refused:
            mergekit.write(recipe)
        assert (
            refused.value.hint
            == "regmean: merge it here: mergekit has no merge that runs the models"
        )

    def test_what_mergekit_does_not_know(self) -> None:
        names = ("org/a", "org/b")
        recipe = Recipe(
            base=Source(name="org/base", repo="org/base"),
            models=tuple(Source(name=n, repo=n) for n in names),
            steps=(Step(operator="delta_regmean", models=names, parameters={}),),
        )
        with pytest.raises(RecipeError, match="what this recipe says: delta_regmean") as refused:
            mergekit.write(recipe)
        assert refused.value.hint == "delta_regmean: merge it here: mergekit has no such method"

    @pytest.mark.parametrize("operator", sorted(METHODS))
    def test_defaults_are_ours(self, operator: str) -> None:
        """What a recipe leaves out is written out, because mergekit's defaults are others."""
        names = ("org/a", "org/b")[: OPERATORS[operator].models[1] or 2]
        own = {"rescale": "l1"} if "density" in str(OPERATORS[operator].choices) else {}
        base = "org/a" if METHODS[operator].base == "first" else "org/base"
        recipe = Recipe(
            base=None if METHODS[operator].base == "ignored" else Source(name=base, repo=base),
            models=tuple(Source(name=n, repo=n) for n in names if n != base),
            steps=(Step(operator=operator, models=names, parameters=own),),
        )
        same(mergekit.read(mergekit.write(recipe), "written"), recipe)
        check(operator, recipe.steps[0].parameters, len(names))
