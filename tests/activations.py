"""What layers are fed: made of random numbers, or seen in the plainest way there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from simmerge_hub.operators import LayerInputs, reduce_inputs

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TOKENS = 40


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
    """(parameter, number of its matrix) -> inputs float32 [tokens, width]; those of `Conv1D`."""

    inputs: dict[tuple[str, int], Tensor]
    turned: set[str]


def plain_inputs(model: PreTrainedModel, sequences: Sequence[Sequence[int]]) -> PlainInputs:
    """What a whole model multiplies its matrices with, sequence by sequence: nothing is padded."""
    from transformers.pytorch_utils import Conv1D

    parts: dict[tuple[str, int], list[Tensor]] = {}
    owners = _matrices(model)
    linear = functional.linear

    def keep(key: tuple[str, int], inputs: Tensor) -> None:
        parts.setdefault(key, []).append(inputs.detach().reshape(-1, inputs.shape[-1]).clone())

    def watch(inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        owner = owners.get((weight.data_ptr(), tuple(weight.shape)))
        if owner:
            keep(owner, inputs)
        return linear(inputs, weight, bias)

    conv = {f"{n}.weight": m for n, m in model.named_modules() if isinstance(m, Conv1D)}
    hooks = [
        module.register_forward_pre_hook(lambda _m, given, name=name: keep((name, 0), given[0]))
        for name, module in conv.items()
    ]
    if model._can_set_experts_implementation():
        model.set_experts_implementation("eager")
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(functional, "linear", watch)
        for sequence in sequences:
            model(torch.tensor([sequence]), use_cache=False)
    for hook in hooks:
        hook.remove()
    return PlainInputs({key: torch.cat(each) for key, each in parts.items()}, set(conv))


def _matrices(model: PreTrainedModel) -> dict[tuple[int, tuple[int, ...]], tuple[str, int]]:
    """Where each matrix begins and its shape -> parameter, number."""
    owners = {}
    for name, parameter in model.named_parameters():
        each = parameter if parameter.ndim == 3 else [parameter] if parameter.ndim == 2 else []
        owners |= {(m.data_ptr(), tuple(m.shape)): (name, i) for i, m in enumerate(each)}
    return owners
