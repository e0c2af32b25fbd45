from dataclasses import replace

import pytest

from simmerge_hub.operators import PAPER_ARMS, arm
from simmerge_hub.selector.tables.outcomes import Outcome, Outcomes
from simmerge_hub.zoo.measuring.gates import gate_report, gates

ARMS = (arm("linear"), arm("ties", density=0.2))
LINEAR, TIES = (a.label for a in ARMS)


def _row(
    name: str, linear: float, ties: float, *, low: float = 0.0, base: float = 0.0, halves=None
):
    return Outcome(
        expert=name,
        auxiliary="other",
        task="code/f",
        regime="r",
        expert_utility=1.0,
        auxiliary_utility=low,
        base_utility=base,
        utilities={LINEAR: linear, TIES: ties},
        halves=halves or {LINEAR: (linear, linear), TIES: (ties, ties)},
    )


def test_headroom_where_winners_flip() -> None:
    gate = gates(Outcomes(arms=ARMS, rows=(_row("a", 0.9, 0.1), _row("b", 0.2, 0.6))))
    assert (gate.rows, gate.best_fixed, gate.fixed) == (2, LINEAR, pytest.approx(0.55))
    assert gate.oracle == gate.split_half == pytest.approx(0.75)
    assert gate.headroom == pytest.approx(0.2)
    assert gate.wins == {LINEAR: 0.5, TIES: 0.5}
    assert gate.tie_share == 0


def test_chance_gives_an_oracle_but_no_headroom() -> None:
    lucky = _row("a", 0.5, 0.5, halves={LINEAR: (1.0, 0.0), TIES: (0.0, 1.0)})
    gate = gates(Outcomes(arms=ARMS, rows=(lucky,)))
    assert gate.split_half == 0
    assert gate.headroom == pytest.approx(-0.5)
    assert gate.tie_share == 1


def test_what_the_base_closes_and_rows_without_a_gap() -> None:
    rows = (_row("a", 0.5, 0.5, low=0.2, base=0.6), _row("b", 1.0, 1.0, low=0.99))
    gate = gates(Outcomes(arms=ARMS, rows=rows))
    assert gate.rows == 1
    assert gate.base_closes == pytest.approx(0.5)


def test_arms_can_be_named() -> None:
    outcomes = Outcomes(arms=ARMS, rows=(_row("a", 0.9, 0.1),))
    assert gates(outcomes, [TIES]).fixed == pytest.approx(0.1)


def test_no_gap_at_all() -> None:
    with pytest.raises(ValueError, match="none of 1 rows"):
        gates(Outcomes(arms=ARMS, rows=(_row("a", 1.0, 1.0, low=1.0),)))


def test_a_report_of_every_regime_and_set_of_arms() -> None:
    labels = [a.label for a in PAPER_ARMS]

    def row(name: str, regime: str, *values: float) -> Outcome:
        utilities = dict(zip(labels, values, strict=True))
        halves = {label: (v, v) for label, v in utilities.items()}
        plain = _row(name, 0, 0)
        return replace(plain, regime=regime, utilities=utilities, halves=halves)

    rows = (row("a", "one", 0.9, 0.8, 0.1), row("b", "two", 0.2, 0.1, 0.6))
    report = gate_report(Outcomes(arms=PAPER_ARMS, rows=rows))
    assert list(report) == ["pooled", "one", "two"]
    assert list(report["pooled"]) == ["paper"]
    assert report["pooled"]["paper"]["headroom"] == pytest.approx(0.2)
    assert report["one"]["paper"]["best_fixed"] == "linear"
    assert report["two"]["paper"]["best_fixed"] == "ties(density=0.2)"
