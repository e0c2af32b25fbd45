"""Contents of tokenizer.json, put together by hand."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from simmerge_hub.hub.resolve import Checkpoint, resolve
from simmerge_hub.weights.tokens.tokenizers import (
    Tokens,
    read_tokens,
)
from tests import nano

FIRST = {"<unk>": 0, "a": 1, "b": 2}


def entry(token: str, number: Any, **flags: bool) -> dict[str, Any]:
    default = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    return {"id": number, "content": token, **default, **flags}


def file(model: Mapping[str, Any], added: Any = ()) -> dict[str, Any]:
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": list(added) if isinstance(added, tuple) else added,
        "normalizer": None, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": None,
        "decoder": None, "model": model,
    }  # fmt: skip


def words(vocab: Any, **more: Any) -> dict[str, Any]:
    return {"type": "WordLevel", "vocab": vocab, "unk_token": "<unk>", **more}


def pairs(vocab: Any, merges: Any) -> dict[str, Any]:
    return {"type": "BPE", "dropout": None, "unk_token": "<unk>",
            "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False,
            "byte_fallback": False, "vocab": vocab, "merges": merges}  # fmt: skip


def pieces(*names: str) -> dict[str, Any]:
    return {"type": "Unigram", "unk_id": 0, "vocab": [[name, -1.0] for name in names]}


def checkpoint(
    folder: Path, content: Any, config: Mapping[str, Any] | str | None = None
) -> Checkpoint:
    nano.save(folder, {"w": torch.ones(1)}, config={}, tokenizer=False)
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "tokenizer.json").write_text(text)
    if config is not None:
        stated = config if isinstance(config, str) else json.dumps(config)
        (folder / "tokenizer_config.json").write_text(stated)
    return resolve(str(folder))


def tokens(folder: Path, content: Any, config: Mapping[str, Any] | None = None) -> Tokens:
    return read_tokens(checkpoint(folder, content, config), None)
