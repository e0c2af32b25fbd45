"""Checkpoints of a few kilobytes, made by hand: a Llama of two layers that transformers loads."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import HfApi
from safetensors.torch import save_file
from torch import Tensor

WIDTH, INNER, VOCABULARY, LAYERS = 16, 24, 20, 2
CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": WIDTH,
    "intermediate_size": INNER,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "num_hidden_layers": LAYERS,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 32,
    "tie_word_embeddings": False,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "dtype": "float32",
}
INDEX = "model.safetensors.index.json"


def weights(
    seed: int = 0, *, vocabulary: int = VOCABULARY, dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    """Random weights under the names of a Llama."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {
        "model.embed_tokens.weight": (vocabulary, WIDTH),
        "lm_head.weight": (vocabulary, WIDTH),
    }
    for layer in range(LAYERS):
        at = f"model.layers.{layer}"
        shapes |= {f"{at}.self_attn.{n}_proj.weight": (WIDTH, WIDTH) for n in "qkvo"}
        shapes |= {f"{at}.mlp.{n}_proj.weight": (INNER, WIDTH) for n in ("gate", "up")}
        shapes[f"{at}.mlp.down_proj.weight"] = (WIDTH, INNER)
        shapes |= {f"{at}.{n}_layernorm.weight": (WIDTH,) for n in ("input", "post_attention")}
    shapes["model.norm.weight"] = (WIDTH,)
    return {n: torch.randn(s, generator=generator).to(dtype) for n, s in shapes.items()}


def words(count: int, *more: str) -> str:
    """A tokenizer.json with one word for each row, w0 w1 …, and some added tokens after them."""
    added = [
        {"id": count + i, "content": token, "special": True, "single_word": False,
         "lstrip": False, "rstrip": False, "normalized": False}
        for i, token in enumerate(more)
    ]  # fmt: skip
    vocabulary = {f"w{i}": i for i in range(count)}
    return json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": None, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": None,
        "decoder": None, "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "w0"},
    })  # fmt: skip


def tuned(base: Mapping[str, Tensor], seed: int, *, size: float = 0.1) -> dict[str, Tensor]:
    """Weights near those of `base`."""
    generator = torch.Generator().manual_seed(1000 + seed)
    return {
        n: (t.float() + size * torch.randn(t.shape, generator=generator)).to(t.dtype)
        for n, t in base.items()
    }


def save(
    folder: Path,
    tensors: Mapping[str, Tensor],
    *,
    config: Mapping[str, Any] | None = None,
    card: str = "",
    shards: int = 1,
    tokenizer: bool = True,
) -> Path:
    """A folder as save_pretrained() writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    names = list(tensors)
    if shards == 1:
        save_file(dict(tensors), folder / "model.safetensors", metadata={"format": "pt"})
    else:
        weight_map = {}
        for number in range(shards):
            file = f"model-{number + 1:05}-of-{shards:05}.safetensors"
            part = {n: tensors[n] for n in names[number::shards]}
            save_file(part, folder / file, metadata={"format": "pt"})
            weight_map |= dict.fromkeys(part, file)
        (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    embedding = tensors.get("model.embed_tokens.weight")
    vocabulary = 0 if embedding is None else embedding.shape[0]
    stated = {**CONFIG, "vocab_size": vocabulary} if config is None else config
    (folder / "config.json").write_text(json.dumps(stated))
    if tokenizer:
        (folder / "tokenizer.json").write_text(words(vocabulary or 1))
        (folder / "tokenizer_config.json").write_text("{}")
    if card:
        (folder / "README.md").write_text(card)
    return folder


def model(folder: Path, seed: int = 0, **how: Any) -> Path:
    """A random base model in a folder."""
    return save(folder, weights(seed), **how)


def family(folder: Path, *, dtype: torch.dtype = torch.float32) -> tuple[Path, Path, Path]:
    """Folders of a base and two fine-tunes of it."""
    base = weights(dtype=dtype)
    return (
        save(folder / "base", base),
        save(folder / "code", tuned(base, 1)),
        save(folder / "math", tuned(base, 2)),
    )


def lora(
    folder: Path,
    tensors: Mapping[str, Tensor] | None = None,
    *,
    base: str = "",
    **config: Any,
) -> Path:
    """A LoRA adapter of one projection, or of what `tensors` says, as PEFT writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    at = "base_model.model.model.layers.0.self_attn.q_proj"
    tensors = tensors or {
        f"{at}.lora_A.weight": torch.ones(2, WIDTH),
        f"{at}.lora_B.weight": torch.ones(WIDTH, 2),
    }
    save_file(dict(tensors), folder / "adapter_model.safetensors", metadata={"format": "pt"})
    rank = next((t.shape[0] for name, t in tensors.items() if "_A" in name), 2)
    stated = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": 4,
        "base_model_name_or_path": base or None,
    }
    (folder / "adapter_config.json").write_text(json.dumps(stated | config))
    return folder


def push(folder: Path, repo_id: str, **how: Any) -> str:
    """Upload a folder in one commit; the commit's id."""
    api = HfApi()
    api.create_repo(repo_id, exist_ok=True, **how)
    return api.upload_folder(repo_id=repo_id, folder_path=folder).oid


def load(folder: Path) -> dict[str, Tensor]:
    """Every tensor of a folder, by safetensors itself."""
    from safetensors.torch import load_file

    return {n: t for f in sorted(folder.glob("*.safetensors")) for n, t in load_file(f).items()}
