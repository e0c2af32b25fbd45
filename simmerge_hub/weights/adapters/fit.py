"""Whether an adapter fits its base: the shapes of what it changes, from headers alone."""

from collections.abc import Iterator, Mapping, Sequence

from simmerge_hub.errors import AlignmentError
from simmerge_hub.hub.resolve import Checkpoint, Piece
from simmerge_hub.weights.adapters.factors import Lora, M, separate, target_of
from simmerge_hub.weights.adapters.kinds import base_names, check_kind, unfoldable_error
from simmerge_hub.weights.layers import layer_of
from simmerge_hub.weights.shapes import Shapes


def check(checkpoint: Checkpoint, shapes: Shapes) -> None:
    """What `folding.folds` refuses, refused from headers alone."""
    fit(checkpoint, checkpoint.tensors, shapes)


def fit(
    checkpoint: Checkpoint, tensors: Mapping[str, M], shapes: Shapes
) -> tuple[list[Lora[M]], dict[str, M], set[str]]:
    """An adapter taken apart, after every shape was compared with the base's.

    Args:
        checkpoint: the adapter.
        tensors: its tensors as stored, or what headers say of them.
        shapes: the base's tensor shapes.

    Returns:
        The adapted modules; what is stored whole; the modules whose tensors are stored [in, out].

    Raises:
        CheckpointError: it is no LoRA, or of a kind that cannot be folded.
        AlignmentError: it adapts a tensor that the base does not have, or has in another shape.
    """
    check_kind(checkpoint)
    if checkpoint.config.get("target_parameters") and not checkpoint.targets:
        raise unfoldable_error(checkpoint, "adapts parameters of a model that is not known here")
    loras, whole = separate(checkpoint, tensors)
    for own, tensor in whole.items():
        for piece in target_of(checkpoint, own).pieces:
            shape = _whole_shape(tensor.shape, piece, shapes)
            _check_shape(checkpoint, piece.tensor, shape, shapes)
    transposed = transposed_modules(checkpoint, loras, shapes)
    for lora in loras:
        for name, shape in _module_shapes(checkpoint, lora, shapes, lora.module in transposed):
            _check_shape(checkpoint, name, shape, shapes)
    return loras, whole, transposed


def _whole_shape(own: Sequence[int], piece: Piece, shapes: Shapes) -> tuple[int, ...]:
    """What a tensor of the base must be for one that the adapter brings whole."""
    one_of = own and piece.expert in range(own[0])
    shape = tuple(own[1:] if one_of else own)
    if piece == Piece(piece.tensor) or not shape:
        return shape
    return (_rows_with(piece, shape[0], shapes), *shape[1:])


def _module_shapes(
    checkpoint: Checkpoint, lora: Lora[M], shapes: Shapes, transposed: bool
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """What the base's tensors that hold a part of an adapted module must be: name, shape."""
    target, (out, into) = target_of(checkpoint, lora.name), (lora.b.shape[0], lora.a.shape[1])
    name = target.pieces[0].tensor
    if target.pieces != (Piece(name),):
        for piece in target.pieces:
            yield piece.tensor, (_rows_with(piece, out, shapes), into)
    elif target.experts:
        yield name, (target.experts, *((into, out) if target.turned else (out, into)))
    else:
        turned = lora.embedding or transposed
        yield name, (into, out) if turned else (out, into)
        if lora.magnitude is not None and turned:
            kind = "embedding" if lora.embedding else "transposed tensor"
            raise unfoldable_error(checkpoint, f"is a DoRA adapter of the {kind} {name}")


def _rows_with(piece: Piece, rows: int, shapes: Shapes) -> int:
    """Rows that a tensor of the base must have at least to hold this piece of `rows` rows."""
    end = piece.at + len(range(rows)[piece.first : piece.last])
    return max(shapes.get(piece.tensor, (0,))[0], end)


def _check_shape(checkpoint: Checkpoint, name: str, shape: tuple[int, ...], shapes: Shapes) -> None:
    if name not in shapes:
        whole = name in base_names(checkpoint.tensors).values()
        own = "; if it is this one, the adapter has a head of its own: merge it into its base with "
        own += "peft's merge_and_unload() and use the result"
        raise AlignmentError(
            f"the adapter {checkpoint.name} changes {name}, which its base does not have",
            hint="name the model the adapter was trained on with --base, or as `base:` of a recipe"
            f"{own * whole}",
        )
    if shape != shapes[name]:
        tokens = len(shape) == 2 and shape[1:] == shapes[name][1:] and not layer_of(name)
        more = (
            "; if it is this one, tokens were added: name what resize_token_embeddings() makes of "
        )
        more += "the base, saved with the adapter's tokenizer"
        raise AlignmentError(
            f"the adapter {checkpoint.name} changes {name} as {list(shape)}, in its base it is "
            f"{list(shapes[name])}",
            hint="name the model the adapter was trained on with --base, or as `base:` of a recipe"
            f"{more * tokens}",
        )


def transposed_modules(
    checkpoint: Checkpoint, loras: Sequence[Lora[M]], shapes: Shapes
) -> set[str]:
    """Modules whose tensor is stored [in, out] (GPT-2's Conv1D): shapes tell, except for squares.

    Where the base's model is known, targets say so of squares. `fan_in_fan_out` is one flag for all
    modules, and PEFT leaves it as the last module had it.
    """
    transposed = {
        m.module: _is_transposed(m, shapes.get(target.pieces[0].tensor))
        for m in loras
        if not m.embedding
        and (target := target_of(checkpoint, m.name)).pieces == (Piece(target.pieces[0].tensor),)
        and not target.experts
    }
    flag = bool(checkpoint.config.get("fan_in_fan_out"))
    known = {
        m.module: checkpoint.targets[m.name].turned for m in loras if m.name in checkpoint.targets
    }
    transposed |= {module: known.get(module) for module, t in transposed.items() if t is None}
    squares = [module for module, turned in transposed.items() if turned is None]
    if squares and any(turned is (not flag) for turned in transposed.values()):
        raise unfoldable_error(
            checkpoint, f"adapts {squares[0]}, and fan_in_fan_out={flag} is not true of all modules"
        )
    return {module for module, turned in transposed.items() if (flag if turned is None else turned)}


def _is_transposed(lora: Lora[M], shape: tuple[int, ...] | None) -> bool | None:
    """Whether the base's tensor of this shape is the transpose of B·A; None where it is square."""
    out, into = lora.b.shape[0], lora.a.shape[1]
    return None if out == into else shape == (into, out)
