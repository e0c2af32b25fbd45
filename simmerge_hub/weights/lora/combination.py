"""An operator as adapters are merged with it: weights of a sum, or a function on dense deltas."""

from collections.abc import Callable, Sequence
from math import isfinite

import torch
from torch import Tensor

from simmerge_hub.errors import OperatorError
from simmerge_hub.operators import Arm, Place, check, measures_model, merge_tensors

Combine = Callable[[str, list[Tensor]], Tensor]
"""(name of the base's tensor, its delta in every adapter) -> the merged delta.

The deltas are float32 [rows, cols] as the base stores the tensor, zero where an adapter does not
have the module. They may be changed in place.
"""
WEIGHTED = ("linear", "task_arithmetic", "passthrough")
"""Operators that are Σ wᵢ ΔWᵢ, for which no dense delta is needed."""


def combination(chosen: Arm, names: Sequence[str], *, seed: int = 0) -> Combine | tuple[float, ...]:
    """What to give `merge_adapters` for an operator.

    The merged deltas are those of the merge into a full model, before they are cut to a rank.

    Args:
        chosen: the operator and its parameters.
        names: the adapters' names in order, which random draws belong to.
        seed: of random draws.

    Raises:
        OperatorError: it does not take these adapters, or cannot work on deltas alone, or module by
            module.
    """
    operator = check(chosen.operator, chosen.parameters, len(names))
    if chosen.operator in WEIGHTED:
        return _sum_weights(chosen, len(names))
    if operator.activations:
        raise OperatorError(
            f"{chosen.label} looks at what models' layers are fed, which adapters alone do not say",
            hint="merge from a recipe with `base:` and `calibration:`, or look at deltas alone",
        )
    if operator.space != "delta":
        raise OperatorError(
            f"{chosen.label} looks at the base's weights too, which adapters do not have",
            hint="use an operator on deltas, such as ties or nuslerp, or merge into a full model",
        )
    if measures_model(operator, chosen.parameters):
        raise OperatorError(
            f"{chosen.label} measures all tensors of a model together",
            hint="use trim='tensor', or merge into a full model",
        )
    return _combine_deltas(chosen, tuple(names), seed)


def unfed_weights(chosen: Arm, adapters: int) -> tuple[float, ...]:
    """The weights of deltas under an operator that looks at activations, where it sees none.

    Raises:
        OperatorError: it does not take these adapters.
    """
    check(chosen.operator, chosen.parameters, adapters)
    return _sum_weights(chosen, adapters, Place(shape=(1, 1), seen=()))


def check_weights(weights: Sequence[float], adapters: int) -> tuple[float, ...]:
    """One finite weight for each adapter. Raises OperatorError otherwise."""
    if len(weights) != adapters:
        raise OperatorError(
            f"{len(weights)} weights for {adapters} adapters",
            hint="give one weight for each adapter, in their order",
        )
    if not all(map(isfinite, weights)):
        raise OperatorError(f"a weight of {list(weights)} is no number", hint="give finite weights")
    return tuple(map(float, weights))


def _combine_deltas(chosen: Arm, names: tuple[str, ...], seed: int) -> Combine:
    def combine(tensor: str, deltas: list[Tensor]) -> Tensor:
        shape = tuple(deltas[0].shape)
        zero = torch.zeros(1, 1).expand(shape)  # a base of one entry
        place = Place(tensor=tensor, models=names, shape=shape, seed=seed)
        return merge_tensors(chosen, zero, deltas, place)

    return combine


def _sum_weights(chosen: Arm, models: int, place: Place | None = None) -> tuple[float, ...]:
    """The weights of a weighted sum: what it makes of a one among zeros."""
    zero = torch.zeros(1, 1)
    ones = [list(row.view(models, 1, 1)) for row in torch.eye(models)]
    return tuple(merge_tensors(chosen, zero, row, place).item() for row in ones)
