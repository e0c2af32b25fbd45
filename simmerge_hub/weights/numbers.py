"""Stored bytes as numbers: whole rows become float32, 8-bit floats times their scale.

A tensor is seen as rows × columns: scalars and vectors are one row, inner dimensions are joined.
Knows nothing about where the bytes come from.
"""

import math

import torch
from torch import Tensor

from simmerge_hub.hub.files.headers import TensorHeader
from simmerge_hub.weights.shapes import matrix_shape

STORED_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
}  # fmt: skip
"""Stored dtypes that can be merged."""
WHOLE_DTYPES = {
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U64": torch.uint64, "U32": torch.uint32, "U16": torch.uint16, "U8": torch.uint8,
    "BOOL": torch.bool,
}  # fmt: skip
"""Those of whole numbers and truth values, which are copied."""


def decode(
    data: bytearray | memoryview,
    header: TensorHeader,
    grid: Tensor | None,
    low: int,
    out: Tensor | None = None,
) -> Tensor:
    """Stored bytes of whole rows from row `low` on -> float32 [rows, cols], scaled if stored so."""
    cols = matrix_shape(header.shape)[1]
    if not data:
        return torch.empty(0, cols) if out is None else out
    stored = torch.frombuffer(data, dtype=STORED_DTYPES[header.dtype]).view(-1, cols)
    rows = stored.to(torch.float32) if out is None else out.copy_(stored)
    if grid is not None:
        _rescale(rows, header, grid, low)
    return rows


def scale_grid(header: TensorHeader, data: bytes | bytearray) -> Tensor:
    """A tensor's scale as float32, one number for each of its blocks, in their places."""
    assert header.scale is not None
    raw = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    if header.scale.dtype == "F8_E8M0":  # an exponent alone; 255 is NaN, and is infinite here
        scale = (raw.to(torch.float32) - 127).exp2()
    else:
        scale = raw.view(STORED_DTYPES[header.scale.dtype]).to(torch.float32)
    blocks = zip(header.shape, header.block, strict=True)
    return scale.reshape([max(1, math.ceil(size / block)) for size, block in blocks])


def _rescale(rows: Tensor, header: TensorHeader, grid: Tensor, low: int) -> None:
    """Multiply rows from row `low` on, in place, with the scale of the block each entry is in."""
    if grid.numel() == 1:
        rows.mul_(grid.reshape(()))
        return
    factors = grid[torch.arange(low, low + len(rows)) // header.block[0]]
    for place in range(1, len(header.shape)):
        if grid.shape[place] > 1:
            spread = factors.repeat_interleave(header.block[place], place)
            factors = spread.narrow(place, 0, header.shape[place])
    rows.unflatten(1, header.shape[1:]).mul_(factors)
