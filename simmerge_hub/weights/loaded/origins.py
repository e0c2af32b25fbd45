"""Which stored tensors each parameter of a model is made of, by transformers' own rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simmerge_hub.weights.layers import is_number
from simmerge_hub.weights.loaded.model import build_empty

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from transformers.core_model_loading import WeightConverter


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a parameter is made of: stored tensors, as (name, the pattern it matches).

    `converter` is what transformers makes of several tensors (the experts of a layer become one),
    and `first` the first parameter it makes; it is None for a tensor that is used as it is.
    """

    first: str
    stored: list[tuple[str, str]]
    converter: WeightConverter | None


def find_origins(model: PreTrainedModel, names: Iterable[str]) -> dict[str, Origin]:
    """Which of the stored tensors `names` each parameter and buffer of a model is made of.

    By transformers' own rules for loading.
    """
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

    transforms = get_model_conversion_mapping(model)
    renamings = [t for t in transforms if isinstance(t, WeightRenaming)]
    converters = [t for t in transforms if isinstance(t, WeightConverter)]
    converter_of = {p: c for c in converters for p in c.source_patterns}
    prefix, state = model.base_model_prefix, model.state_dict()
    origins: dict[str, Origin] = {}
    for name in sorted(names, key=_natural):  # experts are joined in this order
        target, pattern = rename_source_key(name, renamings, converters, prefix, state)
        if target not in state and name in state:  # no name of old, though a rule takes it for one
            target, pattern = rename_source_key(name, [], [], prefix, state)
        if target in state:
            converter = converter_of[pattern] if pattern else None
            made_of = Origin(first=target, stored=[], converter=converter)
            origins.setdefault(target, made_of).stored.append((name, pattern or name))
    return origins | _sibling_origins(origins) | _tied_origins(model, origins)


def find_missing(config: Mapping[str, Any], names: Iterable[str]) -> set[str]:
    """Parameters that transformers would make up, loading these tensors with a config.

    None of them, as far as can be told, of a model that it does not know.
    """
    model = build_empty(config)
    if model is None:
        return set()
    origins = find_origins(model, names)
    return {n for n, _ in model.named_parameters(remove_duplicate=False) if n not in origins}


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if is_number(part) else (-1, part) for part in name.split(".")]


def _sibling_origins(origins: Mapping[str, Origin]) -> dict[str, Origin]:
    """The parameters that come of one stored tensor beside the first."""
    origins_of_others = {}
    for first, origin in origins.items():
        if origin.converter:
            here, *others = origin.converter.target_patterns
            origins_of_others |= {first.replace(here, other): origin for other in others}
    return origins_of_others


def _tied_origins(model: PreTrainedModel, origins: Mapping[str, Origin]) -> dict[str, Origin]:
    """The other names of parameters that are one, of which one is stored."""
    named = list(model.named_parameters(remove_duplicate=False))
    held = {id(p): origins[n] for n, p in named if n in origins}
    return {n: held[id(p)] for n, p in named if n not in origins and id(p) in held}
