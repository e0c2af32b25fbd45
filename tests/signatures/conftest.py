"""Tiny random models of many architectures, and a family of a base and two fine-tunes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    Olmo2Config,
    OlmoConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
)
from transformers.utils import logging

from simmerge_hub.hub.resolve import Checkpoint, resolve
from simmerge_hub.signatures.probing.probe import ProbeSet, probe_set
from simmerge_hub.signatures.signing.signature import Signature, sign

SHAPE: dict[str, Any] = {
    "vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
CONFIGS: dict[str, Callable[[], Any]] = {
    "llama": lambda: LlamaConfig(**SHAPE),
    "llama-tied": lambda: LlamaConfig(**SHAPE, tie_word_embeddings=True),
    "qwen3": lambda: Qwen3Config(**SHAPE, head_dim=8),
    "gemma3": lambda: Gemma3TextConfig(
        **SHAPE, head_dim=8, sliding_window=8, final_logit_softcapping=30.0
    ),
    "mistral": lambda: MistralConfig(**SHAPE, sliding_window=8),
    "mixtral": lambda: MixtralConfig(**SHAPE, num_local_experts=4, num_experts_per_tok=2),
    "olmo": lambda: OlmoConfig(**SHAPE),
    "olmo2": lambda: Olmo2Config(**SHAPE),
    "gpt2": lambda: GPT2Config(
        vocab_size=96, n_embd=32, n_layer=3, n_head=4, n_positions=64,
        bos_token_id=1, eos_token_id=2,
    ),
}  # fmt: skip
logging.disable_progress_bar()


def letters() -> PreTrainedTokenizerFast:
    """One character, one token; `<bos>` first."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

    vocabulary = ["<pad>", "<bos>", "<eos>", "<unk>", *map(chr, range(32, 123))]
    inner = Tokenizer(
        models.WordLevel({token: i for i, token in enumerate(vocabulary)}, unk_token="<unk>")
    )
    inner.pre_tokenizer = pre_tokenizers.Split(Regex("."), behavior="isolated")
    inner.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", bos_token="<bos>", unk_token="<unk>"
    )


def save(model: PreTrainedModel, folder: Path, **how: Any) -> Checkpoint:
    """Save a model with its tokenizer, and resolve the folder."""
    model.save_pretrained(folder, **how)
    letters().save_pretrained(folder)
    return resolve(str(folder))


ARCHITECTURES = [
    "llama",
    "llama-tied",
    "qwen3",
    "gemma3",
    "mistral",
    "mixtral",
    "olmo",
    "olmo2",
    "gpt2",
]
"""Small models that every way to load and run them is tried on."""


def model_of(architecture: str, seed: int = 0) -> PreTrainedModel:
    """A random model; larger weights than usual, so that its outputs are far from uniform."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(CONFIGS[architecture](), attn_implementation="eager")
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 1:
                weight.add_(0.1 * torch.randn_like(weight))
            elif "router" not in name:
                weight.mul_(4)
    return model.eval()


def perturb(model: PreTrainedModel, scale: float, seed: int) -> PreTrainedModel:
    """The model with seeded noise on every tensor, relative to its size, in place."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight.add_(noise, alpha=scale * float(weight.square().mean().sqrt()))
    return model


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A base, an expert (delta 10 % of the weights) and an auxiliary (30 %), here and signed."""

    checkpoints: dict[str, Checkpoint]
    signatures: dict[str, Signature]
    probes: ProbeSet

    @property
    def base(self) -> Signature:
        return self.signatures["base"]

    @property
    def expert(self) -> Signature:
        return self.signatures["expert"]

    @property
    def auxiliary(self) -> Signature:
        return self.signatures["auxiliary"]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny tensors are slower on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny() -> SimpleNamespace:
    """The functions above, for tests."""
    return SimpleNamespace(
        configs=CONFIGS, count_passes=count_passes, family_of=family_of, letters=letters,
        model_of=model_of, perturb=perturb, save=save,
    )  # fmt: skip


@pytest.fixture(scope="session")
def probes(tmp_path_factory: pytest.TempPathFactory) -> ProbeSet:
    """Ten short prompts of different lengths."""
    path = tmp_path_factory.mktemp("probes") / "strings.txt"
    words = ("sort", "reverse", "copy", "shift", "add", "count", "find", "swap", "drop", "join")
    lines = (f"{word} {'abcdefgh'[: 2 + i % 7]}>" for i, word in enumerate(words))
    path.write_text("\n".join(lines))
    return probe_set("strings", str(path))


def family_of(architecture: str, folder: Path, probes: ProbeSet) -> Family:
    """Save and sign a base and two fine-tunes of an architecture."""
    scales = {"base": 0.0, "expert": 0.1, "auxiliary": 0.3}
    checkpoints = {
        name: save(perturb(model_of(architecture), scale, seed), folder / name)
        for seed, (name, scale) in enumerate(scales.items())
    }
    signatures = {n: sign(c, probe_sets=[probes]) for n, c in checkpoints.items()}
    return Family(checkpoints=checkpoints, signatures=signatures, probes=probes)


@pytest.fixture(scope="session")
def family(tmp_path_factory: pytest.TempPathFactory, probes: ProbeSet) -> Family:
    """A tiny Llama family."""
    return family_of("llama", tmp_path_factory.mktemp("family"), probes)


@pytest.fixture
def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An assets cache of its own."""
    from huggingface_hub import constants
    from huggingface_hub.utils import _cache_assets

    folder = tmp_path / "assets"
    monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(folder))
    if hasattr(_cache_assets, "HF_ASSETS_CACHE"):
        monkeypatch.setattr(_cache_assets, "HF_ASSETS_CACHE", str(folder))
    return folder


@contextmanager
def count_passes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The tasks whose probe pass was run while inside."""
    from simmerge_hub.signatures.signing import signature

    run: list[str] = []
    real = signature.run_probes

    def counting(checkpoint: Any, base: Any, probe_sets: Any, **how: Any) -> Any:
        run.extend(p.task for p in probe_sets)
        return real(checkpoint, base, probe_sets, **how)

    with monkeypatch.context() as patch:
        patch.setattr(signature, "run_probes", counting)
        yield run
