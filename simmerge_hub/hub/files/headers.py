"""safetensors headers and index files, checked before they are believed.

Works on bytes: knows nothing about where they come from. A header is refused if it is longer than
the file, is no JSON object, names an unknown dtype, or describes data that does not tile the data
section exactly; an index if it names a file outside its own folder.
"""

import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from simmerge_hub.documents import DocumentError, read_json_object
from simmerge_hub.errors import CorruptHeader

LENGTH_BYTES = 8
LONGEST_HEADER = 100_000_000
"""The longest header the safetensors format allows, in bytes."""
MOST_DIMENSIONS = 64
"""More than any tensor has; keeps the product of a hostile shape cheap."""
BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
    "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U64": 64, "U32": 32, "U16": 16, "U8": 8,
    "BOOL": 8, "C64": 64,
}  # fmt: skip
"""Bits per entry of the dtypes of the safetensors format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorHeader:
    """Where one tensor lies: bytes [start, end) of `file`, counted from the file's beginning.

    An 8-bit tensor has a `scale`: one number for each `block` of its entries, which all entries of
    the block are multiplied with. `block` has as many dimensions as the tensor; a tensor's last
    blocks may reach over its edge.
    """

    file: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int
    scale: "TensorHeader | None" = None
    block: tuple[int, ...] = ()

    @property
    def entries(self) -> int:
        """How many numbers the tensor holds."""
        return prod(self.shape)


Headers = Mapping[str, TensorHeader]
"""Tensor name -> its header."""


def header_length(first: bytes, size: int, file: str) -> int:
    """The length of the JSON header in bytes, from the first 8 bytes of a file of `size` bytes."""
    if len(first) < LENGTH_BYTES or size < LENGTH_BYTES:
        raise _corrupt(file, f"the file has only {size} bytes")
    length = int.from_bytes(first[:LENGTH_BYTES], "little")
    if length > LONGEST_HEADER or LENGTH_BYTES + length > size:
        raise _corrupt(file, f"the header claims {length:,} bytes of a file of {size:,}")
    return length


def parse_header(text: bytes, size: int, file: str) -> dict[str, TensorHeader]:
    """The tensors of one file, in file order, from its JSON header.

    Args:
        text: the header, without its 8 length bytes.
        size: the size of the whole file in bytes.
        file: the file's name, for messages and for the result.

    Raises:
        CorruptHeader: if anything about it cannot be true.
    """
    entries = _json_object(text, file)
    entries.pop("__metadata__", None)
    start = LENGTH_BYTES + len(text)
    tensors = {name: _tensor(name, e, start, file) for name, e in entries.items()}
    ordered = dict(sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end)))
    at = start
    for name, tensor in ordered.items():
        if tensor.start != at:
            raise _corrupt(file, f"{name!r} starts at byte {tensor.start}, expected {at}")
        at = tensor.end
    if at != size:
        raise _corrupt(file, f"the tensors end at byte {at:,}, the file at {size:,}")
    return ordered


def compose_header(entries: Mapping[str, object]) -> bytes:
    """The first bytes of a file with such a header: its length, and JSON padded to 8 bytes."""
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(LENGTH_BYTES, "little") + text


def parse_index(text: bytes, file: str, *, ending: str = ".safetensors") -> dict[str, str]:
    """`weight_map` of an index: tensor name -> file in the same folder, with this ending."""
    weight_map = _json_object(text, file).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise _corrupt(file, "it has no weight_map")
    for name, shard in weight_map.items():
        if not isinstance(shard, str) or not _plain_name(shard, ending):
            raise _corrupt(file, f"{name!r} is said to lie in {shard!r}, which is no plain file")
    return weight_map


def _tensor(name: str, entry: Any, start: int, file: str) -> TensorHeader:
    if not isinstance(entry, Mapping):
        raise _corrupt(file, f"the entry of {name!r} is no object")
    dtype, shape, offsets = (entry.get(k, ()) for k in ("dtype", "shape", "data_offsets"))
    if not isinstance(dtype, str) or dtype not in BITS:
        raise _corrupt(file, f"{name!r} has the unknown dtype {reprlib.repr(dtype)}")
    if not _whole_numbers(shape) or not _whole_numbers(offsets) or len(offsets) != 2:
        seen = f"shape {reprlib.repr(shape)} and offsets {reprlib.repr(offsets)}"
        raise _corrupt(file, f"{name!r} has {seen}")
    if len(shape) > MOST_DIMENSIONS:
        raise _corrupt(file, f"{name!r} has {len(shape):,} dimensions")
    low, high = offsets
    if (high - low) * 8 != prod(shape) * BITS[dtype]:
        raise _corrupt(file, f"{name!r} is {dtype} {shape} but has {high - low:,} bytes")
    return TensorHeader(
        file=file, dtype=dtype, shape=tuple(shape), start=start + low, end=start + high
    )


def _whole_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and n >= 0 for n in value)


def _plain_name(name: str, ending: str) -> bool:
    return name.endswith(ending) and not set(name) & set("/\\\0:") and name[0] != "."


def _json_object(text: bytes, file: str) -> dict[str, Any]:
    try:
        return read_json_object(text)
    except DocumentError as error:
        raise _corrupt(file, str(error)) from None


def _corrupt(file: str, seen: str) -> CorruptHeader:
    return CorruptHeader(
        f"{file} cannot be believed: {seen}",
        hint="the file is damaged or was not fully uploaded; fetch it again or ask its author",
    )
