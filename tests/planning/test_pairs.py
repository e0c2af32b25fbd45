"""Rankings of several tasks -> one decision."""

from typing import Any

import pytest
from simmerge_hub.planning.objective import Objective

from simmerge_hub.errors import ObjectiveError, PredictorError
from simmerge_hub.operators import Arm, arm
from simmerge_hub.planning.choice import decide
from simmerge_hub.selector.predictor import archive
from simmerge_hub.selector.predictor.novelty import Novelty, Status
from simmerge_hub.selector.predictor.origin import packaged_predictor
from simmerge_hub.selector.predictor.ranking import Prediction, Ranking

LINEAR, TIES = arm("linear"), arm("ties", density=0.2)
MORE, LESS = arm("linear", weights=(0.7, 0.3)), arm("linear", weights=(0.3, 0.7))


def ranking(task: str, status: Status = "calibrated", **utilities: float) -> Ranking:
    arms: dict[str, Arm] = {"linear": LINEAR, "ties": TIES, "more": MORE, "less": LESS}
    kept = tuple(
        Prediction(arm=arms[name], task=task, utility=u, low=u - 0.1, high=u + 0.2)
        for name, u in sorted(utilities.items(), key=lambda item: -item[1])
    )
    return Ranking(
        task=task,
        status=status,
        kept=kept,
        rejected=(),
        reason="because",
        contributions=(),
        novelty=Novelty(status=status, reason="", distance=0.0, outside=0.0, strange=()),
    )


def test_the_best_mean_wins_and_its_bounds_are_means() -> None:
    rankings = {"a": ranking("a", linear=0.9, ties=0.6), "b": ranking("b", linear=0.1, ties=0.6)}
    best = decide(rankings, {"a": True, "b": False}).best
    assert best.arm == TIES
    assert (best.utility, best.low, best.high) == pytest.approx((0.6, 0.5, 0.8))
    assert best.tasks["b"] == pytest.approx((0.6, 0.5, 0.8))


def test_an_arm_of_the_second_expert_is_turned_round() -> None:
    """0.7 for the expert of b is 0.3 for the first model of the plan."""
    rankings = {"a": ranking("a", more=0.9, less=0.1), "b": ranking("b", more=0.8, less=0.2)}
    choices = {c.arm.label: c for c in decide(rankings, {"a": True, "b": False}).choices}
    assert choices[MORE.label].tasks["a"][0] == 0.9
    assert choices[MORE.label].tasks["b"][0] == 0.2
    assert choices[LESS.label].tasks["b"][0] == 0.8


def test_one_task_that_abstains_makes_the_decision_abstain() -> None:
    rankings = {"a": ranking("a", linear=0.9, ties=0.2), "b": ranking("b", "abstained", ties=0.3)}
    found = decide(rankings, {"a": True, "b": False})
    assert (found.status, found.best.arm) == ("abstained", TIES)
    assert "safe choice" in found.reason


def test_no_arm_for_every_task_is_an_error() -> None:
    rankings = {"a": ranking("a", linear=0.9), "b": ranking("b", ties=0.3)}
    with pytest.raises(PredictorError, match="no operator is left"):
        decide(rankings, {"a": True, "b": True})


def test_the_packaged_predictor_can_abstain_for_two_experts() -> None:
    """Its safe arm must be the same merge seen from either model."""
    predictor = archive.load(packaged_predictor())
    safe = predictor.arms[predictor.safe]
    assert safe == safe.swapped()
    assert predictor.familiar.parameters is not None, "it could never say that a size is new"


class TestObjectives:
    """Tasks that disagree: linear is for a, ties for b, and unequal weights are a compromise."""

    RANKINGS = {  # noqa: RUF012
        "a": ranking("a", linear=0.9, ties=0.2, more=0.5),
        "b": ranking("b", linear=0.1, ties=0.7, more=0.45),
    }

    def best(self, **fields: Any) -> Arm:
        return decide(self.RANKINGS, {"a": True, "b": True}, Objective(**fields)).best.arm

    def test_each_takes_another_arm(self) -> None:
        assert self.best() == LINEAR
        assert self.best(worst=True) == MORE
        assert self.best(weights={"b": 3}) == TIES
        assert self.best(keep={"b": 0.4}) == MORE
        assert self.best(keep={"b": 0.6}) == TIES
        assert self.best(keep={"b": 0.4, "a": 0.1}) == MORE

    def test_arms_that_keep_too_little_come_last(self) -> None:
        found = decide(self.RANKINGS, {"a": True, "b": True}, Objective(keep={"b": 0.5}))
        assert [c.arm for c in found.choices] == [TIES, MORE, LINEAR]
        assert found.choices[2].missing == {"b": pytest.approx(0.4)}
        assert "; no other operator keeps as much" in found.because[0]

    def test_what_cannot_be_kept_is_one_error(self) -> None:
        with pytest.raises(ObjectiveError) as caught:
            self.best(keep={"a": 0.8, "b": 0.6})
        assert str(caught.value) == (
            "no operator is predicted to keep 0.8 on a and 0.6 on b; the closest is "
            f"{MORE.label} with 0.50 on a, 0.45 on b"
        )
        assert "--keep a=0.5 --keep b=0.45" in caught.value.hint

    def test_an_abstention_says_that_it_does_not_know(self) -> None:
        rankings = {"a": ranking("a", "abstained", ties=0.2)}
        found = decide(rankings, {"a": True}, Objective(keep={"a": 0.8}))
        assert found.best.arm == TIES
        assert "Whether it meets the objective is not known" in found.reason

    def test_the_front(self) -> None:
        found = decide(self.RANKINGS, {"a": True, "b": True})
        assert {c.arm.label for c in found.pareto} == {LINEAR.label, TIES.label, MORE.label}
        rankings = {
            "a": ranking("a", linear=0.9, ties=0.2, more=0.5),
            "b": ranking("b", linear=0.4, ties=0.4, more=0.5),
        }
        found = decide(rankings, {"a": True, "b": True})
        assert [c.pareto for c in found.choices] == [c.arm != TIES for c in found.choices]

    def test_that_tasks_disagree_is_said(self) -> None:
        found = decide(self.RANKINGS, {"a": True, "b": True})
        assert "The tasks disagree: b alone would take ties(density=0.2) (0.70 against 0.10)" in (
            found.reason
        )
        alike = {"a": ranking("a", linear=0.9, ties=0.2), "b": ranking("b", linear=0.9, ties=0.2)}
        assert "It is the best on every task" in decide(alike, {"a": True, "b": True}).reason
