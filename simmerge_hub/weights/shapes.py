"""What headers say of tensors: shapes, rows and columns, dtypes. Knows no tensor itself.

A tensor is seen as rows × columns: scalars and vectors are one row, inner dimensions are joined.
"""

from collections.abc import Mapping, Sequence
from math import prod

from simmerge_hub.errors import AlignmentError
from simmerge_hub.hub.files.headers import TensorHeader
from simmerge_hub.hub.resolve import Checkpoint

OUTPUT_CODES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
"""Output dtypes, as torch names them, and their safetensors codes."""
LARGEST_BUFFER = 256_000_000
"""Bytes of a buffer that is read whole."""

Source = tuple[Checkpoint, Checkpoint | None]
"""A full model and None, or an adapter and its base."""
Shapes = Mapping[str, tuple[int, ...]]
"""Tensor name -> shape."""


def shapes(checkpoint: Checkpoint, base: Checkpoint | None = None) -> dict[str, tuple[int, ...]]:
    """Tensor name -> shape of the full model; an adapter has those of its base."""
    return {name: header.shape for name, header in full_model(checkpoint, base).tensors.items()}


def full_model(checkpoint: Checkpoint, base: Checkpoint | None) -> Checkpoint:
    """The checkpoint whose tensors are those of the full model.

    Raises:
        AlignmentError: an adapter without its base.
    """
    if checkpoint.kind == "full":
        return checkpoint
    if base is None or base.kind != "full":
        raise AlignmentError(
            f"{checkpoint.name} is an adapter, and its base is not known",
            hint="name the model it was trained on with --base",
        )
    return base


def matrix_shape(shape: Sequence[int]) -> tuple[int, int]:
    """(rows, columns) of a tensor of this shape."""
    return (1, prod(shape)) if len(shape) < 2 else (shape[0], prod(shape[1:]))


def row_blocks(shape: Sequence[int], most: int) -> list[tuple[int, int]]:
    """The row ranges in which a tensor is worked through: of at most `most` entries, or one row."""
    rows, cols = matrix_shape(shape)
    step = max(1, most // max(1, cols))
    return [(low, min(low + step, rows)) for low in range(0, rows, step)]


def stored_dtype(header: TensorHeader) -> str:
    """The dtype, as torch names it, to write a merge of such tensors in.

    That of the stored tensor; float32 for float64, and bfloat16 for 8-bit floats.
    """
    if header.scale:
        return "bfloat16"
    return {"F16": "float16", "BF16": "bfloat16"}.get(header.dtype, "float32")


def common_dtype(checkpoint: Checkpoint) -> str:
    """The dtype most of a checkpoint's entries are stored in, of those that can be written."""
    entries = dict.fromkeys(OUTPUT_CODES, 0)
    for header in checkpoint.tensors.values():
        entries[stored_dtype(header)] += header.entries
    return max(entries, key=lambda name: entries[name])
