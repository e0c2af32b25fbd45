"""Two models that are merged into five shards, for what may happen in the middle of them."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

SHARD = 2_200_000
SHARDS = 5


def write_recipe(folder: Path) -> Path:
    """A base and two models of 40 tensors, and the recipe that merges them."""
    for seed, name in enumerate(("base", "a", "b")):
        torch.manual_seed(seed)
        model = folder / name
        model.mkdir()
        tensors = {f"layers.{i}.weight": torch.randn(256, 512).bfloat16() for i in range(40)}
        save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
        (model / "config.json").write_text(json.dumps({"model_type": "llama"}))
    path = folder / "recipe.yaml"
    path.write_text(
        "simmerge: 1\nbase: {folder: base}\nmodels: [{folder: a}, {folder: b}]\n"
        f"steps: [{{operator: ties, models: [a, b]}}]\nshard_size: {SHARD}\n"
    )
    return path
