"""Arms: an operator with its parameters, the unit the selector chooses between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simmerge_hub.operators import registry
from simmerge_hub.operators.checking import check
from simmerge_hub.operators.registry import Operator, Place

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """An operator and the parameters it is used with; `label` is its name in tables."""

    operator: str
    parameters: Mapping[str, Any]

    @property
    def label(self) -> str:
        """The operator's name with its parameters: `ties(density=0.2)`."""
        inner = ", ".join(f"{k}={_plain(v)}" for k, v in sorted(self.parameters.items()))
        return f"{self.operator}({inner})" if inner else self.operator

    @property
    def spelled(self) -> str:
        """All digits of it, and a digest of its code if the operator is one's own: where what it
        does is kept, this is a part of the key."""
        own = registry.own_code([self.operator])
        return f"{self.operator}{sorted(self.parameters.items())}{own}"

    def swapped(self) -> Arm:
        """The same merge with the two models in the other order."""
        parameters: dict[str, Any] = {
            k: tuple(reversed(v)) if isinstance(v, tuple | list) else v
            for k, v in self.parameters.items()
        }
        if "t" in parameters:
            parameters["t"] = 1 - parameters["t"]
        return Arm(operator=self.operator, parameters=parameters)


def arm(operator: str, /, **parameters: Any) -> Arm:
    """`arm("ties", density=0.2)`, checked against the registry for two models."""
    check(operator, parameters, 2)
    return Arm(operator=operator, parameters=parameters)


def known_arm(operator: str, /, **parameters: Any) -> Arm:
    """`arm` for parameters that are known to be good: checked, and not run once on an entry."""
    check(operator, parameters, 2, tried=False)
    return Arm(operator=operator, parameters=parameters)


def merge_tensors(
    chosen: Arm, base: Tensor | None, models: list[Tensor], place: Place | None = None
) -> Tensor:
    """Merge one whole tensor held in memory.

    Args:
        chosen: the arm.
        base: the base's tensor; needed by operators on deltas.
        models: the models' tensors, any float dtype, all of one shape.
        place: the tensor's and the models' names and the seed, which random numbers belong to.

    Returns:
        float32, of the same shape. The arithmetic is the one that streams through files.
    """
    op = check(chosen.operator, chosen.parameters, len(models), base=base is not None)
    where = place or Place(shape=tuple(models[0].shape))
    chunk, origin = stack_inputs(
        op, None if base is None else as_rows(base), [as_rows(t) for t in models]
    )
    statistics = registry.measure(op, [chunk], chosen.parameters, where)
    merged = registry.combine(op, chunk, statistics, chosen.parameters, where)
    return (merged if origin is None else merged.add_(origin)).reshape(models[0].shape)


def stack_inputs(
    op: Operator, base: Tensor | None, models: list[Tensor]
) -> tuple[Tensor, Tensor | None]:
    """The chunk an operator wants, and what is added to its result (None: nothing).

    Args:
        op: as `check` returned it.
        base: the base's rows float32 [rows, cols], if there is a base.
        models: the models' rows, alike.
    """
    import torch

    if op.space == "weight" or base is None:
        return torch.stack(models), None
    if op.space == "anchored":
        return torch.stack([base, *models]), None
    return torch.stack(models).sub_(base), base


def as_rows(tensor: Tensor) -> Tensor:
    """float32 [rows, cols]: vectors and scalars are one row; inner dimensions are joined."""
    whole = tensor.float()
    return whole.reshape(1, -1) if whole.ndim < 2 else whole.flatten(1)


def _plain(value: Any) -> str:
    if isinstance(value, tuple | list):
        return "/".join(_plain(v) for v in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
