"""Whether the tensors that are stored are those of the model that a config describes.

transformers refuses a tensor of another shape than the config gives it, makes up a layer that is
not stored, and passes over one that the config does not count. It is asked unless a config says
every shape by itself, as those of most decoders do: it takes seconds to import.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from simmerge_hub.errors import AlignmentError
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.weights.layers import LAYER_COUNTS, layer_of, main_stack
from simmerge_hub.weights.loaded.model import LARGEST_COUNT, build_empty, read_refusal
from simmerge_hub.weights.loaded.names import is_made_anew, is_spare, list_first
from simmerge_hub.weights.loaded.origins import Origin, find_missing, find_origins
from simmerge_hub.weights.shapes import shapes as stored_shapes
from simmerge_hub.weights.tokens.embeddings import vocabulary_tensors

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Shapes = Mapping[str, tuple[int, ...]]
LM_HEAD = re.compile(r"LM$|LMHead")
"""In the names of architectures that have a head for tokens; XLMRobertaModel has none."""
BIAS = re.compile(r"(attention|attn|mlp|qkv|use)_bias|bias")
"""Flags of a config that give layers biases."""
COUNTED = re.compile("|".join(LAYER_COUNTS))
"""In what transformers says of a config whose lists do not go with its number of layers."""
JOINED = {"MergeModulelist", "Concatenate"}
"""What transformers does to stored tensors that leaves as many entries."""


def refuse_undescribed(
    main: Checkpoint, config: Mapping[str, Any], shapes: Shapes, *, untied: bool = False
) -> list[str]:
    """Refuse what could not be loaded: tensors that are not those of the config beside them.

    Plans and merges ask this of the same models, so that no plan recommends what is refused then.

    Args:
        main: the model whose config it is.
        config: as it is written beside the tensors.
        shapes: of the tensors that are written.
        untied: whether they have a head of their own, where `main` has none.

    Returns:
        Sentences about what transformers cannot load, passes over or makes up.

    Raises:
        AlignmentError: layers, a head or what was tied beside it are missing, or shapes are others.
    """
    refuse_lost(main.name, main.config, stored_shapes(main))
    if untied:
        _refuse_missing(main, config, shapes)
    return refuse_misfits(main.name, config, shapes)


def refuse_lost(name: str, config: Mapping[str, Any], shapes: Shapes) -> None:
    """Where all models lack layers or a head that the config has, transformers would make them up.

    It knows layers that share weights, and ties. What is not asked about may be lacking: encoders
    are used without their pooler.

    Args:
        name: what to call the model.
        config: its config.json.
        shapes: of its stored tensors.

    Raises:
        AlignmentError: a layer or a head is not stored.
    """
    layers, head = _lacks_layers(config, shapes), _lacks_head(config, shapes)
    if not (layers or head):
        return
    missing = find_missing(config, shapes)
    lost = {name for name in missing if (layers if layer_of(name) else head)}
    if lost:
        raise AlignmentError(
            f"{name} stores no {min(lost)}, which a model of its config has: transformers "
            "would make it up",
            hint="fetch the models again if a file is incomplete; if their head is the embedding, "
            "write `tie_word_embeddings: true` into the config.json of copies",
        )


def refuse_misfits(name: str, config: Mapping[str, Any], shapes: Shapes) -> list[str]:
    """Refuse tensors of which transformers would say that they are of another shape.

    Args:
        name: what to call the model whose config it is.
        config: the config.json that is written beside the tensors.
        shapes: of the tensors.

    Returns:
        Sentences about tensors of layers that transformers would pass over.

    Raises:
        AlignmentError: a tensor that no model of this config can load. With code of its own
            (`auto_map`) it may: then that is a sentence too.
    """
    if _fits_at_sight(config, shapes):
        return []
    model = build_empty(config)
    if model is None:
        return _refuse_unreadable(name, config, shapes)
    origins = find_origins(model, shapes)
    state = {parameter: tuple(value.shape) for parameter, value in model.state_dict().items()}
    misfits = [
        (stored, wanted)
        for parameter, wanted in state.items()
        if (origin := origins.get(parameter)) and (stored := _find_misfit(origin, wanted, shapes))
    ]
    if misfits:
        error = _misfit_error(name, config, shapes, *misfits[0], len(misfits))
        if "auto_map" in config:
            return [f"{error}, unless it is loaded with its own code (trust_remote_code)"]
        raise error
    return list(_count_notes(name, model, shapes, origins))


def _refuse_missing(main: Checkpoint, config: Mapping[str, Any], shapes: Shapes) -> None:
    """Without a tie, what was tied beside the head (its bias) has to be stored, too."""
    needed = find_missing(config, shapes) - find_missing(main.config, main.tensors)
    if needed:
        raise AlignmentError(
            f"the output has a head of its own, and nothing to store as {min(needed)}, which "
            f"{main.name} ties to another tensor",
            hint="merge models that all tie their heads, or none; or make the one that does not "
            "the base, with `unmatched: keep`",
        )


def state_alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two configs state the same whole numbers: then the same tensors fit both.

    Args:
        one: a config.json.
        other: another one.
    """
    return set(_numbers(one)) == set(_numbers(other))


def _refuse_unreadable(name: str, config: Mapping[str, Any], shapes: Shapes) -> list[str]:
    """A note of a config that transformers cannot load; an error where it miscounts layers."""
    stated, stored = _count_layers(config), _count_stored(shapes)
    many = f"it counts more than {LARGEST_COUNT:,} layers" if stated > LARGEST_COUNT else ""
    reason = many or read_refusal(config)
    if not reason:
        return []
    seen = f"transformers makes no model of the config.json of {name}: {reason}"
    if not (stated > stored or (stated < stored and COUNTED.search(reason))):
        return [seen]
    raise AlignmentError(
        f"{seen}; layers that are stored: {stored}",
        hint="correct the config.json of a copy, or fetch the model again",
    )


def _count_notes(
    name: str, model: PreTrainedModel, shapes: Shapes, origins: Mapping[str, Origin]
) -> Iterator[str]:
    """Sentences about tensors of layers that only the weights, or only the config, know of."""
    used = {stored for origin in origins.values() for stored, _ in origin.stored}
    known = {n for n in shapes if n in used or is_made_anew(n) or is_spare(model, n)}
    spare = [n for n in shapes if n not in known and layer_of(n)]
    absent = model._keys_to_ignore_on_load_missing or ()
    made_up = [
        n
        for n, _ in model.named_parameters(remove_duplicate=False)
        if n not in origins and layer_of(n) and not any(re.search(each, n) for each in absent)
    ]
    if spare:
        yield (
            f"transformers passes over {list_first(spare)} of {name}: its config.json describes "
            "no such tensors"
        )
    if made_up:
        yield f"{name} stores no {list_first(made_up)}: transformers makes up what its config has"


def _find_misfit(origin: Origin, wanted: tuple[int, ...], shapes: Shapes) -> str:
    """The stored tensor that cannot be loaded as a parameter of this shape; "" if all can."""
    names = [name for name, _ in origin.stored]
    if origin.converter is None:
        return "" if shapes[names[0]] == wanted else names[0]
    whole = len(origin.converter.target_patterns) == 1 and all(
        type(operation).__name__ in JOINED for operation in origin.converter.operations
    )
    entries = sum(prod(shapes[name]) for name in names)
    return names[0] if whole and entries != prod(wanted) else ""


def _misfit_error(
    name: str,
    config: Mapping[str, Any],
    shapes: Shapes,
    stored: str,
    wanted: tuple[int, ...],
    count: int,
) -> AlignmentError:
    shape = shapes[stored]
    keys = [
        f"{key} {value}"
        for key, value in _numbers(config)
        if value in wanted and value not in shape and value > 1
    ]
    keys = [key for key in keys if "position" not in key] or keys  # as many by chance
    said = f", for it says {' or '.join(dict.fromkeys(keys))}" if keys else ""
    return AlignmentError(
        f"the weights of {name} do not fit its config.json: {stored} is {list(shape)}, and a model "
        f"of this config has {list(wanted)}{said}; tensors that do not fit: {count}",
        hint="correct the config.json of a copy, or fetch the model again: transformers cannot "
        "load the one with the other",
    )


def _fits_at_sight(config: Mapping[str, Any], shapes: Shapes) -> bool:
    """Whether this is a decoder without biases of which a config says every shape."""
    text = config.get("text_config")
    part = text if isinstance(text, dict) and "hidden_size" in text else config
    wanted = _decoder_shapes(part)
    layers = {at.number for name in shapes if (at := layer_of(name))}
    return (
        len(layers) == _count_layers(config)
        and layers == set(range(len(layers)))
        and not any(value for key, value in part.items() if BIAS.fullmatch(key))
        and all(shape == wanted.get(_role(name)) for name, shape in shapes.items())
    )


def _role(name: str) -> str:
    """The last module of a tensor's name, norms being one: "q_proj", "norm"."""
    module, _, kind = name.rpartition(".")
    module = module.rpartition(".")[2]
    if module in ("q_norm", "k_norm") or kind != "weight":
        return module if kind == "weight" else name
    return "norm" if module.endswith("norm") else module


def _decoder_shapes(part: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Role of a tensor -> its shape in a decoder as Llama's; {} where a config does not say all."""
    keys = ("hidden_size", "num_attention_heads", "intermediate_size", "vocab_size")
    width, heads, inner, tokens = (part.get(key) for key in keys)
    if not all(type(each) is int and each > 0 for each in (width, heads, inner, tokens)):
        return {}
    assert isinstance(width, int) and isinstance(heads, int)
    assert isinstance(inner, int) and isinstance(tokens, int)
    each, groups = part.get("head_dim") or width // heads, part.get("num_key_value_heads") or heads
    if type(each) is not int or type(groups) is not int:
        return {}
    return {
        **dict.fromkeys(("embed_tokens", "lm_head"), (tokens, width)),
        **dict.fromkeys(("gate_proj", "up_proj"), (inner, width)),
        **dict.fromkeys(("k_proj", "v_proj"), (groups * each, width)),
        **dict.fromkeys(("q_norm", "k_norm"), (each,)),
        "q_proj": (heads * each, width),
        "o_proj": (width, heads * each),
        "down_proj": (width, inner),
        "norm": (width,),
    }


def _numbers(config: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Every whole number of a config, with its key; those of parts and lists, too."""
    for key, value in config.items():
        values = value if isinstance(value, list) else [value]
        if isinstance(value, dict):
            yield from _numbers(value)
        yield from ((key, each) for each in values if type(each) is int)


def _lacks_layers(config: Mapping[str, Any], shapes: Shapes) -> bool:
    stored = [place.number for name in shapes if (place := layer_of(name))]
    return bool(stored) and _count_layers(config) > max(stored) + 1


def _count_stored(shapes: Shapes) -> int:
    return main_stack(shapes)[1] if any(map(layer_of, shapes)) else 0


def _count_layers(config: Mapping[str, Any]) -> int:
    """How many layers a config counts, of all its parts that know tokens; 0 if it does not."""
    stated = [
        part[key]
        for part in parts(dict(config))
        for key in LAYER_COUNTS
        if "vocab_size" in part and type(part.get(key)) is int
    ]
    return max(stated, default=0)


def parts(config: dict[str, Any]) -> list[dict[str, Any]]:
    """The config and those inside it: text_config, vision_config ..."""
    return [config, *(value for value in config.values() if isinstance(value, dict))]


def _lacks_head(config: Mapping[str, Any], shapes: Shapes) -> bool:
    """Whether the config says that a head is not tied, and one tensor has a row for each token."""
    kinds = config.get("architectures")
    answers = any(LM_HEAD.search(str(kind)) for kind in kinds) if isinstance(kinds, list) else False
    own = {name: shape for name, shape in shapes.items() if layer_of(name) is None}
    tall = {n for n in vocabulary_tensors(own, config)[1] if n.endswith("weight")}
    return answers and config.get("tie_word_embeddings") is False and len(tall) == 1
