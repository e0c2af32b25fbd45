"""Tensors that adapters bring whole: `modules_to_save`, resized and copied embeddings.

There is no base to take a difference from. Where all adapters have the same values those are kept;
otherwise a weighted mean is taken, which is what the sum of weighted deltas comes to if the weights
sum to one. Anything else is refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from simmerge_hub.errors import AlignmentError, OperatorError
from simmerge_hub.hub.files.headers import TensorHeader
from simmerge_hub.weights.adapters import PREFIX
from simmerge_hub.weights.lora.sources import Source, read_rows_of
from simmerge_hub.weights.shapes import row_blocks, stored_dtype

HELD_ENTRIES = 2**22
"""Entries held at a time (at least one row)."""
BASE_COPY = ".base_layer."
"""In the name of a copy of the base's own tensor, which PEFT saves with an adapted embedding."""
MERGE_INTO_BASE = "merge the adapters into their base instead: that gives a full model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """A tensor stored whole under `name`; `weights` of a mean, or None: the first one's values.

    `origins` maps the numbers of the adapters that have it to their names for it. `dtype` is the
    one to write, as torch names it.
    """

    name: str
    origins: Mapping[int, str]
    shape: tuple[int, ...]
    weights: tuple[float, ...] | None
    dtype: str


def match_whole(sources: Sequence[Source], weights: Sequence[float] | None) -> tuple[Whole, ...]:
    """The whole tensors of the result, from headers; each with its weights, as if all differed.

    Args:
        sources: the adapters.
        weights: of the mean; None if something else than a weighted sum is made.

    Raises:
        AlignmentError: not all adapters have one, or their shapes differ.
        OperatorError: the weights sum to zero.
    """
    names = dict.fromkeys(name for one in sources for name in one.whole)
    return tuple(_match_tensor(sources, name, weights) for name in names)


def compare_values(sources: Sequence[Source], tensor: Whole) -> Whole:
    """The same without weights where all adapters have the same values; reads them.

    Raises:
        AlignmentError: they differ, and cannot be averaged.
    """
    if all(_have_same_rows(sources, tensor, *b) for b in row_blocks(tensor.shape, HELD_ENTRIES)):
        return replace(tensor, weights=None)
    if tensor.weights is None:
        raise _unmergeable_error(" and ".join(sources[i].name for i in tensor.origins), tensor.name)
    return tensor


def whole_rows(sources: Sequence[Source], tensor: Whole, low: int, high: int) -> Tensor:
    """Rows [low, high) of the result: float32 [high − low, cols]."""
    parts = (read_rows_of(sources[i], n, low, high) for i, n in tensor.origins.items())
    if tensor.weights is None:
        return next(parts)
    total = torch.zeros(())
    for part, weight in zip(parts, tensor.weights, strict=True):
        total = total + part * weight
    return total


def _match_tensor(sources: Sequence[Source], name: str, weights: Sequence[float] | None) -> Whole:
    origins = {i: one.whole[name] for i, one in enumerate(sources) if name in one.whole}
    first, *others = origins
    header = _header(sources, origins, first)
    for other in others:
        shape = _header(sources, origins, other).shape
        if shape != header.shape:
            raise AlignmentError(
                f"{sources[first].name} brings {name} as {list(header.shape)}, "
                f"{sources[other].name} as {list(shape)}",
                hint="their vocabularies differ; " + MERGE_INTO_BASE,
            )
    copied = BASE_COPY in origins[first]
    if odd := [i for i, own in origins.items() if (BASE_COPY in own) is not copied]:
        one, other = (first, odd[0]) if copied else (odd[0], first)
        raise AlignmentError(
            f"{sources[one].name} adapts {name}, {sources[other].name} brings it whole",
            hint=MERGE_INTO_BASE,
        )
    if not copied and len(origins) < len(sources):
        without = next(one for i, one in enumerate(sources) if i not in origins)
        raise AlignmentError(
            f"{sources[first].name} brings {name} whole (modules_to_save), {without.name} does not",
            hint=MERGE_INTO_BASE,
        )
    return Whole(
        name=_stored_name(name, copied),
        origins=origins,
        shape=header.shape,
        weights=None if copied or weights is None else _normalize(name, weights),
        dtype=stored_dtype(header),
    )


def _stored_name(name: str, copied: bool) -> str:
    """What PEFT calls a tensor of the base that is stored whole, whoever saved the adapters."""
    module, _, leaf = name.rpartition(".")
    return f"{PREFIX}{module}{BASE_COPY}{leaf}" if copied else f"{PREFIX}{name}"


def _unmergeable_error(names: str, tensor: str) -> AlignmentError:
    if BASE_COPY in tensor:
        return AlignmentError(
            f"{names} hold different copies of {tensor}, a tensor of their base",
            hint="adapters of different bases cannot be merged",
        )
    return AlignmentError(
        f"{names} bring {tensor} whole, with different values, and only a mean can merge that",
        hint="use linear or task_arithmetic, or " + MERGE_INTO_BASE,
    )


def _header(sources: Sequence[Source], origins: Mapping[int, str], number: int) -> TensorHeader:
    return sources[number].checkpoint.tensors[origins[number]]


def _normalize(name: str, weights: Sequence[float]) -> tuple[float, ...]:
    total = sum(weights)
    if abs(total) < 1e-8:
        raise OperatorError(
            f"the weights {list(weights)} sum to zero, and {name} is stored whole: a mean of it "
            "cannot be taken",
            hint="give weights with a non-zero sum, or " + MERGE_INTO_BASE,
        )
    return tuple(weight / total for weight in weights)


def _have_same_rows(sources: Sequence[Source], tensor: Whole, low: int, high: int) -> bool:
    """Whether these rows are alike in all adapters that have them."""
    parts = (read_rows_of(sources[i], n, low, high) for i, n in tensor.origins.items())
    first = next(parts)
    return all(torch.equal(first, part) for part in parts)
