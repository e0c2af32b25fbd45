"""A person's corrections: which experts count when they plan again; what an address fills in."""

from time import sleep
from types import SimpleNamespace
from typing import Any

import pytest

from simmerge_hub.errors import RepoNotFound
from simmerge_hub.hub import listing
from simmerge_hub.hub.client import LOG_IN
from simmerge_hub.space import fields, search
from simmerge_hub.space.plans import Plans
from simmerge_hub.space.question import Question
from simmerge_hub.space.search import Search
from tests.pages import stand_in

FILLED = {"code": "a/code", "math": "a/math", "rag": ""}
MODELS = ["a/code", "a/math"]


@pytest.fixture
def plans() -> Plans:
    experts = tuple(range(fields.MOST_TASKS))
    asked = stand_in(fields.Ask, experts=experts)
    return Plans(asked, stand_in(fields.Told), stand_in(fields.Do), folders=True)


def ask(plans: Plans, radios: list[str], before: Question | None, models: list[str]) -> Question:
    values = [*radios, *[None] * (fields.MOST_TASKS - len(radios))]
    return plans._read((models, "", "", "published", "mean", *values, FILLED, before))


def test_experts_count_where_a_person_changed_them(plans: Plans) -> None:
    before = Question(models=tuple(MODELS))
    assert ask(plans, ["a/code", "a/math", ""], before, MODELS).experts == {}
    changed = ask(plans, ["a/math", "", ""], before, MODELS)
    assert changed.experts == {"code": "a/math"}
    assert ask(plans, ["a/code", "a/math", ""], changed, MODELS).experts == {"code": "a/math"}


def test_experts_of_other_models_are_forgotten(plans: Plans) -> None:
    before = Question(models=tuple(MODELS), experts={"code": "a/code"})
    assert ask(plans, ["a/math", "", ""], before, ["a/x", "a/math"]).experts == {}


@pytest.mark.parametrize("how", ["stopped", "asked again"])
def test_a_plan_that_was_ended_leaves_the_next_one_alone(
    plans: Plans, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It neither stops it nor says anything over it: the page is the next one's."""

    def work(_question: Question, say: Any) -> None:
        while True:
            say("working")
            sleep(0.01)

    monkeypatch.setattr("simmerge_hub.space.plans.answer", work)
    visitor: Any = SimpleNamespace(session_hash="x")
    given = (MODELS, "", "", "published", "mean", *[None] * fields.MOST_TASKS, {}, None)
    first, second = plans.plan(visitor, *given), plans.plan(visitor, *given)
    next(first)
    next(first)  # it runs
    if how == "stopped":
        plans.stop(visitor)
    next(second)
    assert list(first) == []
    next(second)
    assert "working" in next(second)[plans.asked.status]
    plans.stop(visitor)
    assert list(second) == []


def test_that_it_stopped_is_said_again_unless_the_next_has_begun(
    plans: Plans, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Words that were on their way to the page when it was stopped come after the first time."""
    monkeypatch.setattr("simmerge_hub.space.work.LOOK_SECONDS", 0.0)
    visitor: Any = SimpleNamespace(session_hash="x")
    plans.desk.begin("x")
    assert "Stopped" not in str(plans.say_stopped(visitor))
    assert "Stopped" in plans.stop(visitor)[plans.asked.status]
    assert "Stopped" in plans.say_stopped(visitor)[plans.asked.status]


def test_an_address_fills_in_the_page_and_an_empty_one_disturbs_nobody(plans: Plans) -> None:
    empty: Any = SimpleNamespace(query_params={})
    assert plans.open(empty) == {plans.question: None}
    asked: Any = SimpleNamespace(query_params={"models": "a/code,a/math", "tasks": "code:a/code"})
    filled = plans.open(asked)
    assert filled[plans.asked.models]["value"] == MODELS
    assert filled[plans.question].experts == {"code": "a/code"}


def test_only_what_was_typed_last_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    box, asked = Search(), []
    visitor: Any = SimpleNamespace(session_hash="x")

    def find(text: str) -> tuple[str, ...]:
        asked.append(text)
        return (f"org/{text}",)

    def typed(text: str) -> Any:
        return SimpleNamespace(input_value=text)

    monkeypatch.setattr(listing, "search", find)
    monkeypatch.setattr(search, "sleep", lambda seconds: None)
    assert box.find(visitor, ["org/a"], typed("co"))["choices"] == ["org/a", "org/co"]
    assert "choices" not in box.find(visitor, [], typed("c"))
    monkeypatch.setattr(search, "sleep", lambda s: box._typed.update(x="code"))
    assert "choices" not in box.find(visitor, [], typed("cod"))
    assert asked == ["co"]


def test_an_error_leaves_no_plan_that_is_shown_and_cannot_be_merged(plans: Plans) -> None:
    visitor: Any = SimpleNamespace(session_hash="x")
    given = (["a/code"], "", "", "published", "mean", *[None] * fields.MOST_TASKS, {}, None)
    (said,) = plans.plan(visitor, *given)
    assert "a merge takes two models or more" in said[plans.asked.status]
    assert said[plans.answer] is None
    for part in (plans.told.whole, plans.done.where):
        assert said[part]["visible"] is False


def test_who_visits_a_space_is_not_told_to_log_in(plans: Plans) -> None:
    error = RepoNotFound("there is no model a/b", hint=f"for a private repository, {LOG_IN}")
    assert "hf auth login" in plans._fail(error)[plans.asked.status]
    plans.folders = False
    said = plans._fail(error)[plans.asked.status]
    assert "hf auth login" not in said and "only public models are read here" in said
