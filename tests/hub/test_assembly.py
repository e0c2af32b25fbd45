"""A folder of links that transformers loads, though the weights came in pickles."""

import json
from pathlib import Path

import pytest
import torch
from huggingface_hub.utils import _cache_assets

from simmerge_hub.hub.assembly import assemble
from simmerge_hub.hub.resolve import resolve
from tests import nano


@pytest.fixture(autouse=True)
def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty assets cache."""
    monkeypatch.setattr(_cache_assets, "HF_ASSETS_CACHE", str(tmp_path / "assets"))


def pickled(folder: Path, shards: int) -> Path:
    """A nano model in this many .bin files, as save_pretrained() wrote it before safetensors."""
    nano.model(folder)
    (folder / "model.safetensors").unlink()
    tensors = nano.weights()
    parts = {
        f"pytorch_model-{i + 1:05}-of-{shards:05}.bin": dict(list(tensors.items())[i::shards])
        for i in range(shards)
    }
    for file, part in parts.items():
        torch.save(part, folder / file)
    index = {"weight_map": {name: file for file, part in parts.items() for name in part}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    return folder


@pytest.mark.parametrize("shards", [1, 2])
def test_transformers_loads_it(tmp_path: Path, shards: int) -> None:
    from transformers import LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    checkpoint = resolve(str(pickled(tmp_path / "model", shards)))
    beside = ["config.json", "tokenizer.json"]
    folder = assemble(checkpoint, beside)
    assert assemble(checkpoint, beside) == folder
    model = LlamaForCausalLM.from_pretrained(folder, use_safetensors=True)
    assert all(torch.equal(t, model.state_dict()[n]) for n, t in nano.weights().items())
    assert json.loads((folder / "tokenizer.json").read_text())["model"]["type"] == "WordLevel"


def test_it_is_made_of_links_and_one_index(tmp_path: Path) -> None:
    checkpoint = resolve(str(pickled(tmp_path / "model", shards=2)))
    folder = assemble(checkpoint, ["config.json"])
    assert (folder / "config.json").resolve() == (tmp_path / "model" / "config.json").resolve()
    index = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    assert index.keys() == nano.weights().keys()
    assert checkpoint.converted is not None and checkpoint.converted.folder is not None
    for shard in set(index.values()):
        assert (folder / shard).resolve().parent == checkpoint.converted.folder.resolve()
    assert {p.name for p in folder.iterdir()} == {
        "config.json", "model.safetensors.index.json", *index.values(),
    }  # fmt: skip


def test_a_link_is_replaced_when_its_file_has_moved(tmp_path: Path) -> None:
    first = assemble(resolve(str(pickled(tmp_path / "one", shards=1))), ["config.json"])
    again = assemble(resolve(str(pickled(tmp_path / "two", shards=1))), ["config.json"])
    assert again == first
    assert (again / "config.json").resolve() == (tmp_path / "two" / "config.json").resolve()
