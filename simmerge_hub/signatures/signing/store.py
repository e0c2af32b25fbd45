"""Arrays and a header in one safetensors file: written whole or not at all, checked when read.

What is read is checked as bytes: a signature that is only looked up needs no tensor of torch, whose
import takes longer than all else in a plan.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
from safetensors import SafetensorError, deserialize, safe_open

from simmerge_hub.documents import read_json_object
from simmerge_hub.errors import OutputError, SignatureError

if TYPE_CHECKING:
    from torch import Tensor

FILE_SCHEMA = 1
"""Version of everything in the file; another version is refused."""
METADATA_KEY = "simmerge"
DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "I32": "int32", "BOOL": "bool",
}  # fmt: skip
"""Stored dtypes a signature is made of, as torch names them; what others are said to be is refused
before it is read."""
CODES = {name: code for code, name in DTYPES.items()}
EXPONENTS = {"BF16": 0x7F80, "F8_E5M2": 0x7C, "F8_E4M3": 0x7F}
"""Bits that are all set in NaN and infinity alone, of floats that numpy has not."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stored:
    """An array as a file holds it: dtype (of `DTYPES`), shape, bytes as uint8 [bytes]."""

    dtype: str
    shape: tuple[int, ...]
    raw: np.ndarray

    @property
    def kind(self) -> str:
        """The dtype as torch prints it."""
        return f"torch.{DTYPES[self.dtype]}"

    def array(self) -> np.ndarray:
        """As numpy has it, on the same memory; TypeError of a float that numpy has not."""
        return self.raw.view(np.dtype(DTYPES[self.dtype])).reshape(self.shape)

    def tensor(self) -> Tensor:
        """As torch has it, on the same memory."""
        import torch

        dtype = getattr(torch, DTYPES[self.dtype])
        if not self.raw.size:
            return torch.empty(self.shape, dtype=dtype)
        return torch.from_numpy(self.raw).view(dtype).reshape(self.shape)

    def is_finite(self) -> bool:
        """Whether no entry is NaN or infinite."""
        if self.dtype in EXPONENTS:
            bits = self.raw.view(np.uint16 if self.dtype == "BF16" else np.uint8)
            return bool(((bits & EXPONENTS[self.dtype]) != EXPONENTS[self.dtype]).all())
        return bool(np.isfinite(self.array()).all())


def pack(values: Tensor | np.ndarray) -> Stored:
    """An array or a tensor as a file holds it."""
    if isinstance(values, np.ndarray):
        name, flat = values.dtype.name, np.ascontiguousarray(values).reshape(-1)
    else:
        import torch

        name, flat = str(values.dtype).removeprefix("torch."), np.empty(0, np.uint8)
        if values.numel():
            whole = values.detach().cpu().contiguous()
            flat = whole.reshape(-1).view(torch.uint8).numpy()
    return Stored(dtype=CODES[name], shape=tuple(values.shape), raw=flat.view(np.uint8))


def write(path: Path, header: Mapping[str, Any], values: Mapping[str, Tensor | np.ndarray]) -> None:
    """Write a file that nobody can see half of; its folder is made if it is not there.

    Args:
        path: where; an existing file is replaced.
        header: anything JSON can say.
        values: name -> array or tensor of a dtype in `DTYPES`.
    """
    from safetensors.torch import save_file

    whole = {name: pack(each) for name, each in values.items()}
    stated = {"schema": FILE_SCHEMA, "digest": _digest(header, whole), "header": dict(header)}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid4().hex}")
    tensors = {name: each.tensor() for name, each in whole.items()}
    try:
        save_file(tensors, part, metadata={METADATA_KEY: json.dumps(stated)})
        part.replace(path)
    except SafetensorError as error:  # what it says of a full disk
        raise OutputError(
            f"{path} cannot be written: {error}", hint="free some space, or write to another disk"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def read(path: Path) -> tuple[dict[str, Any], dict[str, Stored]]:
    """The header and the arrays of a file that `write` wrote.

    Raises:
        SignatureError: it is none, of another version, damaged, or holds NaN or infinity.
    """
    try:
        stated, values = _unpack(path)
    except (SafetensorError, OSError, ValueError, LookupError, RecursionError) as error:
        raise _refusal(path, f"it cannot be read ({error})") from error
    if stated.get("schema") != FILE_SCHEMA:
        raise _refusal(path, f"its schema is {stated.get('schema')!r}, not {FILE_SCHEMA}")
    header = stated.get("header")
    if not isinstance(header, dict) or stated.get("digest") != _digest(header, values):
        raise _refusal(path, "its content does not match its digest")
    for name, each in values.items():
        if not each.is_finite():
            raise _refusal(path, f"{name} holds NaN or infinity")
    return header, values


def _unpack(path: Path) -> tuple[dict[str, Any], dict[str, Stored]]:
    """What a file states and holds, unchecked; ValueError if it is not of our kind."""
    with safe_open(path, framework="numpy") as file:
        stated = read_json_object((file.metadata() or {}).get(METADATA_KEY, "{}"))
        names = list(file.keys())
        for name in names:
            dtype = file.get_slice(name).get_dtype()
            if dtype not in DTYPES:
                raise ValueError(f"{name} is {dtype}")
    entries = dict(deserialize(path.read_bytes()))  # in any order, and sums depend on it
    # copies: what was checked must not change with the file
    return stated, {name: _stored(entries[name]) for name in names}


def _stored(entry: Mapping[str, Any]) -> Stored:
    raw = np.frombuffer(entry["data"], np.uint8)
    return Stored(dtype=entry["dtype"], shape=tuple(entry["shape"]), raw=raw)


def _digest(header: Any, values: Mapping[str, Stored]) -> str:
    content = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(values):
        each = values[name]
        content.update(f"\n{name} {each.kind} {each.shape}\n".encode())
        content.update(each.raw.data)
    return content.hexdigest()


def _refusal(path: Path, seen: str) -> SignatureError:
    return SignatureError(
        f"{path.name} cannot be believed: {seen}", hint="delete the file and sign the model again"
    )
