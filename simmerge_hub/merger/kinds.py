"""What kind each layer of a sliced model is: it follows from the config and the layer's number.

Dense or of experts, attention or state space, sliding or full: configs say it by lists with an
entry for each layer, by lists of numbers, by periods or by how many come first. A slice moves
layers to other numbers. The models of the inputs and that of the output are built without weights
and compared layer by layer, down to the settings of their modules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from simmerge_hub.errors import RecipeError
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.weights.alignment.meaning import HARMLESS
from simmerge_hub.weights.layers import LAYER_COUNTS, TOWER, layer_of, main_stack, parts
from simmerge_hub.weights.loaded.model import build_empty, silence
from simmerge_hub.weights.shapes import shapes

if TYPE_CHECKING:
    from torch.nn import Module, ModuleList
    from transformers import PreTrainedModel

NUMBERED = re.compile(r"(.*_)?(layers?|idxs?|indices|indexes|layer_ids)(_.*)?")
"""Keys of lists that may hold numbers of layers."""
LEADING = re.compile(r"first_k_dense_replace|(num|n)_(first_)?dense_(first_)?layers|.*_start_index")
"""Keys that say how many layers, from the first on, are of another kind."""
POSITION = re.compile(r"(.*_)?(idx|index|id|number)|training")
"""Settings of a module that say where it is, not what it is."""
Kind = Mapping[str, Any]


class Origin(NamedTuple):
    """Where a layer of the output comes from: layer `number` of a model."""

    model: Checkpoint
    number: int


def carry_kinds(
    config: dict[str, Any], part: dict[str, Any], origins: Sequence[Origin]
) -> dict[str, Any]:
    """What to write into a part of the output's config, so that every layer stays what it is.

    Args:
        config: the output's config, whose number of layers is set.
        part: the part of it that has the layers; the config itself, or its text model's.
        origins: of the output's layers, in order.

    Returns:
        Keys and values for `part`; {} where nothing has to be said.

    Raises:
        RecipeError: no config of this kind can say it.
    """
    wanted = _wanted(origins)
    if wanted is None:
        _refuse_mixed(origins)
        return {}
    misfit = ""
    for more in _proposals(part, origins):
        model = build_empty(_with(config, part, more))
        kinds = _describe_layers(model, len(origins)) if model else []
        if kinds == wanted:
            return more
        misfit = misfit or _first_difference(kinds, wanted, origins)
    raise RecipeError(
        f"the slices move layers to where its config makes them another kind: {misfit}",
        hint="take whole periods of layers, from where one begins, or leave out `slices:`",
    )


def _wanted(origins: Sequence[Origin]) -> list[Kind] | None:
    """The kinds of the layers in the models they are from; None if those cannot be built."""
    kinds: dict[int, list[Kind]] = {}
    for model, _ in origins:
        if id(model) not in kinds:
            empty = build_empty(model.config)
            kinds[id(model)] = _describe_layers(empty, _count(model)) if empty else []
    if not all(kinds.values()):
        return None
    return [kinds[id(model)][number] for model, number in origins]


def _count(model: Checkpoint) -> int:
    return main_stack(shapes(model), model.config)[1]


def _describe_layers(model: PreTrainedModel, count: int) -> list[Kind]:
    """For every layer the classes of its modules with their settings, and what lists say of it."""
    stack = _find_stack(model, count)
    said = model.config.get_text_config().to_dict()
    stated = {k: v for k, v in said.items() if is_by_layer(k, v, count, said)}
    return [
        {**_describe(layer), **{key: value[number] for key, value in stated.items()}}
        for number, layer in enumerate(stack or ())
    ]


def is_by_layer(key: str, value: Any, count: int, part: Mapping[str, Any]) -> bool:
    """Whether a setting is a list with an entry for each of `count` layers.

    Names of classes and ids of tokens are none, nor are lists that a model of this kind has with
    as many entries for any number of layers (a least and a greatest time step), be they as many by
    chance.

    Args:
        key, value: the setting.
        count: of the layers.
        part: the config that it is from, or the part of one, with its `model_type`.
    """
    if not isinstance(value, list) or len(value) != count or HARMLESS.fullmatch(key):
        return False
    return _fixed_lists(str(part.get("model_type"))).get(key) != count


@cache
def _fixed_lists(kind: str) -> Mapping[str, int]:
    """Lists of a kind of config -> how many entries they have, whatever the number of layers.

    They are those of transformers' default config that have another length than its layers.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if kind not in CONFIG_MAPPING:
        return {}
    try:
        with silence():
            default = CONFIG_MAPPING[kind]().get_text_config()
    except Exception:  # a kind that has no default
        return {}
    layers = {number for key in LAYER_COUNTS if (number := getattr(default, key, None))}
    lists = {k: len(v) for k, v in default.to_dict().items() if isinstance(v, list | tuple)}
    return {key: length for key, length in lists.items() if layers and length not in layers}


def _find_stack(model: PreTrainedModel, count: int) -> ModuleList | None:
    """The modules of the layers: of all lists with so many the one with the most parameters.

    As in `main_stack`, a tower beside a language model is none of them.
    """
    from torch.nn import ModuleList

    stacks = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, ModuleList) and len(module) == count and layer_of(name) is None
    }
    entries = {name: sum(p.numel() for p in m.parameters()) for name, m in stacks.items()}
    main = max(stacks, key=lambda name: (not TOWER.fullmatch(name), entries[name]), default=None)
    return None if main is None else stacks[main]


def _describe(layer: Module) -> dict[str, Any]:
    return {
        f"{name}.{key}": value
        for name, module in layer.named_modules()
        for key, value in {"class": type(module).__name__, **_settings(module)}.items()
    }


def _settings(module: Module) -> dict[str, Any]:
    return {
        key: value
        for key, value in vars(module).items()
        if key[0] != "_"
        and not POSITION.fullmatch(key)
        and isinstance(value, bool | int | float | str | None)
    }


def _proposals(part: Mapping[str, Any], origins: Sequence[Origin]) -> Iterator[dict[str, Any]]:
    """What might be said, the least first."""
    lists = _entry_lists(origins)
    stated = {key: value for key, value in lists.items() if key in part}
    numbers = _number_lists(part, origins)
    yield stated
    yield lists
    yield {**stated, **numbers}
    yield {**lists, **numbers}


def _entry_lists(origins: Sequence[Origin]) -> dict[str, list[Any]]:
    """Lists with an entry for each layer, stated or by default, in the output's order."""
    resolved = []
    for model, _ in origins:
        empty = build_empty(model.config)
        resolved.append(empty.config.get_text_config().to_dict() if empty else {})
    return {
        key: [each[key][number] for each, (_, number) in zip(resolved, origins, strict=True)]
        for key in resolved[0]
        if all(
            is_by_layer(key, each.get(key), _count(model), each)
            for each, (model, _) in zip(resolved, origins, strict=True)
        )
    }


def _number_lists(part: Mapping[str, Any], origins: Sequence[Origin]) -> dict[str, Any]:
    """Lists of layers, and counts of leading ones, for the output's numbers."""
    said: dict[str, Any] = {}
    for key, value in part.items():
        own = [
            number if any(each.get(key) == value for each in parts(dict(model.config))) else -1
            for model, number in origins
        ]
        if isinstance(value, list) and NUMBERED.fullmatch(key):
            if value and all(type(each) is int for each in value):
                said[key] = [place for place, number in enumerate(own) if number in value]
        elif type(value) is int and LEADING.fullmatch(key):
            leading = [0 <= number < value for number in own]
            said[key] = leading.index(False) if False in leading else len(leading)
    return said


def _with(config: dict[str, Any], part: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    if part is config:
        return {**config, **more}
    return {k: {**v, **more} if v is part else v for k, v in config.items()}


def _first_difference(
    kinds: Sequence[Kind], wanted: Sequence[Kind], origins: Sequence[Origin]
) -> str:
    for place, (kind, other) in enumerate(zip(kinds, wanted, strict=False)):
        for key in sorted(kind.keys() | other.keys(), key=lambda k: (k.count("."), k)):
            if kind.get(key) != other.get(key):
                model, number = origins[place]
                return (
                    f"layer {number} of {model.name} has {key.strip('.')} {other.get(key)}, as "
                    f"layer {place} of the output it would have {kind.get(key)}"
                )
    return f"{len(wanted)} layers are wanted, and a config gives {len(kinds)}"


def _refuse_mixed(origins: Sequence[Origin]) -> None:
    """Where transformers knows no such model: layers that hold other tensors must stay in place."""
    kinds = [_stored_kind(model, number) for model, number in origins]
    moved = any(number != place for place, (_, number) in enumerate(origins))
    if moved and any(kind != kinds[0] for kind in kinds):
        raise RecipeError(
            f"the layers of {origins[0].model.name} are of several kinds, and nobody can say "
            "which kind a layer is at another number: transformers has no such model",
            hint="leave out `slices:`",
        )


def _stored_kind(model: Checkpoint, number: int) -> set[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the tensors of a layer."""
    own = shapes(model)
    stack = main_stack(own, model.config)[0]
    layers = ((layer_of(name), shape) for name, shape in own.items())
    return {(at.rest, s) for at, s in layers if at and at.stack == stack and at.number == number}
