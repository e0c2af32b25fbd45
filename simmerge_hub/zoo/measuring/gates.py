"""Is there anything to select? Asked of an outcomes table before any selector is judged on it.

A zoo in which the base closes the gap, arms tie, or the best arm per row is luck of the exam gives
every selector the same score. This module knows nothing about selectors or features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np

from simmerge_hub.operators import ARMS, BALANCED, PAPER_ARMS
from simmerge_hub.selector.predictor.wording import TIE
from simmerge_hub.selector.tables.outcomes import SMALLEST_GAP, Outcome, Outcomes, gap_closed
from simmerge_hub.selector.tables.rows import split_half


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """What a selector could win, in shares of the expert–auxiliary gap.

    Args:
        rows: with a gap of at least 0.05; only these count.
        base_closes: mean share of the gap that the unmerged base closes.
        tie_share: rows whose two best arms are within 0.02 of each other.
        best_fixed: label of the arm that is best on average.
        fixed: mean gap closed by that arm.
        oracle: mean gap closed by the best arm of every row, in hindsight.
        split_half: mean gap closed by the arm chosen on one half of the prompts, judged on the
            other half. Unlike `oracle` it does not profit from chance.
        wins: arm label -> share of rows it wins; ties count for the arm named first.
    """

    rows: int
    base_closes: float
    tie_share: float
    best_fixed: str
    fixed: float
    oracle: float
    split_half: float
    wins: dict[str, float]

    @property
    def headroom(self) -> float:
        """Split-half oracle minus best fixed arm: at 0 or below there is nothing to select."""
        return self.split_half - self.fixed


def gates(outcomes: Outcomes, labels: Sequence[str] | None = None) -> Gates:
    """Measure the headroom of a table, over all its arms or those named in `labels`.

    Raises:
        ValueError: no row has a gap of at least 0.05.
    """
    arms = [arm.label for arm in outcomes.arms] if labels is None else list(labels)
    rows = [row for row in outcomes.rows if row.gap >= SMALLEST_GAP]
    if not rows:
        raise ValueError(f"none of {len(outcomes.rows)} rows has a gap of {SMALLEST_GAP}")
    closed = [{arm: gap_closed(row, row.utilities[arm]) for arm in arms} for row in rows]
    means = {arm: fmean(values[arm] for values in closed) for arm in arms}
    best = max(arms, key=means.__getitem__)
    winners = [max(arms, key=values.__getitem__) for values in closed]
    return Gates(
        rows=len(rows),
        base_closes=fmean(gap_closed(row, row.base_utility) for row in rows),
        tie_share=fmean(_is_tie(list(values.values())) for values in closed),
        best_fixed=best,
        fixed=means[best],
        oracle=fmean(max(values.values()) for values in closed),
        split_half=float(split_half(np.array([_halves(row, arms) for row in rows])).mean()),
        wins={arm: winners.count(arm) / len(rows) for arm in arms},
    )


ARM_SETS = {"paper": PAPER_ARMS, "balanced": BALANCED, "all": ARMS}
POOLED = "pooled"


def gate_report(outcomes: Outcomes) -> dict[str, dict[str, dict[str, Any]]]:
    """Regime -> set of arms -> its gates, ready for JSON; the first regime is all of them.

    Left out are sets with an arm that was not measured, and regimes without a row that has a gap.
    """
    rows = [row for row in outcomes.rows if row.gap >= SMALLEST_GAP]
    regimes = {POOLED: rows} | {
        name: [row for row in rows if row.regime == name]
        for name in sorted({row.regime for row in rows})
    }
    return {
        name: {s: _gates_of(outcomes, some, arms) for s, arms in _arm_sets(outcomes).items()}
        for name, some in regimes.items()
        if some
    }


def _arm_sets(outcomes: Outcomes) -> dict[str, list[str]]:
    measured = {arm.label for arm in outcomes.arms}
    sets = {name: [arm.label for arm in arms] for name, arms in ARM_SETS.items()}
    return {name: labels for name, labels in sets.items() if measured.issuperset(labels)}


def _gates_of(outcomes: Outcomes, rows: Sequence[Outcome], labels: Sequence[str]) -> dict[str, Any]:
    summary = gates(replace(outcomes, rows=tuple(rows)), labels)
    plain = {**asdict(summary), "headroom": summary.headroom}
    plain["wins"] = {label: round(share, 4) for label, share in summary.wins.items()}
    return {key: round(v, 4) if isinstance(v, float) else v for key, v in plain.items()}


def _is_tie(values: list[float]) -> bool:
    best, *rest = sorted(values, reverse=True)
    return bool(rest) and best - rest[0] < TIE


def _halves(row: Outcome, arms: Sequence[str]) -> list[list[float]]:
    """[arms, 2]: the gap that each arm closes on the even and on the odd prompts."""
    return [[gap_closed(row, utility) for utility in row.halves[arm]] for arm in arms]
