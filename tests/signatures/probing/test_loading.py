"""Models in memory and by layers from disk: the same results, and nothing left behind."""

import json
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from simmerge_hub.errors import AlignmentError, CheckpointError, ProbeError, SignatureError
from simmerge_hub.hub.resolve import Checkpoint, resolve
from simmerge_hub.signatures.probing.feeding import feed_whole
from simmerge_hub.signatures.probing.loading import open_model
from simmerge_hub.signatures.probing.probe import run_probes
from simmerge_hub.signatures.probing.sketch import Sketch
from simmerge_hub.signatures.signing.artifact import PRECISION_FLOOR
from simmerge_hub.weights.loaded import memory
from simmerge_hub.weights.loaded.conform import conform
from tests.activations import random_model
from tests.signatures.conftest import ARCHITECTURES, save

PATHS = ["resident", "offloaded"]


def assert_same(one: Sketch, other: Sketch, dtype: str = "float32") -> None:
    """Two sketches of one model, to within what its compute dtype can say."""
    assert one.tokens == other.tokens
    assert one.attention.size
    for name in ("logprobs", "entropy", "loss", "hidden"):
        a, b = getattr(one, name), getattr(other, name)
        assert np.abs(a - b).max() <= PRECISION_FLOOR[dtype] * np.abs(b).max(), name
    far = np.abs(one.attention.astype(np.float32) - other.attention.astype(np.float32)).max()
    assert far <= max(1e-3, PRECISION_FLOOR[dtype])


def both(checkpoint: Checkpoint, base: Checkpoint | None, probes, **how) -> list[Sketch]:
    """Sketches of a model in memory, and by layers."""
    runs = [run_probes(checkpoint, base, [probes], offload=o, **how) for o in (False, True)]
    return [sketch for run in runs for sketch in run.sketches.values()]


def enter(checkpoint: Checkpoint, base: Checkpoint | None = None, **how) -> None:
    """Load a model, and leave it."""
    with open_model(checkpoint, base, **how):
        pass


def adapter(base: Checkpoint, folder: Path, **config) -> Checkpoint:
    """A random LoRA as PEFT saves it."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base.location.folder)
    torch.manual_seed(5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that adapted embeddings are saved whole
        tuned = get_peft_model(model, LoraConfig(r=4, init_lora_weights=False, **config))
        tuned.save_pretrained(str(folder))
    return resolve(str(folder))


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary files go; empty at the end, as the list of open files is as before."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert not list(folder.iterdir())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_by_layers_it_is_the_same_model(tiny, tmp_path, probes, scratch, architecture):
    checkpoint = tiny.save(
        tiny.model_of(architecture).to(torch.bfloat16), tmp_path / "model", max_shard_size="20KB"
    )
    before = sorted(path.name for path in (tmp_path / "model").iterdir())
    assert_same(*both(checkpoint, None, probes))
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == before


@pytest.mark.parametrize(
    ("architecture", "config"),
    [
        ("llama", {"target_modules": ["q_proj", "down_proj"], "use_rslora": True}),
        ("llama", {"target_modules": ["v_proj"], "modules_to_save": ["lm_head"]}),
        ("llama", {"target_modules": ["embed_tokens", "lm_head"]}),
        ("llama", {"target_modules": ["q_proj"], "use_dora": True}),
        ("gpt2", {"target_modules": ["c_attn", "c_fc"], "fan_in_fan_out": True}),
        ("mixtral", {"target_modules": ["q_proj", "o_proj"]}),
    ],
    ids=["llama", "whole head", "vocabulary", "dora", "gpt2", "mixtral"],
)
def test_by_layers_an_adapter_is_folded_in(tiny, tmp_path, probes, scratch, architecture, config):
    base = tiny.save(tiny.model_of(architecture), tmp_path / "base")
    lora = adapter(base, tmp_path / "lora", **config)
    resident, offloaded = both(lora, base, probes)
    assert_same(offloaded, resident)
    (plain,) = run_probes(base, None, [probes]).sketches.values()
    assert np.abs(plain.hidden - offloaded.hidden).max() > 0.01


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_both_ways_compute_in_the_dtype_asked_for(tiny, tmp_path, probes, dtype):
    checkpoint = tiny.save(tiny.model_of("llama"), tmp_path / "model")
    assert_same(*both(checkpoint, None, probes, dtype=dtype), dtype)
    for offload in (False, True):
        with open_model(checkpoint, dtype=dtype, offload=offload) as model, torch.no_grad():
            assert str(model(torch.tensor([[1, 2]])).logits.dtype) == f"torch.{dtype}"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("offload", [False, True], ids=PATHS)
def test_a_gpu_says_the_same(tiny, tmp_path, probes, offload):
    checkpoint = tiny.save(tiny.model_of("llama"), tmp_path / "model")
    (here,) = run_probes(checkpoint, None, [probes], device="cpu").sketches.values()
    (there,) = run_probes(
        checkpoint, None, [probes], device="cuda", offload=offload
    ).sketches.values()
    assert_same(there, here)


@pytest.mark.parametrize("offload", [False, True], ids=PATHS)
def test_a_model_is_whole_in_memory_or_not_at_all(tiny, tmp_path, offload):
    checkpoint = tiny.save(tiny.model_of("llama-tied"), tmp_path / "model")
    with open_model(checkpoint, offload=offload) as model:
        held = sum(p.nbytes for p in model.parameters() if p.device.type != "meta")
        assert held == (0 if offload else memory.model_bytes(checkpoint, None, "float32"))


@pytest.mark.parametrize(("free", "device"), [(1.3, "cpu"), (1.2, "meta")])
def test_free_memory_decides(tiny, tmp_path, monkeypatch, free, device):
    checkpoint = tiny.save(tiny.model_of("llama"), tmp_path / "model")
    size = memory.model_bytes(checkpoint, None, "float32")
    monkeypatch.setattr(memory, "free_memory", lambda *_: free * size)
    with open_model(checkpoint) as model:
        assert model.lm_head.weight.device.type == device


def test_nothing_is_left_when_a_run_fails(tiny, tmp_path, scratch):
    checkpoint = tiny.save(tiny.model_of("llama"), tmp_path / "model")

    def fail(*_) -> None:
        raise InterruptedError

    before = open_files()
    with pytest.raises(InterruptedError), open_model(checkpoint, offload=True) as model:
        model.model.layers[1].register_forward_hook(fail)
        model(torch.tensor([[1, 5]]))
    assert open_files() == before


def open_files() -> list[str]:
    """Weight files this process has open; none where the system does not say."""
    links = Path("/proc/self/fd")
    paths = [os.path.realpath(link) for link in links.iterdir()] if links.exists() else []
    return [name for name in paths if name.endswith(".safetensors")]


@pytest.mark.parametrize("offload", [False, True], ids=PATHS)
def test_a_token_without_an_embedding_is_refused(tiny, tmp_path, probes, offload):
    model = tiny.model_of("llama")
    model.resize_token_embeddings(40)
    checkpoint = tiny.save(model, tmp_path / "model")
    with pytest.raises(ProbeError) as caught:
        run_probes(checkpoint, None, [probes], offload=offload)
    assert str(caught.value) == "the tokenizer gives token 93, and the model embeds 40"
    assert "tokenizer" in caught.value.hint


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ({"model_type": "unheard_of"}, "ValueError"),
        ({"auto_map": {"AutoModelForCausalLM": "code.Model"}, "model_type": "own"}, "ValueError"),
        (
            {"num_attention_heads": 3},
            "StrictDataclassClassValidationError: Class validation error for validator "
            "'validate_architecture': ValueError: The hidden size (32) is not a multiple",
        ),
        ({"vocab_size": None}, "StrictDataclassFieldValidationError"),
    ],
    ids=[
        "unknown architecture", "code of its own", "odd heads", "no vocabulary",
    ],
)  # fmt: skip
def test_a_model_that_cannot_be_loaded_is_named(tiny, tmp_path, change, seen):
    with pytest.raises(SignatureError) as caught:
        enter(changed(tiny, tmp_path, change))
    assert str(caught.value).startswith(f"model cannot be loaded: {seen}")
    assert "\n" not in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("offload", [False, True])
def test_tensors_are_checked_before_they_are_read(tiny, tmp_path, offload):
    tiny.save(tiny.model_of("llama"), tmp_path / "model")
    file, lost = tmp_path / "model" / "model.safetensors", "model.layers.2.input_layernorm.weight"
    kept = {name: tensor for name, tensor in load_file(file).items() if name != lost}
    save_file(kept, file, metadata={"format": "pt"})
    with pytest.raises(SignatureError) as caught:
        enter(resolve(str(tmp_path / "model")), offload=offload)
    assert str(caught.value) == (f"model cannot be loaded: ValueError: it has no tensor for {lost}")
    assert "--signals structural" in caught.value.hint


@pytest.mark.parametrize("offload", [False, True])
def test_a_layer_that_is_not_stored_is_said_to_be_none(tiny, tmp_path, offload):
    with pytest.raises(AlignmentError, match=r"no model.layers.3.self_attn.q_proj.weight and 6"):
        enter(changed(tiny, tmp_path, {"num_hidden_layers": 4}), offload=offload)


@pytest.mark.parametrize("offload", [False, True])
def test_a_config_of_other_sizes_is_said_to_be_one(tiny, tmp_path, offload):
    """As a merge says it, which would refuse it too."""
    with pytest.raises(AlignmentError, match=r"gate_proj.weight is \[48, .* intermediate_size 64;"):
        enter(changed(tiny, tmp_path, {"intermediate_size": 64}), offload=offload)


def changed(tiny, tmp_path: Path, change: dict) -> Checkpoint:
    """A Llama whose config does not say what its files hold."""
    tiny.save(tiny.model_of("llama"), tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    return resolve(str(tmp_path / "model"))


@pytest.mark.parametrize("offload", [None, False, True])
def test_an_adapter_needs_its_base(tiny, tmp_path, offload):
    base = tiny.save(tiny.model_of("llama"), tmp_path / "base")
    lora = adapter(base, tmp_path / "lora", target_modules=["q_proj"])
    with pytest.raises(AlignmentError, match="lora is an adapter, and its base is not known"):
        enter(lora, offload=offload)


def test_by_layers_only_what_can_be_merged_is_folded_in(tiny, tmp_path):
    base = tiny.save(tiny.model_of("llama"), tmp_path / "base")
    adapter(base, tmp_path / "lora", target_modules=["q_proj"])
    path = tmp_path / "lora" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"peft_type": "LOHA"}))
    with pytest.raises(CheckpointError, match="lora is a LOHA adapter"):
        enter(resolve(str(tmp_path / "lora")), base, offload=True)


@pytest.mark.parametrize("offload", [False, True], ids=PATHS)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_an_adapter_of_a_tied_head_changes_the_head_alone(offload: bool, tmp_path: Path) -> None:
    """As PEFT runs it; PEFT folds it into the embedding too, which the base ties to the head."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    save(random_model("llama-tied"), tmp_path / "base")
    base = resolve(str(tmp_path / "base"))
    lora = adapter(base, tmp_path / "lora", target_modules=["lm_head", "q_proj"])
    ids = torch.tensor([[3, 4, 5, 6, 7]])
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    alike = conform([lora], base)
    with torch.no_grad(), open_model(alike.models[0], alike.base, offload=offload) as model:
        expected = PeftModel.from_pretrained(plain, str(tmp_path / "lora"))(ids).logits
        torch.testing.assert_close(model(ids).logits, expected, rtol=0, atol=1e-4)
        assert "lm_head.weight" in feed_whole(model, ids.tolist())  # a linear layer of its own
