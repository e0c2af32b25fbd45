"""What layers are fed: made of random numbers, or seen in the plainest way there is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers
from torch import Tensor
from torch.nn import functional

from simmerge_hub.operators import LayerInputs, reduce_inputs
from tests.signatures import conftest as signatures

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TOKENS = 40
SHAPE: dict[str, Any] = {
    "vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
EXPERTS: dict[str, Any] = {
    "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24,
}  # fmt: skip


def config(name: str, **more: Any) -> Callable[[], Any]:
    return lambda: getattr(transformers, f"{name}Config")(**{**SHAPE, **more})


CONFIGS: dict[str, Callable[[], Any]] = {
    "qwen3-moe": config("Qwen3Moe", head_dim=8, mlp_only_layers=[0], **EXPERTS),
    "qwen2-moe": config("Qwen2Moe", shared_expert_intermediate_size=24, **EXPERTS),
    "deepseek-v3": config(
        "DeepseekV3", n_routed_experts=4, num_experts_per_tok=2, moe_intermediate_size=24,
        n_group=1, topk_group=1, first_k_dense_replace=1, q_lora_rank=16, kv_lora_rank=16,
        qk_rope_head_dim=8, qk_nope_head_dim=8, v_head_dim=8, num_key_value_heads=4,
        n_shared_experts=1,
    ),
    "mamba": lambda: transformers.MambaConfig(
        vocab_size=96, hidden_size=32, state_size=4, num_hidden_layers=3, pad_token_id=0,
        bos_token_id=1, eos_token_id=2,
    ),
    "jamba": config(
        "Jamba", num_experts=4, num_experts_per_tok=2, attn_layer_period=2, attn_layer_offset=1,
        expert_layer_period=2, expert_layer_offset=1, mamba_d_state=4, mamba_dt_rank=4,
    ),
    "gpt-neox": config("GPTNeoX"),
    "gpt-oss": config(
        "GptOss", num_local_experts=4, num_experts_per_tok=2, head_dim=8, sliding_window=8,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    ),
    "llama4": config(
        "Llama4Text", num_local_experts=4, num_experts_per_tok=2, head_dim=8,
        intermediate_size_mlp=48, interleave_moe_layer_step=1,
    ),
    "gemma3-vision": lambda: transformers.Gemma3Config(
        text_config={**SHAPE, "head_dim": 8},
        vision_config={
            "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3,
            "num_attention_heads": 2, "image_size": 28, "patch_size": 14,
        },
        mm_tokens_per_image=4,
    ),
}  # fmt: skip
"""Architectures beside those of the signatures' tests."""


def tokens_of(name: str, width: int, number: int = 0, count: int = TOKENS) -> Tensor:
    """The inputs float32 [count, width] of a model's layer: correlated, of a size of their own."""
    generator = torch.Generator().manual_seed(1000 * number + sum(map(ord, name)))
    mixing = torch.randn(width, width, generator=generator) / max(1, width) ** 0.5
    sizes = torch.rand(width, generator=generator) + 0.5
    drawn = torch.randn(count, width, generator=generator)
    return ((drawn @ mixing + drawn) * sizes if width < 1000 else drawn) * (1 + len(name))


def seen_by(
    names: Sequence[str], shape: Sequence[int], count: int = TOKENS
) -> tuple[tuple[LayerInputs, ...], ...]:
    """As `Place.seen` has it: what each model's matrices of a tensor of this shape are fed."""
    if len(shape) < 2:
        return ()
    matrices = shape[0] if len(shape) == 3 else 1
    return tuple(
        tuple(
            reduce_inputs(tokens_of(name, shape[-1], i, count), most=count) for i in range(matrices)
        )
        for name in names
    )


@dataclass(frozen=True, slots=True)
class PlainInputs:
    """(parameter, number of its matrix) -> inputs float32 [tokens, width].

    `turned` are the parameters whose matrices are [inputs, outputs]."""

    inputs: dict[tuple[str, int], Tensor]
    turned: set[str]


def plain_inputs(model: PreTrainedModel, sequences: Sequence[Sequence[int]]) -> PlainInputs:
    """What a whole model multiplies its matrices with, sequence by sequence: nothing is padded."""
    from transformers.pytorch_utils import Conv1D

    parts: dict[tuple[str, int], list[Tensor]] = {}
    owners = _matrices(model)
    linear, matmul, bmm = functional.linear, Tensor.__matmul__, torch.bmm

    def keep(key: tuple[str, int], inputs: Tensor) -> None:
        parts.setdefault(key, []).append(inputs.detach().reshape(-1, inputs.shape[-1]).clone())

    def watch(inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        owner = owners.get((weight.data_ptr(), tuple(weight.shape)))
        if owner:
            keep(owner, inputs)
        return linear(inputs, weight, bias)

    def multiply(inputs: Tensor, weight: Tensor) -> Tensor:
        owner = owners.get((weight.data_ptr(), tuple(weight.shape)))
        if owner:
            turned.add(owner[0])
            keep(owner, inputs)
        return matmul(inputs, weight)

    def multiply_all(inputs: Tensor, weights: Tensor) -> Tensor:
        owner = owners.get((weights.data_ptr(), tuple(weights.shape[1:])))
        if owner:
            turned.add(owner[0])
            for number, each in enumerate(inputs):  # zero where a token is sent elsewhere
                keep((owner[0], number), each[each.abs().sum(-1) > 0])
        return bmm(inputs, weights)

    conv = {f"{n}.weight": m for n, m in model.named_modules() if isinstance(m, Conv1D)}
    turned = set(conv)
    hooks = [
        module.register_forward_pre_hook(lambda _m, given, name=name: keep((name, 0), given[0]))
        for name, module in conv.items()
    ]
    if model._can_set_experts_implementation():
        model.set_experts_implementation("eager")
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(functional, "linear", watch)
        patch.setattr(Tensor, "__matmul__", multiply)
        patch.setattr(torch, "bmm", multiply_all)
        for sequence in sequences:
            model(torch.tensor([sequence]), use_cache=False)
    for hook in hooks:
        hook.remove()
    inputs = {key: torch.cat(each) for key, each in parts.items()}
    return PlainInputs({key: each for key, each in inputs.items() if len(each)}, turned)


def _matrices(model: PreTrainedModel) -> dict[tuple[int, tuple[int, ...]], tuple[str, int]]:
    """Where each matrix begins and its shape -> parameter, number."""
    owners = {}
    for name, parameter in model.named_parameters():
        each = parameter if parameter.ndim == 3 else [parameter] if parameter.ndim == 2 else []
        owners |= {(m.data_ptr(), tuple(m.shape)): (name, i) for i, m in enumerate(each)}
    return owners


def random_model(architecture: str, seed: int = 0) -> PreTrainedModel:
    """A tiny model of random weights, large enough that they matter."""
    from transformers import AutoModelForCausalLM

    if architecture in signatures.CONFIGS:
        return signatures.model_of(architecture, seed)
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(CONFIGS[architecture](), attn_implementation="eager")
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1 and "A_log" not in name:
                weight.copy_(0.2 * torch.randn_like(weight))
    return model.eval()
