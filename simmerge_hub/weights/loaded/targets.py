"""Which stored tensors of its base an adapter changes, and whether they are tied to others.

PEFT names modules as they are in memory; a base may store them under other names, or once for two
modules that share them. PEFT's own model adapts the one module only: then base and merge are
untied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from simmerge_hub.errors import AlignmentError
from simmerge_hub.hub.resolve import Checkpoint, Piece, TargetParameter
from simmerge_hub.weights.adapters import (
    changed_tensors,
    check_kind,
    separate,
    target_of,
    unfoldable_error,
)
from simmerge_hub.weights.layers import layer_of
from simmerge_hub.weights.loaded.apart import split_experts
from simmerge_hub.weights.loaded.model import TIED, build_empty, part_config, tie_groups
from simmerge_hub.weights.loaded.names import find_parts
from simmerge_hub.weights.loaded.origins import find_origins
from simmerge_hub.weights.loaded.pieces import find_target

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def aim(
    adapters: Sequence[Checkpoint], base: Checkpoint
) -> tuple[list[Checkpoint], Checkpoint, list[str]]:
    """Adapters that know what their base calls what they change; the base, untied if need be.

    Returns:
        The adapters, the base, and notes.

    Raises:
        AlignmentError: a tie would have to be parted that the base's config cannot part.
    """
    changed = [changed_tensors(adapter) for adapter in adapters]
    every = {name for names in changed for name in names}
    stacked = [a for a in adapters if a.config.get("target_parameters")]
    if every <= base.tensors.keys() and all(layer_of(name) for name in every) and not stacked:
        return [_turn_squares(adapter, base) for adapter in adapters], base, []
    model = build_empty(base.config)
    if model is None:
        if stacked:
            raise unfoldable_error(
                stacked[0],
                f"adapts parameters of {base.name}, a model that transformers does not know",
            )
        _refuse_unknown_tie(adapters, changed, base)
        return list(adapters), base, []
    base = _split_adapted(model, base, every)
    base, notes = _untie(model, base, adapters, changed)
    model = build_empty(base.config) or model
    origins = find_origins(model, base.tensors)

    def aim_one(adapter: Checkpoint, names: set[str]) -> Checkpoint:
        found = {name: _find_parameter(model, name) for name in names}
        own = {n: find_target(model, origins, adapter, base, p) for n, p in found.items()}
        if not adapter.config.get("target_parameters"):
            own = {n: t for n, t in own.items() if t != TargetParameter(n, (Piece(n),))}
        return _turn_squares(replace(adapter, targets=own) if own else adapter, base)

    return [aim_one(*each) for each in zip(adapters, changed, strict=True)], base, notes


def find_turned(adapter: Checkpoint, base: Checkpoint) -> dict[str, bool] | None:
    """What an adapter calls its matrices -> whether their base stores them [inputs, outputs].

    As in PEFT, it is the class of a module that says so, whatever `fan_in_fan_out` says, of each
    for itself. None if only shapes and the flag can tell: transformers does not know the base.

    Raises:
        CheckpointError: it is of a kind that cannot be folded.
    """
    check_kind(adapter)
    names = [m.name for m in separate(adapter, adapter.tensors)[0] if not m.embedding]
    stated = bool(adapter.config.get("fan_in_fan_out"))
    if not (stated or _stores_turned(base)):
        return dict.fromkeys(names, False)
    model = build_empty(base.config)
    if model is None:
        return None
    modules = {name: type(module).__name__ for name, module in model.named_modules()}
    owners = [_find_parameter(model, name).rpartition(".")[0] for name in names]
    return {
        name: modules[owner] == "Conv1D" if owner in modules else stated
        for name, owner in zip(names, owners, strict=True)
    }


def _turn_squares(adapter: Checkpoint, base: Checkpoint) -> Checkpoint:
    """The adapter with targets for what it changes of which no shape says which way it lies."""
    names = _square_names(adapter)
    turned = find_turned(adapter, base) if names else None
    if turned is None or not (adapter.config.get("fan_in_fan_out") or any(turned.values())):
        return adapter
    own = {name: target_of(adapter, name) for name in names}
    own = {n: t if t.named else t._replace(turned=turned[n]) for n, t in own.items()}
    return replace(adapter, targets={**adapter.targets, **own})


def _square_names(adapter: Checkpoint) -> list[str]:
    """What an adapter calls the matrices it changes of which no shape says which way they lie."""
    loras, _ = separate(adapter, adapter.tensors)
    return [m.name for m in loras if not m.embedding and m.b.shape[0] == m.a.shape[1]]


def _stores_turned(base: Checkpoint) -> bool:
    """Whether any matrix lies [inputs, outputs]: beside it is a bias as long as it is wide."""
    shapes = {name: header.shape for name, header in base.tensors.items()}
    biases = {name: shape for name, shape in shapes.items() if name.endswith(".bias")}
    beside = ((shapes.get(f"{n.removesuffix('.bias')}.weight", ()), s) for n, s in biases.items())
    return any(len(w) == 2 and w[1] != w[0] and bias == w[1:] for w, bias in beside)


def _split_adapted(model: PreTrainedModel, base: Checkpoint, names: set[str]) -> Checkpoint:
    """The base with experts one by one that adapters of old change one by one."""
    apart = {part.parameter for part in find_parts(model, names).values() if part.pattern}
    if not apart:
        return base
    parts = find_parts(model, base.tensors)
    tensors = split_experts(model, base.tensors, parts, apart)
    more = len(tensors) > len(base.tensors)
    return replace(base, tensors=tensors, naming="split") if more else base


def _find_parameter(model: PreTrainedModel, name: str) -> str:
    """What an adapter's tensor is called in memory: a prefix may be missing, or be one of old."""
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightRenaming, rename_source_key

    state, prefix = model.state_dict(), model.base_model_prefix
    if name in state:
        return name
    renamings = [t for t in get_model_conversion_mapping(model) if isinstance(t, WeightRenaming)]
    for rules in (renamings, []):
        target, _ = rename_source_key(name, rules, [], prefix, state)
        if target in state:
            return target
    return name


def _untie(
    model: PreTrainedModel,
    base: Checkpoint,
    adapters: Sequence[Checkpoint],
    changed: Sequence[set[str]],
) -> tuple[Checkpoint, list[str]]:
    """The base with tensors for all of several tied parameters of which an adapter changes any."""
    notes: list[str] = []
    for group in tie_groups(model):
        for adapter, names in zip(adapters, changed, strict=True):
            touched = {_find_parameter(model, name) for name in names}.intersection(group)
            if touched:
                one = min(touched)
                tie = f"{one}, which {base.name} ties to {' and '.join({*group} - {one})}"
                base = _part(model, base, group, f"{adapter.name} changes {tie}")
                notes.append(f"{adapter.name} changes {tie}: the output has them apart")
                break
    return base, notes


def _part(model: PreTrainedModel, base: Checkpoint, group: Sequence[str], seen: str) -> Checkpoint:
    """The base with all tensors of a tied group, of the same bytes, and a config that says so."""
    config = part_config(base.config)
    after = build_empty(config)
    origins = find_origins(model, base.tensors)
    tied = {n for other in tie_groups(after) for n in other} if after else set()
    tied_still = after is None or bool(tied & set(group))
    parted = [n for other in tie_groups(model) for n in other if n not in tied]  # as a head's bias
    missing = [n for n in parted if n in origins and origins[n].first != n]
    if tied_still or any(n not in origins or _find_parameter(model, n) != n for n in group):
        raise AlignmentError(
            f"{seen}, and no config of such a model can part them",
            hint="train an adapter that leaves it alone: transformers cannot load what this one "
            "makes of its base",
        )
    more = {name: base.tensors[origins[name].stored[0][0]] for name in missing}
    naming = "untied" if more else base.naming
    return replace(base, tensors={**base.tensors, **more}, config=config, naming=naming)


def _refuse_unknown_tie(
    adapters: Sequence[Checkpoint], changed: Sequence[set[str]], base: Checkpoint
) -> None:
    """Without transformers' word nobody knows whether an embedding is tied to a head."""
    if base.config.get(TIED) is False:
        return
    for adapter, names in zip(adapters, changed, strict=True):
        for name in sorted(names):
            header = base.tensors.get(name)
            alone = header is not None and len(header.shape) == 2 and not layer_of(name)
            if alone and not any(
                other != name and h.shape == header.shape and not layer_of(other)  # type: ignore[union-attr]
                for other, h in base.tensors.items()
            ):
                raise AlignmentError(
                    f"{adapter.name} changes {name}, and transformers does not know whether "
                    f"{base.name} ties it to another tensor",
                    hint="write tie_word_embeddings into the base's config.json if it is false, or "
                    "merge the adapter into its base with peft's merge_and_unload()",
                )
