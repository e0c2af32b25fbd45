"""A utility has one unit, and every place that shows one names it."""

import inspect
import io
import json
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from simmerge_hub.cli import show
from simmerge_hub.cli.main import main
from simmerge_hub.cli.plan import page as plan_page
from simmerge_hub.cli.plan.page.screen import EXPECTED
from simmerge_hub.cli.zoo import nano_folder
from simmerge_hub.planning.ask.objective import Objective
from simmerge_hub.planning.ask.options import Sources, Tasks
from simmerge_hub.planning.choice import Choice, Gap
from simmerge_hub.planning.plan import Plan, plan
from simmerge_hub.planning.trees.forecast import Forecast
from simmerge_hub.planning.verdict import Verdict
from simmerge_hub.publishing.figures.merge_tree import draw_tree
from simmerge_hub.publishing.verbs import merge
from simmerge_hub.recipe.why import UNIT
from simmerge_hub.selector.predictor.ranking import Prediction

MODELS = [str(nano_folder() / name) for name in ("code", "math", "multilingual")]
GIVEN = ["--base", str(nano_folder() / "base"), "--signals", "structural"]
NAMED = [f"--expert={name}={name}" for name in ("code", "math", "multilingual")]
SAID = "task expert's score"


def planned(count: int) -> Plan:
    names = ("code", "math", "multilingual")[:count]
    return plan(
        *MODELS[:count],
        base=str(nano_folder() / "base"),
        tasks=Tasks(experts={name: name for name in names}),
        sources=Sources(signals="structural"),
    )


@pytest.fixture(scope="module", params=[2, 3])
def made(request: pytest.FixtureRequest) -> Plan:
    return planned(request.param)


def test_the_terminal(made: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(show, "OUT", Console(file=written, width=400))
    plan_page.page(made, verbose=True)
    screen, _, details = written.getvalue().partition("-o merged\n")
    assert EXPECTED in screen
    title = " ".join(details.partition("┏")[0].partition("Utility")[2].split())
    assert title == (": " if made.of_many else "of code + math: ") + UNIT


def test_the_card(made: Plan, tmp_path: Path) -> None:
    merge(made, tmp_path / "merged")
    text = (tmp_path / "merged" / "README.md").read_text()
    assert f"Utility is the {UNIT}" in text
    if made.of_many:
        assert f"Predicted utility after each step: {UNIT}" in text


def test_the_plan_file(made: Plan) -> None:
    assert yaml.safe_load(made.to_yaml())["why"]["unit"] == UNIT


@pytest.mark.parametrize("count", [2, 3])
def test_data_for_programs(count: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *MODELS[:count], *GIVEN, *NAMED[:count], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unit"] == UNIT


def test_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["plan", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for option in ("--objective", "--keep"):
        said = text.partition(f" {option} ")[2].partition(" --")[0]
        assert SAID in said, option


@pytest.mark.parametrize(
    "place",
    [draw_tree, Plan, Objective, Choice, Verdict, Forecast, Gap],
    ids=attrgetter("__name__"),
)
def test_documentation_in_the_code(place: Callable[..., object]) -> None:
    """Where the object's own text does not say it, its module's does."""
    own, module = inspect.getdoc(place), inspect.getdoc(inspect.getmodule(place))
    text = " ".join(f"{own} {module}".split())
    assert SAID in text


def test_the_selector_speaks_of_gains() -> None:
    assert "gap" in str(inspect.getdoc(Prediction))
    assert not any("utility" in name for name in dir(Prediction))
