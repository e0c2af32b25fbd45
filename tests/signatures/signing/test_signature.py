"""Signing: what is cached, what is read, what is refused."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from simmerge_hub.errors import AlignmentError, CheckpointError, SignatureError
from simmerge_hub.hub.resolve import resolve
from simmerge_hub.signatures.probing.probe import probe_set
from simmerge_hub.signatures.signing.artifact import PRECISION_FLOOR
from simmerge_hub.signatures.signing.signature import Settings, load, save, sign
from tests import nano

ARCHITECTURES = ["llama-tied", "qwen3", "gemma3", "mistral", "mixtral", "olmo", "olmo2", "gpt2"]


@pytest.fixture
def checkpoint(tiny, tmp_path):
    return tiny.save(tiny.model_of("llama"), tmp_path / "model")


def equal(a, b):
    assert (a.digest, a.kind, a.settings, dict(a.shapes)) == (
        b.digest, b.kind, b.settings, dict(b.shapes),
    )  # fmt: skip
    assert a.sampled.keys() == b.sampled.keys()
    assert all(torch.equal(t, b.sampled[n]) for n, t in a.sampled.items())
    assert a.sketches.keys() == b.sketches.keys()
    for task, sketch in a.sketches.items():
        for name in sketch.__dataclass_fields__:
            assert np.array_equal(getattr(sketch, name), getattr(b.sketches[task], name)), name
    return True


def test_the_sample_is_the_checkpoints_own_rows(checkpoint, assets):
    signature = sign(checkpoint)
    from safetensors.torch import load_file

    stored = load_file(checkpoint.ref.folder / "model.safetensors")
    assert signature.sampled.keys() == stored.keys()
    for name, tensor in stored.items():
        assert torch.equal(signature.sampled[name].reshape(tensor.shape), tensor)
    assert signature.sketches == {}
    assert signature.approximate == ()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_sample_keeps_the_stored_dtype(dtype, tiny, tmp_path, assets):
    signature = sign(tiny.save(tiny.model_of("llama").to(dtype), tmp_path / "model"))
    assert {t.dtype for t in signature.sampled.values()} == {dtype}


def test_the_sample_of_8_bit_weights_is_what_they_stand_for(tmp_path, assets):
    stored, scale = torch.randn(6, 4).to(torch.float8_e4m3fn), torch.rand(6, 1)
    tensors = {"a.weight": stored, "a.weight_scale": scale, "norm.weight": torch.ones(4).half()}
    signature = sign(resolve(str(nano.save(tmp_path / "model", tensors, config={}))))
    assert torch.equal(signature.sampled["a.weight"], stored.float() * scale)
    assert signature.sampled["norm.weight"].dtype == torch.float16


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_is_signed(architecture, tiny, tmp_path, assets, probes):
    signature = sign(
        tiny.save(tiny.model_of(architecture), tmp_path / "model"), probe_sets=[probes]
    )
    assert signature.sketches["strings"].attention.size
    assert sum(t.numel() for t in signature.sampled.values()) > 10_000


def test_shards_make_no_difference(tiny, tmp_path, assets, probes):
    model = tiny.model_of("llama")
    one = sign(tiny.save(model, tmp_path / "one"), probe_sets=[probes])
    sharded = tiny.save(model, tmp_path / "many", max_shard_size="20KB")
    assert len({h.file for h in sharded.tensors.values()}) > 2
    many = sign(sharded, probe_sets=[probes])
    assert equal(replace(one, digest=many.digest), many)


def test_a_remote_model_is_signed_like_a_local_one(tiny, tmp_path, assets, probes, org):
    from huggingface_hub import HfApi

    here = tiny.save(tiny.model_of("llama"), tmp_path / "model")
    api = HfApi()
    api.create_repo(f"{org}/model")
    api.upload_folder(repo_id=f"{org}/model", folder_path=tmp_path / "model")
    there = resolve(f"{org}/model")
    signed = sign(there, probe_sets=[probes])
    assert signed.commit == there.commit
    assert equal(signed, sign(here, probe_sets=[probes]))


def test_the_structural_part_downloads_no_weights(tiny, tmp_path, assets, org):
    from huggingface_hub import HfApi, scan_cache_dir

    tiny.save(tiny.model_of("llama"), tmp_path / "model")
    HfApi().create_repo(f"{org}/model")
    HfApi().upload_folder(repo_id=f"{org}/model", folder_path=tmp_path / "model")
    sign(resolve(f"{org}/model"), settings=Settings(entries=2000))
    (repo,) = [r for r in scan_cache_dir().repos if r.repo_id == f"{org}/model"]
    files = {f.file_name for revision in repo.revisions for f in revision.files}
    assert files
    assert not any(name.endswith(".safetensors") for name in files)


def test_a_small_budget_samples_a_few_rows_of_everything(checkpoint, assets):
    whole, few = sign(checkpoint), sign(checkpoint, settings=Settings(entries=3000))
    assert few.sampled.keys() == whole.sampled.keys()
    assert sum(t.numel() for t in few.sampled.values()) <= 3000
    for name, rows in few.sampled.items():
        stored = {tuple(row.tolist()) for row in whole.sampled[name]}
        assert {tuple(row.tolist()) for row in rows} <= stored


def test_a_damaged_model_is_named_and_nothing_of_it_kept(tiny, tmp_path, assets, probes):
    model = tiny.model_of("llama")
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[1, 3] = torch.nan
    damaged = tiny.save(model, tmp_path / "model")
    with pytest.raises(CheckpointError, match=r"^model is damaged: .*layers\.1\.mlp\.up_proj"):
        sign(damaged, probe_sets=[probes])
    assert not list(assets.rglob("*.safetensors"))
    few = Settings(entries=400)  # which do not hold it
    sign(damaged, settings=few)
    with pytest.raises(CheckpointError, match=r"^model gives NaN or infinity on the probes of str"):
        sign(damaged, probe_sets=[probes], settings=few)
    assert not list(assets.rglob("probes-*"))


def test_a_limit_that_is_no_number_is_told_before_anything_is_read(checkpoint, assets, monkeypatch):
    monkeypatch.setenv("SIMMERGE_CACHE_LIMIT", "10GB")
    with pytest.raises(SignatureError, match="no number of bytes"):
        sign(checkpoint)
    assert not list(assets.rglob("*.safetensors"))


class TestCache:
    def test_a_second_sign_runs_nothing(self, checkpoint, assets, probes, tiny, monkeypatch):
        with tiny.count_passes(monkeypatch) as run:
            first = sign(checkpoint, probe_sets=[probes])
            second = sign(checkpoint, probe_sets=[probes])
        assert run == ["strings"]
        assert equal(first, second)

    def test_a_new_task_costs_its_own_pass(
        self, checkpoint, assets, probes, tiny, tmp_path, monkeypatch
    ):
        (tmp_path / "more.txt").write_text("one two\nthree four\n")
        more = probe_set("more", str(tmp_path / "more.txt"))
        sign(checkpoint, probe_sets=[probes])
        with tiny.count_passes(monkeypatch) as run:
            both = sign(checkpoint, probe_sets=[probes, more])
        assert run == ["more"]
        assert both.sketches.keys() == {"strings", "more"}

    def test_the_same_prompts_under_another_name_cost_nothing(
        self, checkpoint, assets, probes, tiny, monkeypatch
    ):
        sign(checkpoint, probe_sets=[probes])
        with tiny.count_passes(monkeypatch) as run:
            signature = sign(checkpoint, probe_sets=[replace(probes, task="text")])
        assert run == []
        assert signature.sketches.keys() == {"text"}

    def test_a_copy_elsewhere_is_the_same_model(
        self, checkpoint, assets, probes, tiny, tmp_path, monkeypatch
    ):
        import shutil

        sign(checkpoint, probe_sets=[probes])
        shutil.copytree(checkpoint.ref.folder, tmp_path / "copy")
        with tiny.count_passes(monkeypatch) as run:
            signature = sign(resolve(str(tmp_path / "copy")), probe_sets=[probes])
        assert run == []
        assert signature.name == "copy"

    def test_changed_weights_are_another_model(
        self, checkpoint, assets, probes, tiny, tmp_path, monkeypatch
    ):
        sign(checkpoint, probe_sets=[probes])
        other = tiny.save(tiny.perturb(tiny.model_of("llama"), 0.1, 1), checkpoint.ref.folder)
        with tiny.count_passes(monkeypatch) as run:
            sign(other, probe_sets=[probes])
        assert run == ["strings"]

    def test_damaged_files_are_made_again(self, checkpoint, assets, probes, tiny, monkeypatch):
        first = sign(checkpoint, probe_sets=[probes])
        files = list(assets.rglob("*.safetensors"))
        assert len(files) == 2
        for file in files:
            data = bytearray(file.read_bytes())
            data[-3] ^= 255
            file.write_bytes(data)
        with tiny.count_passes(monkeypatch) as run:
            assert equal(sign(checkpoint, probe_sets=[probes]), first)
        assert run == ["strings"]

    def test_it_stays_within_its_limit(self, checkpoint, assets, tiny, tmp_path, monkeypatch):
        from simmerge_hub.signatures.signing import cache

        first = sign(checkpoint)
        monkeypatch.setattr(cache, "_in_use", set())  # another process
        monkeypatch.setenv("SIMMERGE_CACHE_LIMIT", "0")
        sign(tiny.save(tiny.model_of("llama", seed=1), tmp_path / "other"))
        (left,) = assets.rglob("*.safetensors")
        assert load(left).digest != first.digest

    def test_nothing_half_written_stays(self, checkpoint, assets, probes, monkeypatch):
        def full(*_args, **_how):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("safetensors.torch.save_file", full)
        with pytest.raises(OSError, match="No space"):
            sign(checkpoint)
        assert [p for p in assets.rglob("*") if p.is_file()] == []

    def test_a_second_sign_imports_no_model_code(self, checkpoint, assets, probes, tmp_path):
        prompts = tmp_path / "prompts.txt"
        prompts.write_text("\n".join(probes.prompts))
        script = (
            "import sys\n"
            "from simmerge_hub.hub.resolve import resolve\n"
            "from simmerge_hub.signatures.features.vector import features\n"
            "from simmerge_hub.signatures.probing.probe import probe_set\n"
            "from simmerge_hub.signatures.signing.signature import sign\n"
            f"s = sign(resolve({str(checkpoint.ref.folder)!r}),"
            f" probe_sets=[probe_set('strings', {str(prompts)!r})])\n"
            "features(s, s, s, 'strings')\n"
            "print(sorted({m.partition('.')[0] for m in sys.modules}"
            " & {'transformers', 'peft', 'tokenizers', 'accelerate', 'datasets', 'xgboost'}))"
        )
        sign(checkpoint, probe_sets=[probes])
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "HF_ASSETS_CACHE": str(assets)},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout.strip() == "[]"


class TestAdapter:
    @pytest.fixture
    def lora(self, checkpoint, tiny, tmp_path):
        from peft import LoraConfig, get_peft_model

        torch.manual_seed(0)
        model = get_peft_model(
            tiny.model_of("llama"),
            LoraConfig(r=4, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM"),
        )
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if "lora_B" in name:
                    weight.normal_(std=0.1)
        model.save_pretrained(tmp_path / "lora")
        tiny.save(model.merge_and_unload(), tmp_path / "merged")
        return resolve(str(tmp_path / "lora")), resolve(str(tmp_path / "merged"))

    def test_it_is_signed_as_base_plus_delta(self, lora, checkpoint, assets, probes):
        adapter, whole = (sign(c, base=checkpoint, probe_sets=[probes]) for c in lora)
        assert (adapter.kind, whole.kind) == ("adapter", "full")
        assert adapter.sampled.keys() == whole.sampled.keys()
        for name, tensor in whole.sampled.items():
            torch.testing.assert_close(adapter.sampled[name], tensor, atol=1e-6, rtol=1e-5)
        a, w = adapter.sketches["strings"], whole.sketches["strings"]
        assert a.logprobs == pytest.approx(w.logprobs, abs=1e-3)
        assert a.tokens == w.tokens

    def test_its_base_is_part_of_what_it_is(self, lora, checkpoint, tiny, tmp_path, assets):
        other = tiny.save(tiny.model_of("llama", seed=1), tmp_path / "other")
        assert sign(lora[0], base=checkpoint).digest != sign(lora[0], base=other).digest

    def test_without_its_base_it_is_refused(self, lora, assets):
        with pytest.raises(AlignmentError, match="its base is not known"):
            sign(lora[0])


class TestFile:
    @pytest.fixture
    def file(self, family, tmp_path) -> Path:
        save(family.expert, tmp_path / "expert.safetensors")
        return tmp_path / "expert.safetensors"

    def test_it_comes_back_as_it_was(self, family, file):
        signature = load(file)
        assert equal(signature, family.expert)
        assert (signature.name, signature.commit) == (family.expert.name, family.expert.commit)

    @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
    def test_it_tells_the_precision_floor(self, family, tmp_path, dtype):
        from simmerge_hub.signatures.signing import store

        path = tmp_path / "one.safetensors"
        save(replace(family.expert, settings=Settings(dtype=dtype)), path)
        floor = load(path).settings.floor
        assert store.read(path)[0]["floor"] == floor == PRECISION_FLOOR[dtype] > 0

    def test_every_flipped_byte_is_refused(self, file):
        data = file.read_bytes()
        for place in range(8, len(data), len(data) // 40):
            changed = bytearray(data)
            changed[place] ^= 255
            file.write_bytes(changed)
            with pytest.raises(SignatureError, match="cannot be believed"):
                load(file)

    def test_a_file_cut_short_is_refused(self, file):
        file.write_bytes(file.read_bytes()[:-100])
        with pytest.raises(SignatureError, match="cannot be read"):
            load(file)

    def test_nan_is_refused(self, family, tmp_path):
        sampled = dict(family.expert.sampled)
        name = next(iter(sampled))
        sampled[name] = torch.full_like(sampled[name], torch.nan)
        save(replace(family.expert, sampled=sampled), tmp_path / "nan.safetensors")
        with pytest.raises(SignatureError, match="holds NaN or infinity"):
            load(tmp_path / "nan.safetensors")

    def test_another_schema_is_refused(self, family, tmp_path, monkeypatch):
        from simmerge_hub.signatures.signing import store

        monkeypatch.setattr(store, "FILE_SCHEMA", 99)
        save(family.expert, tmp_path / "new.safetensors")
        monkeypatch.undo()
        with pytest.raises(SignatureError, match="its schema is 99"):
            load(tmp_path / "new.safetensors")

    def test_any_other_safetensors_file_is_refused(self, checkpoint):
        with pytest.raises(SignatureError, match="its schema is None"):
            load(checkpoint.ref.folder / "model.safetensors")

    def test_a_part_of_a_signature_is_refused(self, family, tmp_path):
        from simmerge_hub.signatures.signing import store
        from simmerge_hub.signatures.signing.artifact import dump_part

        header, tensors = dump_part(family.expert.sketches["strings"])
        store.write(tmp_path / "sketch.safetensors", header, tensors)
        with pytest.raises(SignatureError, match="is no signature"):
            load(tmp_path / "sketch.safetensors")
