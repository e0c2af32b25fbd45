"""What a merge will write is known from headers: heads, extra tensors, slices, gradients."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from simmerge_hub.errors import AlignmentError, OperatorError, RecipeError
from simmerge_hub.merger import merge
from simmerge_hub.operators import arm, merge_tensors
from simmerge_hub.recipe import Recipe, Slice, Source, Step
from tests import nano

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
TIED = {**nano.CONFIG, "vocab_size": nano.VOCABULARY, "tie_word_embeddings": True}


def source(folder: Path) -> Source:
    return Source(name=folder.name, folder=folder)


def step(operator: str = "linear", models: tuple[str, ...] = ("a", "b"), **parameters: Any) -> Step:
    return Step(operator=operator, models=models, parameters=parameters)


def recipe(folder: Path, *steps: Step, base: bool = False, **how: Any) -> Recipe:
    names = how.pop("names", ("a", "b"))
    return Recipe(
        base=source(folder / "base") if base else None,
        models=tuple(source(folder / name) for name in names),
        steps=steps or (() if how.get("slices") else (step(),)),
        **how,
    )


def loads(folder: Path) -> None:
    """transformers loads the folder with nothing missing and nothing left over."""
    model, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"], info
    assert torch.isfinite(model(torch.tensor([[1, 2, 3]])).logits).all()


def mean(*tensors: Tensor) -> Tensor:
    return merge_tensors(arm("linear"), None, list(tensors))


class TestHeads:
    def test_an_untied_head_meets_a_tied_one(self, tmp_path: Path) -> None:
        untied, other = nano.weights(1), nano.weights(2)
        del other[HEAD]
        nano.save(tmp_path / "a", untied)
        nano.save(tmp_path / "b", other, config=TIED)
        merge(recipe(tmp_path), tmp_path / "out")
        merged = nano.load(tmp_path / "out")
        assert torch.equal(merged[HEAD], mean(untied[HEAD], other[EMBEDDING]))
        assert torch.equal(merged[EMBEDDING], mean(untied[EMBEDDING], other[EMBEDDING]))
        loads(tmp_path / "out")

    def test_a_tied_reference_is_untied_by_a_model_with_a_head(self, tmp_path: Path) -> None:
        untied, other = nano.weights(1), nano.weights(2)
        del other[HEAD]
        nano.save(tmp_path / "a", other, config=TIED)
        nano.save(tmp_path / "b", untied)
        merge(recipe(tmp_path), tmp_path / "out")
        merged = nano.load(tmp_path / "out")
        assert torch.equal(merged[HEAD], mean(other[EMBEDDING], untied[HEAD]))
        loads(tmp_path / "out")
        loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
        assert not torch.equal(loaded.lm_head.weight, loaded.model.embed_tokens.weight)

    def test_tied_models_stay_tied(self, tmp_path: Path) -> None:
        for seed, name in enumerate("ab"):
            tensors = nano.weights(seed)
            del tensors[HEAD]
            nano.save(tmp_path / name, tensors, config=TIED)
        merge(recipe(tmp_path), tmp_path / "out")
        assert HEAD not in nano.load(tmp_path / "out")
        loads(tmp_path / "out")

    def test_a_stored_copy_of_a_tied_head_is_left_out(self, tmp_path: Path) -> None:
        plain, copy = nano.weights(1), nano.weights(2)
        del plain[HEAD]
        copy[HEAD] = copy[EMBEDDING].clone()
        nano.save(tmp_path / "a", plain, config=TIED)
        nano.save(tmp_path / "b", copy, config=TIED)
        merge(recipe(tmp_path), tmp_path / "out")
        assert HEAD not in nano.load(tmp_path / "out")
        loads(tmp_path / "out")

    def test_a_stored_copy_of_the_reference_is_untied_by_a_model_with_a_head(
        self, tmp_path: Path
    ) -> None:
        """A config that says tied makes transformers 4 pass over the merged head."""
        copy, untied = nano.weights(1), nano.weights(2)
        copy[HEAD] = copy[EMBEDDING].clone()
        nano.save(tmp_path / "a", copy, config=TIED)
        nano.save(tmp_path / "b", untied)
        merge(recipe(tmp_path), tmp_path / "out")
        assert torch.equal(nano.load(tmp_path / "out")[HEAD], mean(copy[HEAD], untied[HEAD]))
        stated = json.loads((tmp_path / "out" / "config.json").read_text())
        assert stated["tie_word_embeddings"] is False
        loads(tmp_path / "out")

    def test_stored_copies_of_tied_models_stay_tied(self, tmp_path: Path) -> None:
        for seed, name in enumerate("ab"):
            copy = nano.weights(seed)
            nano.save(tmp_path / name, copy | {HEAD: copy[EMBEDDING].clone()}, config=TIED)
        merge(recipe(tmp_path), tmp_path / "out")
        stated = json.loads((tmp_path / "out" / "config.json").read_text())
        assert stated["tie_word_embeddings"] is True
        loads(tmp_path / "out")

    def test_a_missing_head_that_is_not_tied_is_refused(self, tmp_path: Path) -> None:
        tensors = nano.weights(2)
        del tensors[HEAD]
        nano.save(tmp_path / "a", nano.weights(1))
        nano.save(tmp_path / "b", tensors, config=TIED | {"tie_word_embeddings": False})
        with pytest.raises(AlignmentError, match=r"b does not fit: lm_head.weight is in a only"):
            merge(recipe(tmp_path), tmp_path / "out")


class TestUnmatched:
    """Tensors that not all models have."""

    @pytest.fixture
    def family(self, tmp_path: Path) -> Path:
        more = nano.weights(2) | {"model.extra.weight": torch.full((3, 2), 5.0)}
        del more["model.norm.weight"]
        nano.save(tmp_path / "a", nano.weights(1))
        nano.save(tmp_path / "b", more)
        return tmp_path

    def test_are_refused(self, family: Path) -> None:
        with pytest.raises(AlignmentError) as caught:
            merge(recipe(family), family / "out")
        assert "b does not fit: model.norm.weight is in a only (and 1 more)" in str(caught.value)
        assert "`unmatched: drop` or `keep`" in caught.value.hint

    def test_are_dropped_or_copied(self, family: Path) -> None:
        report = merge(recipe(family, unmatched="drop"), family / "out")
        merged = nano.load(family / "out")
        assert merged.keys() == nano.weights().keys()
        assert torch.equal(merged["model.norm.weight"], nano.weights(1)["model.norm.weight"])
        assert report.notes == (
            "model.norm.weight is copied: b lacks it",
            "model.extra.weight of b is left out: it is not in the reference",
        )
        loads(family / "out")

    def test_are_kept(self, family: Path) -> None:
        report = merge(recipe(family, unmatched="keep"), family / "out")
        merged = nano.load(family / "out")
        assert torch.equal(merged["model.extra.weight"], torch.full((3, 2), 5.0))
        assert report.notes[1] == "model.extra.weight is copied from b, the first that has it"

    def test_buffers_that_are_computed_anew_do_not_matter(self, tmp_path: Path) -> None:
        old = "model.layers.0.self_attn.rotary_emb.inv_freq"
        nano.save(tmp_path / "a", nano.weights(1))
        nano.save(tmp_path / "b", nano.weights(2) | {old: torch.ones(4)})
        merge(recipe(tmp_path), tmp_path / "out")
        assert old not in nano.load(tmp_path / "out")
        merge(recipe(tmp_path, names=("b", "a")), tmp_path / "other")
        assert torch.equal(nano.load(tmp_path / "other")[old], torch.ones(4))

    def test_integer_buffers_are_copied(self, tmp_path: Path) -> None:
        ids = torch.arange(32)[None]
        for seed, name in enumerate("ab"):
            nano.save(tmp_path / name, nano.weights(seed) | {"model.position_ids": ids})
        merge(recipe(tmp_path, dtype="bfloat16"), tmp_path / "out")
        merged = nano.load(tmp_path / "out")
        assert torch.equal(merged["model.position_ids"], ids)
        assert merged["model.position_ids"].dtype == torch.int64
        assert merged[HEAD].dtype == torch.bfloat16

    def test_whole_numbers_that_differ_are_named(self, tmp_path: Path) -> None:
        """Never averaged: those of the reference are written, and what others had is said."""
        same, old = (
            {"model.position_ids": torch.arange(32)[None]},
            {"h.attn.bias": torch.ones(2) > 0},
        )
        counts = {f"model.bn{i}.num_batches_tracked": torch.tensor(i) for i in range(2)}
        other = {name: tensor + 4 for name, tensor in counts.items()}
        nano.save(tmp_path / "a", nano.weights(1) | same | old | counts)
        nano.save(tmp_path / "b", nano.weights(2) | same | other | {"model.table": torch.arange(4)})
        report = merge(recipe(tmp_path), tmp_path / "out")
        assert report.notes[:2] == (
            "whole numbers are copied from a, and b has others or none: "
            "model.bn0.num_batches_tracked and 1 more",
            "whole numbers of b are left out, for a has none such: model.table",
        )
        merged = nano.load(tmp_path / "out")
        assert [merged[name].item() for name in counts] == [0, 1]
        moved = {"model.position_ids": torch.ones(1, 32).long()}
        nano.save(tmp_path / "b", nano.weights(2) | moved)
        assert "and 2 more" in merge(recipe(tmp_path), tmp_path / "moved").notes[0]

    def test_whole_numbers_of_layers_are_not_sliced(self, tmp_path: Path) -> None:
        """Those that transformers makes anew are left out, others would lie in another layer."""
        mask = {"model.layers.0.attn.bias": torch.ones(2, 2) > 0, "table": torch.arange(3)}
        part = Slice(layers={"a": (1, 2), "b": (1, 2)}, steps=(step(),))
        sliced = recipe(tmp_path, slices=(part,))
        for seed, name in enumerate("ab"):
            nano.save(tmp_path / name, nano.weights(seed) | mask)
        merge(sliced, tmp_path / "out")
        merged = nano.load(tmp_path / "out")
        assert "table" in merged and not merged.keys() & {"model.layers.0.attn.bias"}
        for seed, name in enumerate("ab"):
            more = {"model.layers.1.experts.table": torch.arange(3)}
            nano.save(tmp_path / name, nano.weights(seed) | more)
        with pytest.raises(AlignmentError, match=r"its layers \(model.layers.1.experts.table\)"):
            merge(sliced, tmp_path / "other")

    def test_running_statistics_are_named(self, tmp_path: Path) -> None:
        for seed, name in enumerate(("base", "a", "b")):
            counted = {
                "n.running_mean": torch.ones(4),
                "n.running_var": torch.full((4,), 3.0 - seed),
            }
            nano.save(tmp_path / name, nano.weights(seed) | counted)
        report = merge(recipe(tmp_path), tmp_path / "out")
        assert "as weights are: n.running_mean and 1 more" in report.notes[0]
        assert torch.equal(nano.load(tmp_path / "out")["n.running_var"], torch.full((4,), 1.5))
        far = step("task_arithmetic", scale=2.0)
        with pytest.raises(RecipeError, match=r"n\.running_var, a running variance, values below"):
            merge(recipe(tmp_path, far, base=True), tmp_path / "far")

    def test_whole_numbers_never_meet_weights(self, tmp_path: Path) -> None:
        """A tensor that is a buffer in one model and a weight in another is nobody's to keep."""
        nano.save(tmp_path / "a", nano.weights(1) | {"x": torch.arange(4)})
        nano.save(tmp_path / "b", nano.weights(2) | {"x": torch.ones(4)})
        with pytest.raises(AlignmentError, match="b does not fit: x is stored as whole numbers in"):
            merge(recipe(tmp_path, unmatched="keep"), tmp_path / "out")

    def test_float32_tensors_that_are_narrowed_are_named(self, tmp_path: Path) -> None:
        for seed, name in enumerate("ab"):
            tensors = {n: t.bfloat16() for n, t in nano.weights(seed).items()}
            tensors["model.norm.weight"] = tensors["model.norm.weight"].float()
            nano.save(tmp_path / name, tensors)
        report = merge(recipe(tmp_path), tmp_path / "out")
        assert report.notes == (
            "1 tensors that a stores in float32 are written in bfloat16: model.norm.weight, …",
        )


class TestSchedules:
    def test_values_that_never_meet_are_not_tried_together(self, tmp_path: Path) -> None:
        for seed, name in enumerate("ab"):
            nano.save(tmp_path / name, nano.weights(seed))
        weights = ({"filter": {"mlp": 0, "*": 1}}, {"filter": {"self_attn": 0, "*": 1}})
        merge(recipe(tmp_path, step(weights=weights)), tmp_path / "out")
        one, two, merged = (nano.load(tmp_path / name) for name in ("a", "b", "out"))
        for name, tensor in merged.items():
            both = mean(one[name], two[name])
            own = two[name] if "mlp" in name else one[name] if "self_attn" in name else both
            assert torch.equal(tensor, own), name

    def test_values_that_meet_are_tried_before_any_weight(self, tmp_path: Path) -> None:
        for seed, name in enumerate("ab"):
            nano.save(tmp_path / name, nano.weights(seed))
        weights = ({"filter": {"mlp": 0, "*": 1}}, {"filter": {"up_proj": 0, "*": 1}})
        with pytest.raises(OperatorError, match="linear"):
            merge(recipe(tmp_path, step(weights=weights)), tmp_path / "out")
        assert not (tmp_path / "out.partial").exists()

    def test_a_share_of_the_whole_model_is_one_number(self, tmp_path: Path) -> None:
        nano.family(tmp_path)
        density = {"filter": {"mlp": 0.9, "*": 0.1}}
        names = ("code", "math")
        steps = step("ties", names, density=density, trim="model")
        with pytest.raises(OperatorError, match=r"\(trim: model\) cannot differ between tensors"):
            merge(recipe(tmp_path, steps, base=True, names=names), tmp_path / "out")

    def test_a_gradient_over_layers_and_names(self, tmp_path: Path) -> None:
        base, a, b = nano.family(tmp_path)
        base.rename(tmp_path / "x"), a.rename(tmp_path / "a"), b.rename(tmp_path / "b")
        weights = ({"gradient": (1.0, 0.0)}, {"gradient": (0.0, 1.0)})
        t = {"filter": {"mlp": {"gradient": (0.2, 0.8)}, "*": 0.5}}
        steps = (
            Step(operator="linear", models=("a", "b"), parameters={"weights": weights}, name="m"),
            step("slerp", ("m", "b"), t=t),
        )
        merge(recipe(tmp_path, *steps), tmp_path / "out")
        one, two = nano.load(tmp_path / "a"), nano.load(tmp_path / "b")
        for name, merged in nano.load(tmp_path / "out").items():
            depth = 1.0 if "layers.1" in name else 0.0
            half = merge_tensors(arm("linear", weights=(1 - depth, depth)), None,
                                 [one[name], two[name]])  # fmt: skip
            share = (0.2 + 0.6 * depth) if "mlp" in name else 0.5
            expected = merge_tensors(arm("slerp", t=share), None, [half, two[name]])
            assert torch.equal(merged, expected), name

    def test_trimming_over_the_whole_model(self, tmp_path: Path) -> None:
        nano.family(tmp_path)
        names = ("code", "math")
        steps = step("ties", names, density=0.3, trim="model")
        merge(recipe(tmp_path, steps, base=True, names=names), tmp_path / "out")
        origin, *models = (nano.load(tmp_path / n) for n in ("base", *names))
        deltas = [{n: t - origin[n] for n, t in m.items()} for m in models]
        cuts = [_cut(delta, 0.3) for delta in deltas]
        for name, merged in nano.load(tmp_path / "out").items():
            kept = [d[name] * (d[name].abs() >= c) for d, c in zip(deltas, cuts, strict=True)]
            sign = torch.where(sum(kept) >= 0, 1.0, -1.0)
            agree = [torch.where(k * sign > 0, k, 0.0) for k in kept]
            count = sum((a != 0).float() for a in agree)
            expected = origin[name] + sum(agree) / count.clamp_min(1)
            torch.testing.assert_close(merged, expected)
        merge(recipe(tmp_path, steps, base=True, names=names), tmp_path / "one", threads=1)
        assert (tmp_path / "one" / "model.safetensors").read_bytes() == (
            tmp_path / "out" / "model.safetensors"
        ).read_bytes()


def _cut(delta: dict[str, Tensor], density: float) -> Tensor:
    whole = torch.cat([t.abs().flatten() for t in delta.values()])
    return whole.sort(descending=True).values[int(density * len(whole)) - 1]


class TestSlices:
    @pytest.fixture
    def family(self, tmp_path: Path) -> Path:
        for seed, name in enumerate("ab"):
            nano.save(tmp_path / name, nano.weights(seed))
        return tmp_path

    def test_layers_of_two_models_stacked(self, family: Path) -> None:
        slices = (
            Slice(layers={"a": (0, 2)}, steps=(step("passthrough", ("a",)),)),
            Slice(layers={"b": (1, 2)}, steps=(step("passthrough", ("b",), scale=0.5),)),
        )
        merge(recipe(family, slices=slices), family / "out")
        merged, one, two = (nano.load(family / n) for n in ("out", "a", "b"))
        assert torch.equal(merged[EMBEDDING], one[EMBEDDING])
        assert torch.equal(merged[HEAD], 0.5 * two[HEAD])
        up = "model.layers.{}.mlp.up_proj.weight"
        assert torch.equal(merged[up.format(1)], one[up.format(1)])
        assert torch.equal(merged[up.format(2)], 0.5 * two[up.format(1)])
        loads(family / "out")

    def test_different_operators_and_depths(self, family: Path) -> None:
        slices = (
            Slice(layers={"a": (0, 1), "b": (0, 1)}, steps=(step(weights=(0.9, 0.1)),)),
            Slice(layers={"a": (1, 2), "b": (0, 1)}, steps=(step("slerp", t=0.25),)),
        )
        merge(recipe(family, slices=slices), family / "out")
        merged, one, two = (nano.load(family / n) for n in ("out", "a", "b"))
        q = "model.layers.{}.self_attn.q_proj.weight"
        expected = merge_tensors(arm("slerp", t=0.25), None, [one[q.format(1)], two[q.format(0)]])
        assert torch.equal(merged[q.format(1)], expected)
        loads(family / "out")

    @pytest.mark.parametrize(
        ("layers", "seen"),
        [
            ({"a": (0, 3), "b": (0, 3)}, "a slice takes layers 0 to 3 of a, which has 2"),
            ({"a": (0, 2), "b": (0, 1)}, "a slice takes different numbers of layers"),
            ({"a": (1, 1), "b": (1, 1)}, r"a slice takes layers \[1, 1\] of a"),
            ({"a": (0, 2)}, "a slice uses b, and does not say which layers of it"),
            ({"b": (0, 2)}, "a slice uses a, and does not say which layers of it"),
            ({"a": (0, 2), "b": (0, 2), "c": (0, 2)}, "a slice takes layers of 'c', which is no"),
            ({}, "a slice takes different numbers of layers: none"),
        ],
    )
    def test_refused(self, family: Path, layers: dict[str, tuple[int, int]], seen: str) -> None:
        with pytest.raises((RecipeError, AlignmentError), match=seen):
            merge(recipe(family, slices=(Slice(layers=layers, steps=(step(),)),)), family / "out")

    def test_a_base_that_is_merged_takes_the_layers_of_the_first(self, family: Path) -> None:
        """Also as one of the models of a step, from which no delta is taken."""
        (family / "a").rename(family / "base")
        part = Slice(layers={"b": (1, 2)}, steps=(step(models=("base", "b")),))
        merge(recipe(family, slices=(part,), names=("b",), base=True), family / "out")
        merged, base, two = (nano.load(family / n) for n in ("out", "base", "b"))
        q = "model.layers.{}.self_attn.q_proj.weight"
        assert torch.equal(merged[q.format(0)], mean(base[q.format(1)], two[q.format(1)]))
        assert torch.equal(merged[HEAD], mean(base[HEAD], two[HEAD]))
        loads(family / "out")

    def test_a_tied_and_an_untied_model_are_not_stacked(self, family: Path) -> None:
        tied = {n: t for n, t in nano.weights(1).items() if n != HEAD}
        nano.save(family / "b", tied, config=TIED)
        slices = (
            Slice(layers={"a": (0, 1)}, steps=(step("passthrough", ("a",)),)),
            Slice(layers={"b": (1, 2)}, steps=(step("passthrough", ("b",)),)),
        )
        with pytest.raises(AlignmentError, match=r"config\.json says tie_word_embeddings True"):
            merge(recipe(family, slices=slices), family / "out")

    def test_without_a_number_of_layers_in_the_config(self, tmp_path: Path) -> None:
        config = {k: v for k, v in nano.CONFIG.items() if k != "num_hidden_layers"}
        nano.save(tmp_path / "a", nano.weights(), config=config)
        slices = (Slice(layers={"a": (0, 1)}, steps=(step("passthrough", ("a",)),)),)
        with pytest.raises(RecipeError, match="the config of a does not say how many layers"):
            merge(recipe(tmp_path, slices=slices, names=("a",)), tmp_path / "out")
