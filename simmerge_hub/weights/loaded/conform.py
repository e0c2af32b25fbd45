"""Models that store the same parameters otherwise, made to look alike before they are compared.

The same model is stored with a prefix and without, under names of old, with experts one by one or
stacked, with a tied tensor under either name; an adapter names modules as they are called in
memory. What stands for what is asked of transformers, and only where names do not agree as they
are. Only headers change: other names for the same bytes.

- Full models take the names of the reference: the base, else the first.
- Experts that one model stores stacked and another one by one are one by one in all; so are the
  rows of projections that one stores as one matrix.
- What torch.compile (`_orig_mod.`), FSDP, activation checkpointing and data-parallel wrappers
  (`module.`) put into names is left out.
- What transformers passes over in silence (masks, extra heads) and not all have is copied from the
  reference as it is, and left out of the others.
- A base whose embedding is tied and that an adapter changes in one place only is untied.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING

from simmerge_hub.hub.files.headers import Headers, TensorHeader
from simmerge_hub.hub.files.location import Location
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.weights.adapters import unwrap
from simmerge_hub.weights.loaded.apart import split_where_apart
from simmerge_hub.weights.loaded.model import build_empty, part_config
from simmerge_hub.weights.loaded.names import (
    Part,
    find_parts,
    is_spare,
    rename_like,
)
from simmerge_hub.weights.loaded.targets import aim
from simmerge_hub.weights.shapes import LARGEST_BUFFER, matrix_shape

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PARALLEL = "module."
SPREAD_ROWS, END_ROWS = 16, 512
"""Rows that say whether two tensors which a model ties are one: some over all, and those at both
ends. Where only rows of tokens that were seen have moved, the commonest tokens come first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conformed:
    """Models and their base, if any, that name the same parameters alike; `notes` are sentences."""

    models: tuple[Checkpoint, ...]
    base: Checkpoint | None
    notes: tuple[str, ...]


def conform(models: Sequence[Checkpoint], base: Checkpoint | None = None) -> Conformed:
    """Make models look alike where transformers loads them as the same parameters.

    Args:
        models: what is merged or compared: full models, adapters.
        base: what they were fine-tuned from.

    Raises:
        AlignmentError: an adapter changes what its base does not have, or a tie that the base's
            config cannot part.
    """
    full = {id(m): m for m in [*([base] if base else []), *models] if m.kind == "full"}
    alike, notes = _conform_full([_unwrap(each) for each in full.values()])
    after = dict(zip(full, alike, strict=True))
    new_base = after[id(base)] if base and id(base) in after else base
    adapters = [model for model in models if model.kind == "adapter"]
    if adapters and new_base is not None and new_base.kind == "full":
        aimed, new_base, more = aim(adapters, new_base)
        after |= {id(old): new for old, new in zip(adapters, aimed, strict=True)}
        notes += more
    return Conformed(
        models=tuple(after.get(id(model), model) for model in models),
        base=new_base,
        notes=tuple(notes),
    )


def _unwrap(model: Checkpoint) -> Checkpoint:
    """The model without what wrappers put into its names."""
    stored = [*model.tensors, *model.buffers]
    names = {name: unwrap(name) for name in stored}
    if all(name.startswith(PARALLEL) for name in names.values()):
        names = {name: short.removeprefix(PARALLEL) for name, short in names.items()}
    if all(name == short for name, short in names.items()):
        return model
    buffers = {names[n]: h for n, h in model.buffers.items()}
    tensors = {names[n]: h for n, h in model.tensors.items()}
    return _with_tensors(replace(model, buffers=buffers), tensors)


def _conform_full(models: list[Checkpoint]) -> tuple[list[Checkpoint], list[str]]:
    if len({frozenset(model.tensors) for model in models}) < 2:
        return models, []
    first, *others = models
    kind = {key: first.config.get(key) for key in ("architectures", "model_type")}
    built = [build_empty({**model.config, **kind}) for model in models]
    empty = [model for model in built if model is not None]
    if len(empty) < len(models):
        return models, []
    pairs = list(zip(empty, (model.tensors for model in models), strict=True))
    models = [_with_tensors(m, t) for m, t in zip(models, split_where_apart(pairs), strict=True)]
    parts = [find_parts(e, m.tensors) for e, m in zip(empty, models, strict=True)]
    alike = [
        rename_like(own.tensors, its, parts[0])
        for own, its in zip(models[1:], parts[1:], strict=True)
    ]
    models[0] = first = _drop_copies(models[0], parts[0], alike)
    notes: list[str] = []
    for number, (model, renamed) in enumerate(zip(others, alike, strict=True), 1):
        own = models[number]
        _drop_spare(renamed, empty[number], first, parts[number])
        if not _drop_twins(own, renamed, first, parts[number]):
            own = replace(own, config=part_config(own.config))
        if renamed.keys() != model.tensors.keys():
            notes += _name_notes(model, renamed, first)
        models[number] = _with_tensors(own, renamed)
    models[0] = _set_spare_aside(first, empty[0], models[1:])
    return models, notes


def _drop_spare(
    tensors: dict[str, TensorHeader],
    empty: PreTrainedModel,
    first: Checkpoint,
    parts: Mapping[str, Part],
) -> None:
    for name in [n for n in tensors if n not in first.tensors and n not in parts]:
        if is_spare(empty, name):
            del tensors[name]


def _drop_copies(
    first: Checkpoint, parts: Mapping[str, Part], others: Sequence[Headers]
) -> Checkpoint:
    """The reference without copies of a tied tensor that others store once.

    A copy with other values stays: then transformers does not tie it.
    """
    held = {n for n in first.tensors if all(n in tensors for tensors in others)}
    mains = {parts[name]: name for name in held if name in parts}
    copies = {
        name
        for name in first.tensors.keys() - held
        if (main := mains.get(parts.get(name, Part("")))) and _are_equal(first, name, main)
    }
    left = {name: header for name, header in first.tensors.items() if name not in copies}
    return _with_tensors(first, left)


def _drop_twins(
    model: Checkpoint,
    tensors: dict[str, TensorHeader],
    first: Checkpoint,
    parts: Mapping[str, Part],
) -> bool:
    """Leave out copies of a tied tensor that the reference stores once.

    False if they differ: then transformers does not tie them, whatever the config says.
    """
    held = {parts[name] for name in tensors if name in first.tensors and name in parts}
    for name in [n for n in tensors if n not in first.tensors and parts.get(n) in held]:
        twin = next(n for n in tensors if n in first.tensors and parts.get(n) == parts[name])
        if not _are_equal(model, name, twin):
            return False
        del tensors[name]
    return True


def _are_equal(model: Checkpoint, one: str, other: str) -> bool:
    """Whether two tensors of a model have the same values, in the rows that are compared.

    transformers unties what differs in a single row; to look at all would be to read two of the
    largest tensors of a model whenever its headers are.
    """
    import torch

    from simmerge_hub.weights.stream import read_rows

    first, second = model.tensors.get(one), model.tensors.get(other)
    if first is None or second is None or first.shape != second.shape:
        return False
    key = (model.weights, first, second)
    if first == second or key in _equal:
        return True
    rows = matrix_shape(first.shape)[0]
    spread = [(row, row + 1) for row in range(0, rows, max(1, rows // SPREAD_ROWS))]
    ends = [(0, min(rows, END_ROWS)), (max(0, rows - END_ROWS), rows)]
    values = read_rows(model, {name: [*ends, *spread] for name in (one, other)})
    same = torch.equal(values[one], values[other])
    if same and model.weights.folder is None:  # at one commit it stays so
        _equal.add(key)
    return same


_equal: set[tuple[Location, TensorHeader, TensorHeader]] = set()
"""Tensors of repositories that were found to be copies: that they are is asked again and again."""


def _set_spare_aside(
    first: Checkpoint, empty: PreTrainedModel, others: Iterable[Checkpoint]
) -> Checkpoint:
    """The reference with what transformers passes over, and others lack, among its buffers."""
    missing = {n for n in first.tensors if any(n not in other.tensors for other in others)}
    spare = {
        name: header
        for name, header in first.tensors.items()
        if name in missing
        and is_spare(empty, name)
        and header.scale is None
        and header.end - header.start <= LARGEST_BUFFER
    }
    left = {name: header for name, header in first.tensors.items() if name not in spare}
    return replace(first, tensors=left, buffers={**first.buffers, **spare}) if spare else first


def _name_notes(model: Checkpoint, renamed: Headers, first: Checkpoint) -> list[str]:
    by_header = {header: name for name, header in model.tensors.items()}
    pairs = [(by_header.get(h, ""), n) for n, h in renamed.items()]
    changed = [(old, new) for old, new in pairs if old and old != new]
    if not changed:
        return []
    old, new = changed[0]
    return [
        f"{len(changed)} tensors of {model.name} have other names in {first.name}, as transformers "
        f"loads both: {old} is {new}"
    ]


def _with_tensors(model: Checkpoint, tensors: Headers) -> Checkpoint:
    """The model under these names; its signature is another one than under its own."""
    if tensors.keys() == model.tensors.keys():
        return model
    naming = sha256("\n".join(tensors).encode()).hexdigest()[:16]
    return replace(model, tensors=tensors, naming=naming)
