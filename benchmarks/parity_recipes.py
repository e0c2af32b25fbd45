"""What mergekit 0.1.5 makes of whole recipes, for tests/recipe/mergekit/test_parity.py.

Runs in an environment with mergekit, whose command it calls on every tests/recipe/mergekit/*.yml:

    python benchmarks/parity_recipes.py

The recipes name folders of tiny random Llamas (base, a, b, c; d has one token more and its ids in
another order; lora is an adapter of base). The test builds the same ones from the same seeds, which
digests in the file prove, merges them with ours, and compares fingerprints: of every tensor its
shape and dot products with random vectors; of embeddings in recipes about tokenizers row by row,
by token, because their order means nothing.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any
from zlib import crc32

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

FOLDER = Path(__file__).parents[1] / "tests" / "recipe" / "mergekit"
ANSWERS = FOLDER / "parity.json"
WIDTH, INNER, TOKENS, LAYERS, RANK = 16, 24, 48, 4, 2
CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": WIDTH,
    "intermediate_size": INNER,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "num_hidden_layers": LAYERS,
    "max_position_embeddings": 32,
    "tie_word_embeddings": False,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "torch_dtype": "float32",
}
BY_TOKEN = ("model.embed_tokens.weight", "lm_head.weight")
VECTORS, ROW_VECTORS, DIGITS = 4, 2, 6
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = {"mergekit": version("mergekit"), "inputs": build(folder), "outputs": {}}
        for path in sorted(FOLDER.glob("*.yml")):
            run_mergekit(path, folder, folder / "merged" / path.stem)
            found["outputs"][path.stem] = fingerprint(
                folder / "merged" / path.stem, by_token=path.stem.startswith("tokenizer")
            )
            print(path.stem, flush=True)
    ANSWERS.write_text(json.dumps(found, separators=(",", ":")) + "\n")


def run_mergekit(path: Path, folder: Path, output: Path) -> None:
    command = Path(sys.executable).with_name("mergekit-yaml")
    options = ["--quiet", "--clone-tensors", "--no-write-model-card", "--lora-merge-cache", "loras"]
    subprocess.run(
        [command, path, output, *options], cwd=folder, env=os.environ | OFFLINE, check=True
    )


def build(folder: Path) -> dict[str, str]:
    """Write the checkpoints; sha256 of the bytes of each one's tensors, by name."""
    base = weights(TOKENS)
    tensors = {"base": base} | {name: near(base, seed) for seed, name in enumerate("abc", start=1)}
    order = [*range(TOKENS // 2, TOKENS + 1), *range(TOKENS // 2)]
    longer = near(grown(base), 4)
    tensors["d"] = longer | {name: longer[name][order].contiguous() for name in BY_TOKEN}
    for name, held in tensors.items():
        ids = order if name == "d" else list(range(TOKENS))
        write(folder / name, held, {f"t{number}": at for at, number in enumerate(ids)})
    tensors["lora"] = write_adapter(folder / "lora")
    return {name: digest(held) for name, held in tensors.items()}


def weights(tokens: int) -> dict[str, Tensor]:
    """A Llama's tensors, float32."""
    random = torch.Generator().manual_seed(0)
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(BY_TOKEN, (tokens, WIDTH))
    for layer in range(LAYERS):
        at = f"model.layers.{layer}"
        shapes |= {f"{at}.self_attn.{n}_proj.weight": (WIDTH, WIDTH) for n in "qkvo"}
        shapes |= {f"{at}.mlp.{n}_proj.weight": (INNER, WIDTH) for n in ("gate", "up")}
        shapes[f"{at}.mlp.down_proj.weight"] = (WIDTH, INNER)
        shapes |= {f"{at}.{n}_layernorm.weight": (WIDTH,) for n in ("input", "post_attention")}
    shapes["model.norm.weight"] = (WIDTH,)
    return {name: 0.3 * torch.randn(shape, generator=random) for name, shape in shapes.items()}


def near(base: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """A fine-tune: deltas about a fifth of the weights."""
    random = torch.Generator().manual_seed(seed)
    return {n: t + 0.06 * torch.randn(t.shape, generator=random) for n, t in base.items()}


def grown(base: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same with a row for one more token."""
    random = torch.Generator().manual_seed(99)
    rows = {n: torch.cat([base[n], torch.randn(1, WIDTH, generator=random)]) for n in BY_TOKEN}
    return {**base, **rows}


def write(folder: Path, tensors: Mapping[str, Tensor], vocabulary: Mapping[str, int]) -> None:
    """A folder that transformers loads, with a tokenizer of whole words."""
    folder.mkdir(parents=True)
    save_file(dict(tensors), folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
        "normalizer": None, "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": dict(vocabulary), "unk_token": "t2"},
    }  # fmt: skip
    files = {
        "config.json": CONFIG | {"vocab_size": len(vocabulary)},
        "tokenizer.json": tokenizer,
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "t2"},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))


def write_adapter(folder: Path) -> dict[str, Tensor]:
    """A LoRA on one matrix of each layer, as PEFT writes it; its tensors."""
    folder.mkdir(parents=True)
    random = torch.Generator().manual_seed(7)
    shapes = {"A": (RANK, WIDTH), "B": (WIDTH, RANK)}
    tensors = {
        f"base_model.model.model.layers.{layer}.self_attn.q_proj.lora_{side}.weight": (
            0.3 * torch.randn(shape, generator=random)
        )
        for layer in range(LAYERS)
        for side, shape in shapes.items()
    }
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "peft_type": "LORA", "r": RANK, "lora_alpha": 4, "target_modules": ["q_proj"],
        "base_model_name_or_path": "base", "task_type": "CAUSAL_LM",
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return tensors


def digest(tensors: Mapping[str, Tensor]) -> str:
    whole = sha256()
    for name in sorted(tensors):
        whole.update(name.encode() + tensors[name].numpy().tobytes())
    return whole.hexdigest()


def fingerprint(folder: Path, *, by_token: bool = False) -> dict[str, Any]:
    """Of a merged model: tensor -> [shape, dot products]; and of embeddings, token -> the same."""
    tensors = {n: t for f in sorted(folder.glob("*.safetensors")) for n, t in load_file(f).items()}
    tokens = vocabulary_of(folder) if by_token else {}
    return {
        name: {token: products(name, tensor[row], ROW_VECTORS) for token, row in tokens.items()}
        if by_token and name in BY_TOKEN
        else [list(tensor.shape), products(name, tensor, VECTORS)]
        for name, tensor in sorted(tensors.items())
    }


def products(name: str, tensor: Tensor, count: int) -> list[float]:
    random = torch.Generator().manual_seed(crc32(name.encode()))
    vectors = torch.randn(count, tensor.numel(), generator=random, dtype=torch.float64)
    return [round(float(v), DIGITS) for v in vectors @ tensor.double().flatten()]


def vocabulary_of(folder: Path) -> dict[str, int]:
    """Token -> id, from tokenizer.json."""
    said = json.loads((folder / "tokenizer.json").read_text())
    added = {each["content"]: each["id"] for each in said["added_tokens"]}
    return dict(sorted((said["model"]["vocab"] | added).items()))


if __name__ == "__main__":
    main()
