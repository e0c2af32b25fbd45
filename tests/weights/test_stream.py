"""Rows here, over HTTP and by safetensors itself are the same numbers."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from simmerge_hub import localhub
from simmerge_hub.errors import CheckpointError
from simmerge_hub.hub.files import ranges
from simmerge_hub.hub.resolve import Checkpoint, resolve
from simmerge_hub.weights import stream
from simmerge_hub.weights.shapes import matrix_shape, shapes, stored_dtype
from simmerge_hub.weights.stream import open_tensors, read_buffer, read_rows, read_whole
from tests import nano

E4M3 = torch.float8_e4m3fn
FP8 = {"quantization_config": {"quant_method": "fp8", "weight_block_size": [4, 3]}}
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


def test_every_dtype_is_read_as_float32(tmp_path: Path) -> None:
    model = resolve(str(nano.save(tmp_path / "model", MIXED, config={})))
    whole = read_whole(model)
    with open_tensors(model) as rows:
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
    local, remote = read_rows(here, wanted), read_rows(there, wanted)
    for name, row_ranges in wanted.items():
        whole = nano.load(folder)[name].float()
        matrix = whole.reshape(matrix_shape(whole.shape))
        expected = torch.cat([matrix[low:high] for low, high in row_ranges])
        assert torch.equal(local[name], expected)
        assert torch.equal(remote[name], expected)


def test_only_the_bytes_of_the_rows_are_fetched(
    hub: localhub.Hub, org: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = f"{org}/model"
    nano.push(nano.save(tmp_path / "m", {"w": torch.randn(5000, 100)}, config={}), repo)
    model = resolve(repo)
    asked: list[tuple[int, int]] = []
    read = ranges._read_remote

    def record(location, file, span):
        asked.append(span)
        return read(location, file, span)

    monkeypatch.setattr(ranges, "_read_remote", record)
    read_rows(model, {"w": [(0, 2), (4000, 4001)]})
    start = model.tensors["w"].start
    assert sorted(asked) == [(start, start + 800), (start + 1_600_000, start + 1_600_400)]


def test_an_adapter_is_its_base_plus_its_delta(hub: localhub.Hub, org: str, tmp_path: Path) -> None:
    tensors = nano.weights()
    nano.push(nano.save(tmp_path / "base", tensors), f"{org}/base")
    nano.push(nano.lora(tmp_path / "lora"), f"{org}/lora")
    base, lora = resolve(f"{org}/base"), resolve(f"{org}/lora")
    name, other = (f"model.layers.0.self_attn.{n}_proj.weight" for n in "qk")
    rows = read_rows(lora, {name: [(4, 6), (1, 2)], other: [(0, 1)]}, base)
    torch.testing.assert_close(rows[name], tensors[name][[4, 5, 1]] + 4.0)
    assert torch.equal(rows[other], tensors[other][:1])
    assert shapes(lora, base) == shapes(base)


def eight_bit(
    rows: int, cols: int, block: tuple[int, int] = (4, 3), kind: torch.dtype = E4M3
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """A weight in 8-bit floats with a scale for each block, and what it stands for, exactly."""
    stored = torch.randn(rows, cols).to(kind)
    scale = torch.rand(-(-rows // block[0]), -(-cols // block[1])) + 0.5
    spread = scale.repeat_interleave(block[0], 0)[:rows].repeat_interleave(block[1], 1)[:, :cols]
    return {"a.weight": stored, "a.weight_scale_inv": scale}, stored.float() * spread


class TestEightBit:
    def resolve(self, folder: Path, tensors: dict[str, torch.Tensor]) -> Checkpoint:
        return resolve(str(nano.save(folder, tensors, config=FP8)))

    @pytest.mark.parametrize("kind", [E4M3, torch.float8_e5m2])
    @pytest.mark.parametrize("shape", [(9, 8), (8, 6), (3, 2), (1, 1), (4, 3), (13, 3)])
    def test_any_rows_are_the_stored_times_the_scale_of_their_block(
        self, tmp_path: Path, shape: tuple[int, int], kind: torch.dtype
    ) -> None:
        tensors, expected = eight_bit(*shape, kind=kind)
        model = self.resolve(tmp_path / "m", tensors)
        assert model.tensors["a.weight"].scale
        assert shapes(model) == {"a.weight": shape}
        ranges = [(low, high) for low in range(shape[0]) for high in range(low, shape[0] + 1)]
        wanted = torch.cat([expected[low:high] for low, high in ranges])
        assert torch.equal(read_rows(model, {"a.weight": ranges})["a.weight"], wanted)
        assert torch.equal(read_whole(model)["a.weight"], expected)
        with open_tensors(model) as rows:
            for low, high in ranges:
                assert torch.equal(rows["a.weight"].read(low, high), expected[low:high])
                out = torch.empty(high - low, shape[1])
                assert rows["a.weight"].read(low, high, out) is out
                assert torch.equal(out, expected[low:high])

    @pytest.mark.parametrize(
        ("shape", "scale"),
        [
            ((5, 7), torch.tensor(0.25)),
            ((5, 7), torch.tensor([3.0])),
            ((5, 7), torch.rand(5, 1)),
            ((5, 7), torch.rand(5, 1).bfloat16()),
            ((5, 7), torch.rand(5, 1).half()),
            ((2, 5, 7), torch.rand(2, 1, 7)),
            ((2, 5, 7), torch.rand(2, 5, 1)),
            ((7,), torch.tensor([0.5])),
        ],
    )
    def test_scales_of_rows_and_of_tensors(
        self, tmp_path: Path, shape: tuple[int, ...], scale: torch.Tensor
    ) -> None:
        stored = torch.randn(shape).to(E4M3)
        model = self.resolve(tmp_path / "m", {"a.weight": stored, "a.weight_scale": scale})
        expected = stored.float() * scale.float()
        assert torch.equal(read_whole(model)["a.weight"], expected)
        with open_tensors(model) as rows:
            for low in range(matrix_shape(shape)[0]):
                flat = expected.reshape(matrix_shape(shape))
                assert torch.equal(rows["a.weight"].read(low, low + 1), flat[low : low + 1])

    def test_fused_experts_in_blocks(self, tmp_path: Path) -> None:
        parts = [eight_bit(9, 8) for _ in range(3)]
        tensors = {
            "e.up_proj": torch.stack([t["a.weight"].view(torch.uint8) for t, _ in parts]).view(
                E4M3
            ),
            "e.up_proj_scale_inv": torch.stack([t["a.weight_scale_inv"] for t, _ in parts]),
        }
        model = self.resolve(tmp_path / "m", tensors)
        expected = torch.stack([whole for _, whole in parts])
        assert torch.equal(read_whole(model)["e.up_proj"], expected)
        assert torch.equal(
            read_rows(model, {"e.up_proj": [(1, 3)]})["e.up_proj"], expected[1:].flatten(1)
        )

    def test_scales_that_are_exponents(self, tmp_path: Path) -> None:
        stored = torch.randn(5, 2).to(E4M3)
        exponents = torch.tensor([[120], [127], [130], [0], [254]], dtype=torch.uint8)
        tensors = {
            "a.weight": stored, "a.weight_scale_inv": exponents.view(torch.float8_e8m0fnu)
        }  # fmt: skip
        model = self.resolve(tmp_path / "m", tensors)
        expected = stored.double() * 2.0 ** (exponents.double() - 127)
        assert torch.equal(read_whole(model)["a.weight"], expected.float())

    def test_as_transformers_reads_them(self, tmp_path: Path) -> None:
        """The formula of transformers for a matrix whose sides its blocks divide."""
        from types import SimpleNamespace

        from transformers.integrations.finegrained_fp8 import Fp8Dequantize

        tensors, expected = eight_bit(8, 6)
        op = Fp8Dequantize(SimpleNamespace())
        theirs = op._dequantize_one(*tensors.values(), output_dtype=torch.float32)
        assert torch.equal(theirs, expected)
        assert torch.equal(read_whole(self.resolve(tmp_path / "m", tensors))["a.weight"], theirs)

    def test_here_and_there_and_in_shards(
        self, hub: localhub.Hub, org: str, tmp_path: Path
    ) -> None:
        tensors, expected = eight_bit(9, 8)
        tensors |= {"norm.weight": torch.ones(8), "b.weight": torch.randn(3, 3)}
        folder = nano.save(tmp_path / "m", tensors, config=FP8, shards=2)
        nano.push(folder, f"{org}/model")
        model = resolve(f"{org}/model")
        scale = model.tensors["a.weight"].scale
        assert scale is not None
        assert scale.file != model.tensors["a.weight"].file
        wanted = {"a.weight": [(2, 7)], "norm.weight": [(0, 1)]}
        assert torch.equal(read_rows(model, wanted)["a.weight"], expected[2:7])
        with open_tensors(model, evict=True) as rows:
            for name in model.tensors:
                read = rows[name].read(0, 1)
                rows[name].release()
                assert name != "a.weight" or torch.equal(read, expected[:1])

    def test_a_scale_is_read_once_by_all_threads(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tensors, expected = eight_bit(64, 8)
        model = self.resolve(tmp_path / "m", tensors)
        scale = model.tensors["a.weight"].scale
        assert scale is not None
        starts: list[int] = []
        read_into = stream._read_into

        def record(handle: int, data: memoryview, start: int) -> int:
            starts.append(start)
            return read_into(handle, data, start)

        monkeypatch.setattr(stream, "_read_into", record)
        with open_tensors(model) as rows, ThreadPoolExecutor(8) as pool:
            parts = list(pool.map(lambda i: rows["a.weight"].read(i, i + 1), range(64)))
        assert torch.equal(torch.cat(parts), expected)
        assert starts.count(scale.start) == 1
        assert len(starts) == 65

    def test_what_to_write_them_in(self, tmp_path: Path) -> None:
        tensors, _ = eight_bit(9, 8)
        model = self.resolve(tmp_path / "m", tensors | MIXED)
        written = {name: stored_dtype(header) for name, header in model.tensors.items()}
        assert written["a.weight"] == "bfloat16"
        assert [written[n] for n in ("half", "brain", "double", "single")] == [
            "float16", "bfloat16", "float32", "float32"
        ]  # fmt: skip


class TestBuffers:
    def test_their_bytes_here_and_there(self, hub: localhub.Hub, org: str, tmp_path: Path) -> None:
        steps, mask = torch.arange(5), torch.tensor([[True], [False]])
        tensors = {"w": torch.ones(3), "steps": steps, "mask": mask}
        folder = nano.save(tmp_path / "m", tensors, config={})
        nano.push(folder, f"{org}/model")
        for reference in (str(folder), f"{org}/model"):
            model = resolve(reference)
            assert set(model.buffers) == {"steps", "mask"}
            assert read_buffer(model, "steps") == steps.numpy().tobytes()
            assert read_buffer(model, "mask") == b"\1\0"

    def test_a_huge_one_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        tensors = {"w": torch.ones(3), "steps": torch.arange(5)}
        model = resolve(str(nano.save(tmp_path / "m", tensors, config={})))
        monkeypatch.setattr(stream, "LARGEST_BUFFER", 39)
        with pytest.raises(CheckpointError) as caught:
            read_buffer(model, "steps")
        assert str(caught.value) == "m: steps is I64 and has 40 bytes, too many for a buffer"
        assert "use the unquantised original" in caught.value.hint


def test_a_file_cut_short_while_it_is_read(tmp_path: Path) -> None:
    folder = nano.model(tmp_path / "model")
    model = resolve(str(folder))
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-8])
    last = list(model.tensors)[-1]
    with open_tensors(model) as rows, pytest.raises(CheckpointError, match="ended early"):
        rows[last].read(0, matrix_shape(model.tensors[last].shape)[0])


def test_big_tensors_are_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One system call reads 2 GB at most."""
    model = resolve(str(nano.save(tmp_path / "m", {"w": torch.randn(50, 10)}, config={})))
    preadv = stream.os.preadv
    monkeypatch.setattr(stream.os, "preadv", lambda f, d, at: preadv(f, [d[0][:77]], at))
    with open_tensors(model) as rows:
        read = rows["w"].read(0, 50)
    monkeypatch.undo()
    assert torch.equal(read, read_whole(model)["w"])


def test_without_preadv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in some builds of Python for macOS."""
    model = resolve(str(nano.save(tmp_path / "m", {"w": torch.randn(50, 10)}, config={})))
    expected = read_whole(model)["w"]
    monkeypatch.delattr(stream.os, "preadv")
    monkeypatch.setattr(stream, "ONE_READ", 77)
    with open_tensors(model) as rows:
        assert torch.equal(rows["w"].read(3, 50), expected[3:])
