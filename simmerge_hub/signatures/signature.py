"""The artifact: what is kept of one model, so that pairs can be compared without any model.

Structure and each task's sketch are cached apart, under the digest of the model's content: a new
task costs its own pass, a model signed before costs none and imports no model code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from simmerge_hub.errors import SignatureError
from simmerge_hub.hub.assets import assets_folder
from simmerge_hub.hub.resolve import Checkpoint, digest
from simmerge_hub.signatures import store
from simmerge_hub.signatures.probe import ProbeSet, Progress, run_probes
from simmerge_hub.signatures.sample import ENTRIES, read_sample
from simmerge_hub.signatures.sketch import Sketch
from simmerge_hub.weights.numbers import DTYPES
from simmerge_hub.weights.stream import shapes


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What signatures must share to be compared: entries sampled at most, compute dtype."""

    entries: int = ENTRIES
    dtype: str = "float32"


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


def sign(
    checkpoint: Checkpoint,
    *,
    base: Checkpoint | None = None,
    probe_sets: Sequence[ProbeSet] = (),
    settings: Settings = Settings(),
    progress: Progress | None = None,
) -> Signature:
    """The signature of a model, from the cache as far as it is there.

    Args:
        checkpoint: a full model or an adapter, here or on the Hub.
        base: the model an adapter belongs to; not needed for a full model.
        probe_sets: tasks to sketch. Without any the structural part alone is made, from byte
            ranges: no weights are downloaded.
        settings: signatures of different settings are never compared.
        progress: called with (what, steps done, steps in all).

    Raises:
        AlignmentError: an adapter without its base.
        ProbeError: a probe set the model cannot be run on.
    """
    adapted = base if checkpoint.kind == "adapter" else None
    identity = digest(checkpoint) + (f"+{digest(adapted)}" if adapted else "")
    folder = assets_folder("signatures", hashlib.sha256(identity.encode()).hexdigest()[:32])
    structure = _cached(
        folder / f"structure-{settings.entries}-{store.SCHEMA}.safetensors",
        load,
        lambda path: save(_structure(checkpoint, adapted, identity, settings, progress), path),
    )
    paths = {p.task: folder / f"probes-{p.digest[:32]}-{settings.dtype}-{store.SCHEMA}.safetensors"
             for p in probe_sets}  # fmt: skip
    sketches = {task: _read_sketch(path) for task, path in paths.items()}
    missing = [p for p in probe_sets if sketches[p.task] is None]
    if missing:
        made = run_probes(checkpoint, adapted, missing, dtype=settings.dtype, progress=progress)
        for task, sketch in made.items():
            store.write(paths[task], *_dumped(sketch))
        sketches |= made
    return replace(
        structure,
        name=checkpoint.name,
        commit=checkpoint.commit,
        sketches={task: s for task, s in sketches.items() if s is not None},
    )


def save(signature: Signature, path: Path) -> None:
    """Write a signature as one safetensors file."""
    dumped = {task: _dumped(sketch) for task, sketch in signature.sketches.items()}
    header = {
        "name": signature.name, "commit": signature.commit, "digest": signature.digest,
        "kind": signature.kind, "settings": asdict(signature.settings),
        "shapes": {name: list(shape) for name, shape in signature.shapes.items()},
        "sketches": {task: header for task, (header, _) in dumped.items()},
        "approximate": list(signature.approximate),
    }  # fmt: skip
    tensors = {f"sampled/{name}": tensor for name, tensor in signature.sampled.items()}
    for task, (_, arrays) in dumped.items():
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
                task: _sketch(scalars, _under(f"sketch/{task}/", tensors))
                for task, scalars in header["sketches"].items()
            },
            approximate=tuple(header["approximate"]),
        )
    except (KeyError, TypeError) as error:
        raise SignatureError(
            f"{path.name} is no signature: it lacks {error}", hint="sign the model again"
        ) from error


def _structure(
    checkpoint: Checkpoint,
    base: Checkpoint | None,
    identity: str,
    settings: Settings,
    progress: Progress | None,
) -> Signature:
    if progress:
        progress(f"sampling {checkpoint.name}", 0, 1)
    sampled = read_sample(checkpoint, base, entries=settings.entries)
    if checkpoint.kind == "full":
        stored = checkpoint.tensors
        sampled = {n: t if stored[n].scale else t.to(DTYPES[stored[n].dtype])
                   for n, t in sampled.items()}  # fmt: skip
    return Signature(
        name=checkpoint.name,
        commit=checkpoint.commit,
        digest=identity,
        kind=checkpoint.kind,
        settings=settings,
        shapes=shapes(checkpoint, base),
        sampled=sampled,
    )


def _cached(path: Path, read: Callable[[Path], Any], make: Callable[[Path], None]) -> Any:
    """What is in the file; if it is not there, or must not be believed, it is made first."""
    if path.exists():
        try:
            return read(path)
        except SignatureError:
            path.unlink(missing_ok=True)
    make(path)
    return read(path)


def _read_sketch(path: Path) -> Sketch | None:
    if not path.exists():
        return None
    try:
        return _sketch(*store.read(path))
    except SignatureError:
        path.unlink(missing_ok=True)
        return None


def _dumped(sketch: Sketch) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A sketch as (header, tensors)."""
    values = {f.name: getattr(sketch, f.name) for f in fields(sketch)}
    arrays = {n: torch.from_numpy(v) for n, v in values.items() if isinstance(v, np.ndarray)}
    return {n: v for n, v in values.items() if n not in arrays}, arrays


def _sketch(scalars: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Sketch:
    arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in tensors.items()}
    return Sketch(**scalars, **arrays)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
