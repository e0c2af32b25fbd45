"""Models on the line between two, first + share · (second − first): run, and never written.

Where both ends and what is between them fit into memory they are held there; elsewhere every layer
is read from the files of both and put together when its turn comes.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from simmerge_hub.signatures.probing import loading
from simmerge_hub.signatures.probing.offload import untie
from simmerge_hub.weights.loaded import memory
from simmerge_hub.weights.shapes import Source, matrix_shape
from simmerge_hub.weights.stream import Rows, open_tensors

if TYPE_CHECKING:
    from transformers import PreTrainedModel

COPIES = 3
"""Models held at most where all is in memory: both ends, and what of the second differs."""


def models_between(
    first: Source,
    second: Source,
    shares: Sequence[float],
    *,
    dtype: str = "float32",
    offload: bool | None = None,
) -> Generator[PreTrainedModel]:
    """A model for each share in turn: at 0 the first, at 1 the second, to the last bit.

    Each holds until the next is asked for.

    Args:
        first, second: of the same tensors (`line.why_apart`); config and tokenizer are the
            second's, and so are the rows of tokens that the first lacks.
        shares: any numbers, below 0 and above 1 too.
        dtype: what to compute in; what is between is made in float32 and rounded once.
        offload: whether weights stay on the disk but for the layer that runs; by default if
            COPIES models would take more than 80 % of the free memory.

    Raises:
        SignatureError, CheckpointError, AlignmentError: as `loading.open_model`.
    """
    if offload is None:
        place = "cuda" if torch.cuda.is_available() else "cpu"
        size = COPIES * memory.model_bytes(*second, dtype)
        offload = size > memory.MEMORY_SHARE * memory.free_memory(place)
    if offload:
        return _by_layers(first, second, shares, dtype)
    return _in_memory(first, second, shares, dtype)


def _in_memory(
    first: Source, second: Source, shares: Sequence[float], dtype: str
) -> Generator[PreTrainedModel]:
    with (
        loading.open_model(*first, dtype=dtype, offload=False) as start,
        loading.open_model(*second, dtype=dtype, offload=False) as end,
    ):
        for name in end.all_tied_weights_keys.keys() & dict(start.named_parameters()).keys():
            untie(end, name)  # it is one of its own at the start, and so it is between them
        stored = end.state_dict().keys()
        buffers = [(n, b) for n, b in end.named_buffers() if n in stored and b.is_floating_point()]
        ends = {**dict(end.named_parameters()), **dict(buffers)}
        starts = {
            name: _as_tall(start.get_parameter_or_buffer(name).detach(), weight.detach())
            for name, weight in ends.items()
        }
        moved = [
            (weight, starts[name], weight.detach().clone())
            for name, weight in ends.items()
            if not weight.equal(starts[name])
        ]
        for share in shares:
            with torch.no_grad():
                for weight, low, high in moved:
                    weight.copy_(low.float().lerp(high.float(), share))
            yield end


def _as_tall(low: Tensor, high: Tensor) -> Tensor:
    """The first tensor, with the rows of the second after its own where that has more."""
    return low if low.shape == high.shape else torch.cat([low, high[len(low) :]])


def _by_layers(
    first: Source, second: Source, shares: Sequence[float], dtype: str
) -> Generator[PreTrainedModel]:
    for share in shares:
        with ExitStack() as stack:
            one, other = (stack.enter_context(open_tensors(*each)) for each in (first, second))
            rows = _between(one, other, share)
            model = loading.open_model(*second, dtype=dtype, offload=True, rows=rows)
            yield stack.enter_context(model)


def _between(
    first: Mapping[str, Rows], second: Mapping[str, Rows], share: float
) -> dict[str, Rows]:
    def blend(one: Rows, other: Rows) -> Rows:
        known = matrix_shape(one.shape)[0]

        def read(low: int, high: int, out: Tensor | None = None) -> Tensor:
            rows = other.read(low, high)
            if low < known:
                start = one.read(low, min(high, known))
                rows = torch.cat([start.lerp(rows[: len(start)], share), rows[len(start) :]])
            return rows if out is None else out.copy_(rows)

        return Rows(shape=other.shape, read=read)

    return {name: blend(first[name], rows) for name, rows in second.items()}
