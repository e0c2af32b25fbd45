"""Average linkage: from the distances of N models to a tree that puts neighbours side by side."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """Two nodes of a tree that become one.

    Nodes are numbered: the models from 0, then the merges in their order. `models` are all under
    it; `height` is the mean distance (1 − cosine) between the models of the one and the other.
    """

    nodes: tuple[int, int]
    models: tuple[int, ...]
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Dendrogram:
    """Models joined by average linkage, nearest first; `order` puts neighbours side by side."""

    order: tuple[int, ...]
    joins: tuple[Join, ...]


def average_linkage(distance: np.ndarray) -> Dendrogram:
    """The tree that joins the two nearest nodes again and again (UPGMA, Sokal & Michener 1958).

    Args:
        distance: float64 [N, N], symmetric; of equal distances the first in reading order wins.
    """
    count = len(distance)
    gaps = distance.astype(np.float64)
    np.fill_diagonal(gaps, np.inf)
    nodes = list(range(count))
    orders: list[tuple[int, ...]] = [(i,) for i in range(count)]
    joins: list[Join] = []
    for number in range(count, 2 * count - 1):
        a, b = divmod(int(gaps.argmin()), count)  # a < b: the matrix is symmetric
        first, second = orders[a], orders[b]
        height, joined = float(gaps[a, b]), (nodes[a], nodes[b])
        row = (len(first) * gaps[a] + len(second) * gaps[b]) / (len(first) + len(second))
        gaps[a] = gaps[:, a] = row
        gaps[a, a] = gaps[b] = gaps[:, b] = np.inf
        nodes[a], orders[a] = number, _side_by_side(first, second, distance)
        joins.append(Join(nodes=joined, models=orders[a], height=height))
    return Dendrogram(order=orders[0], joins=tuple(joins))


def _side_by_side(
    first: tuple[int, ...], second: tuple[int, ...], distance: np.ndarray
) -> tuple[int, ...]:
    """Two orders as one, each turned so that the models that meet in the middle are near."""
    turned = [(x, y) for x in (first, first[::-1]) for y in (second, second[::-1])]
    x, y = min(turned, key=lambda pair: distance[pair[0][-1], pair[1][0]])
    return x + y
