"""A LoRA adapter seen as a model: rows of the base in, rows of base + delta out.

ΔW = scaling · B·A with scaling = α/r, or α/√r for rsLoRA (arXiv 2106.09685, 2312.03732); DoRA
rescales each output row to its learned magnitude (arXiv 2402.09353). Only A and B are in memory.
Products are formed in fixed groups of rows: a result does not depend on which rows are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from simmerge_hub.errors import AlignmentError
from simmerge_hub.hub.resolve import Checkpoint, Piece, Target
from simmerge_hub.weights.adapters.factors import Lora, empty_tensors, separate, target_of
from simmerge_hub.weights.adapters.kinds import check_kind, unfoldable_error

if TYPE_CHECKING:
    from torch import Tensor

Fold = Callable[["Tensor", int], "Tensor"]
"""(float32 rows [n, cols] of the base, index of the first) -> those rows of the adapted model."""
GROUP = 64
"""Rows of a product formed at a time."""
Shapes = Mapping[str, tuple[int, ...]]


def folds(checkpoint: Checkpoint, tensors: Mapping[str, Tensor], shapes: Shapes) -> dict[str, Fold]:
    """Tensor name of the base -> how the adapter changes its rows.

    Args:
        checkpoint: the adapter.
        tensors: its tensors, float32, as stored.
        shapes: the base's tensor shapes.

    Raises:
        CheckpointError: it is no LoRA, or of a kind that cannot be folded.
        AlignmentError: it adapts a tensor that the base does not have.
    """
    check_kind(checkpoint)
    if checkpoint.config.get("target_parameters") and not checkpoint.targets:
        raise unfoldable_error(checkpoint, "adapts parameters of a model that is not known here")
    loras, whole = separate(checkpoint, tensors)
    by_tensor: dict[str, Fold] = {}
    for own, tensor in whole.items():
        for piece in target_of(checkpoint, own).pieces:
            _add(by_tensor, piece.tensor, _fold_whole(checkpoint, tensor, piece, shapes))
    transposed = _transposed_modules(checkpoint, loras, shapes)
    for lora in loras:
        for name, fold in _fold_module(checkpoint, lora, shapes, lora.module in transposed):
            _add(by_tensor, name, fold)
    return by_tensor


def _add(by_tensor: dict[str, Fold], name: str, fold: Fold) -> None:
    by_tensor[name] = _compose(by_tensor[name], fold) if name in by_tensor else fold


def check(checkpoint: Checkpoint, shapes: Shapes) -> None:
    """What `folds` refuses, refused from headers alone."""
    folds(checkpoint, empty_tensors(checkpoint), shapes)


def _fold_module(
    checkpoint: Checkpoint, lora: Lora, shapes: Shapes, transposed: bool
) -> list[tuple[str, Fold]]:
    """For each tensor of the base that holds a part of the module, its name and what changes."""
    target = target_of(checkpoint, lora.name)
    if target.pieces != (Piece(target.pieces[0].tensor),):
        return [_fold_piece(checkpoint, lora, target, piece, shapes) for piece in target.pieces]
    if target.experts:
        return [_fold_stack(checkpoint, lora, target, shapes)]
    name, turned = target.pieces[0].tensor, lora.embedding or transposed
    rows, right = (lora.a.T, lora.b.T) if turned else (lora.b, lora.a)
    _check_shape(checkpoint, name, (rows.shape[0], right.shape[1]), shapes)
    if lora.magnitude is not None and turned:
        raise unfoldable_error(checkpoint, f"is a DoRA adapter of the transposed tensor {name}")
    fold = _low_rank_fold(rows.contiguous(), right.contiguous(), lora.scaling, lora.magnitude)
    return [(name, fold)]


def _fold_whole(checkpoint: Checkpoint, tensor: Tensor, piece: Piece, shapes: Shapes) -> Fold:
    """`modules_to_save`: the adapter brings the whole tensor, or what is stored as rows of one."""
    own = tensor if piece.expert < 0 else tensor[piece.expert]
    shape = tuple(own.shape)
    if piece != Piece(piece.tensor):
        own = own[piece.first : piece.last]
        held = shapes.get(piece.tensor, (0,))[0]
        shape = (max(held, piece.at + len(own)), *own.shape[1:])
    _check_shape(checkpoint, piece.tensor, shape, shapes)
    fold = _replacement_fold(own)
    partial = piece != Piece(piece.tensor)
    return _shift(fold, piece.at, piece.at + len(own)) if partial else fold


def _fold_piece(
    checkpoint: Checkpoint, lora: Lora, target: Target, piece: Piece, shapes: Shapes
) -> tuple[str, Fold]:
    """Of a tensor that holds some of a parameter's rows, or a parameter some of its rows."""
    a, b = lora.a, lora.b
    if target.experts:
        a, b = (each[piece.expert] for each in _by_expert(lora, target))
    own = slice(piece.first, piece.last)
    rows, magnitude = b[own].contiguous(), lora.magnitude
    if magnitude is not None:
        magnitude = magnitude.reshape(-1)[own]
    end = piece.at + len(rows)
    held = shapes.get(piece.tensor, (0,))[0]
    _check_shape(checkpoint, piece.tensor, (max(held, end), a.shape[1]), shapes)
    fold = _low_rank_fold(rows, a.contiguous(), lora.scaling, magnitude)
    return piece.tensor, fold if end - piece.at == held else _shift(fold, piece.at, end)


def _fold_stack(
    checkpoint: Checkpoint, lora: Lora, target: Target, shapes: Shapes
) -> tuple[str, Fold]:
    """Of a tensor [experts, out, in], or turned, of which a row is an expert."""
    import torch

    a, b = _by_expert(lora, target)
    left, right = (a.transpose(1, 2), b.transpose(1, 2)) if target.turned else (b, a)
    name, shape = target.pieces[0].tensor, (target.experts, left.shape[1], right.shape[2])
    _check_shape(checkpoint, name, shape, shapes)

    def fold(rows: Tensor, low: int) -> Tensor:
        high = low + len(rows)
        deltas = [(left[i] @ right[i]).reshape(1, -1) for i in range(low, high)]
        return rows + torch.cat(deltas) * lora.scaling if deltas else rows

    return name, fold


def _by_expert(lora: Lora, target: Target) -> tuple[Tensor, Tensor]:
    """A [experts, r, in] and B [experts, out, r], as PEFT takes them apart."""
    a = lora.a.reshape(target.experts, -1, lora.a.shape[1])
    b = lora.b.reshape(lora.b.shape[0], -1, target.experts).permute(2, 0, 1)
    return a, b


def _check_shape(
    checkpoint: Checkpoint,
    name: str,
    shape: tuple[int, ...],
    shapes: Shapes,
) -> None:
    if name not in shapes:
        raise AlignmentError(
            f"the adapter {checkpoint.name} changes {name}, which its base does not have",
            hint="name the model the adapter was trained on with --base, or as `base:` of a recipe",
        )
    if shape != shapes[name]:
        raise AlignmentError(
            f"the adapter {checkpoint.name} changes {name} as {list(shape)}, in its base it is "
            f"{list(shapes[name])}",
            hint="name the model the adapter was trained on with --base",
        )


def _transposed_modules(checkpoint: Checkpoint, loras: Sequence[Lora], shapes: Shapes) -> set[str]:
    """Modules whose tensor is stored [in, out] (GPT-2's Conv1D): shapes tell, except for squares.

    `fan_in_fan_out` is one flag for all modules, and PEFT leaves it as the last module had it.
    """
    transposed = {
        m.module: _is_transposed(m, shapes.get(target.pieces[0].tensor))
        for m in loras
        if not m.embedding
        and (target := target_of(checkpoint, m.name)).pieces == (Piece(target.pieces[0].tensor),)
        and not target.experts
    }
    flag = bool(checkpoint.config.get("fan_in_fan_out"))
    squares = [module for module, turned in transposed.items() if turned is None]
    if squares and any(turned is (not flag) for turned in transposed.values()):
        raise unfoldable_error(
            checkpoint, f"adapts {squares[0]}, and fan_in_fan_out={flag} is not true of all modules"
        )
    return {module for module, turned in transposed.items() if (flag if turned is None else turned)}


def _is_transposed(lora: Lora, shape: tuple[int, ...] | None) -> bool | None:
    """Whether the base's tensor of this shape is the transpose of B·A; None where it is square."""
    out, into = lora.b.shape[0], lora.a.shape[1]
    return None if out == into else shape == (into, out)


def _low_rank_fold(left: Tensor, right: Tensor, scaling: float, magnitude: Tensor | None) -> Fold:
    import torch

    def fold(rows: Tensor, low: int) -> Tensor:
        high = low + len(rows)
        first = low - low % GROUP
        groups = [left[i : i + GROUP] @ right for i in range(first, high, GROUP)]
        delta = torch.cat(groups)[low - first : high - first]
        adapted = rows + delta.reshape(rows.shape) * scaling
        if magnitude is None:
            return adapted
        return adapted * (magnitude.reshape(-1)[low:high] / adapted.norm(dim=1))[:, None]

    return fold


def _replacement_fold(tensor: Tensor) -> Fold:
    """`modules_to_save`: the adapter brings the whole tensor."""
    whole = tensor.reshape(1, -1) if tensor.ndim < 2 else tensor.flatten(1)
    return lambda rows, low: whole[low : low + len(rows)].clone()


def _shift(fold: Fold, first: int, end: int) -> Fold:
    """The same on rows [first, end) of a tensor, and nothing on others."""
    import torch

    def shifted(rows: Tensor, low: int) -> Tensor:
        start, stop = max(low, first), min(low + len(rows), end)
        if start >= stop:
            return rows
        middle = fold(rows[start - low : stop - low], start - first)
        return torch.cat([rows[: start - low], middle, rows[stop - low :]])

    return shifted


def _compose(first: Fold, second: Fold) -> Fold:
    return lambda rows, low: second(first(rows, low), low)
