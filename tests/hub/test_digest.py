"""Equal content has an equal digest, wherever it lies and whatever lies beside it."""

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from blake3 import blake3
from huggingface_hub import HfApi

from simmerge_hub import localhub
from simmerge_hub.cli.zoo import nano_folder
from simmerge_hub.hub import digest as module
from simmerge_hub.hub.digest import (
    answering_digest,
    digest,
    end_tokens,
    file_sha256,
    folder_digest,
    hash_together,
    stated_generation,
    weights_of,
)
from simmerge_hub.hub.resolve import Checkpoint, resolve
from tests import nano

CARD = "---\nlicense: mit\n---\n# A model\n"


def test_equal_content_has_an_equal_digest(tmp_path: Path) -> None:
    first = resolve(str(nano.model(tmp_path / "a")))
    second = resolve(str(nano.model(tmp_path / "b", card=CARD)))
    assert digest(first) == digest(second)


@pytest.mark.parametrize("change", ["config.json", "tokenizer.json", "model.safetensors"])
def test_changed_content_has_another_digest(tmp_path: Path, change: str) -> None:
    folder = nano.model(tmp_path / "model")
    before = digest(resolve(str(folder)))
    whole = (folder / change).read_bytes()
    (folder / change).write_bytes(whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:])
    os.utime(folder / change, ns=(1, 1))
    if change == "model.safetensors":
        assert digest(resolve(str(folder))) != before
    else:
        (folder / change).write_text('{"model_type": "llama", "other": 1}')
        assert digest(resolve(str(folder))) != before


def test_files_the_folder_listing_leaves_out_are_not_in_the_digest(
    hub: localhub.Hub, org: str, tmp_path: Path
) -> None:
    folder = nano.model(tmp_path / "model")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "extra.safetensors").write_bytes(b"x")
    (folder / ".hidden.safetensors").write_bytes(b"x")
    repo = f"{org}/model"
    HfApi().create_repo(repo)
    HfApi().upload_folder(repo_id=repo, folder_path=folder)
    checkpoint = resolve(repo)
    assert {"onnx/extra.safetensors", ".hidden.safetensors"} <= checkpoint.files.keys()
    assert digest(checkpoint) == digest(resolve(str(folder)))


def test_digests_are_hashes_of_a_list_of_hashes(tmp_path: Path) -> None:
    folder = nano.model(tmp_path / "model", card=CARD)
    checkpoint = resolve(str(folder))
    counted = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    lines = "".join(f"{n} {blake3((folder / n).read_bytes()).hexdigest()}\n" for n in counted)
    assert folder_digest(checkpoint) == f"blake3:{blake3(lines.encode()).hexdigest()}"
    hashes = {n: hashlib.sha256((folder / n).read_bytes()).hexdigest() for n in counted}
    lines = "".join(f"{name} {content}\n" for name, content in hashes.items())
    assert digest(checkpoint) == hashlib.sha256(lines.encode()).hexdigest()
    assert file_sha256(checkpoint, "config.json") == hashes["config.json"]


def test_folders_are_hashed_together_and_each_file_once(
    hub: localhub.Hub, org: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = nano.model(tmp_path / "model")
    HfApi().create_repo(f"{org}/model")
    HfApi().upload_folder(repo_id=f"{org}/model", folder_path=folder)
    checkpoints = [resolve(str(folder)), resolve(str(folder)), resolve(f"{org}/model")]
    hashed: list[str] = []
    monkeypatch.setattr(module, "hash_path", lambda p, kind: hashed.append(f"{kind} {p.name}"))
    hash_together(checkpoints)
    assert sorted(hashed) == [
        "blake3 config.json", "blake3 model.safetensors", "blake3 tokenizer.json",
        "blake3 tokenizer_config.json",
    ]  # fmt: skip


def test_weights_in_pickles_are_known_by_the_pickles(tmp_path: Path) -> None:
    """Where they lie converted is no file of the model."""
    for name, seed in {"a": 1, "copy": 1, "other": 2}.items():
        folder = nano.model(tmp_path / name)
        (folder / "model.safetensors").unlink()
        torch.save(nano.weights(seed), folder / "pytorch_model.bin")
    first, copy, other = (resolve(str(tmp_path / name)) for name in ("a", "copy", "other"))
    assert first.pickles == ("pytorch_model.bin",)
    assert weights_of(first) == weights_of(copy) != weights_of(other)


def test_adapters_that_are_scaled_otherwise_have_other_weights() -> None:
    adapter = resolve(str(nano_folder() / "rag-lora"))
    plain = {k: v for k, v in adapter.config.items() if k not in ("alpha_pattern", "use_rslora")}
    assert weights_of(replace(adapter, config=plain)) == weights_of(adapter)
    for change in ({"lora_alpha": 3}, {"use_rslora": True}, {"alpha_pattern": {"q_proj": 3}}):
        scaled = replace(adapter, config={**adapter.config, **change})
        assert weights_of(scaled) != weights_of(adapter)


@pytest.mark.parametrize(
    ("said", "counts"),
    [
        ({"eos_token_id": [1, 106], "top_k": 4}, {"eos_token_id": [1, 106], "top_k": 4}),
        ({"eos_token_id": 1, "_from_model_config": True}, {}),
        ({"transformers_version": "9", "use_cache": False, "pad_token_id": 7}, {}),
        ({}, {}),
        (None, {}),
    ],
)
def test_what_changes_answers_and_no_config_says(
    said: dict[str, object] | None, counts: dict[str, object], tmp_path: Path
) -> None:
    model = _model(tmp_path, None if said is None else json.dumps(said))
    assert stated_generation(model) == counts
    assert (answering_digest(model) == digest(model)) is not bool(counts)


@pytest.mark.parametrize(
    ("said", "ends"),
    [({"eos_token_id": [1, 106]}, [1, 106]), ({"eos_token_id": 7}, [7]), ({"top_k": 4}, [1]),
     ({"eos_token_id": "</s>"}, []), (None, [1])],
)  # fmt: skip
def test_the_tokens_that_end_answers(
    said: dict[str, object] | None, ends: list[int], tmp_path: Path
) -> None:
    model = _model(tmp_path, None if said is None else json.dumps(said))
    assert end_tokens(model) == ends
    inner = {"text_config": {"eos_token_id": 5}}
    assert end_tokens(replace(model, config=inner)) == ([5] if ends == [1] else ends)


def test_what_cannot_be_read_counts_as_it_stands(tmp_path: Path) -> None:
    assert stated_generation(_model(tmp_path, "{")) == {"generation_config.json": "{"}


def test_an_adapter_generates_as_its_base_does(tmp_path: Path) -> None:
    lora = nano.lora(tmp_path / "lora")
    (lora / "generation_config.json").write_text('{"top_k": 4}')
    assert stated_generation(resolve(str(lora))) == {}


def _model(folder: Path, generation: str | None) -> Checkpoint:
    made = nano.model(folder / "model")
    config = json.loads((made / "config.json").read_text()) | {"eos_token_id": 1}
    (made / "config.json").write_text(json.dumps(config))
    (made / "generation_config.json").unlink(missing_ok=True)
    if generation is not None:
        (made / "generation_config.json").write_text(generation)
    return resolve(str(made))
