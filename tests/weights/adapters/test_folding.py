"""An adapter folded row by row is what PEFT's own merge_and_unload() gives."""

import copy
import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from simmerge_hub.errors import AlignmentError, CheckpointError, SimmergeError
from simmerge_hub.hub.resolve import Piece, TargetParameter, resolve
from simmerge_hub.weights import adapters
from simmerge_hub.weights.alignment.align import align_strict
from simmerge_hub.weights.loaded.conform import conform
from simmerge_hub.weights.shapes import matrix_shape, shapes
from simmerge_hub.weights.stream import open_tensors, read_rows
from tests import nano

AT = "base_model.model.model.layers.0.self_attn.q_proj"
UNLOAD = "merge it into its base with peft's merge_and_unload() and use the result"

Adapted = Callable[..., tuple[Path, Path, dict[str, Tensor]]]


@pytest.fixture(scope="module")
def bases() -> dict[str, Any]:
    """A Llama, one with tied embeddings, and a GPT-2 with Conv1D layers."""
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    small = {k: v for k, v in nano.CONFIG.items() if k not in ("architectures", "model_type")}
    return {
        "llama": LlamaForCausalLM(LlamaConfig(**small)),
        "tied": LlamaForCausalLM(LlamaConfig(**small | {"tie_word_embeddings": True})),
        "gpt2": GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=20)),
    }


@pytest.fixture
def adapted(bases: dict[str, Any], tmp_path: Path) -> Adapted:
    """Train nothing: random adapter weights on a base, saved; and the merge as PEFT computes it."""
    from peft import LoraConfig, PeftModel, get_peft_model

    def run(kind: str = "llama", **config: Any) -> tuple[Path, Path, dict[str, Tensor]]:
        model = copy.deepcopy(bases[kind])
        model.save_pretrained(tmp_path / "base")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wrapped = get_peft_model(model, LoraConfig(**config))
            generator = torch.Generator().manual_seed(1)
            for parameter in wrapped.parameters():
                if parameter.requires_grad:
                    step = 0.3 * torch.randn(parameter.shape, generator=generator)
                    parameter.data.add_(step)
            wrapped.save_pretrained(tmp_path / "lora")
            # read back: PEFT sorts the keys of patterns when it saves, and the first match counts
            read = PeftModel.from_pretrained(copy.deepcopy(bases[kind]), tmp_path / "lora")
            merged = read.merge_and_unload()
        state = {n: t.detach() for n, t in merged.state_dict().items()}
        return tmp_path / "base", tmp_path / "lora", state

    return run


CASES: dict[str, dict[str, Any]] = {
    "lora": {"r": 3, "lora_alpha": 7, "target_modules": ["q_proj", "down_proj"]},
    "rslora": {"r": 4, "lora_alpha": 8, "use_rslora": True, "target_modules": ["up_proj"]},
    "dora": {"r": 2, "use_dora": True, "target_modules": ["k_proj", "gate_proj"]},
    "dora + rslora": {"r": 4, "use_dora": True, "use_rslora": True, "target_modules": ["o_proj"]},
    "patterns": {
        "r": 2,
        "lora_alpha": 4,
        "target_modules": ["q_proj", "v_proj", "up_proj"],
        "rank_pattern": {"layers.1.self_attn.q_proj": 5, "up_proj": 1},
        "alpha_pattern": {r"layers\.[1]\..*v_proj": 32, "q_proj": 1, "layers.1.mlp.up_proj": 9},
    },
    "rslora + patterns": {
        "r": 2,
        "use_rslora": True,
        "target_modules": ["q_proj", "up_proj"],
        "rank_pattern": {"up_proj": 6},
    },
    "one layer": {"r": 2, "target_modules": ["q_proj"], "layers_to_transform": [1]},
    "embeddings": {"r": 2, "lora_alpha": 6, "target_modules": ["embed_tokens", "q_proj"]},
    "head": {"r": 2, "target_modules": ["lm_head"]},
    "modules_to_save": {"r": 2, "target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
    "saved embeddings": {"r": 2, "target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]},
    "gaussian": {"r": 2, "target_modules": ["q_proj"], "init_lora_weights": "gaussian"},
    "orthogonal": {"r": 2, "target_modules": ["q_proj"], "init_lora_weights": "orthogonal"},
}  # fmt: skip


def fold_in(base: Path, lora: Path) -> dict[str, Tensor]:
    alike = conform([resolve(str(lora))], resolve(str(base)))
    (adapter,), origin = alike.models, alike.base
    shapes = align_strict([adapter], origin).shapes
    wanted = {n: [(0, matrix_shape(s)[0])] for n, s in shapes.items()}
    read = read_rows(adapter, wanted, origin)
    return {n: read[n].reshape(s) for n, s in shapes.items()}


@pytest.mark.parametrize("config", CASES.values(), ids=CASES)
def test_as_peft_merges(config: dict[str, Any], adapted: Adapted) -> None:
    base, lora, expected = adapted(**config)
    ours = fold_in(base, lora)
    assert ours.keys() == expected.keys()
    changed = {n for n, t in nano.load(base).items() if not torch.equal(t, ours[n])}
    assert changed
    for name, tensor in expected.items():
        torch.testing.assert_close(ours[name], tensor, rtol=1e-5, atol=1e-6, msg=name)
        if name not in changed:
            torch.testing.assert_close(nano.load(base)[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize(
    "config",
    [
        {"target_modules": ["c_attn"]},
        {"target_modules": ["c_attn", "c_proj", "c_fc"], "lora_alpha": 3},
        {"target_modules": ["c_attn"], "fan_in_fan_out": True, "use_rslora": True},
    ],
    ids=["one", "squares too", "rslora"],
)
def test_gpt2_stores_its_matrices_transposed(config: dict[str, Any], adapted: Adapted) -> None:
    base, lora, expected = adapted("gpt2", r=2, **config)
    ours = fold_in(base, lora)
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize(("kind", "square"), [("gpt2", "attn.c_proj"), ("llama", "q_proj")])
@pytest.mark.parametrize("flag", [True, False])
def test_of_squares_the_module_says_how_they_are_stored(
    kind: str, square: str, flag: bool, adapted: Adapted
) -> None:
    """So PEFT reads an adapter whose fan_in_fan_out is not true of the model."""
    base, lora, expected = adapted(kind, r=2, target_modules=[square])
    stated = json.loads((lora / "adapter_config.json").read_text())
    (lora / "adapter_config.json").write_text(json.dumps(stated | {"fan_in_fan_out": flag}))
    for name, tensor in fold_in(base, lora).items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("targets", [["c_attn", "c_fc", "wte"], ["attn.c_proj", "c_fc", "lm_head"]])
@pytest.mark.parametrize("flag", [True, False])
def test_conv1d_beside_linear_is_told_by_module(
    targets: list[str], flag: bool, adapted: Adapted
) -> None:
    """`fan_in_fan_out` is one flag; PEFT writes it as the last module left it."""
    base, lora, expected = adapted("gpt2", r=2, target_modules=targets)
    stated = json.loads((lora / "adapter_config.json").read_text())
    (lora / "adapter_config.json").write_text(json.dumps(stated | {"fan_in_fan_out": flag}))
    folded = fold_in(base, lora)
    # tied, and not adapted: PEFT's merge writes into both
    other = folded.pop("lm_head.weight" if "wte" in targets else "transformer.wte.weight")
    assert torch.equal(other, nano.load(base)["transformer.wte.weight"])
    for name, tensor in folded.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-6, msg=name)


def test_a_flag_that_shapes_contradict_is_not_trusted_for_squares(tmp_path: Path) -> None:
    tensors = {
        f"{AT}.lora_A.weight": torch.ones(2, 16),
        f"{AT}.lora_B.weight": torch.ones(16, 2),
        f"{AT[:-16]}mlp.up_proj.lora_A.weight": torch.ones(2, 16),
        f"{AT[:-16]}mlp.up_proj.lora_B.weight": torch.ones(24, 2),
    }
    base = nano.model(tmp_path / "base")
    (base / "config.json").write_text(json.dumps(nano.CONFIG | {"architectures": ["Unknown"]}))
    lora = nano.lora(tmp_path / "lora", tensors, fan_in_fan_out=True)
    with pytest.raises(CheckpointError) as caught:
        fold_in(base, lora)
    assert "fan_in_fan_out=True is not true of all modules" in str(caught.value)
    assert caught.value.hint == UNLOAD


def test_another_rank_than_the_config_says_is_refused(tmp_path: Path) -> None:
    """PEFT does not load it, and α is divided by a rank."""
    base, lora = nano.model(tmp_path / "base"), nano.lora(tmp_path / "lora", r=4)
    with pytest.raises(
        CheckpointError, match=r"q_proj in rank 2, and its adapter_config.json says 4"
    ):
        fold_in(base, lora)
    fold_in(base, nano.lora(tmp_path / "lora", r=4, rank_pattern={"q_proj": 2}))


def test_what_a_config_leaves_out_is_as_peft_takes_it(tmp_path: Path, adapted: Adapted) -> None:
    rank = {"target_modules": ["q_proj", "up_proj"], "rank_pattern": {"up_proj": 2}}
    base, lora, expected = adapted(**rank)
    leave_out(lora, r=8, lora_alpha=8)
    for name, tensor in fold_in(base, lora).items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-6, msg=name)
    lora = nano.lora(tmp_path / "other")
    leave_out(lora, r=2)
    with pytest.raises(CheckpointError, match=r"q_proj in rank 2, .* says none, for .* takes 8"):
        fold_in(base, lora)
    lora = nano.lora(tmp_path / "by_pattern", rank_pattern={"q_proj": 8})
    leave_out(lora, r=2)
    with pytest.raises(CheckpointError, match=r"q_proj in rank 2, .* says 8$"):
        fold_in(base, lora)


def leave_out(lora: Path, **known: int) -> None:
    """Take settings out of an adapter's config, which has these values of them."""
    file = lora / "adapter_config.json"
    stated = json.loads(file.read_text())
    assert {key: stated.pop(key) for key in known} == known
    file.write_text(json.dumps(stated))


@pytest.mark.parametrize(
    ("config", "unaimed"),
    [
        ({"target_modules": ["q_proj"]}, False),
        ({"target_modules": [AT.removeprefix("base_model.model.")]}, False),
        ({"target_modules": ".*q_proj", "layers_to_transform": None}, False),
        ({}, False),
        ({"target_modules": ["v_proj"]}, True),
        ({"target_modules": ["v_proj"], "ensure_weight_tying": True}, False),
        ({"target_modules": ["proj"]}, True),
        ({"target_modules": ["q_proj"], "layers_to_transform": [1]}, True),
        ({"target_modules": ["q_proj"], "layers_to_transform": 0}, False),
        ({"target_modules": ["q_proj"], "exclude_modules": ["q_proj"]}, True),
    ],
)
def test_matrices_that_peft_passes_over_are_said(
    config: dict[str, Any], unaimed: bool, tmp_path: Path
) -> None:
    base = resolve(str(nano.model(tmp_path / "base")))
    lora = resolve(str(nano.lora(tmp_path / "lora", **config)))
    said = (
        "lora holds matrices of model.layers.0.self_attn.q_proj, at which its config does not "
        "aim: PEFT passes over them, here they are added"
    )
    assert (said in align_strict([lora], base).notes) == unaimed


@pytest.mark.parametrize(
    ("target", "pattern", "rank"),
    [("embed_tokens", {"lm_head": 4}, 2), ("embed_tokens", {"embed_tokens": 4}, 4),
     ("lm_head", {"lm_head": 4}, 2), ("embed_tokens", {}, 2)],
)  # fmt: skip
def test_a_tied_head_has_the_matrices_of_its_embedding_in_their_rank(
    target: str, pattern: dict[str, int], rank: int, adapted: Adapted
) -> None:
    """And is scaled by the rank that the config says of the head, as PEFT runs it."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base, lora, _ = adapted(
        "tied", r=2, lora_alpha=3, target_modules=["q_proj", target], rank_pattern=pattern,
        ensure_weight_tying=True,
    )  # fmt: skip
    stored = nano.load(lora)
    a, b = (stored[f"base_model.model.lm_head.lora_{each}.weight"] for each in "AB")
    assert (a.shape[0], b.shape[1]) == (rank, rank)
    loaded = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), lora)
    scaling = loaded.base_model.model.lm_head.scaling["default"]  # pyright: ignore
    assert scaling == 3 / pattern.get("lm_head", 2)
    adapter, model = resolve(str(lora)), resolve(str(base))
    loras, *_ = adapters.fit.fit(adapter, stored, shapes(model) | {"lm_head.weight": (20, 16)})
    scales = {each.module: each.scaling for each in loras}
    assert scales["lm_head"] == scaling
    assert scales["model.embed_tokens"] == 3 / pattern.get("embed_tokens", 2)


def test_dora_of_an_embedding_is_called_so(adapted: Adapted) -> None:
    base, lora, _ = adapted(r=2, use_dora=True, target_modules=["embed_tokens"])
    with pytest.raises(CheckpointError) as caught:
        fold_in(base, lora)
    assert str(caught.value) == "lora is a DoRA adapter of the embedding model.embed_tokens.weight"
    assert caught.value.hint == UNLOAD


@pytest.mark.parametrize("module", ["embed_tokens", "lm_head"])
def test_modules_trained_whole_and_saved_as_embeddings_too(module: str, adapted: Adapted) -> None:
    """Where PEFT saves embeddings it writes them three times, and reads the plain name."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base, lora, expected = adapted(r=2, target_modules=["q_proj"], modules_to_save=[module])
    config = LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=[module])
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    model.load_adapter(str(lora), "default")
    model.save_pretrained(lora, save_embedding_layers=True)
    assert sum(module in name and "lora" not in name for name in nano.load(lora)) == 3
    for name, tensor in fold_in(base, lora).items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-6, msg=name)


def test_a_resized_vocabulary_is_refused(
    bases: dict[str, Any], tmp_path: Path, adapted: Adapted
) -> None:
    base, lora, _ = adapted(r=2, target_modules=["q_proj"])
    saved = nano.load(lora) | {"base_model.model.lm_head.weight": torch.zeros(23, nano.WIDTH)}
    lora = nano.lora(tmp_path / "resized", saved)
    with pytest.raises(AlignmentError) as caught:
        fold_in(base, lora)
    assert str(caught.value) == (
        "the adapter resized changes lm_head.weight as [23, 16], in its base it is [20, 16]"
    )


@pytest.mark.parametrize(
    ("config", "seen"),
    [
        ({"peft_type": "LOHA"}, "is a LOHA adapter; only LoRA (rsLoRA, DoRA) can be folded in"),
        ({"peft_type": "IA3"}, "is a IA3 adapter"),
        ({"peft_type": "PREFIX_TUNING"}, "is a PREFIX_TUNING adapter"),
        ({"peft_type": None}, "is a None adapter"),
        ({"bias": "all"}, "trains biases too (bias='all')"),
        ({"init_lora_weights": "pissa"}, "was started with pissa, which changes the base too"),
        ({"init_lora_weights": "pissa_niter_16"}, "was started with pissa_niter_16"),
        ({"init_lora_weights": "olora"}, "was started with olora"),
        ({"init_lora_weights": "OLoRA"}, "was started with OLoRA"),
        ({"init_lora_weights": "loftq"}, "was started with loftq"),
        ({"init_lora_weights": "corda"}, "was started with corda"),
        ({"init_lora_weights": "lora_ga"}, "was started with lora_ga"),
        *(
            ({key: said}, f"is a LoRA of a special kind ({key})")
            for key, said in {
                "alora_invocation_tokens": [1],
                "arrow_config": {"top_k": 1},
                "kasa_config": {"beta": 1.0},
                "layer_replication": [[0, 1]],
                "lora_bias": True,
                "monteclora_config": {"num_samples": 2},
                "trainable_token_indices": [1],
                "use_bdlora": {"nblocks": 2},
                "use_qalora": True,
                "velora_config": {"num_groups": 2},
            }.items()
        ),
    ],
)
def test_adapters_that_are_more_than_a_product(
    tmp_path: Path, config: dict[str, Any], seen: str
) -> None:
    base = nano.model(tmp_path / "base")
    lora = nano.lora(tmp_path / "lora", **config)
    with pytest.raises(CheckpointError) as caught:
        fold_in(base, lora)
    assert str(caught.value).startswith(f"lora {seen}")
    assert caught.value.hint == UNLOAD


@pytest.mark.parametrize(
    ("a", "b", "seen"),
    [
        ((2, 16), None, "no pair of matrices for model.layers.0.self_attn.q_proj: A [2, 16] and B"),
        ((2, 16), (16, 3), "A [2, 16] and B [16, 3]"),
        ((2, 16, 3), (16, 2, 1), "A [2, 16, 3] and B [16, 2, 1]"),
    ],
)  # fmt: skip
def test_matrices_that_do_not_multiply(
    tmp_path: Path, a: tuple[int, ...], b: tuple[int, ...] | None, seen: str
) -> None:
    tensors = {f"{AT}.lora_A.weight": torch.ones(a)}
    tensors |= {} if b is None else {f"{AT}.lora_B.weight": torch.ones(b)}
    lora = nano.lora(tmp_path / "lora", tensors)
    with pytest.raises(CheckpointError) as caught:
        fold_in(nano.model(tmp_path / "base"), lora)
    assert seen in str(caught.value)


@pytest.mark.parametrize(
    ("module", "a", "b", "seen"),
    [
        (AT, (2, 8), (8, 2), "q_proj.weight as [8, 8], in its base it is [16, 16]"),
        (AT, (2, 32), (8, 2), "q_proj.weight as [8, 32], in its base it is [16, 16]"),
        (AT + "_old", (2, 16), (16, 2), "q_proj_old.weight, which its base does not have"),
    ],
)
def test_another_base(
    tmp_path: Path, module: str, a: tuple[int, int], b: tuple[int, int], seen: str
) -> None:
    """Also [8, 32] for [16, 16]: as many entries, and still wrong."""
    tensors = {f"{module}.lora_A.weight": torch.ones(a), f"{module}.lora_B.weight": torch.ones(b)}
    lora = nano.lora(tmp_path / "lora", tensors)
    with pytest.raises(AlignmentError) as caught:
        fold_in(nano.model(tmp_path / "base"), lora)
    assert seen in str(caught.value)
    assert "--base" in caught.value.hint


def test_headers_are_enough_to_refuse(tmp_path: Path) -> None:
    """The file is gone when the check is made."""
    lora = nano.lora(tmp_path / "lora", {f"{AT}.lora_A.weight": torch.ones(2, 16)})
    checkpoint = resolve(str(lora))
    (lora / "adapter_model.safetensors").unlink()
    with pytest.raises(SimmergeError, match="no pair of matrices"):
        adapters.check(checkpoint, {})


def test_rows_do_not_depend_on_which_are_asked_for(tmp_path: Path) -> None:
    base = {"w": torch.randn(300, 40)}
    tensors = {"base_model.model.w.lora_A.weight": torch.randn(8, 40)}
    tensors["base_model.model.w.lora_B.weight"] = torch.randn(300, 8)
    tensors["base_model.model.w.lora_magnitude_vector"] = torch.rand(300)
    shape = {"w.weight": (300, 40)}
    lora = resolve(str(nano.lora(tmp_path / "lora", tensors, use_dora=True)))
    fold = adapters.folds(lora, tensors, shape)["w.weight"]
    whole = fold(base["w"], 0)
    for step in (7, 64, 100):
        parts = [fold(base["w"][low : low + step], low) for low in range(0, 300, step)]
        assert torch.equal(torch.cat(parts), whole)


def test_magnitudes_of_a_matrix_that_is_stored_as_two(tmp_path: Path) -> None:
    """Each row is as long as the magnitude of that row in memory, where up is below gate."""
    tensors = {
        "base_model.model.gate_up.lora_A.weight": torch.zeros(2, 2),
        "base_model.model.gate_up.lora_B.weight": torch.zeros(4, 2),
        "base_model.model.gate_up.lora_magnitude_vector": torch.tensor([1.0, 2.0, 3.0, 4.0]),
    }
    lora = resolve(str(nano.lora(tmp_path / "lora", tensors, use_dora=True)))
    pieces = (Piece("gate.weight", last=2), Piece("up.weight", first=2, last=4))
    lora = replace(lora, targets={"gate_up.weight": TargetParameter("gate_up.weight", pieces)})
    fold = adapters.folds(lora, tensors, {"gate.weight": (2, 2), "up.weight": (2, 2)})
    rows = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    torch.testing.assert_close(fold["gate.weight"](rows, 0), torch.tensor([[0.6, 0.8], [0, 2]]))
    torch.testing.assert_close(fold["up.weight"](rows, 0), torch.tensor([[1.8, 2.4], [0, 4]]))


@pytest.mark.parametrize("step", [300, 7, 64, 100])
def test_rows_of_a_larger_tensor_in_any_blocks(tmp_path: Path, step: int) -> None:
    """A module that its base stores as rows of one tensor changes these, whichever are read."""
    a, b = torch.randn(2, 5), torch.randn(100, 2)
    tensors = {"base_model.model.k.lora_A.weight": a, "base_model.model.k.lora_B.weight": b}
    lora = resolve(str(nano.lora(tmp_path / "lora", tensors, lora_alpha=6)))
    target = TargetParameter("k.weight", (Piece("qkv.weight", last=100, at=60),))
    lora = replace(lora, targets={"k.weight": target})
    fold = adapters.folds(lora, tensors, {"qkv.weight": (300, 5)})["qkv.weight"]
    rows = torch.randn(300, 5)
    wanted = rows.clone()
    wanted[60:160] += 3 * b @ a
    parts = [fold(rows[low : low + step], low) for low in range(0, 300, step)]
    torch.testing.assert_close(torch.cat(parts), wanted)


def test_opened_and_read_are_the_same(adapted: Adapted) -> None:
    base, lora, _ = adapted(**CASES["dora"])
    origin, adapter = resolve(str(base)), resolve(str(lora))
    read = fold_in(base, lora)
    with open_tensors(adapter, origin) as rows:
        for name, shape in shapes(adapter, origin).items():
            whole = rows[name].read(0, matrix_shape(shape)[0])
            assert torch.equal(whole.reshape(shape), read[name])
            low = matrix_shape(shape)[0] // 2  # a block that is not the first
            assert torch.equal(rows[name].read(low, low + 1), whole[low : low + 1])
    name = "model.layers.0.mlp.gate_proj.weight"
    some = read_rows(adapter, {name: [(20, 24), (3, 4)]}, origin)[name]
    assert torch.equal(some, read[name][[20, 21, 22, 23, 3]])
