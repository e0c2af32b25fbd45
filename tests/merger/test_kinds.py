"""Layers of several kinds keep their kind where slices move them, or are refused by name."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from simmerge_hub.errors import RecipeError
from simmerge_hub.merger import merge
from simmerge_hub.merger.kinds import is_by_layer
from simmerge_hub.recipe import Recipe, Slice, Source, Step

SMALL: dict[str, Any] = {
    "vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 4,
    "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 32,
    "moe_intermediate_size": 8, "num_experts_per_tok": 2,
}  # fmt: skip
DEEPSEEK = {"n_routed_experts": 4, "n_group": 1, "topk_group": 1, "q_lora_rank": 8,
            "kv_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 8,
            "n_shared_experts": 1}  # fmt: skip
QWEN2 = {"shared_expert_intermediate_size": 8, "num_experts": 4}
QWEN3 = {"num_experts": 4, "head_dim": 8}
JAMBA = {"attn_layer_period": 4, "attn_layer_offset": 2, "expert_layer_period": 2,
         "expert_layer_offset": 1, "num_experts": 2, "num_experts_per_tok": 1, "mamba_d_state": 4,
         "mamba_dt_rank": 4, "use_mamba_kernels": False}  # fmt: skip
GEMMA = {"head_dim": 8, "sliding_window": 4}
Spans = list[tuple[int, int]]


def stack(folder: Path, name: str, config: dict[str, Any], spans: Spans) -> dict[str, Any]:
    """Put a model of slices of one model; checks that all of it is loaded, and gives its config."""
    model = getattr(transformers, f"{name}ForCausalLM")
    torch.manual_seed(0)
    model(getattr(transformers, f"{name}Config")(**{**SMALL, **config})).save_pretrained(
        folder / "a"
    )
    step = Step(operator="passthrough", models=("a",), parameters={})
    recipe = Recipe(
        base=None,
        models=(Source(name="a", folder=folder / "a"),),
        slices=tuple(Slice(layers={"a": span}, steps=(step,)) for span in spans),
    )
    out = merge(recipe, folder / "out").folder
    _, info = model.from_pretrained(out, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return json.loads((out / "config.json").read_text())


KEPT: list[tuple[str, dict[str, Any], Spans, str, Any]] = [
    ("DeepseekV3", {**DEEPSEEK, "first_k_dense_replace": 1}, [(0, 3), (1, 4)],
     "first_k_dense_replace", 1),
    ("DeepseekV3", {**DEEPSEEK, "first_k_dense_replace": 2}, [(0, 2), (0, 4)],
     "first_k_dense_replace", 4),
    ("Qwen2Moe", {**QWEN2, "mlp_only_layers": [3]}, [(0, 4), (1, 4)], "mlp_only_layers", [3, 6]),
    ("Qwen3Moe", {**QWEN3, "decoder_sparse_step": 2}, [(0, 4), (2, 4)], "decoder_sparse_step", 2),
    ("Jamba", JAMBA, [(0, 4), (0, 4)], "attn_layer_period", 4),
    ("Gemma2", GEMMA, [(0, 3), (2, 4)], "layer_types",
     ["sliding_attention", "full_attention", "sliding_attention", "sliding_attention",
      "full_attention"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "config", "spans", "key", "value"), KEPT)
def test_a_kind_that_the_config_can_say(
    name: str, config: dict[str, Any], spans: Spans, key: str, value: Any, tmp_path: Path
) -> None:
    assert stack(tmp_path, name, config, spans)[key] == value


def test_a_list_with_as_many_entries_as_layers_by_chance(tmp_path: Path) -> None:
    """Two layers, and the least and the greatest time step."""
    small = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_heads": 4,
             "head_dim": 8, "state_size": 8, "n_groups": 1,
             "time_step_limit": (0.0, 2.0)}  # fmt: skip
    torch.manual_seed(0)
    model = transformers.Mamba2ForCausalLM(transformers.Mamba2Config(**small))
    model.save_pretrained(tmp_path / "a")
    step = Step(operator="passthrough", models=("a",), parameters={})
    recipe = Recipe(
        base=None,
        models=(Source(name="a", folder=tmp_path / "a"),),
        slices=tuple(Slice(layers={"a": span}, steps=(step,)) for span in [(0, 2), (0, 1)]),
    )
    out = merge(recipe, tmp_path / "out").folder
    merged = transformers.Mamba2ForCausalLM.from_pretrained(out)
    assert merged.config.num_hidden_layers == 3
    assert list(merged.config.time_step_limit) == [0.0, 2.0]


def test_kinds_of_layers_are_by_layer_whatever_a_default_has() -> None:
    kinds = ["mamba", "attention", "mamba", "moe"]
    for name, count in (("nemotron_h", 4), ("made_up", 4), ("mamba2", 4)):
        assert is_by_layer("layers_block_type", kinds, count, {"model_type": name})
    for kind in ("mamba2", "bamba", "granitemoehybrid"):
        assert not is_by_layer("time_step_limit", [0.0, 1.0], 2, {"model_type": kind})
    assert is_by_layer("layer_types", ["a", "b"], 2, {"model_type": ["no name"]})


def test_lists_that_a_config_leaves_at_the_default(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = transformers.Gemma2ForCausalLM(transformers.Gemma2Config(**{**SMALL, **GEMMA}))
    model.save_pretrained(tmp_path / "a")
    path = tmp_path / "a/config.json"
    stated = json.loads(path.read_text())
    del stated["layer_types"]
    path.write_text(json.dumps(stated))
    step = Step(operator="passthrough", models=("a",), parameters={})
    recipe = Recipe(
        base=None,
        models=(Source(name="a", folder=tmp_path / "a"),),
        slices=tuple(Slice(layers={"a": span}, steps=(step,)) for span in [(0, 3), (2, 4)]),
    )
    out = merge(recipe, tmp_path / "out").folder
    kinds = json.loads((out / "config.json").read_text())["layer_types"]
    assert [kind[:4] for kind in kinds] == ["slid", "full", "slid", "slid", "full"]


def test_numbers_of_layers_are_those_of_every_model_that_states_them(tmp_path: Path) -> None:
    """Layers 0 to 3 of a, then 2 and 3 of b, of which the last is another kind in both."""
    config = {**QWEN2, "mlp_only_layers": [3]}
    torch.manual_seed(0)
    model = transformers.Qwen2MoeForCausalLM(transformers.Qwen2MoeConfig(**{**SMALL, **config}))
    for name in "ab":
        model.save_pretrained(tmp_path / name)
    steps = {n: Step(operator="passthrough", models=(n,), parameters={}) for n in "ab"}
    spans = {"a": (0, 4), "b": (2, 4)}
    recipe = Recipe(
        base=None,
        models=tuple(Source(name=name, folder=tmp_path / name) for name in "ab"),
        slices=tuple(Slice(layers={n: spans[n]}, steps=(steps[n],)) for n in "ab"),
    )
    out = merge(recipe, tmp_path / "out").folder
    assert json.loads((out / "config.json").read_text())["mlp_only_layers"] == [3, 5]


@pytest.mark.parametrize(
    ("name", "config", "spans", "seen"),
    [
        ("DeepseekV3", {**DEEPSEEK, "first_k_dense_replace": 2}, [(0, 3), (1, 4)],
         "layer 1 of a has mlp.class DeepseekV3MLP, as layer 3 of the output it would have "
         "DeepseekV3MoE"),
        ("Jamba", JAMBA, [(0, 3), (2, 4)], "layer 2 of a has class JambaAttentionDecoderLayer"),
        ("Qwen3Moe", {**QWEN3, "decoder_sparse_step": 2}, [(0, 4), (1, 4)], "layer 1 of a has mlp"),
    ],
)  # fmt: skip
def test_a_kind_that_no_config_can_say(
    name: str, config: dict[str, Any], spans: Spans, seen: str, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match="the slices move layers") as caught:
        stack(tmp_path, name, config, spans)
    assert seen in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("layers", [2, 4])
def test_slices_are_of_the_language_model_beside_a_larger_tower(
    layers: int, tmp_path: Path
) -> None:
    """As many layers as the tower has, and fewer: the tower is left as it is."""
    text = {**SMALL, **GEMMA, "num_hidden_layers": layers}
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4,
              "num_attention_heads": 2, "image_size": 28, "patch_size": 14}  # fmt: skip
    config = transformers.Gemma3Config(
        text_config=text, vision_config=vision, image_token_index=3, mm_tokens_per_image=4
    )
    kind = transformers.Gemma3ForConditionalGeneration
    kind(config).save_pretrained(tmp_path / "a")
    step = Step(operator="passthrough", models=("a",), parameters={})
    recipe = Recipe(
        base=None,
        models=(Source(name="a", folder=tmp_path / "a"),),
        slices=tuple(Slice(layers={"a": (0, 2)}, steps=(step,)) for _ in range(2)),
    )
    out = merge(recipe, tmp_path / "out").folder
    model, info = kind.from_pretrained(out, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    before = kind.from_pretrained(tmp_path / "a").state_dict()
    for name, tensor in model.state_dict().items():
        other = re.sub(r"(language_model\.layers)\.([23])\.",
                       lambda m: f"{m[1]}.{int(m[2]) - 2}.", name)  # fmt: skip
        assert torch.equal(tensor, before[other]), name
