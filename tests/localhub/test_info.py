"""What is said of a repository: read off its card, its config and its headers, believed or not."""

import json
import struct
from pathlib import Path

import pytest

from simmerge_hub.localhub import info
from simmerge_hub.localhub.store import history, storage
from simmerge_hub.localhub.store.history import Commit
from simmerge_hub.localhub.store.repositories import Repository


@pytest.fixture
def parts(tmp_path: Path) -> storage.Storage:
    return storage.prepare(tmp_path)


def safetensors(header: object) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text


def describe(
    parts: storage.Storage, contents: dict[str, bytes], *, kind: str = "models", sizes: bool = False
) -> dict:
    files = {
        path: history.plain_entry(data, parts.blobs.add(data)) for path, data in contents.items()
    }
    commit: Commit = history.new_commit(parent=None, title="first", author="me", files=files)
    repository = Repository(kind=kind, id="org/x", created_at=history.now(), sdk="static")
    return info.describe(repository, commit, parts.blobs, sizes=sizes)


def test_parameters_are_counted_by_dtype_in_files_at_the_top(parts: storage.Storage) -> None:
    header = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "BF16", "shape": [], "data_offsets": [24, 26]},
    }
    other = {"c": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}
    facts = describe(
        parts,
        {
            "1.safetensors": safetensors(header),
            "2.safetensors": safetensors(other),
            "deep/3.safetensors": safetensors(other),
        },
    )
    assert facts["safetensors"] == {"parameters": {"F32": 10, "BF16": 1}, "total": 11}


@pytest.mark.parametrize(
    "data",
    [b"", b"short", b"\xff" * 8, safetensors([]), safetensors({"a": {"dtype": "F32"}}),
     safetensors({"a": 3}), struct.pack("<Q", 5) + b"\xff\xfe{}{"],
)  # fmt: skip
def test_a_damaged_header_hides_nothing_else(parts: storage.Storage, data: bytes) -> None:
    facts = describe(parts, {"model.safetensors": data, "README.md": b"---\nlicense: mit\n---"})
    assert "safetensors" not in facts
    assert facts["cardData"] == {"license": "mit"}


@pytest.mark.parametrize("config", [b"{", b"[]", b"3", b"\xff"])
def test_a_config_that_is_none_is_empty(parts: storage.Storage, config: bytes) -> None:
    assert describe(parts, {"config.json": config})["config"] == {}


def test_the_task_and_library_are_guessed_from_the_config(parts: storage.Storage) -> None:
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "secret": 1}
    facts = describe(parts, {"config.json": json.dumps(config).encode()})
    assert (facts["pipeline_tag"], facts["library_name"]) == ("text-generation", "transformers")
    assert facts["config"] == {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}


def test_a_text_beyond_the_limit_is_not_read(
    parts: storage.Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(info, "LARGEST_TEXT_FILE", 10)
    assert describe(parts, {"README.md": b"---\nlicense: mit\n---"})["cardData"] == {}


def test_sizes_are_said_when_asked_for(parts: storage.Storage) -> None:
    assert describe(parts, {"a": b"12345"})["siblings"] == [{"rfilename": "a"}]
    (sibling,) = describe(parts, {"a": b"12345"}, sizes=True)["siblings"]
    assert (sibling["size"], "lfs" in sibling) == (5, False)


def test_each_kind_has_its_own_facts(parts: storage.Storage) -> None:
    card = {"README.md": b"---\nmodels: [org/a, org/b]\nsdk: gradio\n---"}
    space = describe(parts, card, kind="spaces")
    assert (space["models"], space["sdk"]) == (["org/a", "org/b"], "gradio")
    assert describe(parts, {}, kind="spaces")["sdk"] == "static"
    data = describe(parts, card, kind="datasets")
    assert not {"modelId", "sdk", "runtime"} & data.keys()


def test_lists_are_short_unless_more_is_asked_for(parts: storage.Storage) -> None:
    facts = describe(parts, {"README.md": b"---\nlicense: mit\n---"})
    assert info.choose(facts, []) == facts
    assert info.choose(facts, ["sha"]).keys() == {"_id", "id", "sha"}
    assert not {"siblings", "cardData"} & info.brief(facts, full=False, card=False).keys()
    assert "cardData" in info.brief(facts, full=False, card=True)
    assert info.brief(facts, full=True, card=False) == facts
