"""Weights in .bin files: converted once, equal to the last bit, and never run."""

import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.utils import _cache_assets
from safetensors.torch import load_file
from torch import Tensor

from simmerge_hub import localhub
from simmerge_hub.errors import CheckpointError, CorruptHeader, OutputError
from simmerge_hub.hub.digest import digest
from simmerge_hub.hub.files import convert
from simmerge_hub.hub.resolve import resolve
from simmerge_hub.weights.stream import open_tensors, read_buffer, read_whole
from tests import nano

INDEX = "pytorch_model.bin.index.json"


@pytest.fixture(autouse=True)
def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty assets cache; where it keeps conversions."""
    folder = tmp_path / "assets"
    monkeypatch.setattr(_cache_assets, "HF_ASSETS_CACHE", str(folder))
    return folder / "simmerge-hub" / "weights" / "converted"


def pickled(
    folder: Path, entries: Mapping[str, Any], *, shards: int = 1, legacy: bool = False
) -> Path:
    """A folder as save_pretrained() wrote it before safetensors."""
    nano.save(folder, {"w": torch.ones(1)}, config=nano.CONFIG)
    (folder / "model.safetensors").unlink()
    names = list(entries)
    parts = {"pytorch_model.bin": dict(entries)}
    if shards > 1:
        parts = {
            f"pytorch_model-{i + 1:05}-of-{shards:05}.bin": {
                n: entries[n] for n in names[i::shards]
            }
            for i in range(shards)
        }
        index = {"weight_map": {n: file for file, part in parts.items() for n in part}}
        (folder / INDEX).write_text(json.dumps(index))
    for file, part in parts.items():
        torch.save(part, folder / file, _use_new_zipfile_serialization=not legacy)
    return folder


def same(folder: Path, expected: Mapping[str, Tensor]) -> bool:
    tensors = read_whole(resolve(str(folder)))
    return tensors.keys() == expected.keys() and all(
        torch.equal(tensors[n], t.float()) for n, t in expected.items()
    )


MIXED = {
    "flags": torch.tensor([True, False, True]),
    "half": torch.randn(3, 5).half(),
    "turned": torch.randn(4, 6).T,
    "cut": torch.randn(8, 3)[2:5],
    "brain": torch.randn(7).bfloat16(),
    "double": torch.randn(2, 2).double(),
    "scalar": torch.tensor(2.5),
    "empty": torch.zeros(0, 4),
    "parameter": torch.nn.Parameter(torch.ones(3)),
}


class TestConversion:
    @pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
    @pytest.mark.parametrize("shards", [1, 3])
    def test_the_tensors_are_the_same(self, tmp_path: Path, shards: int, legacy: bool) -> None:
        folder = pickled(tmp_path / "model", MIXED, shards=shards, legacy=legacy)
        checkpoint = resolve(str(folder))
        whole = read_whole(checkpoint)
        assert set(checkpoint.tensors) == set(MIXED) - {"flags"}
        assert all(torch.equal(whole[n], MIXED[n].detach().float()) for n in whole)
        assert read_buffer(checkpoint, "flags") == b"\1\0\1"
        assert {h.dtype for h in checkpoint.tensors.values()} == {"F16", "BF16", "F32", "F64"}

    def test_safetensors_itself_reads_them(self, tmp_path: Path, assets: Path) -> None:
        resolve(str(pickled(tmp_path / "model", MIXED)))
        (file,) = assets.iterdir()
        tensors = load_file(file)
        assert all(torch.equal(tensors[n], t) for n, t in MIXED.items())

    def test_rows_are_read_where_they_lie(self, tmp_path: Path) -> None:
        checkpoint = resolve(str(pickled(tmp_path / "model", nano.weights(), shards=2)))
        with open_tensors(checkpoint, evict=True) as rows:
            for name, tensor in nano.weights().items():
                matrix = tensor.reshape(1, -1) if tensor.ndim < 2 else tensor
                assert torch.equal(rows[name].read(0, len(matrix)), matrix)
                rows[name].release()

    def test_it_is_the_original_but_for_where_its_weights_are(
        self, tmp_path: Path, assets: Path
    ) -> None:
        folder = pickled(tmp_path / "model", nano.weights())
        (folder / "README.md").write_text("---\nlicense: mit\n---\n")
        checkpoint = resolve(str(folder))
        assert (checkpoint.name, checkpoint.license, checkpoint.commit) == ("model", "mit", None)
        assert checkpoint.location.folder == folder
        assert checkpoint.weights.folder == assets
        assert checkpoint.pickles == ("pytorch_model.bin",)
        assert checkpoint.tokenizer_files == ("tokenizer.json", "tokenizer_config.json")

    def test_what_is_no_tensor_is_ignored(self, tmp_path: Path) -> None:
        entries = nano.weights() | {"step": 3, "names": ["a"], "nested": {"w": torch.ones(1)}}
        assert same(pickled(tmp_path / "model", entries), nano.weights())

    def test_tied_tensors_are_two(self, tmp_path: Path) -> None:
        shared = torch.randn(4, 3)
        entries = {"embed": shared, "head": shared}
        assert same(pickled(tmp_path / "model", entries), entries)

    def test_it_is_done_once(
        self, tmp_path: Path, assets: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = pickled(tmp_path / "model", nano.weights())
        first = resolve(str(folder))
        monkeypatch.setattr(torch, "load", None)
        copy = shutil.copytree(folder, tmp_path / "copy")
        again = resolve(str(copy))
        assert again.tensors == first.tensors
        assert digest(again) == digest(first)
        assert len(list(assets.iterdir())) == 1

    def test_one_that_was_damaged_is_done_again(self, tmp_path: Path, assets: Path) -> None:
        folder = pickled(tmp_path / "model", nano.weights())
        resolve(str(folder))
        (file,) = assets.iterdir()
        file.write_bytes(file.read_bytes()[:-1])
        assert same(folder, nano.weights())

    def test_an_adapter(self, tmp_path: Path) -> None:
        folder = nano.lora(tmp_path / "lora", base="org/base")
        tensors = load_file(folder / "adapter_model.safetensors")
        (folder / "adapter_model.safetensors").unlink()
        torch.save(tensors, folder / "adapter_model.bin")
        checkpoint = resolve(str(folder))
        assert checkpoint.kind == "adapter"
        assert all(torch.equal(t, tensors[n]) for n, t in read_whole(checkpoint).items())

    def test_safetensors_are_preferred(self, tmp_path: Path, assets: Path) -> None:
        folder = nano.model(tmp_path / "model")
        before = digest(resolve(str(folder)))
        (folder / "pytorch_model.bin").write_bytes(b"rubbish")
        assert digest(resolve(str(folder))) == before
        assert not assets.exists()

    def test_on_the_hub(self, hub: localhub.Hub, org: str, tmp_path: Path) -> None:
        folder = pickled(tmp_path / "model", nano.weights(), shards=2)
        commit = nano.push(folder, f"{org}/model")
        checkpoint = resolve(f"{org}/model")
        assert (checkpoint.commit, checkpoint.location.repo) == (commit, f"{org}/model")
        assert digest(checkpoint) == digest(resolve(str(folder)))
        assert checkpoint.weights == resolve(str(folder)).weights


class TestDigest:
    def test_it_is_of_the_pickles(self, tmp_path: Path) -> None:
        folder = pickled(tmp_path / "model", nano.weights())
        first = digest(resolve(str(folder)))
        (folder / "training_args.bin").write_bytes(b"of no matter")
        assert digest(resolve(str(folder))) == first
        torch.save(nano.weights(1), folder / "pytorch_model.bin")
        assert digest(resolve(str(folder))) != first


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


class TestRefusals:
    @pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
    def test_a_malicious_pickle_is_never_run(
        self, tmp_path: Path, assets: Path, legacy: bool
    ) -> None:
        victim = tmp_path / "touched"
        entries = nano.weights() | {"extra": Touch(victim)}
        folder = pickled(tmp_path / "model", entries, legacy=legacy)
        with pytest.raises(CheckpointError) as caught:
            resolve(str(folder))
        assert str(caught.value) == (
            f"{folder}/pytorch_model.bin asks for posix.system, which is no tensor; opening it "
            "could run code"
        )
        assert caught.value.hint == (
            "ask its author for safetensors, or use another copy of the model"
        )
        assert not victim.exists()
        assert not list(assets.iterdir())
        with open(folder / "pytorch_model.bin", "rb") as handle:  # the attack is a real one
            torch.load(handle, weights_only=False)
        assert victim.exists()

    def test_a_whole_model_is_refused(self, tmp_path: Path) -> None:
        folder = pickled(tmp_path / "model", {})
        torch.save(torch.nn.Linear(2, 2), folder / "pytorch_model.bin")
        with pytest.raises(CheckpointError, match=r"asks for torch\.nn\.modules\.linear\.Linear"):
            resolve(str(folder))

    def test_damaged_files(self, tmp_path: Path, assets: Path) -> None:
        folder = pickled(tmp_path / "model", nano.weights())
        old = pickled(tmp_path / "old", nano.weights(), legacy=True)
        whole, legacy = ((f / "pytorch_model.bin").read_bytes() for f in (folder, old))
        with zipfile.ZipFile(tmp_path / "other.zip", "w") as file:
            file.writestr("a/b", "c")
        for data in (
            b"", b"x", b"rubbish" * 99, pickle.dumps([1]), whole[:-100], whole[: len(whole) // 2],
            legacy[:-8], legacy[:60], (tmp_path / "other.zip").read_bytes(),
        ):  # fmt: skip
            (folder / "pytorch_model.bin").write_bytes(data)
            with pytest.raises(CheckpointError) as caught:
                resolve(str(folder))
            said = str(caught.value)
            assert said.startswith(f"{folder}/pytorch_model.bin ")
            assert "\n" not in said
            assert caught.value.hint
        assert not list(assets.iterdir())

    @pytest.mark.parametrize(
        ("entries", "seen"),
        [
            ([1, 2], "is a list, not named tensors"),
            ({"step": 3}, "holds no tensors"),
            ({3: torch.ones(1)}, "calls a tensor 3"),
            ({"__metadata__": torch.ones(1)}, "calls a tensor '__metadata__'"),
            ({"w": torch.ones(1, dtype=torch.complex128)}, "has w as complex128"),
            ({"w": torch.ones(1, device="meta")}, "has no plain data for w"),
            ({"w": torch.ones(3).to_sparse()}, "has no plain data for w"),
            (
                {"w": torch.ones(1).expand(10**12)},
                "claims 4,000,000,000,000 bytes for w, and has fewer",
            ),
        ],
    )
    def test_what_is_no_state_dict(self, tmp_path: Path, entries: Any, seen: str) -> None:
        folder = pickled(tmp_path / "model", {})
        torch.save(entries, folder / "pytorch_model.bin")
        with pytest.raises(CheckpointError) as caught:
            resolve(str(folder))
        assert str(caught.value) == f"{folder}/pytorch_model.bin {seen}"

    def test_quantised_pickles_are_refused_like_others(self, tmp_path: Path) -> None:
        folder = pickled(tmp_path / "model", {"a.qweight": torch.ones(2, 2, dtype=torch.int32)})
        with pytest.raises(CheckpointError, match=r"quantised with gptq or awq"):
            resolve(str(folder))

    @pytest.mark.parametrize(
        "path", ["/etc/passwd", "../secret.bin", "model.safetensors", ".x.bin"]
    )
    def test_an_index_cannot_reach_out_of_the_folder(self, tmp_path: Path, path: str) -> None:
        folder = pickled(tmp_path / "model", nano.weights(), shards=2)
        (folder / INDEX).write_text(json.dumps({"weight_map": {"a": path}}))
        with pytest.raises(CorruptHeader, match="which is no plain file"):
            resolve(str(folder))

    def test_a_missing_shard_and_a_missing_tensor(self, tmp_path: Path) -> None:
        folder = pickled(tmp_path / "model", nano.weights(), shards=2)
        shard = folder / "pytorch_model-00002-of-00002.bin"
        torch.save({"other": torch.ones(1)}, shard)
        with pytest.raises(CorruptHeader, match=rf"which is not in {shard.name}"):
            resolve(str(folder))
        shard.unlink()
        with pytest.raises(CorruptHeader, match=rf"the index names {shard.name}, which is not th"):
            resolve(str(folder))

    def test_a_full_disk(
        self, tmp_path: Path, assets: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = pickled(tmp_path / "model", nano.weights())
        monkeypatch.setattr(convert, "DISK_RESERVE", 10**18)
        with pytest.raises(OutputError) as caught:
            resolve(str(folder))
        assert str(caught.value).startswith(f"{folder}/pytorch_model.bin needs ")
        assert "HF_ASSETS_CACHE" in caught.value.hint
        assert not list(assets.iterdir())

    def test_an_interrupt_leaves_nothing(
        self, tmp_path: Path, assets: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = pickled(tmp_path / "model", nano.weights())

        def interrupted(_: Tensor) -> memoryview:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(convert, "_bytes", interrupted)
            with pytest.raises(KeyboardInterrupt):
                resolve(str(folder))
        assert not list(assets.iterdir())
        assert same(folder, nano.weights())
