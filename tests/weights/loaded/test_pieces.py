"""Adapters of what transformers joins or takes apart on load: merged as PEFT computes them."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor

from simmerge_hub.errors import CheckpointError
from simmerge_hub.hub.resolve import Piece, resolve
from simmerge_hub.merger import merge
from simmerge_hub.recipe import Recipe, Source, Step
from simmerge_hub.signatures.signing.signature import sign
from simmerge_hub.weights.adapters import changed_tensors
from simmerge_hub.weights.loaded.conform import conform
from tests.weights.loaded.test_conform import EXPERTS, SMALL, recipe_of

STACKS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
GPT_OSS = {"num_local_experts": 2, "num_experts_per_tok": 2, "head_dim": 8}
FIVE = {"num_key_value_heads": 2, "pad_token_id": 0}
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "both stacks of experts that are stored one by one": (
        "Qwen3MoeForCausalLM", EXPERTS,
        {"target_modules": ["q_proj"], "target_parameters": STACKS},
    ),
    "one stack, in one layer": (
        "Qwen3MoeForCausalLM", EXPERTS,
        {"target_modules": [], "target_parameters": ["layers.1.mlp.experts.down_proj"]},
    ),
    "patterns and the root of the rank": (
        "Qwen3MoeForCausalLM", EXPERTS,
        {"target_modules": [], "target_parameters": STACKS, "use_rslora": True,
         "rank_pattern": {"down_proj": 3}, "alpha_pattern": {"gate_up_proj": 5}},
    ),
    "experts by the names of old": (
        "Qwen3MoeForCausalLM", EXPERTS,
        {"target_modules": ["gate_proj", "up_proj", "down_proj"]},
    ),
    "stacks that are stored [experts, in, out]": (
        "GptOssForCausalLM", GPT_OSS,
        {"target_modules": ["q_proj"], "target_parameters": STACKS},
    ),
    "rows of one matrix, of which there are more for queries": (
        "Molmo2TextModel", {"num_key_value_heads": 1, "head_dim": 8},
        {"target_modules": ["q_proj", "v_proj", "up_proj"]},
    ),
    "a matrix as a parameter": (
        "LlamaForCausalLM", {},
        {"target_modules": [], "target_parameters": ["self_attn.q_proj.weight"]},
    ),
    "a matrix as a parameter, with patterns for its name": (
        "LlamaForCausalLM", {},
        {"target_modules": [], "target_parameters": ["self_attn.q_proj.weight"],
         "rank_pattern": {"q_proj.weight": 3, "q_proj": 1}, "alpha_pattern": {"q_proj.weight": 5}},
    ),
    "a pattern for a module, of which a parameter is adapted": (
        "LlamaForCausalLM", {},
        {"target_modules": ["v_proj"], "target_parameters": ["self_attn.q_proj.weight"],
         "alpha_pattern": {"q_proj": 5, "v_proj": 3}},
    ),
    "square parameters that are stored [in, out]": (
        "GPT2LMHeadModel", {},
        {"target_modules": [], "target_parameters": ["attn.c_proj.weight", "c_attn.weight"]},
    ),
    "modules that are rows of one tensor": (
        "HrmTextForCausalLM", {}, {"target_modules": ["gate_proj", "up_proj", "q_proj"]},
    ),
    "the same with magnitudes": (
        "HrmTextForCausalLM", {}, {"target_modules": ["up_proj", "v_proj"], "use_dora": True},
    ),
    "whole modules that are rows of one tensor": (
        "HrmTextForCausalLM", {},
        {"target_modules": ["up_proj"], "modules_to_save": ["q_proj", "v_proj"]},
    ),
    "whole experts": (
        "Qwen3MoeForCausalLM", EXPERTS,
        {"target_modules": ["q_proj"], "modules_to_save": ["experts"]},
    ),
}  # fmt: skip


def adapt(folder: Path, kind: str, config: dict[str, Any], adapter: dict[str, Any]) -> None:
    """A base and a random adapter of it, as transformers and PEFT save them."""
    from peft import LoraConfig, get_peft_model

    model = getattr(transformers, kind)
    torch.manual_seed(0)
    base = model(model.config_class(**{**SMALL, **FIVE, **config}))
    base.save_pretrained(folder / "base")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tuned = get_peft_model(base, LoraConfig(r=2, **adapter))
        generator = torch.Generator().manual_seed(1)
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                parameter.data.add_(0.2 * torch.randn(parameter.shape, generator=generator))
        tuned.save_pretrained(folder / "lora")


def logits(kind: str, folder: Path, adapter: Path | None = None) -> Tensor:
    from peft import PeftModel

    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        model = getattr(transformers, kind).from_pretrained(folder)
        whole = PeftModel.from_pretrained(model, adapter) if adapter else model
        return whole.eval()(torch.arange(3, 15)[None])[0]


def assert_merged(kind: str, folder: Path) -> None:
    """The merge computes what PEFT's model computes, which is another model than the base."""
    wanted = logits(kind, folder / "base", folder / "lora")
    assert (wanted - logits(kind, folder / "base")).abs().max() > 1e-3
    merge(recipe_of(folder, "lora", base="base"), folder / "out", durable=False)
    torch.testing.assert_close(logits(kind, folder / "out"), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_what_peft_makes_is_merged(case: str, tmp_path: Path) -> None:
    kind, config, adapter = CASES[case]
    adapt(tmp_path, kind, config, adapter)
    assert_merged(kind, tmp_path)


@pytest.mark.parametrize("stacked", [True, False])
def test_experts_adapted_one_by_one(stacked: bool, tmp_path: Path) -> None:
    """As PEFT before transformers 5 stored them; PEFT joins them when it loads them."""
    kind = "Qwen3MoeForCausalLM"
    adapt(tmp_path, kind, EXPERTS, {"target_modules": ["q_proj"]})
    if stacked:
        base = transformers.Qwen3MoeForCausalLM.from_pretrained(tmp_path / "base")
        base.save_pretrained(tmp_path / "base", save_original_format=False)
    shapes = {"gate_proj": (8, 16), "up_proj": (8, 16), "down_proj": (16, 8)}
    generator = torch.Generator().manual_seed(2)
    tensors = {}
    for layer, expert, name in ((i, e, n) for i in range(2) for e in range(4) for n in shapes):
        at = f"base_model.model.model.layers.{layer}.mlp.experts.{expert}.{name}"
        rows, columns = shapes[name]
        tensors[f"{at}.lora_A.weight"] = torch.randn(2, columns, generator=generator)
        tensors[f"{at}.lora_B.weight"] = torch.randn(rows, 2, generator=generator)
    save_file(tensors, tmp_path / "lora/adapter_model.safetensors")
    file = tmp_path / "lora/adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"target_modules": [*shapes]}))
    assert_merged(kind, tmp_path)


def test_where_the_rows_are(tmp_path: Path) -> None:
    adapt(tmp_path, "Qwen3MoeForCausalLM", EXPERTS, CASES["one stack, in one layer"][2])
    adapter, base = resolve(str(tmp_path / "lora")), resolve(str(tmp_path / "base"))
    (name,) = changed_tensors(adapter)
    ((_, target),) = conform([adapter], base).models[0].targets.items()
    assert name == "model.layers.1.mlp.experts.weight"
    assert (target.parameter, target.experts) == ("model.layers.1.mlp.experts.down_proj", 4)
    at = "model.layers.1.mlp.experts"
    assert target.pieces == tuple(
        Piece(f"{at}.{expert}.down_proj.weight", expert, 0, 16) for expert in range(4)
    )


def test_parameters_are_not_told_apart_without_their_base(tmp_path: Path) -> None:
    adapt(
        tmp_path,
        "Qwen3MoeForCausalLM",
        EXPERTS,
        {"target_modules": [], "target_parameters": STACKS},
    )
    recipe = Recipe(
        base=None,
        models=(Source(name="lora", folder=tmp_path / "lora"),),
        steps=(Step(operator="task_arithmetic", models=("lora",), parameters={}),),
        output="adapter",
    )
    with pytest.raises(CheckpointError, match="adapts parameters") as caught:
        merge(recipe, tmp_path / "out")
    assert "leave out `output:`" in caught.value.hint
    merge(recipe_of(tmp_path, "lora", base="base"), tmp_path / "out", durable=False)


def test_parameters_of_a_model_nobody_knows(tmp_path: Path) -> None:
    adapt(
        tmp_path,
        "Qwen3MoeForCausalLM",
        EXPERTS,
        {"target_modules": [], "target_parameters": STACKS},
    )
    file = tmp_path / "base/config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps(config | {"architectures": ["Unknown"]}))
    with pytest.raises(CheckpointError, match="that transformers does not know") as caught:
        merge(recipe_of(tmp_path, "lora", base="base"), tmp_path / "out")
    assert "merge_and_unload" in caught.value.hint


def test_an_adapter_is_signed_as_it_is_merged(tmp_path: Path) -> None:
    """Also where its base has a tie that it parts, and where experts are joined on load."""
    tied = {"target_modules": ["embed_tokens"], "target_parameters": STACKS}
    adapt(tmp_path, "Qwen3MoeForCausalLM", EXPERTS | {"tie_word_embeddings": True}, tied)
    merge(recipe_of(tmp_path, "lora", base="base"), tmp_path / "out", durable=False)
    base, lora, out = (resolve(str(tmp_path / name)) for name in ("base", "lora", "out"))
    of_adapter, of_merge = sign(lora, base=base), sign(out)
    assert of_adapter.sampled.keys() == of_merge.sampled.keys() >= {"lm_head.weight"}
    for name, sample in of_merge.sampled.items():
        torch.testing.assert_close(of_adapter.sampled[name].float(), sample.float())
