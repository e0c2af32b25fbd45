"""Signing: a model -> its signature, from the cache as far as it is there.

Structure and each task's sketch are cached apart, under the digest of the model's content: a new
task costs its own pass, a model signed before costs none and imports no model code. Whoever knows
more places to look in hands them to `obtain` as functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from simmerge_hub.errors import CheckpointError, SignatureError
from simmerge_hub.hub.digest import digest
from simmerge_hub.hub.files.ranges import is_cached
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.signatures.probing.probe import ProbeSet, Progress, run_probes
from simmerge_hub.signatures.probing.sketch import Sketch
from simmerge_hub.signatures.signing import cache, store
from simmerge_hub.signatures.signing.artifact import (
    DEFAULT_SETTINGS,
    Settings,
    Signature,
    dump_sketch,
    load,
    load_sketch,
    save,
)
from simmerge_hub.signatures.signing.sample import read_sample
from simmerge_hub.weights.numbers import STORED_DTYPES
from simmerge_hub.weights.stream import shapes

__all__ = [
    "CACHE", "COMPUTED", "WEIGHTS", "Hit", "Lookup", "Note", "Request", "Settings", "Signature",
    "Signed", "load", "obtain", "save", "sign",
]  # fmt: skip

R = TypeVar("R")
WEIGHTS = "weights"
"""What the structural part is called where its origin is told; a sketch is called by its task."""
CACHE, COMPUTED = "cache", "computed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be signed: a model, or an adapter and its base; which probe sets, and how."""

    checkpoint: Checkpoint
    base: Checkpoint | None = None
    probe_sets: tuple[ProbeSet, ...] = ()
    settings: Settings = DEFAULT_SETTINGS

    @property
    def adapter_base(self) -> Checkpoint | None:
        """The base, if it is part of what is signed."""
        return self.base if self.checkpoint.kind == "adapter" else None

    @property
    def identity(self) -> str:
        """The digest of the content; of an adapter's and its base's; under which names it is."""
        several = [self.checkpoint, *([self.adapter_base] if self.adapter_base else [])]
        return "+".join(digest(c) + (f":{c.naming}" if c.naming else "") for c in several)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A signature, and where each part came from: `weights` or a task -> cache, computed, or a
    repository."""

    signature: Signature
    origins: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A signature that was found somewhere and may be believed, and where that was."""

    signature: Signature
    place: str


Lookup = Callable[[Request, Signature | None], Hit | None]
"""Looks for the signature of a request in one place; is handed its structure if that is known."""
Note = Callable[[str], None]
"""Called with a line that people should see and keep."""


def sign(
    checkpoint: Checkpoint,
    *,
    base: Checkpoint | None = None,
    probe_sets: Sequence[ProbeSet] = (),
    settings: Settings = DEFAULT_SETTINGS,
    progress: Progress | None = None,
) -> Signature:
    """The signature of a model, from the cache as far as it is there; the rest is computed.

    Args:
        checkpoint: a full model or an adapter, here or on the Hub.
        base: the model an adapter belongs to; not needed for a full model.
        probe_sets: tasks to sketch. Without any the structural part alone is made, from byte
            ranges: no weights are downloaded.
        settings: signatures of different settings are never compared.
        progress: called with (what, steps done, steps in all).

    Raises:
        AlignmentError: an adapter without its base.
        CheckpointError: the model holds NaN or infinity, or gives it.
        ProbeError: a probe set the model cannot be run on.
    """
    request = Request(
        checkpoint=checkpoint, base=base, probe_sets=tuple(probe_sets), settings=settings
    )
    return obtain(request, progress=progress).signature


def obtain(
    request: Request,
    *,
    lookups: Sequence[Lookup] = (),
    progress: Progress | None = None,
    note: Note | None = None,
) -> Signed:
    """The signature of a model: cached parts first, then what the lookups find, then computed.

    Only what is computed here goes into the cache.

    Args:
        request: what is to be signed.
        lookups: where else to look for what is not cached, in this order.
        progress: called with (what, steps done, steps in all).
        note: told how many bytes are downloaded before that starts.

    Raises:
        AlignmentError, CheckpointError, ProbeError: as `sign`.
    """
    identity = request.identity
    structure, sketches = _read_cached(request, identity)
    origins = dict.fromkeys([*([WEIGHTS] if structure else []), *sketches], CACHE)
    for look in lookups:
        missing = _missing_probe_sets(request, sketches)
        if structure and not missing:
            break
        hit = look(request, structure)
        if hit is None:
            continue
        if structure is None:
            structure, origins[WEIGHTS] = hit.signature, hit.place
        taken = _pick_sketches(missing, hit.signature)
        sketches |= taken
        origins |= dict.fromkeys(taken, hit.place)
    structure = structure or _sample_structure(request, identity, progress)
    sketches |= _run_missing_probes(
        request, identity, _missing_probe_sets(request, sketches), progress, note
    )
    checkpoint = request.checkpoint
    parts = (WEIGHTS, *(p.task for p in request.probe_sets))
    return Signed(
        signature=replace(
            structure, name=checkpoint.name, commit=checkpoint.commit, sketches=sketches
        ),
        origins={part: origins.get(part, COMPUTED) for part in parts},
    )


def _read_cached(request: Request, identity: str) -> tuple[Signature | None, dict[str, Sketch]]:
    """The structure, and the sketches by task, as far as they are cached."""
    structure = _read_if_sound(cache.structure_path(identity, request.settings.entries), load)
    paths = {p.task: _sketch_path(request, identity, p) for p in request.probe_sets}
    sketches = {task: _read_if_sound(path, _read_sketch) for task, path in paths.items()}
    return structure, {task: sketch for task, sketch in sketches.items() if sketch is not None}


def _missing_probe_sets(request: Request, sketches: Mapping[str, Sketch]) -> list[ProbeSet]:
    return [p for p in request.probe_sets if p.task not in sketches]


def _pick_sketches(missing: Sequence[ProbeSet], signature: Signature) -> dict[str, Sketch]:
    """What of it is missing: the same prompts count as the same task, whatever it is called."""
    known = {sketch.probes: sketch for sketch in signature.sketches.values()}
    return {p.task: known[p.digest] for p in missing if p.digest in known}


def _sample_structure(request: Request, identity: str, progress: Progress | None) -> Signature:
    """The structural part, read from the weights and cached."""
    checkpoint, adapter_base = request.checkpoint, request.adapter_base
    if progress:
        progress(f"sampling {checkpoint.name}", 0, 1)
    cache.limit()  # a mistake in it is told before the work, not after
    sampled = read_sample(checkpoint, adapter_base, entries=request.settings.entries)
    _check_weights(checkpoint, sampled)
    if checkpoint.kind == "full":
        stored = checkpoint.tensors
        sampled = {n: t if stored[n].scale else t.to(STORED_DTYPES[stored[n].dtype])
                   for n, t in sampled.items()}  # fmt: skip
    made = Signature(
        name=checkpoint.name,
        commit=checkpoint.commit,
        digest=identity,
        kind=checkpoint.kind,
        settings=request.settings,
        shapes=shapes(checkpoint, adapter_base),
        sampled=sampled,
    )
    save(made, cache.use(cache.structure_path(identity, request.settings.entries)))
    cache.trim()
    return made


def _run_missing_probes(
    request: Request,
    identity: str,
    missing: Sequence[ProbeSet],
    progress: Progress | None,
    note: Note | None,
) -> dict[str, Sketch]:
    """Task -> sketch of the missing probe sets, by running the model; cached."""
    if not missing:
        return {}
    checkpoint, adapter_base = request.checkpoint, request.adapter_base
    size = sum(_bytes_to_download(each) for each in (checkpoint, adapter_base) if each)
    if note and size:
        note(f"{checkpoint.name}: {size / 1e6:,.1f} MB are downloaded to run its probes")
    cache.limit()
    made = run_probes(
        checkpoint, adapter_base, missing, dtype=request.settings.dtype, progress=progress
    )
    for probes in missing:
        _check_outputs(checkpoint, made[probes.task], probes)
    for probes in missing:
        path = cache.use(_sketch_path(request, identity, probes))
        store.write(path, *dump_sketch(made[probes.task]))
    cache.trim()
    return made


def _check_weights(checkpoint: Checkpoint, sampled: Mapping[str, Tensor]) -> None:
    """Refuse what nobody could compare: such a signature would not be believed when it is read."""
    for name, tensor in sampled.items():
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(
                f"{checkpoint.name} is damaged: {name} holds NaN or infinity",
                hint="leave it out, or name another revision of it",
            )


def _check_outputs(checkpoint: Checkpoint, sketch: Sketch, probes: ProbeSet) -> None:
    """Refuse a model that gives NaN: its weights may be whole where they are sampled."""
    _, arrays = dump_sketch(sketch)
    for name, array in arrays.items():
        if not np.isfinite(array.numpy()).all():
            raise CheckpointError(
                f"{checkpoint.name} gives NaN or infinity on the probes of {probes.task} ({name})",
                hint="its weights are damaged: leave it out, or name another revision of it",
            )


def _bytes_to_download(checkpoint: Checkpoint) -> int:
    """Bytes of the weight files that are not here yet."""
    files = {header.file for header in checkpoint.tensors.values()}
    away = (f for f in files if not is_cached(checkpoint.weights, f))
    return sum(checkpoint.files[f].size for f in away)


def _sketch_path(request: Request, identity: str, probes: ProbeSet) -> Path:
    return cache.sketch_path(identity, probes.digest, request.settings.dtype)


def _read_if_sound(path: Path, read: Callable[[Path], R]) -> R | None:
    """What is in a cached file; None if it is not there, or must not be believed."""
    if not path.exists():
        return None
    try:
        content = read(path)
    except SignatureError:
        path.unlink(missing_ok=True)
        return None
    cache.use(path)
    return content


def _read_sketch(path: Path) -> Sketch:
    return load_sketch(*store.read(path), path.name)
