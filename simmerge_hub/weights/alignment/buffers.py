"""What is stored beside weights and is no matter of averaging: whole numbers, running statistics.

Whole and truth values (position ids, tables of experts, counts of batches) are copied from the
reference. Running means and variances of batch normalisation, and codebooks that are moving
averages of what was quantised, are merged as weights are, which is not what the merged model would
count.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from simmerge_hub.hub.files.cached import is_cached, local_file
from simmerge_hub.hub.files.location import Location
from simmerge_hub.hub.files.ranges import read_spans
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.names import list_first
from simmerge_hub.weights.loaded.names import is_made_anew

RUNNING = re.compile(r"(.*\.)?running_(mean|var)")
"""Names of what batch normalisation counts over batches."""
CODEBOOK = re.compile(r"(.*[._])?(embed_(avg|sum)|cluster_(size|usage)|ema_w)")
"""Names of what vector quantisers count for their codebooks (EnCodec, Mimi, X-Codec)."""
VARIANCE = re.compile(r"(.*\.)?running_var")
COMPARED_BYTES = 64 * 2**10
"""Bytes of a buffer that are fetched to compare it."""


def buffer_notes(reference: Checkpoint, models: Sequence[Checkpoint]) -> Iterator[str]:
    """Sentences about whole and truth values of models that the output does not have.

    Values are compared too, of large ones those at their beginning.

    Args:
        reference: whose are copied.
        models: the full models that are merged with it.
    """
    wanted = reference.buffers
    starts = _read_starts(reference, list(wanted)) if models else {}
    for model in models:
        own = model.buffers
        kinds = {n: (h.dtype, h.shape) for n, h in own.items()}
        alike = [n for n, h in wanted.items() if kinds.get(n) == (h.dtype, h.shape)]
        other = _read_starts(model, alike)
        apart = [
            n for n in wanted if (starts[n] != other[n] if n in other else not is_made_anew(n))
        ]
        more = [n for n in own if n not in wanted and not is_made_anew(n)]
        if apart:
            yield (
                f"whole numbers are copied from {reference.name}, and {model.name} has others or "
                f"none: {list_first(apart, 1)}"
            )
        if more:
            yield (
                f"whole numbers of {model.name} are left out, for {reference.name} has none such: "
                f"{list_first(more, 1)}"
            )


def running_notes(merged: Iterable[str]) -> Iterator[str]:
    """Sentences about running statistics and codebooks among the tensors that are merged."""
    names = list(merged)
    running = [name for name in names if RUNNING.fullmatch(name)]
    counted = [name for name in names if CODEBOOK.fullmatch(name)]
    if running:
        yield (
            "running statistics of batch normalisation are merged as weights are: "
            f"{list_first(running, 1)}; run the merge over some data in training mode to count anew"
        )
    if counted:
        yield (
            "codebooks of vector quantisers, moving averages of what they were given, are merged "
            f"as weights are: {list_first(counted, 1)}; codes that one of the models made may mean "
            "something else to the merge"
        )


def _read_starts(model: Checkpoint, names: Sequence[str]) -> dict[str, bytes]:
    """The stored bytes of buffers, as far as they are compared."""
    files: dict[str, list[str]] = {}
    for name in names:
        files.setdefault(model.buffers[name].file, []).append(name)
    starts: dict[str, bytes] = {}
    for file, inside in files.items():
        headers = [model.buffers[name] for name in inside]
        spans = [(h.start, min(h.end, h.start + COMPARED_BYTES)) for h in headers]
        where = model.weights
        if is_cached(where, file):
            where = Location(folder=local_file(where, file).parent)
        starts |= zip(inside, read_spans(where, file, spans), strict=True)
    return starts
