"""Where a base stores what an adapter changes, if that is not one tensor.

transformers joins stored tensors into one parameter (experts one by one become a stack, gate and
up one matrix) or takes one apart, and PEFT adapts what is in memory. Where rows stay rows, each
stored tensor gets its part of the product.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from simmerge_hub.hub.resolve import Checkpoint, Piece, TargetParameter
from simmerge_hub.weights.adapters import unfoldable_error
from simmerge_hub.weights.loaded.apart import rows_of_one
from simmerge_hub.weights.loaded.names import expert_number
from simmerge_hub.weights.loaded.origins import Origin

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LAYER = ".base_layer"


def find_target(
    model: PreTrainedModel,
    origins: Mapping[str, Origin],
    adapter: Checkpoint,
    base: Checkpoint,
    name: str,
) -> TargetParameter:
    """What an adapter changes under `name`, a parameter of the model or a module with layers.

    Raises:
        CheckpointError: transformers makes it of what is stored in a way that does not keep rows.
    """
    adapted = _find_adapted(model, adapter, name)
    parameter, named = adapted or name, adapted is not None
    held = model.state_dict().get(parameter)
    experts = held.shape[0] if held is not None and held.ndim == 3 else 0
    module = parameter.rpartition(".")[0]
    turned = bool(experts) and getattr(model.get_submodule(module), "is_transposed", False)
    origin = origins.get(parameter)
    if origin is None:
        return TargetParameter(parameter, (Piece(parameter),), experts, turned, named)
    if origin.converter is None:
        return TargetParameter(parameter, (Piece(origin.stored[0][0]),), experts, turned, named)
    pieces = () if turned else _find_pieces(model, origin, base, parameter, experts)
    if not pieces:
        raise unfoldable_error(
            adapter,
            f"changes {parameter}, which is no matter of rows of {origin.stored[0][0]}, as it is "
            f"stored in {base.name}",
        )
    return TargetParameter(parameter, pieces, experts, named=named)


def _find_adapted(model: PreTrainedModel, adapter: Checkpoint, name: str) -> str | None:
    """The parameter that `target_parameters` means.

    Those of one module are adapted in layers, the first innermost. None if the name is that of a
    module's weight.
    """
    wanted = adapter.config.get("target_parameters") or ()
    module = name.removesuffix(".weight")
    depth = module.count(LAYER)
    module = module.replace(LAYER, "")
    try:
        own = [n for n, _ in model.get_submodule(module).named_parameters(recurse=False)]
    except AttributeError:
        return None
    paths = [f"{module}.{n}" for n in own]
    adapted = [p for p in paths if any(p == w or p.endswith(f".{w}") for w in wanted)]
    return adapted[-1 - depth] if depth < len(adapted) else None


def _find_pieces(
    model: PreTrainedModel, origin: Origin, base: Checkpoint, parameter: str, experts: int
) -> tuple[Piece, ...]:
    """The stored tensors with a parameter's rows; () if it is no matter of rows."""
    assert origin.converter is not None
    rows = {} if experts else rows_of_one(model, origin.first, origin.converter)
    if rows:
        return _find_rows(origin, base, parameter, rows)
    steps = [(type(op).__name__, getattr(op, "dim", None)) for op in origin.converter.operations]
    stack = [("MergeModulelist", 0)]
    joined = [stack, [*stack, ("Concatenate", 1)]] if experts else [[("Concatenate", 0)]]
    if steps not in joined:
        return ()
    return tuple(_join(origin.stored, base, origin.converter._original_source_patterns))


def _find_rows(
    origin: Origin, base: Checkpoint, parameter: str, rows: Mapping[str, int]
) -> tuple[Piece, ...]:
    """Rows of one stored tensor, of which transformers makes several parameters."""
    stored = origin.stored[0][0]
    if len(origin.stored) != 1 or parameter not in rows:
        return ()
    if sum(rows.values()) != base.tensors[stored].shape[0]:
        return ()
    before = list(rows)[: list(rows).index(parameter)]
    return (Piece(stored, last=rows[parameter], at=sum(rows[name] for name in before)),)


def _join(
    stored: Iterable[tuple[str, str]], base: Checkpoint, order: Sequence[str]
) -> Iterable[Piece]:
    """Every expert's tensors one below the other, in the order of the patterns they match."""
    ends: dict[int, int] = {}
    for name, pattern in sorted(stored, key=lambda each: _place(each[1], order)):
        expert = expert_number(name, pattern)
        expert = -1 if expert is None else expert
        first = ends.get(expert, 0)
        ends[expert] = first + base.tensors[name].shape[0]
        yield Piece(name, expert, first, ends[expert])


def _place(pattern: str, order: Sequence[str]) -> int:
    return order.index(pattern) if pattern in order else len(order)
