"""Whether a signature that somebody published may be believed.

It must be of this very model and these settings, hold the rows that are sampled here, and sketches
that can have come from the probes and the model: of the right sizes, with numbers that are
probabilities where probabilities are meant. Its rows must be those that are known; where none are,
and others than the model's owners published it, a few rows are read from the model and compared.

Whether a sketch is true cannot be checked without running the model: that is why signatures of
others are used only when they are named.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from simmerge_hub.signatures.probing.dosing.response import ANSWER_TOKENS, DOSES, Response
from simmerge_hub.signatures.probing.sketch import (
    ATTENTION_LAYERS,
    HIDDEN_LAYERS,
    LOGPROB_FLOOR,
    POSITIONS,
    QUERIES,
    SKETCH_WIDTH,
    TOKENS,
    TOP_TOKENS,
    WHOLE_VOCABULARY,
    Sketch,
)
from simmerge_hub.signatures.signing import cache
from simmerge_hub.signatures.signing.artifact import pack_samples
from simmerge_hub.signatures.signing.sample import Ranges, choose_rows
from simmerge_hub.signatures.signing.signature import Request, Signature
from simmerge_hub.weights.shapes import matrix_shape, shapes

if TYPE_CHECKING:
    from torch import Tensor

ROWS_CHECKED = 32
"""Rows of a signature of others that are compared; if a tenth are false, 97 % are found out."""
SKETCH_ARRAYS = (
    "logprobs", "ids", "tail", "entropy", "loss", "ends", "hidden", "depths", "attention",
    "attention_depths",
)  # fmt: skip
"""What of a sketch is an array."""
SLACK = 1e-3
"""How far probabilities in float32 may sum to more or less than 1; in float16 ten times as far."""
LARGEST_STATE = 1e9
"""No hidden state has such an entry; its square times a whole sketch is still a float32."""
ADAPTER_TOLERANCE = 1e-5
"""An adapter's rows are computed, not read: they may differ by rounding."""


def doubt(signature: Signature, request: Request, known: Signature | None = None) -> str:
    """What is wrong with a signature; "" if nothing is.

    Args:
        signature: what was published, read by `load`: its schema, content and numbers are sound.
        request: what was looked for.
        known: a signature of the same model that is believed; its rows must be the same.
    """
    if signature.digest != request.identity:
        return "it is of a model of other content"
    if signature.settings != request.settings:
        return f"its settings are {signature.settings}, not {request.settings}"
    sizes = shapes(request.checkpoint, request.adapter_base)
    if (signature.kind, dict(signature.shapes)) != (
        request.checkpoint.kind,
        sizes,
    ) or signature.approximate:
        return "its tensors are not those of the model"
    rows = choose_rows(sizes, entries=request.settings.entries)
    return (
        _wrong_rows(signature, request, rows)
        or (_wrong_content(signature, known, request) if known else "")
        or next(
            (f"its sketch of {task} {fault}" for task, sketch in signature.sketches.items()
             if (fault := _sketch_fault(sketch, request))), "",
        )
        or next(
            (f"its response to doses on {task} {fault}"
             for task, response in signature.responses.items()
             if (fault := _response_fault(response, request))), "",
        )
    )  # fmt: skip


def spot_check(signature: Signature, request: Request, commit: str) -> str:
    """Compare a few rows with the model's own, read by byte ranges; "" if they are the same.

    Which rows is decided by the model's digest, the commit of what was published and a secret of
    this machine: the same ones every time, and its publisher cannot know which.
    """
    from simmerge_hub.weights.stream import read_rows

    sizes = shapes(request.checkpoint, request.adapter_base)
    ranges = choose_rows(sizes, entries=request.settings.entries)
    chosen = _draw_places(ranges, f"{signature.digest} {commit}")
    rows = {
        name: [(row, row + 1) for row in (_row(ranges[name], place) for place in places)]
        for name, places in chosen.items()
    }
    read = read_rows(request.checkpoint, rows, request.adapter_base)
    for name, places in chosen.items():
        if not _is_same(signature.sampled[name][places], read[name], request):
            return f"rows of {name} are not those of the model"
    return ""


def _draw_places(ranges: Ranges, text: str) -> dict[str, list[int]]:
    """Tensor name -> places in its sample, ascending."""
    names, key = sorted(ranges), cache.secret()
    chosen: dict[str, set[int]] = {}
    for number in range(ROWS_CHECKED if names else 0):
        drawn = hmac.digest(key, f"{text} {number}".encode(), "sha256")
        name = names[int.from_bytes(drawn[:8]) % len(names)]
        count = sum(high - low for low, high in ranges[name])
        chosen.setdefault(name, set()).add(int.from_bytes(drawn[8:16]) % count)
    return {name: sorted(places) for name, places in chosen.items()}


def _row(ranges: tuple[tuple[int, int], ...], place: int) -> int:
    """Which row of the tensor is at a place of its sample."""
    for low, high in ranges:
        if place < high - low:
            return low + place
        place -= high - low
    raise IndexError(place)


def _wrong_rows(signature: Signature, request: Request, rows: Ranges) -> str:
    if signature.sampled.keys() != rows.keys():
        return "other tensors are sampled in it"
    for name, sample in pack_samples(signature).items():
        size = (
            sum(high - low for low, high in rows[name]),
            matrix_shape(signature.shapes[name])[1],
        )
        if sample.shape != size or sample.dtype != _dtype(request, name):
            return f"{name} is {sample.kind} {sample.shape} in it"
    return ""


def _dtype(request: Request, name: str) -> str:
    """What the sample of a tensor is kept in, by its name in files."""
    header = request.checkpoint.tensors.get(name)
    stored = header is not None and request.checkpoint.kind == "full" and not header.scale
    return header.dtype if header is not None and stored else "F32"


def _wrong_content(signature: Signature, known: Signature, request: Request) -> str:
    for name, tensor in known.sampled.items():
        if not _is_same(signature.sampled[name], tensor, request):
            return f"rows of {name} are not those of the model"
    return ""


def _is_same(ours: Tensor, theirs: Tensor, request: Request) -> bool:
    import torch

    first, second = ours.float(), theirs.float()
    if request.checkpoint.kind == "full":
        return torch.equal(first, second)
    return torch.allclose(
        first, second, rtol=ADAPTER_TOLERANCE, atol=ADAPTER_TOLERANCE * float(second.abs().max())
    )


def _sketch_fault(sketch: Sketch, request: Request) -> str:
    """What about a sketch cannot be; only sketches that were asked for are looked at."""
    asked = {probes.digest: len(probes.prompts) for probes in request.probe_sets}
    if sketch.probes not in asked:
        return ""
    if not (isinstance(sketch.tokens, str) and type(sketch.vocabulary) is int):
        return "has no tokens or vocabulary"
    for name in SKETCH_ARRAYS:
        array = getattr(sketch, name)
        if not isinstance(array, np.ndarray) or not array.ndim:
            return f"has no array {name}"
    for name, (dtype, size) in _expected_arrays(sketch, asked[sketch.probes]).items():
        array = getattr(sketch, name)
        if (array.dtype, array.shape) != (dtype, size):
            return f"has {name} of the wrong size or type"
    sizes = shapes(request.checkpoint, request.adapter_base).values()
    rows = {size[0] for size in sizes if size}
    return next(_impossibilities(sketch, asked[sketch.probes], rows), "")


def _impossibilities(sketch: Sketch, prompts: int, rows: set[int]) -> Iterator[str]:
    """What no model gives on so many prompts; `rows` are how many its tensors have."""
    if sketch.vocabulary not in rows:
        yield "has another vocabulary than the model"
    ends, logprobs, ids = sketch.ends, sketch.logprobs, sketch.ids
    if not (len(ends) <= POSITIONS * prompts and ends[-1:].all() and ends.sum() == prompts):
        yield "has other positions than the prompts"
    if ids.size and (ids.min() < 0 or ids.max() >= sketch.vocabulary):
        yield "has tokens beyond its vocabulary"
    if (np.diff(np.sort(ids)) == 0).any():
        yield "has a token twice"
    if not (
        _is_within(logprobs, LOGPROB_FLOOR, SLACK) and _is_within(sketch.tail, LOGPROB_FLOOR, SLACK)
    ):
        yield "has log-probabilities that are none"
    total = np.exp(logprobs).sum(-1) + (np.exp(sketch.tail) if ids.size else 0)
    if not _is_within(total, 1 - SLACK, 1 + SLACK):
        yield "has probabilities that do not sum to 1"
    most = np.log(sketch.vocabulary) + SLACK
    if not (
        _is_within(sketch.entropy, -SLACK, most) and _is_within(sketch.loss, -SLACK, -LOGPROB_FLOOR)
    ):
        yield "has an entropy or a loss that is none"
    if not (
        _is_within(sketch.hidden, -LARGEST_STATE, LARGEST_STATE)
        and 0 < sketch.hidden.shape[-1] <= SKETCH_WIDTH
    ):
        yield "has hidden states that are none"
    if not (0 < len(sketch.depths) <= HIDDEN_LAYERS and _is_ascending(sketch.depths)):
        yield "has layers that the model has not"
    if sketch.attention.size and not _is_attention(sketch, prompts):
        yield "has attention that is none"


def _response_fault(response: Response, request: Request) -> str:
    """What about a response cannot be; only those that were asked for are looked at."""
    asked = {probes.digest: len(probes.prompts) for probes in request.missing({})}
    if response.probes not in asked or response.base != request.origin:
        return ""
    tokens, doses, lengths = len(response.answers), len(DOSES), response.lengths
    expected = {
        "doses": (np.float32, (doses,)), "answers": (np.int32, (tokens,)),
        "lengths": (np.int32, (asked[response.probes],)), "kept": (np.bool_, (doses, tokens)),
        "logliks": (np.float32, (doses, tokens)),
    }  # fmt: skip
    for name, (dtype, size) in expected.items():
        array = getattr(response, name)
        if not isinstance(array, np.ndarray) or (array.dtype, array.shape) != (dtype, size):
            return f"has {name} of the wrong size or type"
    if not np.array_equal(response.doses, np.array(DOSES, np.float32)):
        return "is to other doses"
    if not _is_within(lengths, 0, ANSWER_TOKENS) or lengths.sum() != tokens:
        return "has answers of other lengths than it says"
    if not _is_within(response.logliks, LOGPROB_FLOOR, SLACK):
        return "has log-likelihoods that are none"
    rows = {size[0] for size in shapes(request.checkpoint, request.adapter_base).values() if size}
    return (
        "" if _is_within(response.answers, 0, max(rows) - 1) else "has tokens beyond any vocabulary"
    )


def _is_attention(sketch: Sketch, prompts: int) -> bool:
    """Whether its attention can be that of a few queries of each prompt."""
    layers, _, queries, keys = sketch.attention.shape
    return (
        layers <= ATTENTION_LAYERS
        and prompts <= queries <= QUERIES * prompts
        and keys <= TOKENS
        and _is_ascending(sketch.attention_depths)
        and _is_within(sketch.attention, 0, 1)
        and _is_within(sketch.attention.astype(np.float32).sum(-1), 0, 1 + 10 * SLACK)
    )


def _is_within(values: np.ndarray, low: float, high: float) -> bool:
    return bool(((values >= low) & (values <= high)).all())


def _is_ascending(depths: np.ndarray) -> bool:
    return _is_within(depths, 0, 1) and bool((np.diff(depths) > 0).all())


def _expected_arrays(sketch: Sketch, prompts: int) -> Mapping[str, tuple[type, tuple[int, ...]]]:
    """Array name -> dtype and shape, as they follow from one another."""
    positions, whole = len(sketch.entropy), sketch.vocabulary <= WHOLE_VOCABULARY
    attended = sketch.attention.ndim == 4 and sketch.attention.size > 0
    heads = sketch.attention.shape[1:] if attended else ()
    queried = (len(sketch.attention_depths), *heads) if heads else (0,)
    return {
        "logprobs": (np.float32, (positions, sketch.vocabulary if whole else TOP_TOKENS)),
        "ids": (np.int32, (0,) if whole else (positions, TOP_TOKENS)),
        "tail": (np.float32, (0,) if whole else (positions,)),
        "entropy": (np.float32, (positions,)),
        "loss": (np.float32, (prompts,)),
        "ends": (np.bool_, (positions,)),
        "hidden": (np.float32, (len(sketch.depths), positions, sketch.hidden.shape[-1])),
        "depths": (np.float32, (len(sketch.depths),)),
        "attention": (np.float16, queried),
        "attention_depths": (np.float32, (len(sketch.attention_depths) if heads else 0,)),
    }
