"""A file of arrays: what is written comes back, and nothing else is believed."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from simmerge_hub.errors import SignatureError
from simmerge_hub.signatures.signing import store

TENSORS = {"b": torch.tensor([[1, 2], [3, 4]], dtype=torch.int32), "a": torch.zeros(0)}


def raw(path: Path, metadata: str, dtype: str = "F32", data: bytes = bytes(4)) -> Path:
    """A safetensors file with one entry, written byte by byte."""
    head = {"__metadata__": {"simmerge": metadata}}
    head["x"] = {"dtype": dtype, "shape": [1], "data_offsets": [0, len(data)]}  # type: ignore[dict-item]
    text = json.dumps(head).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def test_header_and_tensors_come_back(tmp_path: Path) -> None:
    store.write(tmp_path / "new" / "file", {"name": "n", "list": [1, None]}, TENSORS)
    header, values = store.read(tmp_path / "new" / "file")
    assert header == {"name": "n", "list": [1, None]}
    assert {n: (t.tensor().dtype, t.tensor().tolist()) for n, t in values.items()} == {
        "b": (torch.int32, [[1, 2], [3, 4]]), "a": (torch.float32, []),
    }  # fmt: skip
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["file"]


def test_arrays_come_in_one_order(tmp_path: Path) -> None:
    """Sums over them are rounded by it."""
    names = [f"layers.{number}.weight" for number in range(40)]
    store.write(tmp_path / "file", {}, {name: torch.zeros(1) for name in reversed(names)})
    assert list(store.read(tmp_path / "file")[1]) == sorted(names)


def test_a_write_that_fails_leaves_the_old_file_and_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    store.write(path, {"version": 1}, {})

    def half(_: dict[str, Tensor], part: Path, **__: Any) -> None:
        part.write_bytes(b"half")
        raise OSError("the disk is full")

    monkeypatch.setattr("safetensors.torch.save_file", half)
    with pytest.raises(OSError, match="the disk is full"):
        store.write(path, {"version": 2}, {})
    assert store.read(path)[0] == {"version": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_the_digest_is_of_names_dtypes_shapes_and_values() -> None:
    one = {"x": torch.tensor([1.0, 2.0])}
    others: list[dict[str, Tensor]] = [
        {"y": one["x"]}, {"x": one["x"].reshape(2, 1)}, {"x": one["x"].double()},
        {"x": torch.tensor([1.0, 2.5])}, {},
    ]  # fmt: skip
    packed = [{name: store.pack(t) for name, t in tensors.items()} for tensors in (one, *others)]
    digests = [store._digest({"n": 1}, values) for values in packed]
    digests.append(store._digest({"n": 2}, packed[0]))
    assert len(set(digests)) == len(digests)
    assert store._digest({"n": 1}, dict(packed[0])) == digests[0]


@pytest.mark.parametrize("metadata", ["[]", "3", '"text"', "{", "[" * 100_000, "9" * 5000])
def test_metadata_that_is_no_object_is_refused(metadata: str, tmp_path: Path) -> None:
    with pytest.raises(SignatureError, match="cannot be believed: it cannot be read"):
        store.read(raw(tmp_path / "file", metadata))


@pytest.mark.parametrize(
    ("dtype", "data"), [("F4", bytes(1)), ("F8_E8M0", bytes(1)), ("C64", bytes(8))]
)
def test_dtypes_no_signature_has_are_refused(dtype: str, data: bytes, tmp_path: Path) -> None:
    path = raw(tmp_path / "file", "{}", dtype, data if dtype != "F4" else bytes(1))
    with pytest.raises(SignatureError, match="cannot be believed: it cannot be read"):
        store.read(path)


@pytest.mark.parametrize("header", [None, [], "text"])
def test_a_header_that_is_no_object_is_refused(header: Any, tmp_path: Path) -> None:
    values = {"x": store.pack(torch.zeros(1))}
    stated = {"schema": 1, "digest": store._digest(header, values), "header": header}
    with pytest.raises(SignatureError, match="its content does not match its digest"):
        store.read(raw(tmp_path / "file", json.dumps(stated)))


@pytest.mark.parametrize("dtype", [torch.float8_e5m2, torch.bfloat16, torch.float16])
def test_infinity_is_refused(dtype: torch.dtype, tmp_path: Path) -> None:
    store.write(tmp_path / "file", {}, {"x": torch.tensor([1.0, -torch.inf]).to(dtype)})
    with pytest.raises(SignatureError, match="x holds NaN or infinity"):
        store.read(tmp_path / "file")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2])
def test_bits_tell_what_is_finite_as_torch_does(dtype: torch.dtype) -> None:
    """Every number that a float of 8 bits can be; of 16 bits one in 61, and those at the ends."""
    if dtype.itemsize == 1:
        bits = torch.arange(2**8).to(torch.uint8)
    else:
        bits = torch.tensor([*range(0, 2**16, 61), 0x7F7F, 0x7F80, 0x7F81, 0xFF80, 0xFFFF])
        bits = bits.to(torch.uint16)
    for number in bits.view(dtype):
        packed = store.pack(number.reshape(1))
        assert packed.is_finite() == bool(torch.isfinite(number.float()))
        assert packed.tensor().view(torch.uint8).equal(number.reshape(1).view(torch.uint8))


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.bfloat16])
def test_narrow_floats_are_kept_and_their_nan_refused(dtype: torch.dtype, tmp_path: Path) -> None:
    values = torch.tensor([1.0, -2.0]).to(dtype)
    store.write(tmp_path / "file", {}, {"x": values})
    assert store.read(tmp_path / "file")[1]["x"].tensor().float().tolist() == [1.0, -2.0]
    store.write(tmp_path / "nan", {}, {"x": torch.tensor([1.0, torch.nan]).to(dtype)})
    with pytest.raises(SignatureError, match="x holds NaN or infinity"):
        store.read(tmp_path / "nan")
