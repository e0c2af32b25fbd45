"""What a linear layer was fed, kept as far as a merge needs it: its inputs' Gram matrix.

Where there are few tokens beside the layer's width, the inputs themselves are smaller than their
products with each other, and are kept instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


KEPT_ROWS = 6
"""Inputs are kept where there are this many times more columns than tokens."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayerInputs:
    """The inputs X of one linear layer: either their Gram matrix XᵀX, or X.

    Args:
        tokens: how many input vectors there were.
        gram: float32 [width, width], or None if `rows` are kept.
        rows: float32 [tokens, width], or None.
    """

    tokens: int
    gram: Tensor | None = None
    rows: Tensor | None = None

    @property
    def width(self) -> int | None:
        """How many columns the layer has; None where it was fed nothing."""
        kept = self.gram if self.rows is None else self.rows
        return kept.shape[1] if kept is not None and self.tokens else None

    @property
    def diagonal(self) -> Tensor:
        """Σ x² of every column: float64 [width]."""
        if self.rows is not None:
            return self.rows.double().square().sum(0)
        assert self.gram is not None
        return self.gram.diagonal().double()


def reduce_inputs(inputs: Tensor, *, most: int) -> LayerInputs:
    """The inputs float32 [tokens, width] of a layer that is fed `most` tokens at most in all."""
    if most * KEPT_ROWS <= inputs.shape[1]:
        return LayerInputs(tokens=len(inputs), rows=inputs.clone())
    return LayerInputs(tokens=len(inputs), gram=inputs.T @ inputs)


def add_inputs(total: LayerInputs, inputs: Tensor) -> LayerInputs:
    """`total` and more inputs of its layer; a Gram matrix is added to in place, and never twice."""
    import torch

    tokens = total.tokens + len(inputs)
    if total.rows is not None:
        return LayerInputs(tokens=tokens, rows=torch.cat([total.rows, inputs]))
    assert total.gram is not None
    return LayerInputs(tokens=tokens, gram=total.gram.addmm_(inputs.T, inputs))
