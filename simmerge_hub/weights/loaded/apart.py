"""What one model stores joined and another apart: apart in all, as ranges of the same bytes.

Experts are stacked or stored one by one; queries, keys and values are one matrix or three. Only
what lies in memory as rows below each other can be taken apart without reading it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from simmerge_hub.hub.files.headers import Headers, TensorHeader
from simmerge_hub.weights.loaded.names import Part, find_parts

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from transformers.core_model_loading import WeightConverter

ONE_BY_ONE = (["MergeModulelist"], ["MergeModulelist", "Concatenate"])
"""What transformers does to experts that are stored one by one."""
ROWS_OF_ONE, ROWS_OF_SEVERAL = ([("Chunk", 0)], [("Split", 0)]), [("Concatenate", 0)]
"""What it does to one tensor that becomes several, and to several that become one, row by row."""


def split_where_apart(
    models: Sequence[tuple[PreTrainedModel, Headers]],
) -> list[Headers]:
    """The tensors of models, apart in all where they are so in any.

    Args:
        models: what transformers makes of each config, without weights; its stored tensors.
    """
    parts = [find_parts(empty, headers) for empty, headers in models]
    every = [part for each in parts for part in each.values()]
    both = {p.parameter for p in every if p.pattern} & {p.parameter for p in every if not p.pattern}
    if not both:
        return [headers for _, headers in models]
    rows = {
        part: headers[name].shape[0]
        for (_, headers), its in zip(models, parts, strict=True)
        for name, part in its.items()
        if part.pattern and headers[name].shape
    }
    return [
        _split_joined(empty, split_experts(empty, headers, its, both), its, both, rows)
        for (empty, headers), its in zip(models, parts, strict=True)
    ]


def _split_joined(
    model: PreTrainedModel,
    headers: Headers,
    parts: Mapping[str, Part],
    split: set[str],
    rows: Mapping[Part, int],
) -> dict[str, TensorHeader]:
    """One tensor for each of several that another model stores, where these are its rows.

    Args:
        model: that the tensors are loaded into.
        headers: the stored tensors.
        parts: what each is loaded as.
        split: the parameters to split.
        rows: of what is stored apart.
    """
    converters = _list_converters(model)
    by_pattern = {pattern: c for c in converters for pattern in c.source_patterns}
    apart: dict[str, TensorHeader] = {}
    for name, header in headers.items():
        part = parts.get(name, Part(""))
        pieces: Mapping[str, int] = {}
        if part.parameter in split and part.pattern:
            pieces = rows_of_one(model, part.parameter, by_pattern[part.pattern])
        elif part.parameter in split:
            pieces = _stored_for(name, part, converters, rows)
        apart |= dict(zip(pieces, _cut(header, pieces.values()), strict=False)) or {name: header}
    return apart


def rows_of_one(model: PreTrainedModel, first: str, converter: WeightConverter) -> dict[str, int]:
    """The parameters that become of one stored tensor, and their rows; none if rows are mixed.

    Args:
        model: that it is loaded into.
        first: the first of the parameters.
        converter: what transformers makes them with.
    """
    if _steps(converter) not in ROWS_OF_ONE or _has_star(converter):
        return {}
    here, state = converter.target_patterns[0], model.state_dict()
    made = (first.replace(here, target) for target in converter.target_patterns)
    return {name: state[name].shape[0] for name in made if name in state}


def _stored_for(
    name: str, part: Part, converters: Iterable[WeightConverter], rows: Mapping[Part, int]
) -> dict[str, int]:
    """The tensors that others store for a parameter, and their rows; none if they are mixed."""
    for converter in converters:
        target = converter.target_patterns[0]
        if _steps(converter) != ROWS_OF_SEVERAL or _has_star(converter) or target not in name:
            continue
        patterns = list(zip(converter.source_patterns, _stored_patterns(converter), strict=True))
        if all(Part(part.parameter, pattern) in rows for pattern, _ in patterns):
            return {
                name.replace(target, plain): rows[Part(part.parameter, pattern)]
                for pattern, plain in patterns
            }
    return {}


def _cut(header: TensorHeader, rows: Iterable[int]) -> Iterator[TensorHeader]:
    """Ranges of a tensor's rows; none if they are not all of its rows, or if it has scales."""
    rows = list(rows)
    if header.scale or not header.shape or sum(rows) != header.shape[0]:
        return
    size = (header.end - header.start) // header.shape[0]
    start = header.start
    for count in rows:
        end = start + count * size
        yield replace(header, shape=(count, *header.shape[1:]), start=start, end=end)
        start = end


def split_experts(
    model: PreTrainedModel, headers: Headers, parts: Mapping[str, Part], split: set[str]
) -> dict[str, TensorHeader]:
    """Experts that are stored together, one by one: every one is a range of the same bytes.

    Args:
        model: whose loading stacks them.
        headers: the stored tensors.
        parts: what each is loaded as.
        split: the parameters to split.
    """
    by_target = _stackings(model)
    apart: dict[str, TensorHeader] = {}
    for name, header in headers.items():
        part = parts.get(name)
        whole = part is not None and not part.pattern and part.parameter in split
        target = next((t for t in by_target if t in name), "") if whole else ""
        apart |= _split(name, header, target, by_target[target]) if target else {name: header}
    return apart


def _split(
    name: str, header: TensorHeader, target: str, patterns: list[str]
) -> dict[str, TensorHeader]:
    """[experts, rows, columns] -> for every expert its matrices, in this order."""
    if len(header.shape) != 3 or header.shape[1] % len(patterns) or header.scale:
        return {name: header}
    experts, rows, columns = header.shape[0], header.shape[1] // len(patterns), header.shape[2]
    size = (header.end - header.start) // (experts * len(patterns))
    pieces: dict[str, TensorHeader] = {}
    for place, (expert, pattern) in enumerate((e, p) for e in range(experts) for p in patterns):
        start = header.start + place * size
        piece = replace(header, shape=(rows, columns), start=start, end=start + size)
        pieces[name.replace(target, pattern.replace("*", str(expert)))] = piece
    return pieces


def _stackings(model: PreTrainedModel) -> dict[str, list[str]]:
    """Name of fused experts -> the patterns of those stored one by one, as they are stacked."""
    return {
        c.target_patterns[0]: _stored_patterns(c) for c in _list_converters(model) if _stacks(c)
    }


def _list_converters(model: PreTrainedModel) -> list[WeightConverter]:
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightConverter

    return [c for c in get_model_conversion_mapping(model) if isinstance(c, WeightConverter)]


def _stored_patterns(converter: WeightConverter) -> list[str]:
    return [pattern.replace(r"\.", ".") for pattern in converter._original_source_patterns]


def _steps(converter: WeightConverter) -> list[tuple[str, int | None]]:
    return [(type(op).__name__, getattr(op, "dim", None)) for op in converter.operations]


def _has_star(converter: WeightConverter) -> bool:
    return any("*" in p for p in (*converter.source_patterns, *converter.target_patterns))


def _stacks(converter: WeightConverter) -> bool:
    """Whether the rows of every expert are next to each other in what it makes."""
    operations = converter.operations
    return (
        [type(op).__name__ for op in operations] in ONE_BY_ONE
        and [op.dim for op in operations] == list(range(len(operations)))  # type: ignore[attr-defined]
        and len(converter.target_patterns) == 1
        and all("*" in pattern for pattern in converter._original_source_patterns)
    )
