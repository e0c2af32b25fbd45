"""What a choice is judged by: each task alone, or both tasks of a pair at once.

A merge has one set of weights. Judged on the expert's task alone, the arm that leans most on the
expert wins and there is little to choose; whoever merges two models wants both skills. So a pair's
objective is the mean over its tasks, with an arm swapped where the models change roles.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from simmerge_hub.selector.tables.rows import Floats, Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Cases:
    """m cases to choose an arm for, and what each strategy thinks of the arms.

    Args:
        first, second: m model names each; arms are written in this order of roles.
        regimes: m names.
        gains: [m, arms], mean share of the gap closed over the case's tasks.
        halves: [m, arms, 2], the same on the even and the odd prompts; NaN where not known.
        scores: strategy -> [m, arms]; it chooses the highest.
    """

    first: tuple[str, ...]
    second: tuple[str, ...]
    regimes: tuple[str, ...]
    gains: Floats
    halves: Floats
    scores: Mapping[str, Floats]


def each_task(rows: Rows, scores: Mapping[str, Floats]) -> Cases:
    """One case per row: an expert, an auxiliary, and the expert's task."""
    return Cases(
        first=rows.experts,
        second=rows.auxiliaries,
        regimes=rows.regimes,
        gains=rows.gains,
        halves=rows.halves,
        scores=scores,
    )


def both_tasks(rows: Rows, scores: Mapping[str, Floats]) -> Cases | None:
    """One case per two models of which each is the expert in some row.

    Returns:
        None if there is no such pair, or some arm's swapped form is not among the arms.
    """
    labels = [a.label for a in rows.arms]
    swapped = [a.swapped().label for a in rows.arms]
    members = _members(rows)
    if not members or set(swapped) != set(labels):
        return None
    order = np.array([labels.index(label) for label in swapped])
    turned = np.array([e > x for e, x in zip(rows.experts, rows.auxiliaries, strict=True)])

    def mean(values: Floats) -> Floats:
        """Rows [n, arms, …] -> cases [m, arms, …], arms written for (first, second)."""
        shape = (-1,) + (1,) * (values.ndim - 1)
        facing = np.where(turned.reshape(shape), values[:, order], values)
        return np.array([facing[places].mean(axis=0) for places in members.values()])

    return Cases(
        first=tuple(first for first, _ in members),
        second=tuple(second for _, second in members),
        regimes=tuple(rows.regimes[places[0]] for places in members.values()),
        gains=mean(rows.gains),
        halves=mean(rows.halves),
        scores={name: mean(values) for name, values in scores.items()},
    )


def _members(rows: Rows) -> dict[tuple[str, str], list[int]]:
    """Both names, sorted -> the places of their rows, where both roles occur."""
    pairs: dict[tuple[str, str], list[int]] = {}
    for place, pair in enumerate(zip(rows.experts, rows.auxiliaries, strict=True)):
        pairs.setdefault((min(pair), max(pair)), []).append(place)
    return {
        pair: places
        for pair, places in sorted(pairs.items())
        if {rows.experts[i] for i in places} == set(pair)
    }
