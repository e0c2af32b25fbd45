"""Adapters with random weights on three tiny models, and their deltas as PEFT computes them."""

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from simmerge_hub.hub.resolve import Checkpoint, resolve
from tests import nano

Deltas = dict[str, Tensor]


class Workshop:
    """Makes adapters in a folder, and loads them with PEFT."""

    def __init__(self, folder: Path, base: Any) -> None:
        self.folder, self.base = folder, base

    def adapter(self, name: str, seed: int = 0, **config: Any) -> Checkpoint:
        """A folder as PEFT saves it; every trained entry is random."""
        from peft import LoraConfig, get_peft_model

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = get_peft_model(copy.deepcopy(self.base), LoraConfig(**config))
            generator = torch.Generator().manual_seed(seed)
            for parameter in model.parameters():
                if parameter.requires_grad:
                    step = 0.3 * torch.randn(parameter.shape, generator=generator)
                    parameter.data.add_(step)
            model.save_pretrained(str(self.folder / name))
        return resolve(str(self.folder / name))

    def pair(self, **config: Any) -> list[Checkpoint]:
        """Two adapters of one kind."""
        return [self.adapter(name, seed, **config) for seed, name in enumerate(("code", "math"))]

    def load(self, folder: Path, *others: Path) -> Any:
        """The model with adapters on it: `default`, then `1`, `2` …"""
        from peft import PeftModel

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = PeftModel.from_pretrained(copy.deepcopy(self.base), folder)
            for number, other in enumerate(others, 1):
                model.load_adapter(other, str(number))
        return model

    def deltas(self, folder: Path) -> Deltas:
        """Tensor of the base -> ΔW."""
        return deltas_of(self.load(folder), "default")

    def peft(self, adapters: Sequence[Checkpoint], weights: Sequence[float], **how: Any) -> Deltas:
        """The deltas that PEFT's own add_weighted_adapter makes."""
        model = self.load(*(self.folder / each.name for each in adapters))
        names = ["default", *(str(i) for i in range(1, len(adapters)))]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.add_weighted_adapter(names, list(weights), "merged", **how)
        return deltas_of(model, "merged")


def deltas_of(model: Any, name: str) -> Deltas:
    """ΔW of every module that has this adapter, as the base stores the tensor."""
    modules = {n.removeprefix("base_model.model."): m for n, m in model.named_modules()}
    return {
        f"{module}.weight": each.get_delta_weight(name)
        for module, each in modules.items()
        if hasattr(each, "lora_A") and (name in each.lora_A or name in each.lora_embedding_A)
    }


def add_up(weights: Sequence[float], several: Sequence[Deltas]) -> Deltas:
    """Σ wᵢ ΔWᵢ, zero where an adapter does not have a tensor."""
    total: Deltas = {}
    for weight, deltas in zip(weights, several, strict=True):
        for name, delta in deltas.items():
            total[name] = total.get(name, torch.zeros_like(delta)) + weight * delta
    return total


def error(actual: Deltas, expected: Deltas) -> float:
    """The Frobenius norm of the difference over all tensors, relative to what is expected."""
    assert actual.keys() == expected.keys()
    apart = sum(float((actual[n] - t).square().sum()) for n, t in expected.items())
    return (apart / sum(float(t.square().sum()) for t in expected.values())) ** 0.5


@pytest.fixture(scope="session")
def models() -> dict[str, Any]:
    """A Llama, and a GPT-2, whose Conv1D stores matrices transposed."""
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    small = {k: v for k, v in nano.CONFIG.items() if k not in ("architectures", "model_type")}
    gpt2 = GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=20, n_positions=16)
    return {
        "llama": LlamaForCausalLM(LlamaConfig(**small)).eval(),
        "gpt2": GPT2LMHeadModel(gpt2).eval(),
    }


@pytest.fixture
def workshop(tmp_path: Path, models: dict[str, Any]) -> Iterator[Callable[..., Workshop]]:
    """`workshop()` or `workshop("gpt2")`."""
    yield lambda kind="llama": Workshop(tmp_path, models[kind])
