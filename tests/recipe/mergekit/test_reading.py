"""Recipes of mergekit mean the same here: read, or refused with every reason."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from simmerge_hub.errors import OperatorError, RecipeError, RepoNotFound, SimmergeError
from simmerge_hub.recipe import Source, Step, mergekit
from simmerge_hub.recipe.mergekit.parameters import METHODS
from tests.recipe.mergekit.conftest import (
    RECIPES,
    case,
    parameters,
    read,
    slices_yaml,
    source,
    with_own,
)


class TestModels:
    def test_without_a_base(self) -> None:
        recipe = read(merge_method="linear", parameters={"weight": 1})
        assert recipe.base is None
        assert recipe.models == (
            Source(name="org/a", repo="org/a"),
            Source(name="org/b", repo="org/b"),
        )
        assert recipe.steps == (
            Step(
                operator="linear",
                models=("org/a", "org/b"),
                parameters={"weights": (1.0, 1.0), "normalize": True},
            ),
        )

    @pytest.mark.parametrize("method", ["linear", "karcher"])
    def test_a_base_is_an_input_of_methods_that_know_none(self, method: str) -> None:
        recipe = read(merge_method=method, base_model="org/c", parameters={"weight": 1})
        assert recipe.reference == "org/c"
        assert recipe.steps[0].models == ("org/a", "org/b", "org/c")
        recipe = read(merge_method=method, base_model="org/a", parameters={"weight": 1})
        assert recipe.steps[0].models == ("org/a", "org/b")

    @pytest.mark.parametrize("method", ["ties", "multislerp", "nuslerp", "model_stock"])
    def test_a_base_is_no_input_of_methods_on_deltas(self, method: str) -> None:
        models = [{"model": "org/a"}, {"model": "org/base"}, {"model": "org/b"}]
        keys = {"base_model": "org/base", "parameters": {"weight": 1}}
        listed = read(merge_method=method, models=models, **keys)
        assert listed.steps[0].models == ("org/a", "org/b")
        assert listed == read(merge_method=method, **keys)

    def test_slerp_begins_at_the_base(self) -> None:
        recipe = read(merge_method="slerp", base_model="org/b", parameters={"t": 0.3})
        assert recipe.steps[0].models == ("org/b", "org/a")
        alone = read(
            merge_method="slerp",
            base_model="org/b",
            models=[{"model": "org/a"}],
            parameters={"t": 0.3},
        )
        assert alone == recipe

    def test_revisions_and_mappings(self) -> None:
        models = [{"model": "org/a@v1"}, {"model": {"model": {"path": "org/a", "revision": "v2"}}}]
        recipe = read(merge_method="karcher", models=models)
        assert [(m.name, m.repo, m.commit) for m in recipe.models] == [
            ("org/a", "org/a", "v1"),
            ("org/a (2)", "org/a", "v2"),
        ]

    def test_folders(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "here").mkdir()
        models = [{"model": m} for m in ("here", "./later", "/x/merged", "/y/merged@v1")]
        recipe = read(merge_method="karcher", models=models)
        assert [(m.name, str(m.folder)) for m in recipe.models] == [
            ("here", "here"),
            ("later", "later"),
            ("merged", "/x/merged"),
            ("merged (2)", "/y/merged"),
        ]

    def test_an_adapter_on_the_base(self) -> None:
        models = [{"model": "org/base@v1+org/lora@v2"}, {"model": "org/b"}]
        recipe = read(
            merge_method="ties",
            base_model="org/base@v1",
            models=models,
            parameters={"weight": 1},
        )
        assert recipe.base == Source(name="org/base", repo="org/base", commit="v1")
        assert recipe.models[0] == Source(name="org/lora", repo="org/lora", commit="v2")
        assert recipe.steps[0].models == ("org/lora", "org/b")

    def test_adapters_without_a_base_sit_on_their_own(self) -> None:
        models = [{"model": "org/x+org/l"}, {"model": "org/x+org/m"}]
        recipe = read(merge_method="nuslerp", models=models, parameters={"weight": 1})
        assert recipe.reference == "org/x"
        assert recipe.steps[0].models == ("org/l", "org/m")
        assert recipe.steps[0].parameters["origin"] == "zero"

    def test_an_adapter_as_the_first_of_slerp(self) -> None:
        models = [{"model": "org/x+org/l"}, {"model": "org/b"}]
        recipe = read(
            merge_method="slerp", base_model="org/x+org/l", models=models, parameters={"t": 0}
        )
        assert recipe.reference == "org/x"
        assert recipe.steps[0].models == ("org/l", "org/b")


class TestParameters:
    def test_defaults_are_mergekits(self) -> None:
        weights = {"weights": (1.0, 1.0)}
        sparse = weights | {"density": 1.0, "scale": 1.0}
        assert parameters("ties", weight=1) == sparse | {"normalize": True, "rescale": "none"}
        dare = sparse | {"normalize": False, "rescale": "l1"}
        assert parameters("dare_linear", weight=1) == parameters("dare_ties", weight=1) == dare
        della = sparse | {"epsilon": 0.15, "rescale": "l1"}
        assert parameters("della", weight=1) == della | {"normalize": True}
        assert parameters("della_linear", weight=1) == della | {"normalize": False}
        crumbs = sparse | {"gamma": 0.01, "normalize": False, "rescale": "none"}
        assert parameters("breadcrumbs", weight=1) == crumbs
        assert parameters("breadcrumbs_ties", weight=1) == crumbs
        assert parameters("sce") == {"density": 1.0}
        assert parameters("karcher") == {"steps": 10, "tolerance": 1e-5}
        assert parameters("ram") == {"floor": 1e-5}
        assert parameters("ramplus_tl") == {"boost": 0.1, "ceiling": 0.2, "floor": 1e-5}
        assert parameters("model_stock") == {"filter_wise": False}
        arithmetic = weights | {"normalize": False, "scale": 1.0}
        assert parameters("task_arithmetic", weight=1) == arithmetic

    def test_other_names(self) -> None:
        given = {"weight": 1, "rescale": True, "lambda": 0.5, "density": 0.3, "normalize": "no"}
        assert parameters("ties", **given) == {
            "weights": (1.0, 1.0),
            "density": 0.3,
            "rescale": "l1",
            "scale": 0.5,
            "normalize": False,
        }
        assert parameters("sce", select_topk=0.2) == {"density": 0.2}
        assert parameters("karcher", max_iter="7", tol="1e-3") == {"steps": 7, "tolerance": 0.001}

    def test_numbers_may_be_text(self) -> None:
        assert parameters("ties", weight="1e-1", density=" 5E-1 ")["density"] == 0.5

    def test_the_nearest_scope_counts(self) -> None:
        text = slices_yaml(
            {
                "sources": [source("org/a", 0, 2, weight=1), source("org/b", 0, 2)],
                "parameters": {"weight": 2},
            },
            {"sources": [source("org/a", 2, 4), source("org/b", 2, 4)]},
            parameters={"weight": 3, "normalize": False},
        )
        weights = [step.parameters["weights"] for (step,) in read(text).programs]
        assert weights == [(1.0, 2.0), (3.0, 3.0)]

    def test_a_filter_that_matches_nothing_asks_the_next_scope(self) -> None:
        stated = with_own(
            {"density": [case(0.2, "mlp"), case([0.4, 0.6], "q_proj")]},
            {"density": case(0.3)},
            parameters={
                "weight": 1,
                "density": [case(0.9, "mlp"), case(0.7, "attn")],
            },
        )
        own = {"mlp": 0.2, "q_proj": {"gradient": (0.4, 0.6)}, "attn": 0.7, "*": 1.0}
        assert stated["density"] == ({"filter": own}, 0.3)
        assert list(stated["density"][0]["filter"]) == list(own)

    @pytest.mark.parametrize("everything", [{}, {"filter": "*"}, {"filter": ""}, {"filter": None}])
    def test_a_case_for_everything_ends_a_filter(self, everything: dict[str, Any]) -> None:
        cases = [{"filter": "mlp", "value": 1}, everything | {"value": 2}]
        cases.append({"filter": "attn", "value": 3})
        stated = parameters("sce", select_topk=[*cases[:1], case(0.5)])
        assert stated == {"density": {"filter": {"mlp": 1.0, "*": 0.5}}}
        assert parameters("ram", epsilon=cases) == {"floor": {"filter": {"mlp": 1.0, "*": 2.0}}}

    def test_an_empty_list_says_nothing(self) -> None:
        assert with_own({"density": []}, {}, parameters={"weight": 1, "density": 0.5})[
            "density"
        ] == pytest.approx(0.5)

    def test_gradients(self) -> None:
        assert parameters("nearswap", base="org/b", t=[0, "1e-3"]) == {
            "limit": {"gradient": (0.0, 0.001)}
        }
        assert parameters("ram", epsilon=[0.5]) == {"floor": 0.5}
        assert parameters("ties", weight=1, rescale=[True, False])["rescale"] == {
            "gradient": ("l1", "none")
        }

    def test_parameters_of_other_methods_change_nothing(self) -> None:
        plain = parameters("sce")
        assert parameters("sce", int8_mask=True, weight=3, normalize=True) == plain

    def test_of_the_base_nothing_is_read(self) -> None:
        models = [
            {"model": "org/base", "parameters": {"weight": 9}},
            {"model": "org/a", "parameters": {"weight": 1}},
        ]
        [step] = read(merge_method="ties", base_model="org/base", models=models).steps
        assert step.parameters["weights"] == (1.0,)

    def test_multislerp_of_one_model_is_that_model(self) -> None:
        recipe = read(
            merge_method="multislerp",
            base_model="org/b",
            models=[{"model": "org/a"}],
            parameters={"weight": 0.1, "normalize_weights": False, "eps": 1e-8},
        )
        assert recipe.steps[0].parameters == {
            "weights": (1.0,),
            "normalize": True,
            "origin": "base",
        }


class TestNuslerp:
    @pytest.mark.parametrize(
        ("first", "second", "t"),
        [
            (1, 3, 0.75),
            (1, -1, 0.5),
            ([0, 1, 2], [2, 0], {"gradient": (1.0, 0.5, 0.0)}),
            ([1, 2, 3], [2, 1, 0], {"gradient": (2 / 3, 1 / 3, 0.0)}),
            ([0, 3], [2, 1, 0, -1], {"gradient": (1.0, 0.5, 0.0, -0.5)}),
            ([2, 2], 2, 0.5),
            (
                [{"filter": "mlp", "value": 3}, {"value": 1}],
                1,
                {"filter": {"mlp": 0.25, "*": 0.5}},
            ),
            (
                [{"filter": "mlp", "value": [0, 1]}, {"value": 1}],
                [{"filter": "mlp", "value": [1, 0]}, {"value": 3}],
                {"filter": {"mlp": {"gradient": (1.0, 0.0)}, "*": 0.75}},
            ),
        ],
    )
    def test_weights_become_a_share(self, first: Any, second: Any, t: Any) -> None:
        stated = with_own({"weight": first}, {"weight": second}, method="nuslerp")
        assert stated["t"] == t

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ([0, 1], 1),
            ([0, 1], [0, 1]),
            (
                [{"filter": "mlp", "value": 1}, {"value": 2}],
                [{"filter": "attn", "value": 1}, {"value": 2}],
            ),
        ],
    )
    def test_a_share_that_is_no_schedule_is_refused(self, first: Any, second: Any) -> None:
        with pytest.raises(RecipeError, match="weight of nuslerp") as refused:
            with_own({"weight": first}, {"weight": second}, method="nuslerp")
        assert "gradients whose sum is the same at every depth" in refused.value.hint

    def test_what_is_one_vector(self) -> None:
        def along(**given: Any) -> Any:
            return parameters("nuslerp", weight=1, **given)["along"]

        assert along() == along(nuslerp_row_wise=True) == "tensor"
        assert along(nuslerp_flatten=False) == "row"
        assert along(nuslerp_flatten=False, nuslerp_row_wise=True) == "column"
        mixed = along(nuslerp_flatten=[True, False], nuslerp_row_wise=True)
        assert mixed == {"gradient": ("tensor", "column")}
        with pytest.raises(RecipeError, match="nuslerp_flatten with nuslerp_row_wise"):
            along(nuslerp_flatten=[True, False], nuslerp_row_wise=[True, False, True])

    def test_the_origin_is_the_base_if_there_is_one(self) -> None:
        assert parameters("nuslerp", weight=1)["origin"] == "base"
        assert parameters("nuslerp", base=None, weight=1)["origin"] == "zero"


class TestSlices:
    def test_layers_and_steps(self) -> None:
        text = slices_yaml(
            {"sources": [source("org/a", 0, 2), source("org/b", 1, 3)]},
            {"sources": [source("org/a", 3, 4, weight=2)]},
            base_model="org/c",
            parameters={"weight": 1},
        )
        recipe = read(text)
        assert recipe.reference == "org/c"
        assert recipe.steps == ()
        assert [part.layers for part in recipe.slices] == [
            {"org/a": (0, 2), "org/b": (1, 3)},
            {"org/a": (3, 4)},
        ]
        assert [step.models for (step,) in recipe.programs] == [("org/a", "org/b"), ("org/a",)]

    def test_steps_that_are_alike_are_written_once(self) -> None:
        part = {"sources": [source("org/a", 0, 2), source("org/b", 0, 2)]}
        recipe = read(slices_yaml(part, part, parameters={"weight": 1}))
        assert len(recipe.steps) == 1
        assert [part.steps for part in recipe.slices] == [(), ()]

    def test_a_base_of_the_slices_alone(self) -> None:
        part = {"sources": [source("org/a", 0, 2), source("org/b", 0, 2)], "base_model": "org/b"}
        recipe = read(slices_yaml(part, part, merge_method="ties", parameters={"weight": 1}))
        assert recipe.reference == "org/b"
        assert recipe.steps[0].models == ("org/a",)

    def test_filters_by_layer_where_layers_keep_their_numbers(self) -> None:
        own = [{"filter": "layers.1.", "value": 0}, {"value": 1}]
        part = {"sources": [source("org/a", 0, 2, weight=own), source("org/b", 0, 2, weight=1)]}
        [step] = read(slices_yaml(part)).steps
        assert step.parameters["weights"][0] == {"filter": {"layers.1.": 0.0, "*": 1.0}}


class TestOutput:
    @pytest.mark.parametrize(
        ("keys", "dtype"),
        [
            ({}, ""),
            ({"dtype": "bfloat16"}, "bfloat16"),
            ({"dtype": "torch.float16"}, "float16"),
            ({"dtype": "float32", "out_dtype": "bfloat16"}, "bfloat16"),
        ],
    )
    def test_dtypes(self, keys: dict[str, str], dtype: str) -> None:
        assert read(merge_method="karcher", **keys).dtype == dtype

    @pytest.mark.parametrize(
        ("keys", "tokenizer"),
        [
            ({}, "auto"),
            ({"chat_template": "auto"}, "auto"),
            ({"tokenizer_source": "union"}, "union"),
            ({"tokenizer_source": "base"}, "base"),
            ({"tokenizer_source": "org/b"}, "org/b"),
            ({"tokenizer_source": "org/c"}, "base"),
            ({"tokenizer": {"source": "union"}}, "union"),
            ({"tokenizer": {}}, "union"),
            ({"tokenizer": {"source": "org/a"}}, "org/a"),
        ],
    )
    def test_tokenizers(self, keys: dict[str, Any], tokenizer: str) -> None:
        assert read(merge_method="karcher", base_model="org/c", **keys).tokenizer == tokenizer

    def test_the_tokenizer_of_an_adapter(self) -> None:
        """Named without its base, as mergekit does not read it, and with it."""
        for named in ("org/lora", "org/c+org/lora"):
            recipe = read(
                merge_method="passthrough",
                models=[{"model": "org/c+org/lora"}],
                tokenizer_source=named,
            )
            assert recipe.tokenizer == recipe.models[0].name == "org/lora"

    def test_keys_that_are_there_for_their_anchors(self) -> None:
        text = (
            "factor: &half 0.5\nshared: &more\n  parameters: {weight: *half}\n"
            "merge_method: linear\nmodels:\n"
            "- model: org/a\n  <<: *more\n- model: org/b\n  <<: *more\n"
        )
        assert mergekit.read(text, "m.yml").steps[0].parameters["weights"] == (0.5, 0.5)
        with pytest.raises(RecipeError, match="cannot be done here: factor"):
            mergekit.read(text.replace("&half ", "").replace("*half", "0.5"), "m.yml")

    def test_a_model_called_union_is_not_the_union(self) -> None:
        recipe = read(
            merge_method="karcher",
            models=[{"model": "org/a"}, {"model": "./union"}],
            tokenizer_source="./union",
        )
        assert recipe.tokenizer == recipe.models[1].name == "union (2)"


class TestRefused:
    def test_one_error_names_every_key(self) -> None:
        with pytest.raises(RecipeError) as refused:
            read(
                merge_method="linear",
                chat_template="auto",
                licence="mit",
                dtype="float64",
                tokenizer={"source": "org/z", "tokens": {"<s>": {}}, "pad_to_multiple_of": 8},
                models=[{"model": "org/a", "wieght": 1}],
                parameters={"weight": 1, "densty": 2},
            )
        assert str(refused.value) == (
            "m.yml has what cannot be done here: chat_template, licence, models[0].wieght, "
            "parameters.densty, dtype 'float64', tokenizer.tokens, tokenizer.pad_to_multiple_of, "
            "the tokenizer of org/z"
        )
        for advice in (
            "chat_template: leave it out for the one that the models share",
            "licence: leave it out: it is no key of mergekit",
            "parameters.densty: did you mean density?",
            "dtype 'float64': one of float32, float16, bfloat16",
            "the tokenizer of org/z: name base_model or one of the models that are merged",
        ):
            assert advice in refused.value.hint

    @pytest.mark.parametrize(
        ("text", "seen", "advice"),
        [
            ("merge_method: tise\nmodels: [{model: org/a}]", "merge_method 'tise'", "mean ties?"),
            ("merge_method: [x]\nmodels: [{model: org/a}]", r"merge_method \['x'\]", "karcher"),
            ("merge_method: moe\nmodels: [{model: org/a}]", "merge_method 'moe'", "one of linear"),
            ("merge_method: linear\nmodules: {text: {}}", "here: modules", "one module at a time"),
            (
                "merge_method: linear\nmodels: [{model: {model: org/a, override_architecture: X}}]"
                "\nparameters: {weight: 1}",
                r"models\[0\].model.override_architecture",
                "config.json",
            ),
            (
                "merge_method: linear\n---\nmerge_method: ties\n",
                "several documents, as for mergekit-multi",
                "one recipe with several `steps:`",
            ),
        ],
    )
    def test_what_cannot_be_done(self, text: str, seen: str, advice: str) -> None:
        with pytest.raises(RecipeError, match=seen) as refused:
            read(text)
        assert advice in refused.value.hint

    def test_of_slices(self) -> None:
        parts = [
            {"sources": [source("org/a", 0, 2)], "base_model": "org/x"},
            {"sources": [source("org/a", 2, 4)], "base_model": "org/y", "residual_weight": 0.5},
        ]
        with pytest.raises(RecipeError) as refused:
            read(slices_yaml(*parts, base_model="org/x", parameters={"weight": 1}))
        assert "slices[1].residual_weight, slices[1].base_model" in str(refused.value)

    @pytest.mark.parametrize(
        ("base", "model", "seen"),
        [
            ("org/base", "org/other+org/l", r"org/other\+org/l"),
            ("org/base@v1", "org/base+org/l", r"org/base\+org/l"),
            ("org/base+org/l", "org/a", r"base_model org/base\+org/l"),
        ],
    )
    def test_adapters_elsewhere(self, base: str, model: str, seen: str) -> None:
        with pytest.raises(RecipeError, match=seen) as refused:
            read(
                merge_method="ties",
                base_model=base,
                models=[{"model": model}],
                parameters={"weight": 1},
            )
        assert "merge org/l into " in refused.value.hint

    def test_filters_by_layer_where_layers_move(self) -> None:
        own = [{"filter": "layers.5.", "value": 0}, {"value": 1}]
        with pytest.raises(RecipeError, match=r"filter 'layers.5.' of weight of org/a") as refused:
            read(slices_yaml({"sources": [source("org/a", 4, 8, weight=own)]}))
        assert "its layers get other numbers" in refused.value.hint

    def test_an_eps_of_its_own(self) -> None:
        with pytest.raises(RecipeError, match="here: eps"):
            parameters("multislerp", weight=1, eps=0.1)


JUNK = st.recursive(
    st.sampled_from([None, True, 0, -1, 3, 0.5, 1e30, "", "x", "mlp", "1e-5", "org/a+org/b@c"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["model", "value", "filter", "a", 1]), inner, max_size=3)
    ),
    max_leaves=5,
)


def parts(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place inside a value, as what holds it and the key there."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(pairs) if isinstance(value, dict | list) else ():
        yield value, key
        yield from parts(inner) if isinstance(inner, dict | list) else ()


class TestMalformed:
    """What mergekit does not run either."""

    @pytest.mark.parametrize(
        ("keys", "seen"),
        [
            ({"models": None}, "it has neither `models` nor `slices`"),
            ({"slices": [{}]}, "it has models and slices"),
            ({"models": "org/a"}, "models is 'org/a'"),
            ({"models": ["org/a"]}, r"models\[0\] is 'org/a'"),
            ({"models": [{"model": "org/a"}] * 2}, "models has org/a twice"),
            ({"models": [{"model": "a+b+c"}]}, r"models\[0\].model is 'a\+b\+c'"),
            ({"models": [{"model": "org/a@x@y"}]}, r"models\[0\].model is 'org/a@x@y'"),
            ({"models": [{"parameters": {}}]}, r"models\[0\].model is None"),
            ({"models": [{"model": {"model": {"path": 3}}}]}, r"models\[0\].model is "),
            ({"parameters": [1]}, r"parameters is \[1\]"),
            ({"tokenizer": "union"}, "tokenizer is 'union'"),
            ({"tokenizer": {"source": "base"}, "tokenizer_source": "base"}, "and tokenizer"),
        ],
    )
    def test_structure(self, keys: dict[str, Any], seen: str) -> None:
        with pytest.raises(RecipeError, match=seen):
            read(merge_method="karcher", **keys)

    def test_models_misspelt(self) -> None:
        with pytest.raises(RecipeError, match="neither `models` nor") as caught:
            read(merge_method="karcher", models=None, modles=[{"model": "org/a"}])
        assert caught.value.hint.endswith("`slices:`; modles: did you mean models?")

    @pytest.mark.parametrize(
        ("part", "seen"),
        [
            ({"sources": []}, r"slices\[0\].sources is empty"),
            ({"sources": [{"model": "org/a"}]}, "layer_range is None"),
            ({"sources": [source("org/a", 0, 2), source("org/b", 0, 3)]}, "different numbers"),
        ],
    )
    def test_slices(self, part: dict[str, Any], seen: str) -> None:
        with pytest.raises(RecipeError, match=seen):
            read(slices_yaml(part, parameters={"weight": 1}))

    @pytest.mark.parametrize(
        "value", [None, "much", float("nan"), [[1]], [1, {"value": 1}], {"filter": "mlp"},
                  [{"filter": 3, "value": 1}], [{"value": []}], [{"value": 1, "else": 2}]],
    )  # fmt: skip
    def test_values(self, value: Any) -> None:
        with pytest.raises(RecipeError, match=r"m\.yml: epsilon is ") as refused:
            parameters("ram", epsilon=value)
        assert "give a number, a list of them (a gradient)" in refused.value.hint

    def test_truth_and_whole_numbers(self) -> None:
        with pytest.raises(RecipeError, match="filter_wise is 2"):
            parameters("model_stock", filter_wise=2)
        with pytest.raises(RecipeError, match=r"max_iter is 1\.5"):
            parameters("karcher", max_iter=1.5)
        with pytest.raises(RecipeError, match="max_iter is a gradient"):
            parameters("karcher", max_iter=[1, 5])

    def test_a_parameter_that_must_be_given(self) -> None:
        with pytest.raises(RecipeError) as missing:
            with_own({"weight": 1}, {"density": 1})
        assert str(missing.value) == "m.yml: missing required parameter weight for org/b"
        with pytest.raises(RecipeError, match=r"parameter t where no filter \(mlp\) matches"):
            parameters("nearswap", base="org/b", t=[{"filter": "mlp", "value": 1}])

    def test_a_misspelled_parameter_is_not_called_missing(self) -> None:
        with pytest.raises(RecipeError, match=r"here: models\[1\].parameters.weigt") as refused:
            with_own({"weight": 1}, {"weigt": 1})
        assert "did you mean weight?" in refused.value.hint

    @pytest.mark.parametrize("method", [m for m in METHODS if METHODS[m].base == "required"])
    def test_a_base_that_must_be_given(self, method: str) -> None:
        with pytest.raises(RecipeError, match=f"{method} needs a base_model"):
            parameters(method, base=None, weight=1, t=1)

    def test_a_base_that_slices_leave_out(self) -> None:
        part = {"sources": [source("org/a", 0, 2), source("org/b", 0, 2)]}
        with pytest.raises(RecipeError, match=r"org/x is not in slices\[0\]\.sources"):
            read(
                slices_yaml(part, merge_method="ties", base_model="org/x", parameters={"weight": 1})
            )

    @pytest.mark.parametrize(
        ("method", "base", "seen", "hint"),
        [
            ("slerp", "org/c", "exactly 2 models, and models gives 3: org/c", "listed or"),
            ("passthrough", None, "exactly 1 model, and models gives 2", "choose another"),
            ("arcee_fusion", "org/c", "exactly 1 model besides the base, and models", "another"),
            ("model_stock", "org/a", "at least 2 models besides the base", "another"),
        ],
    )  # fmt: skip
    def test_numbers_of_models(self, method: str, base: str, seen: str, hint: str) -> None:
        with pytest.raises(RecipeError, match=seen) as refused:
            parameters(method, base=base, t=1)
        assert hint in refused.value.hint

    def test_what_only_the_operator_knows(self) -> None:
        with pytest.raises(OperatorError, match=r"density is 0\.0, and is no share to keep"):
            parameters("ties", weight=1, density=0)

    def test_a_model_that_is_none(self) -> None:
        with pytest.raises(RepoNotFound, match="neither a folder here nor a repository name"):
            read(merge_method="karcher", models=[{"model": "a b/c"}])

    @given(st.data())
    @settings(max_examples=200, deadline=None)
    def test_anything_else_is_one_error(self, data: st.DataObject) -> None:
        """A good recipe with one part of it replaced by something: read, or refused in words."""
        path = data.draw(st.sampled_from(RECIPES))
        text = path.read_text().replace("model: ", "model: org/")
        recipe = {"top": yaml.safe_load(text)}
        holder, key = data.draw(st.sampled_from(list(parts(recipe))))
        holder[key] = data.draw(JUNK)
        try:
            mergekit.read(yaml.safe_dump(recipe["top"]), "m.yml")
        except SimmergeError as error:
            assert str(error)

    def test_no_yaml(self) -> None:
        with pytest.raises(RecipeError, match=r"m\.yml cannot be read as YAML"):
            read("merge_method: [\n")


@pytest.mark.parametrize("template", ["{{ messages }}", "{% for m in messages %}x{% endfor %}"])
def test_a_chat_template_in_jinja_is_read_and_written(template: str) -> None:
    models = [{"model": name, "parameters": {"weight": 1}} for name in ("org/a", "org/b")]
    recipe = read(merge_method="linear", models=models, chat_template=template)
    assert recipe.chat_template == template
    assert yaml.safe_load(mergekit.write(recipe))["chat_template"] == template


def test_a_template_by_a_name_of_mergekit_is_refused() -> None:
    with pytest.raises(RecipeError, match="chat_template"):
        read(merge_method="linear", models=[{"model": "org/a"}], chat_template="chatml")
