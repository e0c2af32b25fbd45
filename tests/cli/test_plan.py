"""What a plan looks like: nothing is cut off, and text of others is printed as it is."""

import io
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from simmerge_hub.cli import plan, show
from simmerge_hub.operators import Arm, arm
from simmerge_hub.planning.choice import decide
from simmerge_hub.planning.objective import Objective
from simmerge_hub.planning.tasks import Task
from simmerge_hub.selector.novelty import Limits, Novelty, Status
from simmerge_hub.selector.ranking import Contribution, Prediction, Ranking
from simmerge_hub.selector.status import MEANING

HOSTILE = "[/x] [red]a[/red]"
TIES, SCALED = arm("ties", density=0.2), arm("task_arithmetic", scale=0.7)


def console(monkeypatch: pytest.MonkeyPatch, width: int) -> io.StringIO:
    written = io.StringIO()
    monkeypatch.setattr(show, "OUT", Console(file=written, width=width))
    return written


def ranking(
    task: str, status: Status = "calibrated", reason: str = "because", **wins: float
) -> Any:
    arms: dict[str, Arm] = {"ties": TIES, "scaled": SCALED}
    kept = [
        Prediction(arm=arms[n], task=task, utility=u, low=u - 0.5, high=u + 0.5)
        for n, u in sorted(wins.items(), key=lambda item: -item[1])
    ]
    found = Contribution(feature="f", value=1.0, utility=0.1, lead=0.08, says="the delta is small")
    return Ranking(
        task=task,
        status=status,
        kept=tuple(kept),
        rejected=(),
        reason=reason,
        contributions=(found,),
        novelty=Novelty(status=status, reason=reason, distance=0.1, outside=0.02, strange=("g",)),
        usual=Limits(distance=0.25, outside=0.01),
    )


def planned(*rankings: Ranking, objective: Objective | None = None, **fields: Any) -> Any:
    decision = decide(
        {r.task: r for r in rankings}, {r.task: True for r in rankings}, objective or Objective()
    )
    tasks = [
        Task(name=r.task, expert="org/a", probes=None, scores={}, named=True) for r in rankings
    ]
    return SimpleNamespace(
        tasks=tasks,
        recipe=SimpleNamespace(models=[SimpleNamespace(name="org/a")]),
        decision=decision,
        best=decision.best,
        left_out={},
        signatures={},
        predictor="0" * 64,
        predictor_from="the package",
        **fields,
    )


BOTH = (ranking("code", ties=0.6, scaled=0.4), ranking("math", ties=0.1, scaled=0.5))


@pytest.mark.parametrize("width", [80, 120])
def test_what_a_plan_says(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    out = console(monkeypatch, width)
    plan.page(planned(*BOTH))
    text = " ".join(out.getvalue().split())
    assert "➜ task_arithmetic(scale=0.7) ◆ │ 0.45 (-0.05–0.95)" in text
    assert "The tasks disagree: code alone would take ties(density=0.2) (0.60 against 0.40)" in text
    assert "code: the expert is org/a (as you say)" in text
    assert "over task_arithmetic(scale=0.7) by 0.20, because (with what each adds)" in text
    assert "- the delta is small: +0.08" in text
    assert f"calibrated: {MEANING['calibrated']}" in text
    assert "nearest pair 0.10 mean ranks away (usual up to 0.25)" in text
    assert "predictor: 000000000000, from the package" in text
    assert max(map(len, out.getvalue().splitlines())) <= width


def test_intervals_of_tasks_give_way_to_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []
    for width in (80, 120):
        out = console(monkeypatch, width)
        plan.page(planned(*BOTH))
        shown.append(out.getvalue().partition("➜ ")[2].partition("\n")[0].count("–"))
    assert shown == [1, 3]


def test_the_objective_is_the_first_column(monkeypatch: pytest.MonkeyPatch) -> None:
    out = console(monkeypatch, 120)
    plan.page(planned(*BOTH, objective=Objective(worst=True)))
    assert "operator" in out.getvalue()
    assert "│ 0.40 (-0.10–0.90) │" in out.getvalue()
    assert "best worst task of code, math: 0.40" in out.getvalue()


def test_an_arm_that_keeps_too_little_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    out = console(monkeypatch, 120)
    plan.page(planned(*BOTH, objective=Objective(keep={"code": 0.5})))
    assert "➜ ties(density=0.2)" in out.getvalue()
    assert "✗ task_arithmetic(scale=0.7)" in out.getvalue()
    assert "✗ keeps less than is asked for" in out.getvalue()


@pytest.mark.parametrize("status", ["extrapolated", "abstained"])
def test_how_far_to_believe_it(status: Status, monkeypatch: pytest.MonkeyPatch) -> None:
    out = console(monkeypatch, 120)
    plan.page(planned(ranking("code", status, "a new size", ties=0.6)))
    text = " ".join(out.getvalue().split())
    assert f"{status}: {MEANING[status]}" in text
    assert "a new size" in text
    assert "2.0% of features out of range (usual up to 1.0%), most of all g" in text


def test_text_of_others_is_printed_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    out = console(monkeypatch, 400)
    made = planned(ranking(HOSTILE, reason=HOSTILE, ties=0.5))
    made.left_out, made.signatures = {HOSTILE: HOSTILE}, {HOSTILE: {HOSTILE: HOSTILE}}
    made.predictor_from = HOSTILE
    made.recipe.models[0].name = HOSTILE
    plan.page(made)
    assert out.getvalue().count(HOSTILE) >= 8
    assert out.getvalue().count("[red]") == out.getvalue().count("[/red]") >= 9
