"""A search: its budget, its first tries, what it stops, what it ends with; nothing is lost."""

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml

from simmerge_hub.cli.zoo import nano_folder
from simmerge_hub.errors import EvaluationError, MissingExtra, RequestError
from simmerge_hub.evaluation.harness import Machine
from simmerge_hub.learning import trying
from simmerge_hub.learning.catalogue import open_catalogue
from simmerge_hub.learning.learn import learn, open_trial, protocol_of
from simmerge_hub.learning.measurements import load_measurements
from simmerge_hub.learning.recipe import LearnRecipe, LearnTask
from simmerge_hub.learning.searching import search as room
from simmerge_hub.learning.searching.search import (
    PREDICTED,
    STATE_FILE,
    check_folder,
    measured_model,
    search,
    starting_arms,
)
from simmerge_hub.learning.searching.space import RANGES, arm_from, params_of, points_of
from simmerge_hub.learning.tables import JOURNAL_FILE, MEASUREMENTS_FILE
from simmerge_hub.learning.trying import Trial
from simmerge_hub.operators import ARMS, FED_ARMS, Arm, arm, find, merge_tensors
from simmerge_hub.planning.choice import Choice
from simmerge_hub.planning.tree import join, leaf
from tests.evaluations import Killed, StandIn

STARTS = [arm("ties", density=0.3), arm("linear")]
RECIPE = LearnRecipe(
    models=tuple(str(nano_folder() / name) for name in ("code", "math")),
    collection=None,
    base=str(nano_folder() / "base"),
    tasks=tuple(LearnTask(name=n, evaluate=f"nano_{n}") for n in ("code", "math")),
    arms=(),
    budget=5,
    limit=8,
)


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    folder = tmp_path_factory.mktemp("search")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trying, "evaluate", StandIn())
        inputs = open_catalogue(RECIPE)
        return open_trial(RECIPE, inputs, folder, Machine(), lambda *_: None, None)[0]


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., StandIn]:
    def put(**given: int) -> StandIn:
        made = StandIn(**given)
        monkeypatch.setattr(trying, "evaluate", made)
        return made

    return put


def test_the_folder_of_another_search_is_refused_before_anything_is_measured(
    trial: Trial,
    tmp_path: Path,
    stand_in: Callable[..., StandIn],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stand_in()
    search(trial, tmp_path, budget=1.25, starts=STARTS)
    inputs = open_catalogue(RECIPE)
    check_folder(tmp_path, inputs, RECIPE.tasks, protocol_of(RECIPE))
    check_folder(tmp_path / "new", inputs, RECIPE.tasks, protocol_of(RECIPE))
    with pytest.raises(RequestError, match="holds another search"):
        check_folder(tmp_path, inputs, RECIPE.tasks, protocol_of(replace(RECIPE, limit=9)))
    with pytest.raises(RequestError, match="holds another search"):
        check_folder(tmp_path, inputs, RECIPE.tasks[:1], protocol_of(RECIPE))
    monkeypatch.setattr("simmerge_hub.learning.searching.search.version", lambda _: "0.0.1")
    with pytest.raises(RequestError, match="by another version of the harness"):
        check_folder(tmp_path, inputs, RECIPE.tasks, protocol_of(RECIPE))


@pytest.mark.parametrize("name", [JOURNAL_FILE, "recipe.yaml", "measurements.jsonl.gz", "merged"])
def test_a_folder_that_holds_what_would_be_written_over_is_refused(
    name: str, tmp_path: Path
) -> None:
    """A model of another's was replaced, and the table of `learn`, each merge of which was paid
    for."""
    inputs, protocol = open_catalogue(RECIPE), protocol_of(RECIPE)
    check_folder(tmp_path, inputs, RECIPE.tasks, protocol)
    (tmp_path / name).write_text("{}\n{}\n")
    with pytest.raises(RequestError, match=f"holds {name} of something else") as caught:
        check_folder(tmp_path, inputs, RECIPE.tasks, protocol)
    assert "-o DIR" in caught.value.hint


def test_it_starts_at_what_is_predicted_and_at_what_is_safe(trial: Trial) -> None:
    said: list[str] = []
    arms = starting_arms(trial, None, said.append)
    assert not said and len(arms) == PREDICTED + 2
    assert arms[PREDICTED:] == [arm("regmean", alpha=0.9), arm("linear")]
    assert arms[0].label != arms[1].label


def test_a_predicted_arm_that_a_search_cannot_try_gives_way_to_the_next(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = trial.inputs.names
    ranked = [
        arm("delta_regmean", alpha=0.9), arm("slerp"), arm("ties", density=0.2),
        arm("linear", weights=(0.7, 0.3)), arm("ties", density=0.5),
    ]  # fmt: skip
    trees = [join(each, *map(leaf, reversed(names))) for each in ranked]
    choices = [Choice(tree=tree, beliefs={}, label=tree.label) for tree in trees]
    monkeypatch.setattr(
        import_module("simmerge_hub.planning.plan"),
        "plan",
        lambda *_, **__: SimpleNamespace(choices=choices),
    )
    best = starting_arms(trial, None, pytest.fail)[:PREDICTED]
    assert best == [arm("ties", density=0.2), arm("linear", weights=(0.3, 0.7))]


def test_a_killed_search_goes_on_to_the_same_end(
    trial: Trial, stand_in: Callable[..., StandIn], tmp_path: Path
) -> None:
    seen = stand_in()
    whole = search(trial, tmp_path / "whole", budget=6, starts=STARTS)
    assert whole.spent <= 6 < whole.spent + 1.25
    assert [a.params["operator"] for a in whole.attempts[:2]] == ["ties", "linear"]
    assert whole.best.score == max(a.score for a in whole.attempts if a.score is not None)
    assert all(a.few is not None for a in whole.attempts)
    for moment in (2, len(seen.asked) - 1):
        stand_in(dies_at=moment)
        folder = tmp_path / str(moment)
        with pytest.raises(Killed):
            search(trial, folder, budget=6, starts=STARTS)
        with (folder / STATE_FILE).open("a") as file:
            file.write('{"params": {"oper')  # torn
        stand_in()
        again = search(trial, folder, budget=6, starts=STARTS)
        assert (again.arm, again.attempts) == (whole.arm, whole.attempts)
        names = (STATE_FILE, MEASUREMENTS_FILE)
        assert all(
            (folder / n).read_bytes() == (tmp_path / "whole" / n).read_bytes() for n in names
        )
    stopped = [a for a in whole.attempts if a.score is None]
    assert all(a.cost == 0.25 for a in stopped)


def test_a_search_that_goes_on_keeps_what_it_began_with(
    trial: Trial, stand_in: Callable[..., StandIn], tmp_path: Path
) -> None:
    stand_in()
    whole = search(trial, tmp_path / "whole", budget=5, starts=STARTS)
    first = search(trial, tmp_path / "cut", budget=1.25, starts=STARTS)
    assert len(first.attempts) == 1
    again = search(trial, tmp_path / "cut", budget=5, starts=STARTS[1:])  # nothing was predicted
    assert again.attempts == whole.attempts


def test_it_ends_with_a_recipe_a_card_and_rows_that_learn_takes(
    trial: Trial, stand_in: Callable[..., StandIn], tmp_path: Path
) -> None:
    stand_in()
    done = search(trial, tmp_path, budget=2.5, starts=[arm("linear", weights=(0.5, 0.5))])
    merged = measured_model(tmp_path, done)
    front = yaml.safe_load((merged / "README.md").read_text().split("---\n")[1])
    results = front["model-index"][0]["results"]
    stated = {r["dataset"]["name"]: r["metrics"][0]["value"] for r in results}
    assert stated == {t: round(r["metrics"]["acc"], 6) for t, r in _by_task(done).items()}
    rows = load_measurements(tmp_path / MEASUREMENTS_FILE)
    assert {r.task for r in rows} == {"code", "math"}
    again = stand_in()
    arms = (arm("linear", weights=(0.5, 0.5)),)
    told = replace(RECIPE, arms=arms, budget=1, measured=(tmp_path / MEASUREMENTS_FILE,))
    learned = learn(told, tmp_path / "learned", fit=False)
    assert again.asked == []
    assert len(learned.outcomes.rows) == 2


def _by_task(done: room.SearchResult) -> dict[str, Any]:
    return {entry["task"]: entry for entry in done.best.results.values()}


def test_a_merge_that_fails_is_an_attempt(
    trial: Trial, stand_in: Callable[..., StandIn], tmp_path: Path
) -> None:
    stand_in(fails_at=1)
    done = search(trial, tmp_path, budget=3.5, starts=STARTS)
    assert done.attempts[0].failed == "the GPU is on fire"
    assert done.attempts[0].cost > 0
    stand_in(fails_at=1)
    with pytest.raises(EvaluationError, match=r"no merge could be made .*: the GPU is on fire"):
        search(trial, tmp_path / "all", budget=1.25, starts=STARTS)


def test_a_budget_that_pays_for_nothing(trial: Trial, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="a budget of 1 pays for no merge"):
        search(trial, tmp_path, budget=1)


def test_without_optuna_one_error_names_the_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra) as caught:
        room.check_optuna()
    assert "eval,search" in caught.value.hint


@pytest.mark.parametrize("models", [2, 3])
def test_points_and_arms_are_the_same_thing(models: int) -> None:
    for operator, ranges in RANGES.items():
        point = {"operator": operator, **{f"weight.{i}": 0.5 for i in range(models)}}
        point |= {f"{operator}.{name}": sum(limits) / 2 for name, limits in ranges.items()}
        chosen = arm_from(point, models)
        assert chosen.operator == operator.removesuffix("++")
        assert (chosen.parameters.get("inputs") == "merge") is operator.endswith("++")
        whole = models if operator == "task_arithmetic" else 1
        assert sum(chosen.parameters["weights"]) == pytest.approx(whole, abs=0.01)
        again = params_of(chosen, models)
        assert again is not None and again.keys() == point.keys()
    assert params_of(arm("slerp"), 2) is None


def test_an_arm_without_weights_is_itself_in_the_space() -> None:
    for chosen in (arm("task_arithmetic", scale=1.0), arm("ties", density=0.3), arm("linear"),
                   arm("regmean", alpha=0.98, inputs="merge")):  # fmt: skip
        params = params_of(chosen, 2)
        assert params is not None
        made = arm_from(params, 2).parameters
        each = 1.0 if chosen.operator == "task_arithmetic" else 0.5
        assert made["weights"] == (each, each)
        assert {**made, **chosen.parameters} == made


def test_what_an_arm_leaves_out_is_its_operators_default() -> None:
    params = params_of(arm("ties"), 2)
    assert params is not None
    assert params["ties.density"] == find("ties").parameters["density"]


@pytest.mark.parametrize("chosen", (*ARMS, *FED_ARMS), ids=lambda chosen: chosen.label)
def test_an_arm_and_its_point_are_the_same_merge(chosen: Arm) -> None:
    params = params_of(chosen, 2)
    if params is None:
        assert chosen.operator not in RANGES
        return
    made = arm_from(params, 2)
    if chosen.operator == "regmean":  # it looks at activations
        own = {"weights": (0.5, 0.5), **chosen.parameters}
        assert made.parameters == own
        return
    random = torch.Generator().manual_seed(0)
    base, *models = (torch.randn(16, 16, generator=random) for _ in range(3))
    merges = [merge_tensors(each, base, models) for each in (chosen, made)]
    torch.testing.assert_close(*merges, atol=2e-3, rtol=0)


def test_weights_that_sum_to_something_else_are_the_same_merge() -> None:
    random = torch.Generator().manual_seed(0)
    base, *models = (torch.randn(16, 16, generator=random) for _ in range(3))
    arms = (
        arm("task_arithmetic", weights=(0.6, 0.4), scale=1.2),
        arm("task_arithmetic", weights=(3.0, 1.0), normalize=True),
        arm("linear", weights=(3.0, 1.0)),
        arm("ties", density=0.2, weights=(3.0, 1.0)),
    )
    for chosen in arms:
        params = params_of(chosen, 2)
        assert params is not None
        merges = [merge_tensors(each, base, models) for each in (chosen, arm_from(params, 2))]
        torch.testing.assert_close(*merges, atol=2e-3, rtol=0)
    assert params_of(arm("task_arithmetic", weights=(1.0, -1.0)), 2) is None


def test_equal_points_are_tried_once() -> None:
    twice = [arm("linear", weights=(0.5, 0.5)), arm("slerp"), arm("regmean", alpha=0.9)]
    points = points_of([*twice, arm("regmean", alpha=0.9), arm("linear")], 2)
    assert [each["operator"] for each in points] == ["linear", "regmean"]
