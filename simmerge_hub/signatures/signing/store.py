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

from simmerge_hub.errors import SignatureError

SCHEMA = 1
"""Version of everything in the file; another version is refused."""
KEY = "simmerge"


def write(path: Path, header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write a file that nobody can see half of; its folder is made if it is not there.

    Args:
        path: where; an existing file is replaced.
        header: anything JSON can say.
        tensors: name -> tensor of any dtype safetensors knows.
    """
    whole = {n: t.detach().cpu().contiguous() for n, t in tensors.items()}
    stated = {"schema": SCHEMA, "digest": _digest(header, whole), "header": dict(header)}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        save_file(whole, part, metadata={KEY: json.dumps(stated)})
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The header and the tensors of a file that `write` wrote.

    Raises:
        SignatureError: it is none, of another version, damaged, or holds NaN or infinity.
    """
    try:
        with safe_open(path, framework="pt") as file:
            stated = json.loads((file.metadata() or {}).get(KEY, "{}"))
            # copies: what was checked must not change with the file, which is memory-mapped
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise _refused(path, f"it cannot be read ({error})") from error
    if stated.get("schema") != SCHEMA:
        raise _refused(path, f"its schema is {stated.get('schema')!r}, not {SCHEMA}")
    if stated.get("digest") != _digest(stated.get("header"), tensors):
        raise _refused(path, "its content does not match its digest")
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise _refused(path, f"{name} holds NaN or infinity")
    return stated["header"], tensors


def _digest(header: Any, tensors: Mapping[str, Tensor]) -> str:
    found = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        if tensor.numel():
            found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _refused(path: Path, seen: str) -> SignatureError:
    return SignatureError(
        f"{path.name} cannot be believed: {seen}", hint="delete the file and sign the model again"
    )
