"""The artifact: what is kept of one model, so that pairs can be compared without any model.

And the file it is kept in. Knows nothing about where it comes from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from simmerge_hub.errors import SignatureError
from simmerge_hub.signatures.probing.sketch import Sketch
from simmerge_hub.signatures.signing import store
from simmerge_hub.signatures.signing.sample import ENTRIES

FLOOR = {"float32": 1e-5, "bfloat16": 0.1, "float16": 0.01}
"""Compute dtype -> how far a model's sketch may be from itself on another path (whole or by layers,
batch size, device), as a share of the largest entry: the dtype's precision floor. A smaller
difference between two models says nothing. Set at 10 to 100 roundings; on a CPU, float32 differs by
4e-7. Attention, stored in float16, is never known better than to 1e-3."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What signatures must share to be compared: entries sampled at most, compute dtype."""

    entries: int = ENTRIES
    dtype: str = "float32"

    @property
    def floor(self) -> float:
        """The precision floor of sketches computed in this dtype, written into the file."""
        return FLOOR[self.dtype]


DEFAULT = Settings()
"""What signatures that are published should have, so that most can be compared."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class Signature:
    """One model in 10-100 MB: sampled weights, and a sketch of its behaviour per task.

    Args:
        name, commit: provenance, for people.
        digest: of the model's content (of an adapter's and its base's); for a merge of its inputs.
        kind: what was signed; `merge` if nothing was built.
        shapes: tensor name -> shape in the model.
        sampled: tensor name -> [sampled rows, cols], in the dtype it is stored in where that is
            exact, else float32.
        sketches: task -> sketch.
        approximate: what in it was not measured but derived, in words; empty for a real model.
    """

    name: str
    commit: str | None
    digest: str
    kind: Literal["full", "adapter", "merge"]
    settings: Settings
    shapes: Mapping[str, tuple[int, ...]] = field(repr=False)
    sampled: Mapping[str, Tensor] = field(repr=False)
    sketches: Mapping[str, Sketch] = field(default_factory=dict, repr=False)
    approximate: tuple[str, ...] = ()


def save(signature: Signature, path: Path) -> None:
    """Write a signature as one safetensors file."""
    parts = {task: dumped(sketch) for task, sketch in signature.sketches.items()}
    header = {
        "name": signature.name, "commit": signature.commit, "digest": signature.digest,
        "kind": signature.kind, "settings": asdict(signature.settings),
        "floor": signature.settings.floor,
        "shapes": {name: list(shape) for name, shape in signature.shapes.items()},
        "sketches": {task: header for task, (header, _) in parts.items()},
        "approximate": list(signature.approximate),
    }  # fmt: skip
    tensors = {f"sampled/{name}": tensor for name, tensor in signature.sampled.items()}
    for task, (_, arrays) in parts.items():
        tensors |= {f"sketch/{task}/{name}": array for name, array in arrays.items()}
    store.write(path, header, tensors)


def load(path: Path) -> Signature:
    """Read a signature. Raises SignatureError if it must not be believed."""
    header, tensors = store.read(path)
    try:
        return Signature(
            name=header["name"],
            commit=header["commit"],
            digest=header["digest"],
            kind=header["kind"],
            settings=Settings(**header["settings"]),
            shapes={name: tuple(shape) for name, shape in header["shapes"].items()},
            sampled=_under("sampled/", tensors),
            sketches={
                task: undumped(scalars, _under(f"sketch/{task}/", tensors))
                for task, scalars in header["sketches"].items()
            },
            approximate=tuple(header["approximate"]),
        )
    except (KeyError, TypeError) as error:
        raise SignatureError(
            f"{path.name} is no signature: it lacks {error}", hint="sign the model again"
        ) from error


def dumped(sketch: Sketch) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A sketch as (header, tensors), which is how it is stored."""
    values = {f.name: getattr(sketch, f.name) for f in fields(sketch)}
    arrays = {n: torch.from_numpy(v) for n, v in values.items() if isinstance(v, np.ndarray)}
    return {n: v for n, v in values.items() if n not in arrays}, arrays


def undumped(scalars: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Sketch:
    """The sketch that `dumped` took apart; TypeError if something is missing or too much."""
    arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in tensors.items()}
    return Sketch(**scalars, **arrays)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
