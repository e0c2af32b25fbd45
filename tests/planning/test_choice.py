"""Rankings of several tasks -> one decision."""

import pytest

from simmerge_hub.errors import PredictorError
from simmerge_hub.operators import Arm, arm
from simmerge_hub.planning.choice import decide
from simmerge_hub.selector import archive
from simmerge_hub.selector.novelty import Novelty, Status
from simmerge_hub.selector.origin import packaged_predictor
from simmerge_hub.selector.predictor import Prediction, Ranking

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
