"""What transformers would make up of a model, nothing being stored for it; what it passes over."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from simmerge_hub.errors import AlignmentError
from simmerge_hub.names import list_first
from simmerge_hub.weights.layers import layer_of, main_stack
from simmerge_hub.weights.loaded.model import find_embedding
from simmerge_hub.weights.loaded.names import is_made_anew, is_spare
from simmerge_hub.weights.loaded.origins import Origin
from simmerge_hub.weights.shapes import Shapes

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def find_made_up(
    name: str, model: PreTrainedModel, shapes: Shapes, origins: Mapping[str, Origin]
) -> AlignmentError | None:
    """The error where the table of tokens, or a matrix of the main layers, would be made up.

    Args:
        name: what to call the model.
        model: as its config describes it, without weights.
        shapes: of the stored tensors.
        origins: parameter -> the stored tensors that it is made of.
    """
    return _no_embedding_error(name, model, shapes, origins) or _no_layer_error(
        name, model, shapes, origins
    )


def count_notes(
    name: str, model: PreTrainedModel, shapes: Shapes, origins: Mapping[str, Origin]
) -> Iterator[str]:
    """Sentences about tensors that only the weights, or only the config, know of.

    What lies outside of layers and is passed over, as heads of another task, is not named where
    nothing is made up in its place. Arguments as `find_made_up`.
    """
    made_up = _list_made_up(model, origins)
    in_layers = all(map(layer_of, made_up))
    passed = _list_passed(model, shapes, origins)
    spare = [n for n in passed if layer_of(n) or not in_layers]
    if spare:
        yield (
            f"transformers passes over {list_first(spare, 1)} of {name}: its config.json describes "
            "no such tensors"
        )
    if made_up:
        lacks = list_first(made_up, 1)
        yield f"{name} stores no {lacks}: transformers makes up what its config has"


def _list_made_up(model: PreTrainedModel, origins: Mapping[str, Origin]) -> list[str]:
    """Parameters that come of no stored tensor, but for those of which that is usual."""
    absent = model._keys_to_ignore_on_load_missing or ()
    return [
        n
        for n, _ in model.named_parameters(remove_duplicate=False)
        if n not in origins and not any(re.search(each, n) for each in absent)
    ]


def _list_passed(
    model: PreTrainedModel, shapes: Shapes, origins: Mapping[str, Origin]
) -> list[str]:
    """Stored tensors that become no parameter, but for those of which that is usual."""
    used = {stored for origin in origins.values() for stored, _ in origin.stored}
    return [n for n in shapes if n not in used and not is_made_anew(n) and not is_spare(model, n)]


def _no_embedding_error(
    name: str, model: PreTrainedModel, shapes: Shapes, origins: Mapping[str, Origin]
) -> AlignmentError | None:
    """Where the table of tokens is not stored, or under a name of old: no model does without it."""
    lost = find_embedding(model)
    if lost is None or lost in origins:
        return None
    wanted = tuple(model.get_parameter(lost).shape)
    alike = [n for n in _list_passed(model, shapes, origins) if shapes[n] == wanted]
    if alike:
        return AlignmentError(
            f"{name} stores {alike[0]}, which transformers passes over, and no {lost}, which it "
            "would make up",
            hint=f"rename {alike[0]} to {lost} in copies of the models",
        )
    return AlignmentError(
        f"{name} stores no table of tokens under a name that transformers knows, {lost}: it would "
        "make one up",
        hint="fetch the models again if a file is incomplete; if code of their own loads them, "
        "write `custom_code: true` into the recipe",
    )


def _no_layer_error(
    name: str, model: PreTrainedModel, shapes: Shapes, origins: Mapping[str, Origin]
) -> AlignmentError | None:
    """Where a matrix of the main layers is not stored, or under a name of its own."""
    state = {n: tuple(value.shape) for n, value in model.state_dict().items()}
    if not (any(map(layer_of, state)) and any(map(layer_of, shapes))):
        return None
    stack, _ = main_stack(state)

    def list_matrices(names: list[str], held: Shapes) -> list[str]:
        return [n for n in names if (at := layer_of(n)) and at.stack == stack and held[n][1:]]

    lost = list_matrices(_list_made_up(model, origins), state)
    if not lost:
        return None
    passed = list_matrices(_list_passed(model, shapes, origins), shapes)
    beside = f", and passes over {list_first(passed, 1)}" if passed else ""
    return AlignmentError(
        f"{name} stores no {list_first(lost, 1)}, which a model of its config has: transformers "
        f"would make that up{beside}",
        hint="rename what is stored in copies of the models to what transformers calls it, or "
        "correct their config.json; fetch them again if a file is incomplete; if code of their own "
        "loads them, write `custom_code: true` into the recipe",
    )
