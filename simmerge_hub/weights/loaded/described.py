"""Whether the tensors that are stored are those of the model that a config describes.

transformers refuses a tensor of another shape than the config gives it, makes up a layer that is
not stored, and passes over one that the config does not count. It is asked unless a config says
every shape by itself, as those of most decoders do: it takes seconds to import.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

from simmerge_hub.errors import AlignmentError
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.weights.layers import LAYER_COUNTS, layer_of, main_stack
from simmerge_hub.weights.loaded.made_up import count_notes, find_made_up
from simmerge_hub.weights.loaded.model import LARGEST_COUNT, build_empty, read_refusal
from simmerge_hub.weights.loaded.origins import Origin, find_missing, find_origins
from simmerge_hub.weights.loaded.sight import count_layers, fits_at_sight
from simmerge_hub.weights.shapes import Shapes
from simmerge_hub.weights.shapes import shapes as stored_shapes
from simmerge_hub.weights.tokens.embeddings import vocabulary_tensors

LM_HEAD = re.compile(r"LM$|LMHead")
"""In the names of architectures that have a head for tokens; XLMRobertaModel has none."""
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
        Sentences about tensors that transformers would pass over, and parameters it would make up.

    Raises:
        AlignmentError: a tensor that no model of this config can load, or the input embedding or a
            matrix of a layer is under no name that transformers knows. With code of its own
            (`auto_map`) it may: then that is a sentence too.
    """
    if fits_at_sight(config, shapes):
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
    error = (
        _misfit_error(name, config, shapes, *misfits[0], len(misfits))
        if misfits
        else find_made_up(name, model, shapes, origins)
    )
    if error is None:
        return list(count_notes(name, model, shapes, origins))
    if "auto_map" in config:
        return [f"{error}, unless it is loaded with its own code (trust_remote_code)"]
    raise error


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
    stated, stored = count_layers(config), _count_stored(shapes)
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


def _numbers(config: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Every whole number of a config, with its key; those of parts and lists, too."""
    for key, value in config.items():
        values = value if isinstance(value, list) else [value]
        if isinstance(value, dict):
            yield from _numbers(value)
        yield from ((key, each) for each in values if type(each) is int)


def _lacks_layers(config: Mapping[str, Any], shapes: Shapes) -> bool:
    stored = [place.number for name in shapes if (place := layer_of(name))]
    return bool(stored) and count_layers(config) > max(stored) + 1


def _count_stored(shapes: Shapes) -> int:
    return main_stack(shapes)[1] if any(map(layer_of, shapes)) else 0


def _lacks_head(config: Mapping[str, Any], shapes: Shapes) -> bool:
    """Whether the config says that a head is not tied, and one tensor has a row for each token."""
    kinds = config.get("architectures")
    answers = any(LM_HEAD.search(str(kind)) for kind in kinds) if isinstance(kinds, list) else False
    own = {name: shape for name, shape in shapes.items() if layer_of(name) is None}
    tall = {n for n in vocabulary_tensors(own, config)[1] if n.endswith("weight")}
    return answers and config.get("tie_word_embeddings") is False and len(tall) == 1
