"""Arrays and a header in one safetensors file: written whole or not at all, checked when read."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from simmerge_hub.documents import read_json_object
from simmerge_hub.errors import OutputError, SignatureError
from simmerge_hub.weights.numbers import STORED_DTYPES

FILE_SCHEMA = 1
"""Version of everything in the file; another version is refused."""
METADATA_KEY = "simmerge"
READABLE = frozenset({*STORED_DTYPES, "I32", "BOOL"})
"""Stored dtypes a signature is made of; what others are said to be is refused before it is read."""


def write(path: Path, header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write a file that nobody can see half of; its folder is made if it is not there.

    Args:
        path: where; an existing file is replaced.
        header: anything JSON can say.
        tensors: name -> tensor of any dtype safetensors knows.
    """
    whole = {n: t.detach().cpu().contiguous() for n, t in tensors.items()}
    stated = {"schema": FILE_SCHEMA, "digest": _digest(header, whole), "header": dict(header)}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        save_file(whole, part, metadata={METADATA_KEY: json.dumps(stated)})
        part.replace(path)
    except SafetensorError as error:  # what it says of a full disk
        raise OutputError(
            f"{path} cannot be written: {error}", hint="free some space, or write to another disk"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The header and the tensors of a file that `write` wrote.

    Raises:
        SignatureError: it is none, of another version, damaged, or holds NaN or infinity.
    """
    try:
        stated, tensors = _unpack(path)
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise _refusal(path, f"it cannot be read ({error})") from error
    if stated.get("schema") != FILE_SCHEMA:
        raise _refusal(path, f"its schema is {stated.get('schema')!r}, not {FILE_SCHEMA}")
    header = stated.get("header")
    if not isinstance(header, dict) or stated.get("digest") != _digest(header, tensors):
        raise _refusal(path, "its content does not match its digest")
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not _is_finite(tensor):
            raise _refusal(path, f"{name} holds NaN or infinity")
    return header, tensors


def _unpack(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What a file states and holds, unchecked; ValueError if it is not of our kind."""
    with safe_open(path, framework="pt") as file:
        stated = read_json_object((file.metadata() or {}).get(METADATA_KEY, "{}"))
        names = list(file.keys())
        for name in names:
            dtype = file.get_slice(name).get_dtype()
            if dtype not in READABLE:
                raise ValueError(f"{name} is {dtype}")
        # copies: what was checked must not change with the file, which is memory-mapped
        return stated, {name: file.get_tensor(name).clone() for name in names}


def _is_finite(tensor: Tensor) -> bool:
    """Whether no entry is NaN or infinite; torch cannot tell of every 8-bit dtype itself."""
    wide = tensor.to(torch.float32) if tensor.itemsize == 1 else tensor
    return bool(torch.isfinite(wide).all())


def _digest(header: Any, tensors: Mapping[str, Tensor]) -> str:
    content = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        content.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        if tensor.numel():
            content.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return content.hexdigest()


def _refusal(path: Path, seen: str) -> SignatureError:
    return SignatureError(
        f"{path.name} cannot be believed: {seen}", hint="delete the file and sign the model again"
    )
