"""A merge: the right numbers, the same bytes always, complete or not at all."""

import hashlib
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from simmerge_hub import localhub
from simmerge_hub.errors import (
    AlignmentError,
    CheckpointError,
    OperatorError,
    OutputError,
    RecipeError,
    SimmergeError,
)
from simmerge_hub.hub.resolve import resolve
from simmerge_hub.merger import MergeReport, blocks, compute, merge, report
from simmerge_hub.merger.work import tensors as work
from simmerge_hub.operators import Place, merge_tensors, registry
from simmerge_hub.operators.arms import arm
from simmerge_hub.recipe import RECIPE_FILE, Recipe, Step, load, parse, source
from tests import nano


def step(operator: str = "linear", *models: str, name: str = "", **parameters: Any) -> Step:
    names = models or ("code", "math")
    return Step(operator=operator, models=names, parameters=parameters, name=name)


def recipe(folder: Path, *steps: Step, base: bool = True, **how: Any) -> Recipe:
    """A recipe over the models in a folder, with its base."""
    models = ("code", "math", *sorted({m for s in steps for m in s.models} & {"more"}))
    return Recipe(
        base=source(resolve(str(folder / "base"))) if base else None,
        models=tuple(source(resolve(str(folder / m))) for m in models),
        steps=steps or (step(),),
        **how,
    )


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


@pytest.fixture
def family(tmp_path: Path) -> Path:
    nano.family(tmp_path)
    return tmp_path


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a weight byte fails the test."""
    monkeypatch.setattr(work, "open_tensors", lambda *_, **__: pytest.fail("weights were opened"))


def by_hand(
    folder: Path, combine: Callable[[Tensor, Tensor, Tensor], Tensor]
) -> Mapping[str, Tensor]:
    base, code, math = (nano.load(folder / n) for n in ("base", "code", "math"))
    return {n: combine(base[n], code[n], math[n]) for n in base}


class TestNumbers:
    @pytest.mark.parametrize(
        ("operator", "parameters"),
        [
            ("linear", {"weights": (0.7, 0.3)}),
            ("slerp", {}),
            ("nuslerp", {}),
            ("ties", {"density": 0.2}),
            ("task_arithmetic", {"scale": 0.7}),
            ("dare_linear", {"density": 0.5}),
        ],
    )
    def test_a_step_is_its_operator_on_every_tensor(
        self, family: Path, operator: str, parameters: dict[str, Any]
    ) -> None:
        report = merge(recipe(family, step(operator, **parameters), seed=5), family / "out")
        merged = nano.load(family / "out")
        chosen = arm(operator, **parameters)
        expected, code, math = (nano.load(family / n) for n in ("base", "code", "math"))
        assert list(merged) == sorted(expected)
        for name, base in expected.items():
            place = Place(tensor=name, models=("code", "math"), shape=tuple(base.shape), seed=5)
            tensor = merge_tensors(chosen, base, [code[name], math[name]], place)
            assert torch.equal(merged[name], tensor), name
        assert report.tensors == len(expected)
        assert report.size == (family / "out" / "model.safetensors").stat().st_size

    def test_values_are_rounded_to_nearest_even(self, tmp_path: Path) -> None:
        halfway = torch.tensor([[1 + 2.0**-8, 1 + 3 * 2.0**-8]])
        for name in ("code", "math"):
            nano.save(tmp_path / name, {"w": halfway}, config={})
        merge(recipe(tmp_path, base=False, dtype="bfloat16"), tmp_path / "out")
        assert nano.load(tmp_path / "out")["w"].float().tolist() == [[1.0, 1 + 2.0**-6]]

    def test_several_steps_round_once(self, tmp_path: Path) -> None:
        nano.family(tmp_path, dtype=torch.bfloat16)
        steps = (step(name="half"), step("task_arithmetic", "half", "code", scale=0.9))
        merge(recipe(tmp_path, *steps), tmp_path / "out")

        def expected(b: Tensor, c: Tensor, m: Tensor) -> Tensor:
            half = merge_tensors(arm("linear"), b, [c, m])
            return merge_tensors(arm("task_arithmetic", scale=0.9), b, [half, c]).bfloat16()

        merged = nano.load(tmp_path / "out")
        for name, tensor in by_hand(tmp_path, expected).items():
            assert merged[name].dtype == torch.bfloat16
            assert torch.equal(merged[name], tensor)

    def test_three_models_one_at_a_time_are_their_mean(self, family: Path) -> None:
        nano.save(family / "more", nano.tuned(nano.weights(), 3))
        steps = (step(name="two"), step("linear", "two", "more", weights=(2 / 3, 1 / 3)))
        merge(recipe(family, *steps), family / "out")
        parts = [nano.load(family / n) for n in ("code", "math", "more")]
        for name, tensor in nano.load(family / "out").items():
            mean = torch.stack([p[name] for p in parts]).mean(0)
            torch.testing.assert_close(tensor, mean, rtol=1e-6, atol=1e-6)

    @pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
    def test_float64_rounded_once(self, tmp_path: Path, dtype: str) -> None:
        """The error of the float32 arithmetic is far below one rounding to the output."""
        nano.family(tmp_path, dtype=torch.bfloat16)
        merge(recipe(tmp_path, step(weights=(0.7, 0.3)), dtype=dtype), tmp_path / "out")
        kind = getattr(torch, dtype)
        for name, tensor in by_hand(
            tmp_path, lambda _, c, m: 0.7 * c.double() + 0.3 * m.double()
        ).items():
            merged = nano.load(tmp_path / "out")[name]
            assert merged.dtype == kind
            floor = (tensor.to(kind).double() - tensor).abs().sum()
            error = (merged.double() - tensor).abs().sum()
            assert error <= floor * (1.001 if dtype != "float32" else 3) + 1e-9

    def test_mixed_dtypes_give_the_base_s(self, tmp_path: Path) -> None:
        """PEERS, fault 5: the config says what the file holds."""
        base = nano.weights(dtype=torch.bfloat16)
        nano.save(tmp_path / "base", base)
        nano.save(tmp_path / "code", {n: t.half() for n, t in nano.tuned(base, 1).items()})
        nano.save(tmp_path / "math", {n: t.float() for n, t in nano.tuned(base, 2).items()})
        merge(recipe(tmp_path, step("ties")), tmp_path / "out")
        merged = nano.load(tmp_path / "out")
        assert {t.dtype for t in merged.values()} == {torch.bfloat16}
        assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "bfloat16"
        chosen = arm("ties")
        for name, tensor in by_hand(
            tmp_path, lambda b, c, m: merge_tensors(chosen, b, [c, m]).bfloat16()
        ).items():
            assert torch.equal(merged[name], tensor)

    def test_adapters_are_models(self, family: Path) -> None:
        nano.lora(family / "more")
        merge(recipe(family, step("linear", "code", "math", "more")), family / "out")
        base = nano.load(family / "base")
        parts = [nano.load(family / "code"), nano.load(family / "math"), base]
        for name, tensor in nano.load(family / "out").items():
            mean = torch.stack([p[name] for p in parts]).mean(0)
            mean += (4.0 / 3) if name.endswith("layers.0.self_attn.q_proj.weight") else 0
            torch.testing.assert_close(tensor, mean)

    def test_odd_shapes(self, tmp_path: Path) -> None:
        for seed, name in enumerate(("base", "code", "math")):
            torch.manual_seed(seed)
            shapes = [(), (1,), (0,), (0, 4), (3, 0), (2, 3, 4)]
            nano.save(tmp_path / name, {str(s): torch.randn(s) for s in shapes}, config={})
        for operator in ("linear", "slerp", "ties"):
            merge(recipe(tmp_path, step(operator)), tmp_path / operator)
            assert {n: tuple(t.shape) for n, t in nano.load(tmp_path / operator).items()} == {
                str(s): s for s in shapes
            }


class TestSameBytes:
    STEPS = (step("ties", density=0.3, name="x"), step("slerp", "x", "math"))

    @pytest.fixture
    def expected(self, family: Path) -> dict[str, str]:
        merge(recipe(family, *self.STEPS), family / "expected")
        return digests(family / "expected")

    def test_done_again(self, family: Path, expected: dict[str, str]) -> None:
        again, _ = load(family / "expected" / RECIPE_FILE)
        assert again.fingerprint == recipe(family, *self.STEPS, dtype="float32").fingerprint
        merge(recipe(family, *self.STEPS), family / "out")
        assert digests(family / "out") == expected

    @pytest.mark.parametrize("block", [7, 100])
    def test_whatever_the_blocks(
        self,
        family: Path,
        expected: dict[str, str],
        block: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(compute, "BLOCK_ENTRIES", block)
        merge(recipe(family, *self.STEPS), family / "out")
        assert digests(family / "out") == expected

    @pytest.mark.parametrize("threads", [1, 5])
    def test_whatever_the_threads(
        self, family: Path, expected: dict[str, str], threads: int
    ) -> None:
        before = torch.get_num_threads()
        merge(recipe(family, *self.STEPS), family / "out", threads=threads)
        assert digests(family / "out") == expected
        assert torch.get_num_threads() == before

    def test_whatever_the_hash_seed(self, family: Path, expected: dict[str, str]) -> None:
        """PEERS, fault 1."""
        text = recipe(family, *self.STEPS).to_yaml()
        (family / "plan.yaml").write_text(text)
        script = (
            "import sys; from simmerge_hub import merger, recipe;"
            "merger.merge(recipe.load(sys.argv[1])[0], sys.argv[2])"
        )
        subprocess.run(
            [sys.executable, "-c", script, family / "plan.yaml", family / "out"],
            env={**os.environ, "PYTHONHASHSEED": "4242"},
            check=True,
        )
        assert digests(family / "out") == expected

    def test_whatever_the_shards_of_the_inputs(
        self, family: Path, expected: dict[str, str]
    ) -> None:
        tensors = nano.load(family / "code")
        whole = recipe(family, *self.STEPS)
        shutil.rmtree(family / "code")
        nano.save(family / "code", tensors, shards=3)
        merge(recipe(family, *self.STEPS), family / "out")
        merged, wanted = nano.load(family / "out"), nano.load(family / "expected")
        assert all(torch.equal(merged[n], t) for n, t in wanted.items())
        assert recipe(family, *self.STEPS) != whole

    def test_blocks_are_whole_rows(self) -> None:
        assert blocks((10, compute.BLOCK_ENTRIES)) == [(i, i + 1) for i in range(10)]
        assert blocks((10, compute.BLOCK_ENTRIES // 4)) == [(0, 4), (4, 8), (8, 10)]
        assert blocks((compute.BLOCK_ENTRIES * 2,)) == [(0, 1)]
        assert blocks(()) == [(0, 1)]
        assert blocks((0, 5)) == []


class TestFolder:
    def test_transformers_loads_it(self, family: Path) -> None:
        from transformers import AutoModelForCausalLM

        merge(recipe(family, step("slerp"), shard_size=4000), family / "out")
        assert len(list((family / "out").glob("*.safetensors"))) > 2
        model, seen = AutoModelForCausalLM.from_pretrained(
            family / "out", output_loading_info=True, local_files_only=True
        )
        assert not seen["missing_keys"]
        assert not seen["unexpected_keys"]
        merged = nano.load(family / "out")
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, merged[name])
        assert bool(torch.isfinite(model(torch.tensor([[1, 2, 3]])).logits).all())

    def test_its_files(self, family: Path) -> None:
        (family / "base" / "generation_config.json").write_text('{"do_sample": false}')
        (family / "base" / "modeling.py").write_text("x")
        (family / "base" / ".secret").write_text("x")
        merge(
            recipe(family),
            family / "out",
            notes="why: {}\n",
            page=lambda _: {"README.md": "# Page\n"},
        )
        assert sorted(p.name for p in (family / "out").iterdir()) == [
            "README.md", "SHA256SUMS", "config.json", "generation_config.json",
            "model.safetensors", RECIPE_FILE, "tokenizer.json", "tokenizer_config.json",
        ]  # fmt: skip
        assert (family / "out" / "README.md").read_text() == "# Page\n"
        assert (family / "out" / RECIPE_FILE).read_text().endswith("why: {}\n")

    def test_the_recipe_is_beside_and_inside_the_weights(self, family: Path) -> None:
        report = merge(recipe(family, step("ties", density=0.5)), family / "out")
        text = (family / "out" / RECIPE_FILE).read_text()
        with safe_open(family / "out" / "model.safetensors", "pt") as file:
            assert file.metadata() == {"format": "pt", "simmerge": text}
        again, _ = parse(text, "x")
        assert again.fingerprint == report.recipe.fingerprint
        assert again.dtype == "float32"
        assert [s.digest for s in again.sources] == [s.digest for s in report.recipe.sources]

    def test_no_path_and_no_token_in_any_file(
        self, hub: localhub.Hub, family: Path, org: str
    ) -> None:
        for name in ("base", "code", "math"):
            config = family / name / "config.json"
            stated = json.loads(config.read_text()) | {"_name_or_path": str(family / name)}
            config.write_text(json.dumps(stated))
        merge(
            recipe(family),
            family / "out",
            page=lambda r: {"README.md": r.recipe.to_yaml(published=True)},
        )
        for path in (family / "out").iterdir():
            whole = path.read_bytes()
            for secret in (str(family), str(Path.home()), hub.token, os.uname().nodename):
                assert secret.encode() not in whole, f"{secret} in {path.name}"

    def test_inputs_on_the_hub_are_pinned(self, hub: localhub.Hub, family: Path, org: str) -> None:
        commits = {n: nano.push(family / n, f"{org}/{n}") for n in ("base", "code", "math")}
        text = (
            f"simmerge: 1\nbase: {org}/base\nmodels: [{org}/code, {org}/math]\n"
            f"steps: [{{operator: linear, models: [{org}/code, {org}/math]}}]\n"
        )
        report = merge(parse(text, "x")[0], family / "out")
        assert [s.commit for s in report.recipe.sources] == list(commits.values())
        again, _ = load(family / "out")
        merge(again, family / "again")
        assert digests(family / "again") == digests(family / "out")

    def test_the_tokenizer_of_another_model(self, family: Path) -> None:
        other = nano.words(nano.VOCABULARY) + " "
        (family / "math" / "tokenizer.json").write_text(other)
        merge(recipe(family, tokenizer="math"), family / "out")
        assert (family / "out" / "tokenizer.json").read_text() == other

    def test_without_a_base_the_first_model_leads(self, family: Path) -> None:
        other = nano.words(nano.VOCABULARY) + " "
        (family / "code" / "tokenizer.json").write_text(other)
        merge(recipe(family, base=False), family / "out")
        assert (family / "out" / "tokenizer.json").read_text() == other

    def test_progress_is_told(self, family: Path) -> None:
        seen: list[tuple[int, int]] = []
        merge(
            recipe(family), family / "out", progress=lambda _, done, all_: seen.append((done, all_))
        )
        count = len(nano.weights())
        assert seen == [(i + 1, count) for i in range(count)]


class TestRefused:
    def refusal(
        self, kind: type[SimmergeError], what: Recipe, family: Path, **how: Any
    ) -> SimmergeError:
        before = {p.name for p in family.iterdir()}
        with pytest.raises(kind) as caught:
            merge(what, family / "out", **how)
        assert {p.name for p in family.iterdir()} == before, "something was left behind"
        assert caught.value.hint
        return caught.value

    @pytest.mark.parametrize("operator", ["linear", "slerp", "nuslerp", "ties", "task_arithmetic"])
    @pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
    def test_nan_and_inf_are_named(self, family: Path, operator: str, bad: float) -> None:
        name = "model.layers.1.mlp.up_proj.weight"
        tensors = nano.load(family / "math")
        tensors[name][3, 5] = bad
        tensors[name][4, 5] = -bad
        nano.save(family / "math", tensors)
        error = self.refusal(CheckpointError, recipe(family, step(operator)), family)
        assert str(error) == f"math has NaN or Inf in {name}"
        assert error.hint == "leave this model out: it is damaged or its training diverged"

    def test_a_base_with_nan(self, family: Path) -> None:
        tensors = nano.load(family / "base")
        tensors["model.norm.weight"][0] = float("nan")
        nano.save(family / "base", tensors)
        error = self.refusal(CheckpointError, recipe(family, step("ties")), family)
        assert str(error) == "base has NaN or Inf in model.norm.weight"

    def test_overflow_of_the_output_dtype(self, family: Path) -> None:
        """Finite in float32, Inf once rounded to float16."""
        tensors = {n: t * 70_000 for n, t in nano.weights().items()}
        for name in ("base", "code", "math"):
            nano.save(family / name, tensors)
        error = self.refusal(RecipeError, recipe(family, dtype="float16"), family, threads=1)
        assert str(error) == "merging lm_head.weight overflows float16"
        assert error.hint == "use smaller weights or a smaller scale, or write a wider `dtype:`"

    def test_overflow_of_float32(self, family: Path) -> None:
        nano.save(family / "math", {n: t * 100 for n, t in nano.load(family / "math").items()})
        what = recipe(family, step("task_arithmetic", scale=1e38))
        assert "overflows float32" in str(self.refusal(RecipeError, what, family))

    @pytest.mark.usefixtures("unread")
    def test_parameters_beyond_float32(self, family: Path) -> None:
        what = recipe(family, step("task_arithmetic", scale=1e38, weights=(1e30, 1e30)))
        error = self.refusal(OperatorError, what, family)
        assert "task_arithmetic cannot be run with" in str(error)

    @pytest.mark.usefixtures("unread")
    def test_vocabularies_before_any_weight(self, family: Path) -> None:
        """PEERS, fault 7."""
        shutil.rmtree(family / "math")
        nano.save(family / "math", nano.weights(vocabulary=23), tokenizer=False)
        error = self.refusal(AlignmentError, recipe(family), family)
        assert "math has no tokenizer.json to tell how" in str(error)
        assert "math: 23 rows, no tokenizer" in str(error)

    @pytest.mark.usefixtures("unread")
    def test_eight_bit_weights_before_any_weight(self, family: Path) -> None:
        """PEERS, fault 2."""
        tensors = {n: t.to(torch.float8_e4m3fn) for n, t in nano.weights().items()}
        nano.save(family / "math", tensors)
        with pytest.raises(CheckpointError, match="is stored as F8_E4M3 and has no scale"):
            resolve(str(family / "math"))

    @pytest.mark.usefixtures("unread")
    def test_an_adapter_of_another_base_before_any_weight(self, family: Path) -> None:
        at = "base_model.model.model.layers.0.self_attn.q_proj"
        tensors = {f"{at}.lora_A.weight": torch.ones(2, 8), f"{at}.lora_B.weight": torch.ones(8, 2)}
        nano.lora(family / "more", tensors)
        what = recipe(family, step("linear", "code", "math", "more"))
        assert "the adapter more changes" in str(self.refusal(AlignmentError, what, family))

    @pytest.mark.usefixtures("unread")
    def test_a_full_disk_before_any_weight(
        self, family: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        usage = shutil.disk_usage(family)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=64 * 2**20))
        error = self.refusal(OutputError, recipe(family), family)
        assert re.fullmatch(r".*/out needs [\d.]+ kB, and the disk has 67.1 MB left", str(error))
        assert error.hint == "free some space, or write to another disk"

    @pytest.mark.usefixtures("unread")
    def test_a_folder_that_exists(self, family: Path) -> None:
        (family / "out").mkdir()
        (family / "out" / RECIPE_FILE).write_text("mine")
        error = self.refusal(OutputError, recipe(family), family)
        assert str(error) == f"{family}/out exists already"
        assert error.hint == "choose another folder, or replace it: --overwrite"
        assert (family / "out" / RECIPE_FILE).read_text() == "mine"

    @pytest.mark.usefixtures("unread")
    @pytest.mark.parametrize("kind", ["folder", "file"])
    def test_overwrite_never_deletes_what_no_merge_made(self, family: Path, kind: str) -> None:
        out = family / "out"
        if kind == "folder":
            out.mkdir()
        (out / "thesis.tex" if kind == "folder" else out).write_text("years of work")
        error = self.refusal(OutputError, recipe(family), family, overwrite=True)
        assert str(error) == f"{out} exists already, and is not a folder that a merge made"
        assert (out / "thesis.tex" if kind == "folder" else out).read_text() == "years of work"

    @pytest.mark.usefixtures("unread")
    def test_a_tokenizer_that_is_not_there(self, family: Path) -> None:
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (family / "math" / name).unlink()
        error = self.refusal(RecipeError, recipe(family, tokenizer="math"), family)
        assert str(error) == "math has no tokenizer files"

    @pytest.mark.usefixtures("unread")
    def test_an_input_that_changed(self, family: Path) -> None:
        what = recipe(family)
        nano.save(family / "math", nano.weights(9))
        assert "is not what the recipe was made from" in str(
            self.refusal(RecipeError, what, family)
        )

    def test_a_page_that_fails_leaves_no_folder(self, family: Path) -> None:
        def page(_: Any) -> dict[str, str]:
            raise RecipeError("no page", hint="x")

        self.refusal(RecipeError, recipe(family), family, page=page)


class TestOverwrite:
    def test_the_old_goes_when_the_new_is_complete(self, family: Path) -> None:
        merge(recipe(family, shard_size=4000), family / "out")
        (family / "out" / "stale.safetensors").write_bytes(b"x")
        merge(recipe(family, step("ties")), family / "out", overwrite=True)
        files = {p.name for p in (family / "out").iterdir()}
        assert "model.safetensors" in files
        assert not {"stale.safetensors", nano.INDEX} & files
        assert {p.name for p in family.iterdir()} == {"base", "code", "math", "out"}

    def test_an_interrupt_keeps_the_old(self, family: Path) -> None:
        merge(recipe(family), family / "out")
        before = digests(family / "out")

        def interrupt(_name: str, done: int, _all: int) -> None:
            if done == 5:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            merge(recipe(family, step("ties")), family / "out", overwrite=True, progress=interrupt)
        assert digests(family / "out") == before
        merge(recipe(family, step("ties")), family / "out", overwrite=True)
        merge(recipe(family, step("ties")), family / "clean")
        assert digests(family / "out") == digests(family / "clean")

    def test_a_crash_between_the_renames_loses_nothing(
        self, family: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        merge(recipe(family), family / "out")
        before = digests(family / "out")
        rename = Path.rename

        def once(self: Path, target: Path) -> Path:
            if self.name.endswith(".partial"):
                raise OSError("power is out")
            return rename(self, target)

        monkeypatch.setattr(Path, "rename", once)
        with pytest.raises(OSError, match="power is out"):
            merge(recipe(family, step("ties")), family / "out", overwrite=True)
        monkeypatch.undo()
        with pytest.raises(OutputError, match="exists already"):
            merge(recipe(family), family / "out")
        assert digests(family / "out") == before

    def test_an_input_is_never_the_output(self, family: Path) -> None:
        merge(recipe(family), family / "out")
        merged = recipe(family, base=False)
        again = replace(merged, models=(merged.models[0], source(resolve(str(family / "out")))))
        steps = (step("linear", "code", "out"),)
        with pytest.raises(OutputError, match="is one of the inputs"):
            merge(replace(again, steps=steps), family / "out", overwrite=True)

    def test_a_folder_that_somebody_put_into_a_merge_is_not_deleted(self, family: Path) -> None:
        merge(recipe(family), family / "out")
        (family / "out" / "evals").mkdir()
        with pytest.raises(OutputError, match="holds evals, which no merge made"):
            merge(recipe(family, step("ties")), family / "out", overwrite=True)

    def test_a_link_stays_a_link(self, family: Path) -> None:
        (family / "disk").mkdir()
        (family / "out").symlink_to(family / "disk" / "merged")
        for _ in range(3):
            merge(recipe(family), family / "out", overwrite=True)
        assert (family / "out").is_symlink()
        assert (family / "disk" / "merged" / "config.json").is_file()

    @pytest.mark.parametrize("number", [0, 1, 2])
    def test_a_crash_at_any_rename_can_be_gone_on_from(
        self, family: Path, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        """The journal leaves the folder, the old output its name, the folder gets it."""
        merge(recipe(family, step("ties")), family / "clean")
        merge(recipe(family), family / "out")
        rename, left = Path.rename, [number]

        def dies(self: Path, target: Path) -> Path:
            left[0] -= 1
            if left[0] < 0:
                raise SystemExit("killed")
            return rename(self, target)

        monkeypatch.setattr(Path, "rename", dies)
        with pytest.raises(SystemExit):
            merge(recipe(family, step("ties")), family / "out", overwrite=True)
        monkeypatch.undo()
        merge(recipe(family, step("ties")), family / "out", overwrite=True)
        assert digests(family / "out") == digests(family / "clean")
        assert not [p for p in family.iterdir() if "simmerge" in p.name or "partial" in p.name]


OWN = """
from simmerge_hub.operators.registry import operator

@operator(space="weight", paper="none")
def times(chunk, statistics):
    return {factor} * chunk.sum(0)
"""


class TestOtherInputsOrCode:
    """A run that was cut off goes on only with what it began with."""

    @pytest.fixture
    def declare(self, tmp_path: Path) -> Iterator[Callable[[float], None]]:
        """Declares an operator of one's own in a file, as somebody would who edits it."""

        def write(factor: float) -> None:
            (tmp_path / "own.py").write_text(OWN.format(factor=factor))
            runpy.run_path(str(tmp_path / "own.py"), run_name="own")

        yield write
        registry.OPERATORS.pop("times", None)

    def cut_off(self, family: Path, made: Recipe) -> None:
        def stop(_: str, done: int, total: int) -> None:
            if done == total // 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            merge(made, family / "out", progress=stop, threads=1)

    def test_an_operator_that_was_edited_begins_anew(
        self, family: Path, declare: Callable[[float], None]
    ) -> None:
        declare(0.1)
        self.cut_off(family, recipe(family, step("times")))
        declare(1.0)
        assert merge(recipe(family, step("times")), family / "out").taken_over == 0
        merge(recipe(family, step("times")), family / "clean")
        assert digests(family / "out") == digests(family / "clean")

    def test_other_code_of_the_package_begins_anew(
        self, family: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.cut_off(family, recipe(family))
        monkeypatch.setattr(report, "digest_code", lambda *_: "another commit")
        assert merge(recipe(family), family / "out").taken_over == 0

    @pytest.mark.parametrize("place", [0, 100])
    def test_a_damaged_header_of_a_run_that_had_ended_is_written_again(
        self, family: Path, place: int
    ) -> None:
        """Digests of a journal are of tensors' data alone."""

        def stop(_: MergeReport) -> dict[str, str]:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            merge(recipe(family), family / "out", page=stop)
        with open(family / "out.partial" / "model.safetensors", "r+b") as file:
            file.seek(place)
            file.write(b"\xff")
        again = merge(recipe(family), family / "out")
        assert again.taken_over == again.tensors
        merge(recipe(family), family / "clean")
        assert digests(family / "out") == digests(family / "clean")

    def test_files_beside_the_weights_are_those_of_now(self, family: Path) -> None:
        self.cut_off(family, recipe(family))
        (family / "out.partial" / "generation_config.json").write_text("{}")
        (family / "out.partial" / "additional_chat_templates").mkdir()
        assert merge(recipe(family), family / "out").taken_over > 0
        merge(recipe(family), family / "clean")
        assert digests(family / "out") == digests(family / "clean")


def test_numbers_survive_numpy(family: Path) -> None:
    """A reader that is not torch sees the same header and data."""
    from safetensors.numpy import load_file

    merge(recipe(family), family / "out")
    merged = load_file(family / "out" / "model.safetensors")
    assert np.array_equal(
        merged["lm_head.weight"], nano.load(family / "out")["lm_head.weight"].numpy()
    )
