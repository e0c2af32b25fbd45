"""A LoRA adapter seen as a model: rows of the base in, rows of base + delta out.

ΔW = scaling · B·A with scaling = α/r, or α/√r for rsLoRA (arXiv 2106.09685, 2312.03732); DoRA
rescales each output row to its learned magnitude (arXiv 2402.09353). Only A and B are in memory.
Products are formed in fixed groups of rows: a result does not depend on which rows are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from simmerge_hub.hub.resolve import Checkpoint, Piece, TargetParameter
from simmerge_hub.weights.adapters.factors import Lora, target_of
from simmerge_hub.weights.adapters.fit import fit
from simmerge_hub.weights.shapes import Shapes

if TYPE_CHECKING:
    from torch import Tensor

Fold = Callable[["Tensor", int], "Tensor"]
"""(float32 rows [n, cols] of the base, index of the first) -> those rows of the adapted model."""
GROUP = 64
"""Rows of a product formed at a time."""


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
    loras, whole, transposed = fit(checkpoint, tensors, shapes)
    by_tensor: dict[str, Fold] = {}
    for own, tensor in whole.items():
        for piece in target_of(checkpoint, own).pieces:
            _add(by_tensor, piece.tensor, _fold_whole(tensor, piece))
    for lora in loras:
        for name, fold in _fold_module(checkpoint, lora, shapes, lora.module in transposed):
            _add(by_tensor, name, fold)
    return by_tensor


def _add(by_tensor: dict[str, Fold], name: str, fold: Fold) -> None:
    by_tensor[name] = _compose(by_tensor[name], fold) if name in by_tensor else fold


def _fold_module(
    checkpoint: Checkpoint, lora: Lora[Tensor], shapes: Shapes, transposed: bool
) -> list[tuple[str, Fold]]:
    """For each tensor of the base that holds a part of the module, its name and what changes."""
    target = target_of(checkpoint, lora.name)
    if target.pieces != (Piece(target.pieces[0].tensor),):
        return [_fold_piece(lora, target, piece, shapes) for piece in target.pieces]
    if target.experts:
        return [_fold_stack(lora, target)]
    name, turned = target.pieces[0].tensor, lora.embedding or transposed
    rows, right = (lora.a.T, lora.b.T) if turned else (lora.b, lora.a)
    fold = _low_rank_fold(rows.contiguous(), right.contiguous(), lora.scaling, lora.magnitude)
    return [(name, fold)]


def _fold_whole(tensor: Tensor, piece: Piece) -> Fold:
    """`modules_to_save`: the adapter brings the whole tensor, or what is stored as rows of one."""
    own = tensor if piece.expert < 0 else tensor[piece.expert]
    if piece == Piece(piece.tensor):
        return _replacement_fold(own)
    own = own[piece.first : piece.last]
    return _shift(_replacement_fold(own), piece.at, piece.at + len(own))


def _fold_piece(
    lora: Lora[Tensor], target: TargetParameter, piece: Piece, shapes: Shapes
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
    fold = _low_rank_fold(rows, a.contiguous(), lora.scaling, magnitude)
    everything = end - piece.at == shapes[piece.tensor][0]
    return piece.tensor, fold if everything else _shift(fold, piece.at, end)


def _fold_stack(lora: Lora[Tensor], target: TargetParameter) -> tuple[str, Fold]:
    """Of a tensor [experts, out, in], or turned, of which a row is an expert."""
    import torch

    a, b = _by_expert(lora, target)
    left, right = (a.transpose(1, 2), b.transpose(1, 2)) if target.turned else (b, a)

    def fold(rows: Tensor, low: int) -> Tensor:
        high = low + len(rows)
        deltas = [(left[i] @ right[i]).reshape(1, -1) for i in range(low, high)]
        return rows + torch.cat(deltas) * lora.scaling if deltas else rows

    return target.pieces[0].tensor, fold


def _by_expert(lora: Lora[Tensor], target: TargetParameter) -> tuple[Tensor, Tensor]:
    """A [experts, r, in] and B [experts, out, r], as PEFT takes them apart."""
    a = lora.a.reshape(target.experts, -1, lora.a.shape[1])
    b = lora.b.reshape(lora.b.shape[0], -1, target.experts).permute(2, 0, 1)
    return a, b


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
