"""A model's response to doses of its delta: from the cache, from what is published, or measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from simmerge_hub.errors import CheckpointError
from simmerge_hub.hub.digest import end_tokens
from simmerge_hub.progress import Note, Progress
from simmerge_hub.signatures.probing.dosing.response import Cross, Response
from simmerge_hub.signatures.probing.probe import ProbeSet
from simmerge_hub.signatures.signing import cache, store
from simmerge_hub.signatures.signing.artifact import Signature, dump_part, load_response, read_cross
from simmerge_hub.signatures.signing.request import Request
from simmerge_hub.weights.alignment.line import why_apart


def read_cached(request: Request, identity: str) -> dict[str, Response]:
    """Task -> response, of those asked for that are cached."""
    cached = {
        probes.task: cache.read_if_sound(_path(request, identity, probes), _read)
        for probes in request.missing({})
    }
    return {task: response for task, response in cached.items() if response is not None}


def pick(
    request: Request, missing: Sequence[ProbeSet], signature: Signature
) -> dict[str, Response]:
    """What of it is missing: of the same prompts and the same base, and current."""
    told = drop_outdated(request, signature).responses.values()
    known = {(each.probes, each.base): each for each in told}
    found = {p.task: known.get((p.digest, request.origin)) for p in missing}
    return {task: response for task, response in found.items() if response is not None}


def drop_outdated(request: Request, signature: Signature) -> Signature:
    """A signature of the model, without responses whose answers go on after one of the tokens that
    end its answers: they were made before that token did, and no digest tells."""
    told = signature.responses
    ends = end_tokens(request.adapter_base or request.checkpoint) if told else []
    current = {task: each for task, each in told.items() if not _goes_on(each, ends)}
    return replace(signature, responses=current)


def _goes_on(response: Response, ends: Sequence[int]) -> bool:
    """Whether an answer goes on after a token that ends answers."""
    return any(np.isin(answer[:-1], ends).any() for answer in response.split_answers())


def measure(
    request: Request,
    identity: str,
    missing: Sequence[ProbeSet],
    *,
    progress: Progress | None,
    note: Note | None,
) -> dict[str, Response]:
    """Task -> response of the missing probe sets, by running the model and its base; cached.

    Of a model whose tensors are not those of its base there is none, and a note says so.
    """
    checkpoint, base = request.checkpoint, request.base
    if not missing or base is None or not request.run:
        return {}
    apart = why_apart((base, None), (checkpoint, request.adapter_base))
    if apart:
        if note:
            note(f"{checkpoint.name}: no part of its delta can be run: {apart}")
        return {}
    request.announce_download(base, note)
    from simmerge_hub.signatures.probing.dosing.dose import measure_responses

    measured = measure_responses(
        checkpoint, base, missing,
        origin=request.origin, dtype=request.settings.dtype, progress=progress,
    )  # fmt: skip
    _check_outputs(request, measured)
    for probes in missing:
        cache.keep(_path(request, identity, probes), *dump_part(measured[probes.task]))
    return measured


def cross(
    request: Request, partner: Request, task: str, response: Response, *, note: Note | None = None
) -> Cross | None:
    """What the mean of a model and its partner makes of the model's answers; cached.

    Both are run, loaded together or by layers. None where they are not of the same tensors.

    Args:
        request: the model that answered, with the probe set of the task.
        partner: the other model.
        task: whose probes were answered.
        response: the model's, on this task.
        note: told what is downloaded, or why nothing can be run.
    """
    own, other = ((r.checkpoint, r.adapter_base) for r in (request, partner))
    apart = why_apart(other, own)
    if apart:
        if note:
            note(f"{own[0].name}: the mean with {other[0].name} cannot be run: {apart}")
        return None
    (probes,) = (p for p in request.probe_sets if p.task == task)
    dtype = request.settings.dtype
    path = cache.cross_path(
        request.identity, partner.identity, probes.digest, dtype, response.answers.tobytes()
    )
    cached = cache.read_if_sound(path, read_cross)
    if cached is not None or not request.run:
        return cached
    request.announce_download(other[0], note)
    from simmerge_hub.signatures.probing.dosing.dose import score_mean

    measured = score_mean(own, other, probes, response, dtype=dtype)
    cache.keep(path, *dump_part(measured))
    return measured


def _check_outputs(request: Request, measured: Mapping[str, Response]) -> None:
    """Refuse numbers that a reader would not believe: some part of the delta gives NaN."""
    for task, response in measured.items():
        if not np.isfinite(response.logliks).all():
            raise CheckpointError(
                f"{request.checkpoint.name} gives NaN or infinity on its answers to the probes of "
                f"{task}, at a part of its delta",
                hint="sign it without its response to doses: --no-dose",
            )


def _path(request: Request, identity: str, probes: ProbeSet) -> Path:
    return cache.response_path(
        identity, request.origin, probes.digest, request.settings.dtype, request.ends
    )


def _read(path: Path) -> Response:
    return load_response(*store.read(path), path.name)
