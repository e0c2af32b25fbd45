"""Rows of other tables are taken where they were measured as the recipe would, and only there."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from simmerge_hub.evaluation.harness import Machine
from simmerge_hub.evaluation.results import Protocol
from simmerge_hub.learning import trying
from simmerge_hub.learning.catalogue import open_catalogue
from simmerge_hub.learning.known import keep_current, read_given
from simmerge_hub.learning.learn import learn
from simmerge_hub.learning.measurements import Measurement, load_measurements, save_measurements
from simmerge_hub.learning.recipe import LearnTask
from simmerge_hub.learning.tables import MEASUREMENTS_FILE
from simmerge_hub.learning.trying import Trial
from simmerge_hub.operators import arm
from simmerge_hub.recipe.calibration import Prompts
from tests.evaluations import StandIn
from tests.learning.test_learn import RECIPE


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Measurement]]:
    """What a run with the recipe measures."""
    folder = tmp_path_factory.mktemp("rows")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trying, "evaluate", StandIn())
        learn(RECIPE, folder, fit=False)
    yield load_measurements(folder / MEASUREMENTS_FILE)


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    """The recipe's models with the stand-in's scores."""
    inputs = open_catalogue(RECIPE)
    names = (*inputs.names, "base")
    scores = {t.name: {n: float(n == t.name) for n in names} for t in RECIPE.tasks}
    return Trial(
        inputs=inputs, tasks=RECIPE.tasks, scores=scores, prompts={}, protocol=None,  # type: ignore[arg-type]
        machine=Machine(), scratch=tmp_path_factory.mktemp("scratch"),
    )  # fmt: skip


@pytest.fixture
def given(trial: Trial, tmp_path: Path) -> Callable[..., int]:
    """How many merges are taken from a table of such rows."""

    def take(rows: list[Measurement], **change: Any) -> int:
        table = tmp_path / MEASUREMENTS_FILE
        save_measurements(rows, table)
        return len(read_given(replace(RECIPE, measured=(table,), **change), trial))

    return take


def other(rows: list[Measurement], **origin: Any) -> list[Measurement]:
    return [replace(row, origin={**row.origin, **origin}) for row in rows]


def test_rows_of_the_same_question_are_taken(
    rows: list[Measurement], given: Callable[..., int]
) -> None:
    assert given(rows) == 6
    unsaid = [
        replace(r, origin={k: v for k, v in r.origin.items() if k != "content"}) for r in rows
    ]
    assert given(unsaid) == 6


@pytest.mark.parametrize(
    "origin",
    [
        {"limit": 11}, {"seed": 1}, {"dtype": "float16"}, {"harness": "0.0.1"},
        {"evaluate": "gsm8k"}, {"content": "mine.yaml in 0"}, {"models": {}},
    ],
)  # fmt: skip
def test_rows_of_another_question_are_not(
    origin: dict[str, Any], rows: list[Measurement], given: Callable[..., int]
) -> None:
    assert given(other(rows, **origin)) == 0


def test_rows_of_another_base_are_not(rows: list[Measurement], given: Callable[..., int]) -> None:
    models = {**rows[0].origin["models"], "base": {"digest": "0", "commit": None}}
    assert given(other(rows, models=models)) == 0


def test_a_task_in_files_is_its_content(
    rows: list[Measurement], given: Callable[..., int], tmp_path: Path
) -> None:
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "mine.yaml").write_text("task: mine\n")
    task = LearnTask(name="code", evaluate=str(folder / "mine.yaml"))
    tasks = (task, RECIPE.tasks[1])
    measured = [
        *other([r for r in rows if r.task == "code"], evaluate="elsewhere/mine.yaml",
               content=trying.content_of(task)),
        *(r for r in rows if r.task == "math"),
    ]  # fmt: skip
    assert given(measured, tasks=tasks) == 6
    (folder / "mine.yaml").write_text("task: mine\nnum_fewshot: 3\n")
    assert given(measured, tasks=tasks) < 6


def test_of_a_journal_rows_of_changed_models_are_left(
    rows: list[Measurement], trial: Trial
) -> None:
    known = {("code", "math", "linear"): rows[:1]}
    assert keep_current(known, RECIPE, trial) == known
    changed = {("code", "math", "linear"): other(rows[:1], models={})}
    assert keep_current(changed, RECIPE, trial) == {}


def test_of_a_journal_merges_by_other_prompts_are_left_where_prompts_count(
    rows: list[Measurement], trial: Trial
) -> None:
    """RegMean runs the models on prompts; a mean of weights is the same whatever they were."""
    fed = replace(
        trial, prompts={n: (Prompts(source="org/p", digest="1" * 64),) for n in ("code", "math")}
    )
    others = replace(
        trial, prompts={n: (Prompts(source="org/p", digest="2" * 64),) for n in ("code", "math")}
    )
    recipe = replace(RECIPE, arms=(arm("linear"), arm("regmean")))
    known = {}
    for each in recipe.arms:
        measured = trying.measure_rows(
            replace(fed, protocol=Protocol(dtype="float32")),
            "code",
            "math",
            each,
            {},
            {"code": "", "math": ""},
        )
        known["code", "math", each.label] = measured
    assert keep_current(known, recipe, fed) == known
    assert [label for *_, label in keep_current(known, recipe, others)] == ["linear"]


def test_of_a_journal_rows_of_models_that_are_named_no_more_stay(
    rows: list[Measurement], trial: Trial
) -> None:
    row = next(row for row in rows if row.expert == "code")
    left = {("code", "left", "linear"): [replace(row, auxiliary="left")]}
    assert keep_current(left, RECIPE, trial) == left
