"""Sums per tensor that groups of tensors add up: what structural features are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from simmerge_hub.signatures.measures.blocks import GROUPS, groups_of, layer_count


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TensorSums:
    """One row a tensor. `columns` and `groups` (1 where it counts) are float64 [tensors]."""

    names: tuple[str, ...]
    columns: Mapping[str, np.ndarray]
    groups: Mapping[str, np.ndarray]

    def total(self, column: str, group: str) -> float:
        """The sum of a column over the tensors of a group; 0 if there are none."""
        return float(self.columns[column] @ self.groups[group])

    def select(self, names: tuple[str, ...]) -> "TensorSums":
        """The rows of these tensors, in this order."""
        if names == self.names:
            return self
        places = [self.names.index(name) for name in names]
        return TensorSums(
            names=names,
            columns={key: column[places] for key, column in self.columns.items()},
            groups={key: column[places] for key, column in self.groups.items()},
        )


def tensor_sums(
    shapes: Mapping[str, tuple[int, ...]],
    names: Sequence[str],
    columns: Mapping[str, np.ndarray],
) -> TensorSums:
    """A table over some tensors of a model of these shapes."""
    groups = _membership(tuple(names), tuple(shapes[n] for n in names), layer_count(shapes))
    return TensorSums(names=tuple(names), columns=columns, groups=groups)


@lru_cache(maxsize=64)
def _membership(
    names: tuple[str, ...], shapes: tuple[tuple[int, ...], ...], layers: int
) -> dict[str, np.ndarray]:
    groups_per_tensor = [
        groups_of(n, shape, layers) for n, shape in zip(names, shapes, strict=True)
    ]
    return {g: np.array([g in groups for groups in groups_per_tensor], np.float64) for g in GROUPS}
