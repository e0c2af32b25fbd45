"""What a model run by layers reads, and when it forgets it."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor

from simmerge_hub.errors import SignatureError
from simmerge_hub.hub.resolve import Checkpoint, resolve
from simmerge_hub.signatures.probing import offload
from simmerge_hub.signatures.probing.feeding import feed_whole
from simmerge_hub.signatures.probing.loading import open_model
from simmerge_hub.signatures.probing.offload import load_by_layers
from simmerge_hub.weights.stream import Rows, open_tensors
from tests.activations import SHAPE

WEIGHTS = {"embedding": "model.embed_tokens.weight", "head": "lm_head.weight"}


@pytest.fixture
def checkpoint(tiny, tmp_path) -> Checkpoint:
    return tiny.save(tiny.model_of("llama"), tmp_path / "model")


@pytest.fixture
def watched(checkpoint) -> Iterator[tuple[dict[str, Rows], list[tuple[str, int, int]]]]:
    """A model's rows, and what has been read of them."""
    read: list[tuple[str, int, int]] = []

    def watch(name: str, rows: Rows) -> Rows:
        def reading(low, high, out=None):
            read.append((name, low, high))
            return rows.read(low, high, out)

        return Rows(shape=rows.shape, read=reading, release=rows.release)

    with open_tensors(checkpoint) as rows:
        yield {name: watch(name, each) for name, each in rows.items()}, read


def run(checkpoint, rows) -> torch.Tensor:
    folder = checkpoint.location.folder
    model = load_by_layers(folder, rows, torch.float32, torch.device("cpu")).eval()
    with torch.no_grad():
        return model(torch.tensor([[7, 5, 7, 40]])).logits


def test_each_tensor_is_read_once_and_of_the_embedding_what_is_named(checkpoint, watched):
    rows, read = watched
    run(checkpoint, rows)
    of_embedding = [(low, high) for name, low, high in read if name == WEIGHTS["embedding"]]
    assert of_embedding == [(5, 6), (7, 8), (40, 41)]
    others = [name for name, _, _ in read if name != WEIGHTS["embedding"]]
    assert sorted(others) == sorted(rows.keys() - {WEIGHTS["embedding"]})


def test_nothing_is_read_before_it_runs(checkpoint, watched):
    rows, read = watched
    load_by_layers(checkpoint.location.folder, rows, torch.float32, torch.device("cpu"))
    assert not read


def test_one_module_is_in_memory_while_it_runs_and_none_after(checkpoint, watched, monkeypatch):
    rows, _ = watched
    model = load_by_layers(checkpoint.location.folder, rows, torch.float32, torch.device("cpu"))
    held = []
    linear = torch.nn.functional.linear

    def watching(states, weight, bias=None):
        held.append(present(model))
        return linear(states, weight, bias)

    monkeypatch.setattr(torch.nn.functional, "linear", watching)
    with torch.no_grad():
        model(torch.tensor([[7, 5]]))
    parts = ["self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o", "mlp.gate", "mlp.up"]
    wanted = [[f"model.layers.{n}.{p}_proj.weight"] for n in range(3) for p in [*parts, "mlp.down"]]
    assert held == wanted
    assert present(model) == []


def present(model) -> list[str]:
    """The parameters that take memory."""
    return [n for n, p in model.named_parameters() if p.device.type != "meta" and p.numel()]


def test_small_blocks_say_the_same(checkpoint, watched, monkeypatch):
    rows, read = watched
    whole = run(checkpoint, rows)
    monkeypatch.setattr(offload, "READ_ENTRIES", 100)
    read.clear()
    assert run(checkpoint, rows) == pytest.approx(whole, abs=1e-5)
    assert [(low, high) for name, low, high in read if name == WEIGHTS["head"]] == [
        (low, low + 3) for low in range(0, 96, 3)
    ]


LARGE_AND_SMALL = """
import torch
from simmerge_hub.signatures.probing.offload import map_large_blocks

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

map_large_blocks()
torch.ones(2**22)  # freed at once: from now on glibc would keep blocks as large in its heap
before, large, small = resident(), [], []
for _ in range(20):
    large.append(torch.ones(2**21))
    small.append(torch.ones(512))
large.clear()
print((resident() - before) // 2**20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_what_is_large_goes_back_to_the_system_when_it_is_freed() -> None:
    """Without it 159 of 168 MB stay: what is small and stays lies between what was freed."""
    command = [sys.executable, "-c", LARGE_AND_SMALL]
    left = subprocess.run(command, check=True, capture_output=True, text=True)
    assert int(left.stdout) < 10


@pytest.mark.parametrize("offload", [False, True])
@pytest.mark.parametrize("changed", [None, *WEIGHTS.values()])
def test_what_a_config_ties_and_files_hold_apart(tiny, tmp_path, changed, offload) -> None:
    """transformers ties equal copies alone; a head of its own is a linear layer as others are."""
    folder, ids = tmp_path / "model", torch.tensor([[7, 5, 39, 40]])
    checkpoint = tiny.save(tiny.model_of("llama-tied"), folder)
    stored = load_file(folder / "model.safetensors")
    stored[WEIGHTS["head"]] = stored[WEIGHTS["embedding"]].clone()
    if changed:
        stored[changed][39] += 1
    checkpoint = rewrite(checkpoint, stored)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad(), open_model(checkpoint, offload=offload) as model:
        assert model(ids).logits == pytest.approx(loaded(ids).logits, abs=1e-5)
        assert (WEIGHTS["head"] in feed_whole(model, ids.tolist())) is bool(changed)


def rewrite(checkpoint: Checkpoint, stored: dict[str, Tensor]) -> Checkpoint:
    """The model with other tensors in its one file."""
    folder = checkpoint.location.folder
    assert folder is not None
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    return resolve(str(folder))


def test_more_than_ten_experts_are_in_their_order(tiny, tmp_path) -> None:
    """Number 10 comes after number 9, and not after number 1."""
    config, ids = tiny.configs["mixtral"](), torch.tensor([range(3, 30)])
    config.num_local_experts = 12
    torch.manual_seed(0)
    checkpoint = tiny.save(transformers.MixtralForCausalLM(config), tmp_path / "model")
    assert "model.layers.0.block_sparse_moe.experts.11.w1.weight" in checkpoint.tensors
    loaded = transformers.MixtralForCausalLM.from_pretrained(tmp_path / "model")
    with torch.no_grad(), open_model(checkpoint, offload=True) as model:
        assert model(ids).logits == pytest.approx(loaded(ids).logits, abs=1e-5)


def deepseek_v4() -> transformers.PreTrainedModel:
    """One whose first layers have a table of which experts a token gets."""
    config = transformers.DeepseekV4Config(
        **SHAPE | {"num_key_value_heads": 1, "num_hidden_layers": 2}, moe_intermediate_size=8,
        n_routed_experts=4, num_experts_per_tok=2, head_dim=16, q_lora_rank=8, o_lora_rank=8,
        index_head_dim=8, qk_rope_head_dim=8, mlp_layer_types=["hash_moe", "moe"],
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.DeepseekV4ForCausalLM(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
        table = model.get_buffer("model.layers.0.mlp.gate.tid2eid")
        table.copy_(torch.randint(0, 4, (96, 2)))
        model.get_buffer("model.layers.1.mlp.gate.e_score_correction_bias").copy_(torch.randn(4))
    return model


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_tables_are_read_and_what_chooses_experts_is_not_rounded(tiny, tmp_path, dtype) -> None:
    checkpoint = tiny.save(deepseek_v4(), tmp_path / "model")
    loaded = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "model", dtype=getattr(torch, dtype)
    )
    with torch.no_grad(), open_model(checkpoint, dtype=dtype, offload=True) as model:
        kept = model.state_dict()
        for name, values in loaded.state_dict().items():
            assert kept[name].dtype == values.dtype, name
        for name, buffer in loaded.named_buffers():
            torch.testing.assert_close(model.get_buffer(name), buffer, rtol=0, atol=0, msg=name)
        ids = torch.tensor([[7, 5, 39, 40]])
        logits = loaded(ids, use_cache=False).logits.float()
        floor = 1e-5 if dtype == "float32" else 0.02
        assert (model(ids, use_cache=False).logits.float() - logits).abs().max() <= (
            floor * logits.abs().max()
        )


@pytest.mark.parametrize("offload", [False, True])
@pytest.mark.parametrize("name", ["layers.0.ffn.gate.tid2eid", "layers.1.ffn.gate.bias"])
def test_what_chooses_experts_is_not_made_up(tiny, tmp_path, name, offload) -> None:
    checkpoint = tiny.save(deepseek_v4(), tmp_path / "model")
    stored = load_file(tmp_path / "model" / "model.safetensors")
    del stored[f"model.{name}"]
    checkpoint = rewrite(checkpoint, stored)
    with (
        pytest.raises(SignatureError, match=r"it has no tensor for model\.layers"),
        open_model(checkpoint, offload=offload),
    ):
        pass


def test_a_head_may_stay_in_float32(tiny, tmp_path) -> None:
    """Hunyuan V4 feeds its head float32, which no block in bfloat16 can be multiplied with."""
    config = transformers.HYV4Config(
        **SHAPE | {"num_key_value_heads": 4, "num_hidden_layers": 2}, moe_intermediate_size=8,
        n_routed_experts=4, num_experts_per_tok=2, q_lora_rank=8, kv_lora_rank=8, v_head_dim=8,
        qk_nope_head_dim=8, qk_rope_head_dim=8, index_topk=8, index_head_dim=16, index_n_heads=2,
        mlp_layer_types=["dense", "sparse"], indexer_types=["full", "shared"],
        layer_types=["indexed_attention"] * 2,
    )  # fmt: skip
    torch.manual_seed(0)
    checkpoint = tiny.save(transformers.HYV4ForCausalLM(config), tmp_path / "model")
    loaded = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "model", dtype=torch.bfloat16
    )
    ids = torch.tensor([[7, 5, 39, 40]])
    with torch.no_grad(), open_model(checkpoint, dtype="bfloat16", offload=True) as model:
        wanted, logits = (each(ids, use_cache=False).logits for each in (loaded, model))
    assert wanted.dtype == torch.float32
    torch.testing.assert_close(logits, wanted, rtol=0, atol=0.02 * float(wanted.abs().max()))
