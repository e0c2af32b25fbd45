"""From a running model's parameters to the stored tensors they are made of, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.signatures.probing.feeding import Fed, FedLayer, parameters_outside
from simmerge_hub.signatures.probing.layerwise import decoder_layers
from simmerge_hub.signatures.probing.offload import Origin, find_origins
from simmerge_hub.weights.shapes import matrix_shape
from simmerge_hub.weights.stream import Rows

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

KEEPING_COLUMNS = ("MergeModulelist", "Concatenate", "Chunk", "Split", "SplitModulelist")
"""What transformers may do with stored tensors on loading that leaves their columns columns."""


def trace_layers(
    model: PreTrainedModel, checkpoint: Checkpoint, layers: Iterator[FedLayer]
) -> Iterator[FedLayer]:
    """What a model's layers are fed, by the names of the checkpoint's own tensors."""
    origins = find_origins(model, checkpoint.tensors)
    embedding = {name for name, _ in _embedding_origin(model, origins)}
    for layer in layers:
        stored: dict[str, Fed] = {}
        for parameter, fed in layer.items():
            stored |= _trace(origins[parameter], fed, checkpoint) if parameter in origins else {}
        yield {name: fed for name, fed in stored.items() if name not in embedding}


def _embedding_origin(
    model: PreTrainedModel, origins: Mapping[str, Origin]
) -> Sequence[tuple[str, str]]:
    """What the input embedding is stored as; a head that shares it is merged with it."""
    module = model.get_input_embeddings()
    name = next((n for n, each in model.named_modules() if each is module), "")
    origin = origins.get(f"{name}.weight")
    return origin.stored if origin else ()


def _trace(origin: Origin, fed: Fed, checkpoint: Checkpoint) -> dict[str, Fed]:
    """Stored tensors of one parameter -> what each was fed; none where columns are mixed."""
    if origin.converter is None:
        name = origin.stored[0][0]
        return {name: fed} if _fits(fed, checkpoint.tensors[name].shape) else {}
    if any(type(op).__name__ not in KEEPING_COLUMNS for op in origin.converter.operations):
        return {}
    by_pattern: dict[str, list[str]] = {}
    for name, pattern in origin.stored:
        by_pattern.setdefault(pattern, []).append(name)
    traced = {}
    for names in by_pattern.values():
        whole = len(names) == 1
        if not whole and len(names) != len(fed.matrices):
            return {}
        for number, name in enumerate(names):
            part = fed if whole else Fed(matrices=(fed.matrices[number],))
            if _fits(part, checkpoint.tensors[name].shape):
                traced[name] = part
    return traced


def _fits(fed: Fed, shape: Sequence[int]) -> bool:
    """Whether a stored tensor of this shape has a column for each number it was fed."""
    if len(shape) not in (2, 3) or len(fed.matrices) != (shape[0] if len(shape) == 3 else 1):
        return False
    width = shape[-2] if fed.transposed else shape[-1]
    return all(each.width in (width, None) for each in fed.matrices)


def stored_by_layer(model: PreTrainedModel, checkpoint: Checkpoint) -> list[list[str]]:
    """The stored tensors that what runs before the layers needs, and then those of each layer.

    Linear layers outside the decoder layers are in none: they are told when they are fed.
    """
    origins = find_origins(model, checkpoint.tensors)
    parts = [parameters_outside(model)]
    for layer in decoder_layers(model):
        own = {id(each) for each in (*layer.parameters(), *layer.buffers())}
        parts.append([n for n, each in _named(model) if id(each) in own])
    return [
        list(dict.fromkeys(s for n in names if n in origins for s, _ in origins[n].stored))
        for names in parts
    ]


def let_stand_in(own: Mapping[str, Rows], merged: Mapping[str, Rows]) -> dict[str, Rows]:
    """A model's stored tensors; what `merged` has by the time a tensor is read stands for it."""
    return {name: _replaceable(name, rows, merged) for name, rows in own.items()}


def _replaceable(name: str, own: Rows, merged: Mapping[str, Rows]) -> Rows:
    def read(low: int, high: int, out: Tensor | None = None) -> Tensor:
        return merged.get(name, own).read(low, high, out)

    return Rows(shape=own.shape, read=read, release=own.release)


def stored_buffers(model: PreTrainedModel, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Stored tensor -> the buffer it is, of buffers: a model run by layers reads them only once."""
    origins = find_origins(model, checkpoint.tensors)
    return {origins[n].stored[0][0]: b for n, b in model.named_buffers() if n in origins}


def refresh(buffer: Tensor, rows: Rows) -> None:
    """Fill a buffer with what a tensor holds now."""
    buffer.copy_(rows.read(0, matrix_shape(rows.shape)[0]).reshape(buffer.shape))


def _named(model: PreTrainedModel) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)
