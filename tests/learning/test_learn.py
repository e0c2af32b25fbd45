"""From a recipe to tables: merges are made, what is interrupted goes on, failures are rows.

Evaluations are a stand-in here, scores that follow from a model's bytes; the real ones are in
tests/evaluation and in the last test.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from simmerge_hub.cli.zoo import nano_folder
from simmerge_hub.errors import (
    OutputError,
    PredictorError,
    RecipeError,
    RepoNotFound,
    RequestError,
)
from simmerge_hub.learning import trying
from simmerge_hub.learning.catalogue import open_catalogue
from simmerge_hub.learning.cost import estimate
from simmerge_hub.learning.learn import JOURNAL_FILE, SCRATCH, learn
from simmerge_hub.learning.measurements import load_measurements
from simmerge_hub.learning.recipe import LearnRecipe, LearnTask, Table, load_learn_recipe
from simmerge_hub.learning.tables import (
    FEATURES_FILE,
    MEASUREMENTS_FILE,
    OUTCOMES_FILE,
    STATE_FILE,
    load_others,
)
from simmerge_hub.operators import arm
from simmerge_hub.selector.predictor.origin import PREDICTOR_FILE
from simmerge_hub.selector.tables.features import load_features
from simmerge_hub.selector.tables.outcomes import load_outcomes
from tests.catalogues import Catalogue
from tests.evaluations import Killed, StandIn

ROOT = Path(__file__).parents[2]
TABLES = (MEASUREMENTS_FILE, OUTCOMES_FILE, FEATURES_FILE)
RECIPE = LearnRecipe(
    models=tuple(str(nano_folder() / name) for name in ("code", "instruct", "math")),
    collection=None,
    base=str(nano_folder() / "base"),
    tasks=tuple(LearnTask(name=n, evaluate=f"nano_{n}") for n in ("code", "math")),
    arms=(arm("linear"), arm("slerp")),
    budget=6,
    limit=10,
)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Any:
    def put(**given: int) -> StandIn:
        made = StandIn(**given)
        monkeypatch.setattr(trying, "evaluate", made)
        return made

    return put


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The tables of a run that nothing interrupts."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trying, "evaluate", StandIn())
        learn(RECIPE, folder, fit=False)
    return {name: (folder / name).read_bytes() for name in TABLES}


def test_every_merge_is_rows_that_training_reads(whole: dict[str, bytes], tmp_path: Path) -> None:
    for name, data in whole.items():
        (tmp_path / name).write_bytes(data)
    rows = load_measurements(tmp_path / MEASUREMENTS_FILE)
    assert {(r.expert, r.auxiliary, r.task) for r in rows} == {
        ("code", "instruct", "code"), ("code", "math", "code"),
        ("math", "code", "math"), ("math", "instruct", "math"),
    }  # fmt: skip
    assert len(rows) == 8
    origin = rows[0].origin
    assert origin["models"]["expert"]["digest"] and origin["evaluate"] == "nano_code"
    outcomes = load_outcomes(tmp_path / OUTCOMES_FILE)
    features = load_features(tmp_path / FEATURES_FILE)
    assert {row.key for row in outcomes.rows} == set(features.rows)
    assert outcomes.rows[0].utilities.keys() == {"linear", "slerp"}
    assert set(features.effects[outcomes.rows[0].key]) == {"linear", "slerp"}


@pytest.mark.parametrize("moment", [1, 3, 6])
def test_a_run_that_is_killed_ends_in_the_same_tables(
    moment: int, whole: dict[str, bytes], stand_in: Any, tmp_path: Path
) -> None:
    stand_in(dies_at=moment)
    with pytest.raises(Killed):
        learn(RECIPE, tmp_path, fit=False)
    with (tmp_path / JOURNAL_FILE).open("a") as file:
        file.write('{"merge": ["code", "ma')  # torn
    second = stand_in()
    learn(RECIPE, tmp_path, fit=False)
    assert {name: (tmp_path / name).read_bytes() for name in TABLES} == whole
    assert len(second.asked) == 6 - moment + 1
    assert not (tmp_path / SCRATCH).exists()
    third = stand_in()
    learn(RECIPE, tmp_path, fit=False)
    assert third.asked == []


def test_what_fails_is_a_row(stand_in: Any, tmp_path: Path) -> None:
    stand_in(fails_at=2)
    learned = learn(RECIPE, tmp_path, fit=False)
    failed = [row for row in learned.measurements if row.failed]
    assert [(r.utility, r.failed) for r in failed] and failed[0].failed == "the GPU is on fire"
    assert learned.outcomes.provenance["failed"] == len(failed)
    assert learned.outcomes.provenance["incomplete"] >= 1
    assert load_measurements(tmp_path / MEASUREMENTS_FILE) == list(learned.measurements)


def test_a_folder_of_another_question_is_refused_before_anything_is_evaluated(
    stand_in: Any, tmp_path: Path
) -> None:
    """Its merges were dropped in silence, and each was paid for."""
    held = '{"of": "something else"}\n{"merge": ["a", "b", "c"]}\n'
    (tmp_path / JOURNAL_FILE).write_text(held)
    seen = stand_in()
    with pytest.raises(RequestError, match="measured in another way") as caught:
        learn(RECIPE, tmp_path, fit=False)
    assert "-o DIR" in caught.value.hint
    assert seen.asked == []
    assert (tmp_path / JOURNAL_FILE).read_text() == held


@pytest.mark.parametrize("name", [STATE_FILE, OUTCOMES_FILE, PREDICTOR_FILE])
def test_a_folder_that_holds_what_would_be_written_over_is_refused_before_anything_is_evaluated(
    name: str, stand_in: Any, tmp_path: Path
) -> None:
    (tmp_path / name).write_text("{}\n")
    seen = stand_in()
    with pytest.raises(RequestError, match=f"holds {name} of something else"):
        learn(RECIPE, tmp_path, fit=False)
    assert seen.asked == []


def test_the_cost_is_known_before() -> None:
    cost = estimate(RECIPE, open_catalogue(RECIPE))
    assert (cost.models, cost.pairs, cost.of, cost.merges) == (3, 3, 3, 6)
    assert cost.evaluations == (4 + 6) * 2
    assert cost.prompts == 200
    assert cost.download == 0 < cost.disk


def test_a_base_that_is_not_known_can_be_named_by_learn_and_by_search() -> None:
    """Folders without cards name none; `search` has no recipe, `learn` no --base."""
    with pytest.raises(RequestError, match="the models' base is not known") as caught:
        open_catalogue(replace(RECIPE, base=None))
    assert caught.value.hint == "name it: --base org/base, or `base: org/base` in a recipe"


def test_what_of_a_collection_cannot_be_read_is_left_out_and_said(org: str, tmp_path: Path) -> None:
    """One that cannot be read ended the run, and the base was taken for a model."""
    shelf = Catalogue(org, tmp_path)
    models = [shelf.model(name) for name in ("one", "two")]
    empty = shelf.files("empty")
    shelf.api.create_repo(f"{org}/texts", repo_type="dataset")
    shelf.api.add_collection_item(shelf.slug, f"{org}/texts", "dataset")
    inputs = open_catalogue(replace(RECIPE, models=(), collection=shelf.slug, base=None))
    assert list(inputs.names) == models
    assert inputs.base is not None and inputs.base.name == shelf.base
    assert inputs.notes == (
        f"left out: dataset {org}/texts: is no model",
        f"left out: {empty}: has no safetensors weights (it has 2 files)",
    )


@pytest.fixture
def others(whole: dict[str, bytes], tmp_path: Path) -> Table:
    """The tables of a run on the recipe's own models."""
    for name, data in whole.items():
        (tmp_path / name).write_bytes(data)
    return Table(outcomes=str(tmp_path / OUTCOMES_FILE), features=str(tmp_path / FEATURES_FILE))


@pytest.mark.parametrize(
    ("changed", "names", "said"),
    [
        ({"arms": (arm("nuslerp"),)}, ["a", "b"], "no arm that the recipe and its other tables"),
        ({}, ["code", "math"], r"holds code \+ math \+ code, which the recipe measures"),
    ],
)
def test_what_cannot_be_learned_from_together_is_refused_before_it_is_measured(
    changed: dict[str, Any], names: list[str], said: str, others: Table
) -> None:
    """It was found in the end, when all merges had been paid for."""
    with pytest.raises(PredictorError, match=said) as caught:
        load_others(replace(RECIPE, together=(others,), **changed), names, fit=False)
    assert caught.value.hint


def test_a_table_of_another_kind_is_told_before_models_are_evaluated(others: Table) -> None:
    recipe = replace(RECIPE, measured=(Path(others.outcomes),))
    with pytest.raises(PredictorError, match="is not a file of simmerge-hub measurements"):
        load_others(recipe, ["a", "b"], fit=False)
    with pytest.raises(RepoNotFound, match="there is no dataset org/none"):
        load_others(replace(RECIPE, together=(Table(repo="org/none"),)), ["a"], fit=False)


def test_too_few_models_to_train_on_are_told_before_they_are_measured(
    others: Table, stand_in: Any, tmp_path: Path
) -> None:
    seen = stand_in()
    with pytest.raises(
        RequestError, match=r"of 6 models at least, and the recipe has 3,"
    ) as caught:
        learn(RECIPE, tmp_path / "learned")
    assert "--no-train" in caught.value.hint
    assert seen.asked == []
    recipe = replace(RECIPE, together=(others,))
    assert len(load_others(recipe, ["a", "b", "c"], fit=True)) == 1  # with three others


def test_where_no_folder_can_be_made_an_error_says_what_to_do() -> None:
    if not Path("/proc/self").is_dir():
        pytest.skip("no folder that nobody may write to")
    with pytest.raises(OutputError, match=r"^/proc/learned cannot be written: ") as caught:
        learn(RECIPE, Path("/proc/learned"))
    assert caught.value.hint == "write to a folder in which you may make files"


def test_prompts_that_cannot_be_had_are_told_before_models_are_evaluated(org: str) -> None:
    task = LearnTask(name="code", evaluate="nano_code", probes=f"{org}/none")
    with pytest.raises(RepoNotFound, match=f"there is no dataset {org}/none"):
        open_catalogue(replace(RECIPE, tasks=(task,)))


def test_the_nano_recipe_is_read() -> None:
    recipe = load_learn_recipe(ROOT / "recipes" / "nano-learn.yaml")
    assert len(recipe.models) == 5 and recipe.arms[0].label == "linear"
    assert Path(recipe.together[0].outcomes).is_file()


def test_a_task_s_own_yaml_lies_beside_the_recipe(tmp_path: Path) -> None:
    path = tmp_path / "learn.yaml"
    tasks = {"code": "tasks/code.yaml", "math": {"evaluate": "gsm8k"}}
    given = {"models": ["a", "b"], "tasks": tasks, "arms": ["linear"], "budget": 3}
    path.write_text(json.dumps(given))
    recipe = load_learn_recipe(path)
    assert [t.evaluate for t in recipe.tasks] == [str(tmp_path / "tasks/code.yaml"), "gsm8k"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"budget": 0}, "pays for no pair"),
        ({"budget": "many"}, "its budget is 'many', and must be a whole number"),
        ({"budget": None}, "its budget is missing, and must be a whole number"),
        ({"limit": 0}, "its limit is 0, and must be a whole number from 1 on"),
        ({"seed": -1}, "its seed is -1, and must be a whole number from 0 on"),
        ({"models": "org/a"}, "its models are 'org/a', and must be a list"),
        ({"together": "org/t"}, "its together are 'org/t', and must be a list"),
        ({"measured": "x.gz"}, "its measured are 'x.gz', and must be a list"),
        ({"measured": ["x.gz"]}, "there is no file .*x.gz"),
        ({"together": [5]}, "its table 5 is neither"),
        ({"together": [{"outcomes": "x"}]}, "has no features"),
        ({"together": [{"outcomes": "x", "features": "y"}]}, "there is no file .*x"),
        ({"together": [{"repo": "o/t", "rows": "all"}]}, "its rows is 'all'"),
        ({"evict": "no"}, "its evict is 'no', and must be true or false"),
        ({"dtype": "float31"}, "its dtype is 'float31', and must be one of auto, float32"),
        ({"arms": ["linear", "linear"]}, "linear is among its arms twice"),
        ({"arms": [{"ties": 0.5}]}, "{'ties': 0.5} is no way to merge"),
        ({"arms": [{"ties": None, "density": 0.5}]}, "is no way to merge"),
        ({"tasks": {"code": None}}, "its task code is None, and must be like {evaluate"),
        ({"tasks": {"code": {"probes": "x"}}}, "code does not say what is evaluated"),
        ({"tasks": {"code": {"evaluate": "x", "probes": ["y"]}}}, "the probes of its task code"),
        ({"limit": 1.5}, r"its limit is 1\.5, and must be a whole number"),
        ({"arms": None}, "it has no arms: a list of ways"),
        ({"arms": "linear"}, "its arms are 'linear', and must be a list"),
        ({"tasks": ["gsm8k"]}, "its tasks are .*, and must be names"),
        ({"arms": ["linaer"]}, "linaer"),
        ({"arms": [{"linear": {"weights": [0.7, 0.3]}}]}, "the other way round"),
        ({"modles": []}, "a key that is not known: modles"),
        ({"models": [], "collection": None}, "models or a collection, and names neither"),
        ({"collection": "org/c"}, "models or a collection, and names both"),
        ({"tasks": {"code": {"evaluat": "x"}}}, "the task code has a key"),
    ],
)
def test_what_makes_no_sense_is_refused(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    good = {"models": ["a", "b"], "tasks": {"code": "nano_code"}, "arms": ["linear"], "budget": 3}
    path = tmp_path / "learn.yaml"
    path.write_text(json.dumps({**good, **change}))
    with pytest.raises(RecipeError, match=message) as caught:
        load_learn_recipe(path)
    assert caught.value.hint
    assert ("did you mean linear" in caught.value.hint) == (message == "linaer")


def test_a_recipe_that_is_not_there_is_said_in_plain_words(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"learn\.yaml cannot be read: No such file") as caught:
        load_learn_recipe(tmp_path / "learn.yaml")
    assert "YAML" in caught.value.hint
