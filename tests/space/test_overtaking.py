"""What is asked while something is still under way, in a real browser: the newest is shown.

The page is served by this process, so that what it waits for is held as long as a test likes.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest

from simmerge_hub.cli.zoo import nano_folder
from simmerge_hub.space import app, plans

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.filterwarnings("default")
"""What gradio warns of in threads of its own is not an error of the page."""

Visit = Callable[..., "Page"]
BASE, *MODELS = (str(nano_folder() / name) for name in ("base", "code", "math", "multilingual"))
CODE, MATH, _ = MODELS


@pytest.fixture(scope="module")
def here() -> Iterator[str]:
    page, address = app.launch()
    yield address.rstrip("/")
    page.close()


class Gate:
    """Holds the calls of a function of the page that are named, counted from 0, until it opens."""

    def __init__(self, function: Callable[..., Any], *held: int) -> None:
        self._function, self._held, self._calls = function, held, 0
        self.reached, self._open = Event(), Event()

    def __call__(self, *given: Any) -> Any:
        self._calls += 1
        if self._calls - 1 in self._held:
            self.reached.set()
            self._open.wait(600)
        return self._function(*given)

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Gate]]:
    """Hold calls of a function that `plans` calls; all are let go at the end."""
    gates: list[Gate] = []

    def put(name: str, *held: int) -> Gate:
        gates.append(Gate(getattr(plans, name), *held))
        monkeypatch.setattr(plans, name, gates[-1])
        return gates[-1]

    yield put
    for gate in gates:
        gate.open()


def link(here: str, *models: str) -> str:
    tasks = ",".join(f"{Path(model).name}:{model}" for model in models)
    return f"{here}/?models={','.join(models)}&base={BASE}&tasks={tasks}&evidence=structural"


def correct(page: "Page") -> None:
    """Say that math is not a goal, and plan again."""
    page.get_by_text("Who is good at what").click()
    page.locator(".sm-expert", has_text="Best at math").get_by_label("not a goal").check()
    page.locator("#plan").click()


def plan_by_click(page: "Page") -> None:
    """The plan of a link again, by a click."""
    page.locator("#merge").wait_for()
    page.locator("#plan").click()


@pytest.mark.parametrize("first", ["by a link", "by a click"])
def test_a_click_while_the_cost_of_a_plan_is_read_is_a_new_plan(
    here: str, visit: Visit, hold: Callable[..., Gate], first: str
) -> None:
    """It is not lost, and the late cost of the old plan is not shown over it."""
    from playwright.sync_api import expect

    gate = hold("cost", 0 if first == "by a link" else 1)
    page = visit(link(here, CODE, MATH))
    if first == "by a click":
        plan_by_click(page)
    assert gate.reached.wait(240)
    correct(page)
    expect(page.locator(".sm-chart h3")).to_contain_text("(code)")
    page.locator("#merge").wait_for()
    page.get_by_role("tab", name="Card").click()
    expect(page.locator("#card")).to_contain_text("Predicted utilities")
    new = page.locator("#card").inner_text()
    gate.open()
    page.wait_for_timeout(1000)  # in which it would come
    assert page.locator("#card").inner_text() == new
    expect(page.locator(".sm-chart h3")).to_contain_text("(code)")


def test_a_map_that_is_still_drawn_does_not_keep_that_of_the_next_plan_away(
    here: str, visit: Visit, hold: Callable[..., Gate]
) -> None:
    from playwright.sync_api import expect

    gate = hold("map_models", 1)
    page = visit(link(here, CODE, MATH))
    plan_by_click(page)
    assert gate.reached.wait(240)
    page.locator("#merge").wait_for()
    correct(page)
    expect(page.locator(".sm-chart h3")).to_contain_text("(code)")
    page.get_by_role("tab", name="Similarity").click()
    expect(page.locator("#map")).to_contain_text("Every pair")


def test_a_plan_is_stopped_and_begun_again_by_keyboard(
    here: str, visit: Visit, hold: Callable[..., Gate]
) -> None:
    from playwright.sync_api import expect

    gate = hold("answer", 0)
    page = visit(link(here, *MODELS), width=390, height=844)
    page.locator("#stop").press("Enter")
    expect(page.locator("#status")).to_contain_text("Stopped")
    expect(page.locator("#plan")).to_be_enabled()
    expect(page.locator("#stop")).to_be_hidden()
    gate.open()
    page.wait_for_timeout(1000)  # in which the old plan would come
    expect(page.locator("#status")).to_contain_text("Stopped")
    expect(page.locator("#decision")).to_be_hidden()
    page.locator("#plan").press("Enter")
    page.locator("#decision h2").wait_for()
    page.locator("#merge").wait_for()


def test_experts_are_not_corrected_while_a_plan_fills_them_in(
    here: str, visit: Visit, hold: Callable[..., Gate]
) -> None:
    from playwright.sync_api import expect

    gate = hold("answer", 1)
    page = visit(link(here, CODE, MATH))
    page.locator("#merge").wait_for()
    page.get_by_text("Who is good at what").click()
    radio = page.locator(".sm-expert", has_text="Best at math").get_by_label("not a goal")
    expect(radio).to_be_enabled()
    page.locator("#plan").click()
    expect(radio).to_be_disabled()
    gate.open()
    page.locator("#decision h2").wait_for()
    expect(radio).to_be_enabled()
