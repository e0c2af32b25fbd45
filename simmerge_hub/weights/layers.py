"""Where tensors lie in depth, from their names alone; and models put together from slices.

A layer is the first whole number in a dotted name: `model.layers.3.mlp.up_proj.weight` is layer 3
of the stack `model.layers`. Nothing is known of any architecture. A model may have several stacks
(an encoder and a decoder, a vision tower); the one with the most entries is the main one, but for
towers beside a language model, and slices are of it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

from simmerge_hub.errors import AlignmentError

LAYER_COUNTS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
"""What configs call the number of layers."""
TOWER = re.compile(
    r"(.*[._])?(vision|visual|vit|image|video|audio|speech|projector|connector|resampler)([._].*)?"
)
"""Names of what sees or hears for a language model, and may be larger than it is."""


class Layer(NamedTuple):
    """A tensor's place: `stack`.`number`.`rest`."""

    stack: str
    number: int
    rest: str


def is_number(part: str) -> bool:
    """Whether a part of a tensor's name numbers what is alike; no number is longer than nine."""
    return part.isdecimal() and len(part) < 10


def layer_of(name: str) -> Layer | None:
    """Which layer of which stack a tensor is in; None outside of all."""
    parts = name.split(".")
    at = next((i for i, part in enumerate(parts) if is_number(part)), None)
    if at is None:
        return None
    return Layer(".".join(parts[:at]), int(parts[at]), ".".join(parts[at + 1 :]))


def depths(
    shapes: Mapping[str, Sequence[int]], config: Mapping[str, Any] | None = None
) -> dict[str, float]:
    """Tensor name -> its depth in its stack: 0 for the first layer, 1 for the last (or only) one.

    Tensors outside layers lie at 0, as in mergekit; layers of the main stack that the config does
    not count (heads that predict further tokens) at 1.
    """
    places = {name: layer_of(name) for name in shapes}
    counts: dict[str, int] = {}
    for layer in filter(None, places.values()):
        counts[layer.stack] = max(counts.get(layer.stack, 0), layer.number + 1)
    if counts:
        stack, count = main_stack(shapes, config)
        counts[stack] = count
    return {
        name: min(1.0, depth(layer.number, counts[layer.stack])) if layer else 0.0
        for name, layer in places.items()
    }


def depth(number: int, count: int) -> float:
    """The depth of layer `number` of `count`."""
    return number / (count - 1) if count > 1 else 1.0


def main_stack(
    shapes: Mapping[str, Sequence[int]], config: Mapping[str, Any] | None = None
) -> tuple[str, int]:
    """The stack that holds the most entries, and how many layers it has.

    A tower that sees or hears is the main one only where there is nothing else. Where more layers
    are stored than `config` states, those after them are no layers of the model: heads that predict
    further tokens are stored so.
    """
    entries: dict[str, int] = {}
    counts: dict[str, int] = {}
    for name, shape in shapes.items():
        if layer := layer_of(name):
            entries[layer.stack] = entries.get(layer.stack, 0) + prod(shape)
            counts[layer.stack] = max(counts.get(layer.stack, 0), layer.number + 1)
    if not entries:
        raise AlignmentError(
            "the model has no layers: no tensor has a number in its name",
            hint="leave out `slices:`",
        )
    stack = max(entries, key=lambda name: (not TOWER.fullmatch(name), entries[name]))
    return stack, _stated_count(config or {}, counts[stack])


def _stated_count(config: Mapping[str, Any], stored: int) -> int:
    """How many of `stored` layers the text model's config counts."""
    stated = [
        part[key]
        for part in parts(dict(config))
        if "vocab_size" in part
        for key in LAYER_COUNTS
        if type(part.get(key)) is int
    ]
    return stated[0] if stated and 0 < stated[0] < stored else stored


def parts(config: dict[str, Any]) -> list[dict[str, Any]]:
    """The config and all inside it, the outermost first: text_config, vision_config ..."""
    every = [config]
    for part in every:
        every += [value for value in part.values() if isinstance(value, dict)]
    return every


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A tensor of a sliced output: its slice, its depth there, its name in each model."""

    slice: int
    depth: float
    origins: Mapping[str, str]


def place_slices(
    shapes: Mapping[str, Mapping[str, Sequence[int]]],
    spans: Sequence[Mapping[str, tuple[int, int]]],
    configs: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Placement]:
    """The tensors of a model put together from slices of the main stack, in order.

    Args:
        shapes: model name -> tensor name -> shape.
        spans: for each slice, model name -> layers [first, last).
        configs: model name -> config.json, which says how many of the stored layers are counted.

    Returns:
        Output tensor name -> where it comes from. Tensors outside the stack come from the first
        slice's models if they are embeddings, else from the last slice's: at depth 0.

    Raises:
        AlignmentError: a model has no such layers.
    """
    known = configs or {}
    stacks = {name: main_stack(tensors, known.get(name)) for name, tensors in shapes.items()}
    placements: dict[str, Placement] = {}
    for name in _names_outside(spans[0], shapes, stacks):
        if _is_early(name):
            placements[name] = _place_outside(name, 0, spans[0])
    offset = 0
    for index, span in enumerate(spans):
        placements |= _place_slice(index, span, offset, shapes, stacks)
        first, end = next(iter(span.values()))
        offset += end - first
    for name in _names_outside(spans[-1], shapes, stacks):
        if not _is_early(name):
            placements.setdefault(name, _place_outside(name, len(spans) - 1, spans[-1]))
    return placements


def _place_slice(
    index: int,
    span: Mapping[str, tuple[int, int]],
    offset: int,
    shapes: Mapping[str, Mapping[str, Sequence[int]]],
    stacks: Mapping[str, tuple[str, int]],
) -> dict[str, Placement]:
    """One slice's tensors, from layer `offset` of the output on."""
    for model, (first, end) in span.items():
        if end > stacks[model][1]:
            raise AlignmentError(
                f"a slice takes layers {first} to {end} of {model}, which has {stacks[model][1]}",
                hint="layer ranges count from 0, and the end is not in them",
            )
    leader = next(iter(span))
    first, end = span[leader]
    placements: dict[str, Placement] = {}
    for name in shapes[leader]:
        layer = _layer_in_stack(name, stacks[leader][0])
        if layer is None or not first <= layer.number < end:
            continue
        number = layer.number - first
        placements[f"{layer.stack}.{offset + number}.{layer.rest}"] = Placement(
            slice=index,
            depth=depth(number, end - first),
            origins={m: f"{stacks[m][0]}.{s[0] + number}.{layer.rest}" for m, s in span.items()},
        )
    return placements


def _names_outside(
    span: Mapping[str, tuple[int, int]],
    shapes: Mapping[str, Mapping[str, Sequence[int]]],
    stacks: Mapping[str, tuple[str, int]],
) -> list[str]:
    """The tensors of a slice's first model that are not in its main stack."""
    leader = next(iter(span))
    return [n for n in shapes[leader] if _layer_in_stack(n, stacks[leader][0]) is None]


def _layer_in_stack(name: str, stack: str) -> Layer | None:
    layer = layer_of(name)
    return layer if layer and layer.stack == stack else None


def _place_outside(name: str, index: int, span: Mapping[str, tuple[int, int]]) -> Placement:
    return Placement(slice=index, depth=0.0, origins=dict.fromkeys(span, name))


def _is_early(name: str) -> bool:
    """Whether a tensor outside the stack comes before it: embeddings do, norms and heads do not."""
    lower = name.lower()
    return "embed_out" not in lower and any(w in lower for w in ("embed", "wte", "wpe", "shared"))
