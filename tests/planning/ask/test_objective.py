"""What a plan aims at."""

from typing import Any

import pytest

from simmerge_hub.errors import ObjectiveError
from simmerge_hub.planning.ask.objective import MEAN, Objective
from simmerge_hub.units import Spread

TASKS = ("code", "math", "rag")
UTILITIES: dict[str, Spread] = {
    "code": (0.9, 0.6, 1.2), "math": (0.3, 0.1, 0.5), "rag": (0.6, 0.5, 0.7),
}  # fmt: skip


@pytest.mark.parametrize(
    ("objective", "value", "heading"),
    [
        (MEAN, (0.6, 0.4, 0.8), "mean"),
        (Objective(worst=True), (0.3, 0.1, 0.5), "worst"),
        (Objective(weights={"code": 4}), (0.75, 0.5, 1.0), "weighted mean"),
        (Objective(weights={"code": 0, "math": 0}), (0.6, 0.5, 0.7), "weighted mean"),
        (Objective(weights=dict.fromkeys(TASKS, 7)), (0.6, 0.4, 0.8), "mean"),
        (Objective(keep={"code": 0.8}), (0.45, 0.3, 0.6), "mean of the others"),
        (Objective(keep={"code": 0.8}, worst=True), (0.3, 0.1, 0.5), "worst of the others"),
        (Objective(keep={"code": 0.8, "rag": 0.5}), (0.3, 0.1, 0.5), "math"),
        (Objective(keep=dict.fromkeys(TASKS, 0.1)), (0.6, 0.4, 0.8), "mean"),
    ],
    ids=str,
)
def test_what_an_arm_is_judged_by(objective: Objective, value: Spread, heading: str) -> None:
    objective.check(TASKS)
    assert objective.value(UTILITIES) == pytest.approx(value)
    assert objective.heading(TASKS) == heading


def test_what_is_missing() -> None:
    found = Objective(keep={"code": 0.8, "math": 0.5}).missing(UTILITIES)
    assert found == {"math": pytest.approx(0.2)}


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        (MEAN, "the highest mean over code, math, rag"),
        (Objective(worst=True), "the best worst task of code, math, rag"),
        (Objective(weights={"code": 2}), "the highest weighted mean (code 2, math 1, rag 1)"),
        (
            Objective(keep={"code": 0.8, "rag": 0.5}),
            "the highest utility on math, of those that keep at least 0.8 on code and at least "
            "0.5 on rag",
        ),
    ],
    ids=str,
)
def test_it_is_said_in_plain_words(objective: Objective, said: str) -> None:
    assert objective.describe(TASKS) == said
    assert objective.aim(TASKS).description == said


@pytest.mark.parametrize(
    ("fields", "message", "hint"),
    [
        ({"weights": {"mth": 2}}, "names a task 'mth', which is not one", "did you mean math?"),
        ({"keep": {"poetry": 0.5}}, "'poetry', which is not one", "its tasks: code, math, rag"),
        ({"worst": True, "weights": {"code": 2}}, "worst task has no weights", "leave out one of"),
        ({"weights": {"code": -1}}, "the weight of code is -1", "0 or more"),
        ({"weights": {"code": float("nan")}}, "the weight of code is nan", "0 or more"),
        ({"weights": dict.fromkeys(TASKS, 0)}, "no task has a weight above 0", "give one of them"),
        ({"keep": {"code": 80}}, "80 of the expert is to be kept on code", "0.8"),
        ({"keep": {"code": 0}}, "0 of the expert is to be kept on code", "0.8"),
        ({"keep": {"code": 0.5, "math": 0.5}, "weights": {"rag": 0}}, "no task has a weight", ""),
    ],
    ids=str,
)
def test_what_makes_no_sense(fields: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(ObjectiveError) as caught:
        Objective(**fields).check(TASKS)
    assert message in str(caught.value)
    assert hint in caught.value.hint
