"""Stored bytes become float32 rows, worked out by hand."""

import struct

import pytest
import torch

from simmerge_hub.hub.files.headers import TensorHeader
from simmerge_hub.weights.numbers import decode, scale_grid


def header(dtype: str, *shape: int, **more: object) -> TensorHeader:
    return TensorHeader(file="f", dtype=dtype, shape=shape, start=0, end=0, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("dtype", "data"),
    [
        ("F64", struct.pack("<4d", 1, -2, 0.5, 3)),
        ("F32", struct.pack("<4f", 1, -2, 0.5, 3)),
        ("F16", bytes.fromhex("003c 00c0 0038 0042")),
        ("BF16", bytes.fromhex("803f 00c0 003f 4040")),
        ("F8_E4M3", bytes.fromhex("38 c0 30 44")),
        ("F8_E5M2", bytes.fromhex("3c c0 38 42")),
    ],
)
def test_bytes_of_every_dtype(dtype: str, data: bytes) -> None:
    rows = decode(bytearray(data), header(dtype, 2, 2), None, 0)
    assert rows.dtype == torch.float32
    assert rows.tolist() == [[1, -2], [0.5, 3]]
    out = torch.zeros(2, 2)
    assert decode(bytearray(data), header(dtype, 2, 2), None, 0, out) is out
    assert torch.equal(out, rows)


def test_no_rows() -> None:
    assert decode(bytearray(), header("F32", 2, 3), None, 1).shape == (0, 3)


def test_scales_of_blocks_that_reach_over_the_edge() -> None:
    """Blocks of 2 × 2 on a tensor of 3 × 3: the last row and column have blocks of their own."""
    scale = header("F32", 2, 2)
    stored = header("F8_E4M3", 3, 3, scale=scale, block=(2, 2))
    grid = scale_grid(stored, struct.pack("<4f", 1, 10, 100, 1000))
    assert grid.tolist() == [[1, 10], [100, 1000]]
    ones = bytearray(bytes.fromhex("38" * 9))
    assert decode(ones, stored, grid, 0).tolist() == [[1, 1, 10], [1, 1, 10], [100, 100, 1000]]
    assert decode(ones[6:], stored, grid, 2).tolist() == [[100, 100, 1000]]


def test_one_scale_for_all() -> None:
    stored = header("F8_E4M3", 2, 2, scale=header("BF16"), block=(2, 2))
    grid = scale_grid(stored, bytes.fromhex("0040"))
    assert decode(bytearray(bytes.fromhex("38 c0 30 44")), stored, grid, 0).tolist() == [
        [2, -4],
        [1, 6],
    ]


def test_scales_that_are_exponents() -> None:
    """127 is 2⁰, 124 is 2⁻³; 255, which is NaN there, shows as infinite."""
    stored = header("F8_E4M3", 3, 1, scale=header("F8_E8M0", 3, 1), block=(1, 1))
    assert scale_grid(stored, bytes([127, 124, 255])).flatten().tolist() == [1, 0.125, torch.inf]
