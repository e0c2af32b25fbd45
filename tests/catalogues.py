"""A collection of checkpoints of a few kilobytes: fine-tunes of one base, and what is none."""

import json
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi

from tests import nano

SCORES = {"gsm8k": "math", "humaneval": "code", "squad": "rag"}
"""Data sets that cards state scores on, and the tasks they stand for."""


class Catalogue:
    """A collection to fill, and the base of what is in it."""

    def __init__(self, org: str, folder: Path):
        self.api, self.org, self.folder = HfApi(), org, folder
        self.slug = self.api.create_collection("Models", namespace=org).slug
        self.weights = nano.weights()
        self.base = self.put("base", nano.save(folder / "base", self.weights))

    def put(self, name: str, folder: Path, *, listed: bool = True) -> str:
        """Push a folder and list it; its repository."""
        repo = f"{self.org}/{name}"
        nano.push(folder, repo)
        if listed:
            self.api.add_collection_item(self.slug, repo, "model")
        return repo

    def model(self, name: str, seed: int = 0, *, card: str = "", **scores: float) -> str:
        """A fine-tune of the base with these scores; its repository."""
        tensors = nano.tuned(self.weights, seed or len(name) * 31 + sum(map(ord, name)))
        text = card or self.card(**scores)
        return self.put(name, nano.save(self.folder / name, tensors, card=text))

    def files(self, name: str, **files: str) -> str:
        """A repository of text files, `_` in their names being a dot, whose card names the base."""
        folder = self.folder / name
        folder.mkdir()
        for file, text in {"README_md": self.card(), **files}.items():
            (folder / file[::-1].replace("_", ".", 1)[::-1]).write_text(text)
        return self.put(name, folder)

    def card(self, base: str = "", **scores: Any) -> str:
        """A model card: YAML is a superset of JSON."""
        results = [
            {"dataset": {"type": d, "name": d}, "metrics": [{"value": v}]}
            for d, v in scores.items()
        ]
        data: dict[str, Any] = {"base_model": base or f"{self.org}/base"}
        if results:
            data["model-index"] = [{"name": "x", "results": results}]
        return f"---\n{json.dumps(data)}\n---\n"
