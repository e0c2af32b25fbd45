"""Signing: a model -> its signature, from the cache as far as it is there.

Structure and each task's sketch are cached apart, under the digest of the model's content: a new
task costs its own pass, a model signed before costs none and imports no model code. Whoever knows
more places to look in hands them to `obtain` as functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from simmerge_hub.errors import CheckpointError
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.progress import Note, Progress
from simmerge_hub.signatures.probing.dosing.response import Response
from simmerge_hub.signatures.probing.probe import Probed, ProbeSet, run_probes
from simmerge_hub.signatures.probing.sketch import Sketch
from simmerge_hub.signatures.signing import cache, responses
from simmerge_hub.signatures.signing.artifact import (
    DEFAULT_SETTINGS,
    Settings,
    Signature,
    dump_part,
    load,
    read_sketch,
    save,
)
from simmerge_hub.signatures.signing.request import (
    CACHE,
    COMPUTED,
    DOSE,
    WEIGHTS,
    Hit,
    Lookup,
    Request,
    Signed,
)
from simmerge_hub.signatures.signing.sample import read_sample
from simmerge_hub.weights.loaded.conform import conform
from simmerge_hub.weights.shapes import shapes

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "CACHE", "COMPUTED", "WEIGHTS", "Hit", "Lookup", "Request", "Settings", "Signature",
    "Signed", "load", "obtain", "save", "sign",
]  # fmt: skip


def sign(
    checkpoint: Checkpoint,
    *,
    base: Checkpoint | None = None,
    probe_sets: Sequence[ProbeSet] = (),
    settings: Settings = DEFAULT_SETTINGS,
    dosed: Sequence[str] = (),
    progress: Progress | None = None,
) -> Signature:
    """The signature of a model, from the cache as far as it is there; the rest is computed.

    Args:
        checkpoint: a full model or an adapter, here or on the Hub.
        base: the model an adapter belongs to; of a full model needed for `dosed` only.
        probe_sets: tasks to sketch. Without any the structural part alone is made, from byte
            ranges: no weights are downloaded.
        settings: signatures of different settings are never compared.
        dosed: tasks whose answers the model is asked for, to be read at parts of its delta.
        progress: called with (what, steps done, steps in all).

    Raises:
        AlignmentError: an adapter without its base.
        CheckpointError: the model holds NaN or infinity, or gives it.
        ProbeError: a probe set the model cannot be run on.
    """
    if base is not None:
        alike = conform([checkpoint], base)
        (checkpoint,), base = alike.models, alike.base
    request = Request(
        checkpoint=checkpoint, base=base, probe_sets=tuple(probe_sets), settings=settings,
        dosed=frozenset(dosed),
    )  # fmt: skip
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
    answered = responses.read_cached(request, identity)
    origins = dict.fromkeys([*([WEIGHTS] if structure else []), *sketches], CACHE)
    origins |= dict.fromkeys(_doses(answered), CACHE)
    for look in lookups:
        missing, unanswered = _missing_probe_sets(request, sketches), request.missing(answered)
        if structure and not missing and not unanswered:
            break
        hit = look(request, structure)
        if hit is None:
            continue
        if structure is None:
            structure, origins[WEIGHTS] = hit.signature, hit.place
        taken = _pick_sketches(missing, hit.signature)
        told = responses.pick(request, unanswered, hit.signature)
        sketches, answered = sketches | taken, answered | told
        origins |= dict.fromkeys([*taken, *_doses(told)], hit.place)
    structure = structure or _sample_structure(request, identity, progress)
    probed = _run_missing_probes(
        request, identity, _missing_probe_sets(request, sketches), progress, note
    )
    sketches |= probed.sketches
    answered |= responses.measure(
        request, identity, request.missing(answered), progress=progress, note=note
    )
    checkpoint = request.checkpoint
    parts = (WEIGHTS, *(p.task for p in request.probe_sets), *_doses(answered))
    return Signed(
        signature=replace(
            structure, name=checkpoint.name, commit=checkpoint.commit, sketches=sketches,
            responses=answered,
        ),
        origins={part: origins.get(part, COMPUTED) for part in parts},
        speed=probed.tokens / probed.seconds if probed.tokens else None,
    )  # fmt: skip


def _doses(answered: Mapping[str, Response]) -> list[str]:
    """What responses are called where their origins are told."""
    return [DOSE.format(task=task) for task in answered]


def _read_cached(request: Request, identity: str) -> tuple[Signature | None, dict[str, Sketch]]:
    """The structure, and the sketches by task, as far as they are cached."""
    structure = cache.read_if_sound(cache.structure_path(identity, request.settings.entries), load)
    paths = {p.task: _sketch_path(request, identity, p) for p in request.probe_sets}
    sketches = {task: cache.read_if_sound(path, read_sketch) for task, path in paths.items()}
    return structure, {task: sketch for task, sketch in sketches.items() if sketch is not None}


def _missing_probe_sets(request: Request, sketches: Mapping[str, Sketch]) -> list[ProbeSet]:
    return [p for p in request.probe_sets if p.task not in sketches]


def _pick_sketches(missing: Sequence[ProbeSet], signature: Signature) -> dict[str, Sketch]:
    """What of it is missing: the same prompts count as the same task, whatever it is called."""
    known = {sketch.probes: sketch for sketch in signature.sketches.values()}
    return {p.task: known[p.digest] for p in missing if p.digest in known}


def _sample_structure(request: Request, identity: str, progress: Progress | None) -> Signature:
    """The structural part, read from the weights and cached."""
    from simmerge_hub.weights.numbers import STORED_DTYPES

    checkpoint, adapter_base = request.checkpoint, request.adapter_base
    if progress:
        progress(f"sampling {checkpoint.name}", 0, 1)
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
) -> Probed:
    """The sketches of the missing probe sets, by running the model; cached."""
    if not missing:
        return Probed(sketches={}, tokens=0, seconds=0.0)
    request.refuse_to_run(missing)
    checkpoint, adapter_base = request.checkpoint, request.adapter_base
    request.announce_download(adapter_base, note)
    probed = run_probes(
        checkpoint, adapter_base, missing, dtype=request.settings.dtype, progress=progress
    )
    for probes in missing:
        _check_outputs(checkpoint, probed.sketches[probes.task], probes)
    for probes in missing:
        sketch = probed.sketches[probes.task]
        cache.keep(_sketch_path(request, identity, probes), *dump_part(sketch))
    return probed


def _check_weights(checkpoint: Checkpoint, sampled: Mapping[str, Tensor]) -> None:
    """Refuse what nobody could compare: such a signature would not be believed when it is read."""
    import torch

    for name, tensor in sampled.items():
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(
                f"{checkpoint.name} is damaged: {name} holds NaN or infinity",
                hint="leave it out, or name another revision of it",
            )


def _check_outputs(checkpoint: Checkpoint, sketch: Sketch, probes: ProbeSet) -> None:
    """Refuse a model that gives NaN: its weights may be whole where they are sampled."""
    _, arrays = dump_part(sketch)
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise CheckpointError(
                f"{checkpoint.name} gives NaN or infinity on the probes of {probes.task} ({name})",
                hint="its weights are damaged: leave it out, or name another revision of it",
            )


def _sketch_path(request: Request, identity: str, probes: ProbeSet) -> Path:
    return cache.sketch_path(identity, probes.digest, request.settings.dtype)
