"""Gains become utilities in one place; which of two merges comes first."""

from dataclasses import replace

import pytest

from simmerge_hub.operators import arm
from simmerge_hub.planning.ask.objective import MEAN, Objective
from simmerge_hub.planning.choice import (
    CAUTION,
    WITHIN,
    Belief,
    Choice,
    Gap,
    Order,
    model_alone,
)
from simmerge_hub.planning.tree import join, leaf

TREE = join(arm("linear"), leaf("a"), leaf("b"))


def choice(label: str, variance: float = 0.0, **means: float) -> Choice:
    beliefs = {task: Belief(mean=mean, variance=variance) for task, mean in means.items()}
    return Choice(tree=TREE, beliefs=beliefs, label=label)


@pytest.mark.parametrize(
    ("gain", "best", "level", "utility"),
    [
        (0.6, 1.0, 0.0, 0.6),  # nothing is known of the others: a gain is a utility
        (0.6, 1.0, 0.5, 0.8),
        (1.0, 1.0, 0.5, 1.0),  # all of the gap closed: as good as the expert
        (0.0, 1.0, 0.5, 0.5),  # none of it: as good as the other
        (-0.5, 1.0, 0.5, 0.25),
        (0.5, 0.7, 0.3, 0.5),  # neither is the expert
    ],
)
def test_a_gain_is_a_share_of_the_gap(
    gain: float, best: float, level: float, utility: float
) -> None:
    belief = Gap(best=best, level=level).belief(gain, 0.2)
    assert belief.mean == pytest.approx(utility)
    middle, low, high = belief.spread()
    assert (middle - low, high - middle) == pytest.approx((0.2 * (best - level),) * 2)


def test_the_interval_of_a_predictor_reaches_so_many_deviations() -> None:
    belief = Gap().belief(0.5, 0.2)
    middle, low, high = belief.spread(1.0)
    assert (low, middle, high) == pytest.approx((0.5 - 0.2 / WITHIN, 0.5, 0.5 + 0.2 / WITHIN))


@pytest.mark.parametrize(("level", "apart"), [(0.94, True), (0.96, False), (1.0, False)])
@pytest.mark.parametrize("gain", [-1.0, 0.5, 1.0])
def test_models_that_do_not_differ_have_no_gap_to_gain_in(
    level: float, apart: bool, gain: float
) -> None:
    """A twentieth is the smallest gap that was learned from; below, a merge lies in the middle."""
    gap = Gap(level=level)
    assert gap.size == pytest.approx(1 - level if apart else 0.0)
    belief = gap.belief(gain, 0.2)
    assert belief.mean == pytest.approx(level + gain * (1 - level) if apart else (1 + level) / 2)
    assert (belief.variance > 0) is apart


def test_no_utility_is_below_nothing() -> None:
    assert Gap(level=0.2).belief(-1.0, 0.1).spread() == pytest.approx((0.0, 0.0, 0.08))
    assert Belief(mean=1.4, variance=1.0).spread() == (1.4, 0.0, 1.5)


def test_a_model_alone_has_what_cards_state() -> None:
    alone = model_alone("a", {"x": {"a": 0.4, "b": 1.0}, "y": {"b": 1.0}})
    assert {task: belief.mean for task, belief in alone.beliefs.items()} == {"x": 0.4, "y": 0.0}
    assert (alone.label, alone.mean) == ("a", 0.2)


@pytest.mark.parametrize(
    ("objective", "caution", "order"),
    [
        (MEAN, 0.0, "sure bold low"),
        (Objective(worst=True), 0.0, "sure low bold"),
        (Objective(weights={"x": 9}), 0.0, "bold sure low"),
        (Objective(keep={"y": 0.1}), 0.0, "bold sure low"),
        (Objective(keep={"y": 0.35}), 0.0, "sure low bold"),
    ],
    ids=str,
)
def test_the_order(objective: Objective, caution: float, order: str) -> None:
    choices = [
        choice("low", x=0.4, y=0.4),
        choice("bold", x=0.9, y=0.2),
        choice("sure", x=0.7, y=0.6),
    ]
    assert (
        " ".join(c.label for c in Order(objective=objective, caution=caution).sort(choices))
        == order
    )


def test_doubt_counts_only_with_caution() -> None:
    choices = [choice("doubtful", 0.04, x=0.7), choice("sure", x=0.6)]
    assert [
        Order(objective=MEAN, caution=caution).sort(choices)[0].label for caution in (0.0, CAUTION)
    ] == [
        "doubtful",
        "sure",
    ]


def test_an_average_is_no_lucky_guess() -> None:
    """Caution is for the best of many forecasts; what such merges reach on average stays."""
    forecast = choice("forecast", 0.02, x=0.33)
    average = replace(choice("average", 0.08, x=0.49), typical=True)
    order = Order(objective=MEAN, caution=CAUTION)
    assert [c.label for c in order.sort([forecast, average])] == ["average", "forecast"]
    assert order.value(average) == pytest.approx(0.49)


def test_equal_merges_are_in_order_of_their_names() -> None:
    choices = [choice("b", x=0.5), choice("a", x=0.5)]
    assert [c.label for c in Order(objective=MEAN, caution=0.0).sort(choices)] == ["a", "b"]


def test_one_dominates_another_that_is_nowhere_better() -> None:
    one, other = choice("one", x=0.5, y=0.5), choice("other", x=0.5, y=0.4)
    assert one.dominates(other)
    assert not other.dominates(one)
    assert not one.dominates(one)
    assert not one.dominates(choice("apart", x=0.6, y=0.1))
