"""What is written is what safetensors reads, at offsets known beforehand."""

import errno
import json
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from simmerge_hub.hub.files.headers import LENGTH_BYTES, parse_header, parse_index
from simmerge_hub.weights.shapes import OUTPUT_CODES, matrix_shape
from simmerge_hub.weights.writing.shards import open_shards, plan_shards
from tests import nano

TENSORS = {
    "a": torch.randn(7, 5),
    "scalar": torch.tensor(1.5),
    "empty": torch.zeros(0, 3),
    "nothing": torch.zeros(0),
    "ünï": torch.randn(3),
    "deep": torch.randn(4, 3, 2),
}
BUFFER = torch.tensor([[1, 2**40], [-3, 0]])


def write_all(folder: Path, dtype: str, limit: int, step: int = 3) -> None:
    entries = {n: (OUTPUT_CODES[dtype], tuple(t.shape)) for n, t in TENSORS.items()}
    entries["buffer"] = ("I64", (2, 2))
    shards = plan_shards(entries, limit, {"format": "pt", "note": "ü"})
    with open_shards(folder, shards) as write:
        write("buffer", 0, BUFFER.view(torch.uint8).reshape(1, -1))
        for name, tensor in reversed(TENSORS.items()):
            rows, cols = matrix_shape(tensor.shape)
            matrix = tensor.reshape(rows, cols)
            for low in range(0, rows, step):
                write(name, low, matrix[low : low + step].to(getattr(torch, dtype)))


@pytest.mark.parametrize("dtype", OUTPUT_CODES)
@pytest.mark.parametrize("limit", [10**9, 60, 1])
def test_safetensors_reads_what_was_written(tmp_path: Path, dtype: str, limit: int) -> None:
    write_all(tmp_path, dtype, limit)
    loaded = nano.load(tmp_path)
    assert loaded.keys() == {*TENSORS, "buffer"}
    assert torch.equal(loaded["buffer"], BUFFER)
    for name, tensor in TENSORS.items():
        assert torch.equal(loaded[name], tensor.to(getattr(torch, dtype)))


@pytest.mark.parametrize("error", [None, errno.EOPNOTSUPP])
def test_without_posix_fallocate(
    tmp_path: Path, error: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """macOS has no such call, and some file systems refuse it."""

    def refuse(*_: int) -> None:
        raise OSError(error, "refused")

    if error is None:
        monkeypatch.delattr(os, "posix_fallocate")
    else:
        monkeypatch.setattr(os, "posix_fallocate", refuse)
    write_all(tmp_path, "float32", 60)
    assert nano.load(tmp_path).keys() == {*TENSORS, "buffer"}


def test_a_full_disk_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(OSError, match="No space left"):
        write_all(tmp_path, "float32", 60)


def test_metadata_and_alignment(tmp_path: Path) -> None:
    write_all(tmp_path, "bfloat16", 10**9)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt", "note": "ü"}
    raw = (tmp_path / "model.safetensors").read_bytes()
    length = int.from_bytes(raw[:LENGTH_BYTES], "little")
    assert length % 8 == 0
    assert set(parse_header(raw[LENGTH_BYTES : LENGTH_BYTES + length], len(raw), "x")) == {
        *TENSORS,
        "buffer",
    }


def test_rows_beyond_a_tensor_are_never_written(tmp_path: Path) -> None:
    entries = {"a": ("F32", (2, 2)), "b": ("F32", (2, 2))}
    with (
        open_shards(tmp_path, plan_shards(entries, 10**9, {})) as write,
        pytest.raises(ValueError, match="a has no room for rows 1 to 3"),
    ):
        write("a", 1, torch.ones(2, 2))


def test_an_index_for_several_files_only(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "many").mkdir()
    write_all(tmp_path / "one", "float32", 10**9)
    write_all(tmp_path / "many", "float32", 60)
    assert [p.name for p in (tmp_path / "one").iterdir()] == ["model.safetensors"]
    index = (tmp_path / "many" / nano.INDEX).read_bytes()
    placed = parse_index(index, nano.INDEX)
    assert list(placed) == sorted([*TENSORS, "buffer"])
    assert (
        json.loads(index)["metadata"]["total_size"]
        == sum(t.numel() * 4 for t in TENSORS.values()) + 8 * BUFFER.numel()
    )
    count = len(list((tmp_path / "many").glob("*.safetensors")))
    assert set(placed.values()) == {
        f"model-{i + 1:05}-of-{count:05}.safetensors" for i in range(count)
    }


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(0, 50), min_size=1, max_size=20),
    limit=st.integers(1, 400),
    dtype=st.sampled_from(list(OUTPUT_CODES)),
)
def test_shards_hold_every_tensor_once_in_order(sizes: list[int], limit: int, dtype: str) -> None:
    entries = {f"t{i}": (OUTPUT_CODES[dtype], (size,)) for i, size in enumerate(sizes)}
    shards = plan_shards(entries, limit, {})
    assert [n for s in shards for n in s.starts] == list(entries)
    for shard in shards:
        data = shard.size - len(shard.header)
        assert data <= limit or sum(bool(sizes[int(n[1:])]) for n in shard.starts) == 1
        text = shard.header[LENGTH_BYTES:]
        parsed = parse_header(text, shard.size, shard.file)
        assert {n: h.start for n, h in parsed.items()} == dict(shard.starts)
