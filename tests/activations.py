"""What layers are fed, made of random numbers: for tests of operators that look at it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from simmerge_hub.operators import LayerInputs, reduce_inputs

TOKENS = 40


def tokens_of(name: str, width: int, number: int = 0, count: int = TOKENS) -> Tensor:
    """The inputs float32 [count, width] of a model's layer: correlated, of a size of their own."""
    generator = torch.Generator().manual_seed(1000 * number + sum(map(ord, name)))
    mixing = torch.randn(width, width, generator=generator) / max(1, width) ** 0.5
    sizes = torch.rand(width, generator=generator) + 0.5
    drawn = torch.randn(count, width, generator=generator)
    return ((drawn @ mixing + drawn) * sizes if width < 1000 else drawn) * (1 + len(name))


def seen_by(
    names: Sequence[str], shape: Sequence[int], count: int = TOKENS
) -> tuple[tuple[LayerInputs, ...], ...]:
    """As `Place.seen` has it: what each model's matrices of a tensor of this shape are fed."""
    if len(shape) < 2:
        return ()
    matrices = shape[0] if len(shape) == 3 else 1
    return tuple(
        tuple(
            reduce_inputs(tokens_of(name, shape[-1], i, count), most=count) for i in range(matrices)
        )
        for name in names
    )
