"""Equal content has an equal digest, wherever it lies and whatever lies beside it."""

import os
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from simmerge_hub import localhub
from simmerge_hub.hub.digest import digest
from simmerge_hub.hub.resolve import resolve
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
    found = resolve(repo)
    assert {"onnx/extra.safetensors", ".hidden.safetensors"} <= found.files.keys()
    assert digest(found) == digest(resolve(str(folder)))
