"""One result stands for a task, and what rows follow from is known by content."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from simmerge_hub.errors import EvaluationError
from simmerge_hub.evaluation.harness import Machine
from simmerge_hub.evaluation.results import Protocol, TaskResult
from simmerge_hub.learning import trying
from simmerge_hub.learning.recipe import LearnTask
from simmerge_hub.learning.trying import _score, evaluate_tasks, task_digests
from simmerge_hub.workers.here import HERE

TASK = LearnTask(name="know", evaluate="mmlu")


def result(task: str, group: bool = False, **metrics: float) -> TaskResult:
    return TaskResult(
        task=task, version="1", dataset="", metrics=metrics, rising=("acc",), group=group
    )


def ask(monkeypatch: pytest.MonkeyPatch, *results: TaskResult) -> TaskResult:
    monkeypatch.setattr(trying, "evaluate", lambda *_, **__: {"mmlu": results})
    model: Any = None
    return evaluate_tasks(model, [TASK], Protocol(), Machine())["know"]


def test_one_task_or_an_aggregate_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = result("a", acc=0.1), result("b", acc=0.3)
    whole = result("mmlu", group=True, acc=0.2)
    assert ask(monkeypatch, one) == one
    assert ask(monkeypatch, whole, one, two) == whole
    assert ask(monkeypatch, result("mmlu", group=True), one) == one


BARE, PART = result("mmlu", group=True), result("part", group=True, acc=0.4)


@pytest.mark.parametrize("front", [(), (BARE,), (BARE, PART)])
def test_several_without_an_aggregate_are_refused(
    front: tuple[TaskResult, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EvaluationError, match=r"know: mmlu is \d tasks without .*a, b") as caught:
        ask(monkeypatch, *front, result("a", acc=0.1), result("b", acc=0.3))
    assert "aggregate_metric_list" in caught.value.hint


def test_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EvaluationError, match="know: mmlu has no results"):
        ask(monkeypatch)


def alone(monkeypatch: pytest.MonkeyPatch, **acc: float) -> Any:
    """The scores of models (the last one is the base), of which this was measured."""
    models: list[Any] = [SimpleNamespace(name=name) for name in acc]
    monkeypatch.setattr(
        trying, "evaluate", lambda model, *_, **__: {"mmlu": (result("mmlu", acc=acc[model.name]),)}
    )
    inputs: Any = SimpleNamespace(models=models[:-1], base=models[-1])
    return trying.measure_alone(inputs, [TASK], Protocol(), Machine(), HERE, lambda *_: None)


@pytest.mark.parametrize(
    ("acc", "score"), [(0.4, 0.4), (-0.05, 0.0), (-1.0, 0.0), (-37.5, None), (60.0, None)]
)
def test_a_correlation_below_zero_is_nothing(acc: float, score: float | None) -> None:
    assert _score(result("cola", acc=acc)) == score


def test_percentages_are_no_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model at 1 % was the best of all, and those at 60 % had nothing."""
    assert alone(monkeypatch, good=0.6, bad=0.01) == {"know": {"good": 0.6, "bad": 0.01}}
    with pytest.raises(EvaluationError, match=r"^know: good has no score from 0 to 1") as caught:
        alone(monkeypatch, good=60.0, bad=1.0)
    assert "(seen: acc 60)" in str(caught.value)
    assert "of percentages let its YAML make shares" in caught.value.hint


@pytest.mark.parametrize("changed", ["tasks/mine.yaml", "prompts.txt"])
def test_rows_follow_from_what_files_hold(changed: str, tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    for name in ("tasks/mine.yaml", "prompts.txt"):
        (tmp_path / name).write_text("before\n")
    probes, include = str(tmp_path / "prompts.txt"), str(tmp_path / "tasks")
    task = LearnTask(name="code", evaluate="mine", probes=probes, include=include)
    before = task_digests(task)
    assert str(tmp_path) not in "".join(before)
    (tmp_path / changed).write_text("after\n")
    assert task_digests(task) != before
    assert task_digests(TASK) == ("know", "mmlu", "")
