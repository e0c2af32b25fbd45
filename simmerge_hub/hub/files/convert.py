"""Weights in pickles (.bin) -> safetensors, once, under the name of the pickle's sha256.

A pickle is only ever opened with `weights_only`, which builds tensors and runs no code; what asks
for more is refused. A zipped one is mapped, not read; the older format has to be read whole.
"""

import re
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from simmerge_hub.errors import CheckpointError, CorruptHeader, OutputError
from simmerge_hub.hub.assets import DISK_RESERVE, assets_folder, write_whole
from simmerge_hub.hub.files.cached import local_file
from simmerge_hub.hub.files.headers import (
    LENGTH_BYTES,
    TensorHeader,
    compose_header,
    header_length,
    parse_header,
)
from simmerge_hub.hub.files.location import Location
from simmerge_hub.units import spell_bytes

if TYPE_CHECKING:
    from torch import Tensor

ZIP = b"PK\x03\x04"
CODES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "float8_e8m0fnu": "F8_E8M0",
    "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8", "uint64": "U64",
    "uint32": "U32", "uint16": "U16", "uint8": "U8", "bool": "BOOL", "complex64": "C64",
}  # fmt: skip
"""Stored dtypes, as torch names them, and their safetensors codes."""
ASKED_FOR = re.compile(r"GLOBAL ([\w.]+)")
"""What a pickle asks for, in torch's messages: `Unsupported global: GLOBAL posix.system was …`."""


def convert_pickles(
    location: Location, pickles: Mapping[str, str]
) -> tuple[Location, dict[str, dict[str, TensorHeader]]]:
    """Where the weights of .bin files lie as safetensors, converted now if they are not yet.

    Args:
        location: where the .bin files lie; they are downloaded if they are remote.
        pickles: .bin file -> its sha256.

    Returns:
        The folder, and .bin file -> the headers of its tensors there.

    Raises:
        CheckpointError: a file that is damaged, or holds more than tensors.
        OutputError: the disk is too full.
    """
    folder = assets_folder("weights", "converted")
    headers: dict[str, dict[str, TensorHeader]] = {}
    for name, sha256 in pickles.items():
        path = folder / f"{sha256}.safetensors"
        try:
            headers[name] = _headers(path)
        except (CorruptHeader, FileNotFoundError):
            _convert(local_file(location, name), path, f"{location.name}/{name}")
            headers[name] = _headers(path)
    return Location(folder=folder), headers


def _headers(path: Path) -> dict[str, TensorHeader]:
    size = path.stat().st_size
    with open(path, "rb") as handle:
        length = header_length(handle.read(LENGTH_BYTES), size, path.name)
        return parse_header(handle.read(length), size, path.name)


def _convert(source: Path, target: Path, name: str) -> None:
    tensors = _tensors(source, name)
    header = _header(tensors)
    size = len(header) + sum(_size(tensor) for tensor in tensors.values())
    free = shutil.disk_usage(target.parent).free
    if free < size + DISK_RESERVE:
        raise OutputError(
            f"{name} needs {spell_bytes(size)} as safetensors, and the disk of {target.parent} has "
            f"{spell_bytes(free)} left",
            hint="free some space, or set HF_ASSETS_CACHE to a folder on another disk",
        )
    with write_whole(target) as handle:
        handle.write(header)
        for tensor in tensors.values():
            handle.write(_bytes(tensor))


def _tensors(source: Path, name: str) -> dict[str, "Tensor"]:
    """The tensors of a pickle, checked, widest dtypes first so that each begins at a multiple."""
    from torch import Tensor

    content = _load(source, name)
    if not isinstance(content, dict):
        raise _unusable(name, f"is a {type(content).__name__}, not named tensors")
    tensors = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise _unusable(name, "holds no tensors")
    size = source.stat().st_size
    for key, tensor in tensors.items():
        _check(name, key, tensor, size)
    return dict(sorted(tensors.items(), key=lambda item: -item[1].itemsize))


def _load(source: Path, name: str) -> Any:
    import torch

    with open(source, "rb") as handle:
        mapped = handle.read(len(ZIP)) == ZIP
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of storages and protocols that nobody here can change
            return torch.load(source, weights_only=True, mmap=mapped, map_location="cpu")
    except Exception as error:  # whatever a damaged or hostile pickle makes torch raise
        raise _why_unreadable(name, error) from error


def _why_unreadable(name: str, error: Exception) -> CheckpointError:
    """Why torch did not open a pickle: it asks for more than tensors, or is none."""
    said = str(error).strip().partition("\n")[0] or type(error).__name__
    if isinstance(error, UnpicklingError):
        asked = ASKED_FOR.search(str(error))
        if asked:
            return CheckpointError(
                f"{name} asks for {asked[1]}, which is no tensor; opening it could run code",
                hint="ask its author for safetensors, or use another copy of the model",
            )
        said = "it is no pickle of tensors"
    return CheckpointError(
        f"{name} cannot be read: {said}", hint="the file is damaged; fetch it again"
    )


def _check(name: str, key: object, tensor: "Tensor", size: int) -> None:
    """Refuse what safetensors cannot say, and tensors that claim more than the file holds."""
    import torch

    dtype = str(tensor.dtype).removeprefix("torch.")
    if not isinstance(key, str) or key == "__metadata__":
        raise _unusable(name, f"calls a tensor {key!r}")
    if dtype not in CODES:
        raise _unusable(name, f"has {key} as {dtype}")
    if tensor.layout != torch.strided or tensor.device.type != "cpu":
        raise _unusable(name, f"has no plain data for {key}")
    if _size(tensor) > min(size, tensor.untyped_storage().nbytes()):
        raise _unusable(name, f"claims {_size(tensor):,} bytes for {key}, and has fewer")


def _header(tensors: Mapping[str, "Tensor"]) -> bytes:
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, tensor in tensors.items():
        end = at + _size(tensor)
        code = CODES[str(tensor.dtype).removeprefix("torch.")]
        entries[name] = {"dtype": code, "shape": list(tensor.shape), "data_offsets": [at, end]}
        at = end
    return compose_header(entries)


def _size(tensor: "Tensor") -> int:
    return tensor.numel() * tensor.itemsize


def _bytes(tensor: "Tensor") -> memoryview:
    import torch

    flat = tensor.detach().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data.cast("B") if flat.numel() else memoryview(b"")


def _unusable(name: str, seen: str) -> CheckpointError:
    return CheckpointError(
        f"{name} {seen}",
        hint="load it with transformers and save_pretrained() it again: that writes safetensors",
    )
