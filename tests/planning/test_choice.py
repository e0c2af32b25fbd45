"""Rankings of several tasks -> one decision."""

from typing import Any

import numpy as np
import pytest

from simmerge_hub.errors import ObjectiveError, PredictorError
from simmerge_hub.operators import Arm, arm
from simmerge_hub.planning.choice import decide
from simmerge_hub.planning.objective import Objective
from simmerge_hub.selector import archive
from simmerge_hub.selector.measured import Measured
from simmerge_hub.selector.novelty import Novelty, Status
from simmerge_hub.selector.origin import packaged_predictor
from simmerge_hub.selector.ranking import Prediction, Ranking
from simmerge_hub.selector.record import Record
from simmerge_hub.selector.trust import Grounds

LINEAR, TIES = arm("linear"), arm("ties", density=0.2)
MORE, LESS = arm("linear", weights=(0.7, 0.3)), arm("linear", weights=(0.3, 0.7))


ARMS = {"linear": LINEAR, "ties": TIES, "more": MORE, "less": LESS}
BEYOND = Measured(
    of="pairs of giants", origin="a test", parameters=10**9, pairs=3,
    gains={LINEAR.label: 0.4, TIES.label: 0.9},
)  # fmt: skip


def grounds(*, far: bool = False) -> Grounds:
    """Held-out pairs whose leads of 0.3 over linear, the best fixed arm, were too high by 0.3."""
    pairs = [(a, b) for a in range(12) for b in range(12) if a != b]
    rows = len(pairs)
    return Grounds(
        record=Record(
            arms=tuple(ARMS.values()),
            kinds=("models",) * rows,
            experts=np.array([a for a, _ in pairs]),
            auxiliaries=np.array([b for _, b in pairs]),
            gains=np.tile([0.5, 0.5, 0.0, 0.0], (rows, 1)),
            predicted={"complete": np.tile([0.2, 0.5, 0.0, 0.0], (rows, 1))},
            distances={"complete": np.zeros((rows, 3))},
        ),
        beyond=BEYOND,
        pattern="complete",
        coordinates=np.array([5.0 if far else 0.0, 0.0, 0.0]),
        alpha=0.1,
        far="models of 270,000,000 parameters",
    )


def ranking(
    task: str, status: Status = "calibrated", by: Grounds | None = None, **utilities: float
) -> Ranking:
    kept = tuple(
        Prediction(arm=ARMS[name], task=task, utility=u, low=u - 0.1, high=u + 0.2)
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
        grounds=by,
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


def test_one_task_that_is_too_far_makes_the_decision_take_the_safe_arm() -> None:
    rankings = {
        "a": ranking("a", by=grounds(), linear=0.9, ties=0.2),
        "b": ranking("b", "abstained", by=grounds(far=True), linear=0.8, ties=0.3),
    }
    found = decide(rankings, {"a": True, "b": False})
    assert (found.status, found.best.arm) == ("abstained", TIES)
    assert len(found.choices) == 2, "what was predicted is told all the same"
    assert found.because[0].startswith("ties(density=0.2) is the safe choice: on 3 pairs of giants")
    assert found.because[1] == (
        "The predictor's own ranking (linear first) is not followed: no held-out pair was as far "
        "from training (models of 270,000,000 parameters)"
    )
    assert "evaluate this merge" in found.because[2]


def test_a_lead_over_the_safe_arm_must_exceed_what_such_leads_were_too_high_by() -> None:
    """Judged anew for all tasks at once: the mean lead decides, not those of the tasks."""

    def best(ahead: float) -> Any:
        rankings = {
            "a": ranking("a", by=grounds(), linear=0.1, ties=0.1 + ahead),
            "b": ranking("b", by=grounds(), linear=0.1, ties=0.1 + ahead),
        }
        return decide(rankings, {"a": True, "b": False})

    small, large = best(0.29), best(0.4)
    assert (small.best.arm, small.status) == (LINEAR, "calibrated")
    assert "leads so small were seen too rarely on held-out models" in small.because[0]
    assert large.best.arm == TIES
    assert "It leads linear, the safe operator, by 0.40; leads no larger" in large.because[-1]
    assert best(0.301).best.arm == TIES


def test_what_must_be_kept_is_a_lead_too() -> None:
    """The safe arm has the higher value, but would keep 0.4 less than is asked for."""
    rankings = {
        "a": ranking("a", by=grounds(), linear=0.9, ties=0.8),
        "b": ranking("b", by=grounds(), linear=0.1, ties=0.6),
    }
    found = decide(rankings, {"a": True, "b": False}, Objective(keep={"b": 0.5}))
    assert found.best.arm == TIES
    assert found.trust is not None
    assert found.trust.lead == pytest.approx(0.4)


def test_no_arm_for_every_task_is_an_error() -> None:
    rankings = {"a": ranking("a", linear=0.9), "b": ranking("b", ties=0.3)}
    with pytest.raises(PredictorError, match="no operator is left"):
        decide(rankings, {"a": True, "b": True})


def test_the_packaged_predictor_knows_how_far_a_size_is() -> None:
    predictor = archive.load(packaged_predictor())
    assert predictor.familiar.parameters is not None, "every pair would be infinitely far"
    kinds = {"models", "size", "regime", "domain"}
    assert set(predictor.record.kinds) == kinds
    farthest = predictor.record.distances["complete"][:, 0].max()
    real = np.log(predictor.beyond.parameters / predictor.familiar.parameters[1])
    assert farthest < real, "a real model must be farther than any that was held out"
    assert predictor.beyond.best([each.label for each in predictor.arms]) == "linear"


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
        rankings = {"a": ranking("a", "abstained", by=grounds(far=True), ties=0.2)}
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
