"""Rows here, over HTTP and by safetensors itself are the same numbers."""

from pathlib import Path

import pytest
import torch

from simmerge_hub import localhub
from simmerge_hub.errors import CheckpointError
from simmerge_hub.hub import ranges
from simmerge_hub.hub.resolve import resolve
from simmerge_hub.weights import stream
from simmerge_hub.weights.stream import matrix_shape, opened, read_rows, read_whole, shapes
from tests import nano

MIXED = {
    "half": torch.randn(6, 5).half(),
    "brain": torch.randn(7, 3).bfloat16(),
    "double": torch.randn(4, 4).double(),
    "single": torch.randn(3, 2, 5),
    "vector": torch.randn(9),
    "scalar": torch.tensor(2.5),
    "empty": torch.zeros(0, 4),
    "nothing": torch.zeros(0),
    "extreme": torch.tensor([[3.0e38, 1e-45, -0.0]]),
}


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((), (1, 1)), ((5,), (1, 5)), ((4, 3), (4, 3)), ((4, 3, 2), (4, 6)), ((0, 3), (0, 3))],
)
def test_matrix_shape(shape: tuple[int, ...], expected: tuple[int, int]) -> None:
    assert matrix_shape(shape) == expected


def test_every_dtype_is_read_as_float32(tmp_path: Path) -> None:
    found = resolve(str(nano.save(tmp_path / "model", MIXED, config={})))
    whole = read_whole(found)
    with opened(found) as rows:
        for name, tensor in MIXED.items():
            expected = tensor.float()
            assert whole[name].dtype == torch.float32
            assert torch.equal(whole[name], expected)
            assert torch.equal(
                rows[name].read(0, matrix_shape(tensor.shape)[0]).reshape(tensor.shape), expected
            )


def test_rows_here_and_there_and_by_safetensors(
    hub: localhub.Hub, org: str, tmp_path: Path
) -> None:
    tensors = nano.weights(dtype=torch.bfloat16)
    folder = nano.save(tmp_path / "model", tensors, shards=2)
    repo = f"{org}/model"
    nano.push(folder, repo)
    here, there = resolve(str(folder)), resolve(repo)
    wanted = {
        "model.embed_tokens.weight": [(3, 5), (0, 1), (19, 20)],
        "model.layers.1.mlp.down_proj.weight": [(0, 16)],
        "model.norm.weight": [(0, 1)],
    }
    found, remote = read_rows(here, wanted), read_rows(there, wanted)
    for name, row_ranges in wanted.items():
        whole = nano.load(folder)[name].float()
        matrix = whole.reshape(matrix_shape(whole.shape))
        expected = torch.cat([matrix[low:high] for low, high in row_ranges])
        assert torch.equal(found[name], expected)
        assert torch.equal(remote[name], expected)


def test_only_the_bytes_of_the_rows_are_fetched(
    hub: localhub.Hub, org: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = f"{org}/model"
    nano.push(nano.save(tmp_path / "m", {"w": torch.randn(5000, 100)}, config={}), repo)
    found = resolve(repo)
    asked: list[tuple[int, int]] = []
    read = ranges._read_remote

    def recorded(location, file, span):
        asked.append(span)
        return read(location, file, span)

    monkeypatch.setattr(ranges, "_read_remote", recorded)
    read_rows(found, {"w": [(0, 2), (4000, 4001)]})
    start = found.tensors["w"].start
    assert sorted(asked) == [(start, start + 800), (start + 1_600_000, start + 1_600_400)]


def test_an_adapter_is_its_base_plus_its_delta(hub: localhub.Hub, org: str, tmp_path: Path) -> None:
    tensors = nano.weights()
    nano.push(nano.save(tmp_path / "base", tensors), f"{org}/base")
    nano.push(nano.lora(tmp_path / "lora"), f"{org}/lora")
    base, lora = resolve(f"{org}/base"), resolve(f"{org}/lora")
    name, other = (f"model.layers.0.self_attn.{n}_proj.weight" for n in "qk")
    found = read_rows(lora, {name: [(4, 6), (1, 2)], other: [(0, 1)]}, base)
    torch.testing.assert_close(found[name], tensors[name][[4, 5, 1]] + 4.0)
    assert torch.equal(found[other], tensors[other][:1])
    assert shapes(lora, base) == shapes(base)


def test_eight_bit_weights_are_refused(tmp_path: Path) -> None:
    tensors = {"w": torch.ones(2, 2).to(torch.float8_e4m3fn)}
    found = resolve(str(nano.save(tmp_path / "model", tensors, config={})))
    with pytest.raises(CheckpointError) as caught:
        read_rows(found, {"w": [(0, 1)]})
    assert str(caught.value) == "w is stored as F8_E4M3, which cannot be merged"
    assert caught.value.hint == "merge a checkpoint stored in float32, float16 or bfloat16"


def test_a_file_cut_short_while_it_is_read(tmp_path: Path) -> None:
    folder = nano.model(tmp_path / "model")
    found = resolve(str(folder))
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-8])
    last = list(found.tensors)[-1]
    with opened(found) as rows, pytest.raises(CheckpointError, match="ended early"):
        rows[last].read(0, matrix_shape(found.tensors[last].shape)[0])


def test_big_tensors_are_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One system call reads 2 GB at most."""
    found = resolve(str(nano.save(tmp_path / "m", {"w": torch.randn(50, 10)}, config={})))
    preadv = stream.os.preadv
    monkeypatch.setattr(stream.os, "preadv", lambda f, d, at: preadv(f, [d[0][:77]], at))
    with opened(found) as rows:
        read = rows["w"].read(0, 50)
    monkeypatch.undo()
    assert torch.equal(read, read_whole(found)["w"])
