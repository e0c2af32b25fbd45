"""What is asked, checked, and as an address."""

from dataclasses import replace
from urllib.parse import parse_qsl

import pytest

from simmerge_hub.errors import RequestError
from simmerge_hub.planning.ask.options import Catalogue, Sources, Tasks
from simmerge_hub.space.question import MOST_MODELS, Question, read, read_query


def test_fields_are_cleaned_and_unknown_choices_are_the_defaults() -> None:
    question = read([" org/a ", "org/b", "org/a", ""], None, " ", "everything", "best")
    assert question == Question(models=("org/a", "org/b"))


@pytest.mark.parametrize(
    "question",
    [
        Question(models=("org/a", "org/b@v1.0")),
        Question(models=("org/a", "org/b"), experts={"code": "org/a", "math": "org/b"}),
        Question(collection="org/x-0123456789abcdef01234567", base="org/base", aim="worst"),
        Question(models=("org/a", "org/b"), evidence="structural"),
    ],
)
def test_an_address_asks_the_same_again(question: Question) -> None:
    assert read_query(dict(parse_qsl(question.query().removeprefix("?")))) == question


def test_an_address_alone_downloads_and_runs_nothing() -> None:
    asked = Question(models=("org/a", "org/b"), evidence="full")
    told = read_query(dict(parse_qsl(asked.query().removeprefix("?"))))
    assert told == replace(asked, evidence="published")


def test_an_address_that_asks_nothing_is_an_empty_page() -> None:
    assert read_query({}) == Question()
    assert read_query({"tasks": "code,:,math:", "evidence": "x"}) == Question()


def test_what_plan_is_told() -> None:
    asked = Question(models=("a/a", "a/b"), experts={"code": "a/a"}, aim="worst").options()
    assert asked["catalogue"] is None
    assert asked["base"] is None
    assert asked["tasks"] == Tasks(experts={"code": "a/a"})
    assert asked["objective"].worst
    assert asked["sources"] == Sources(signals="published")
    assert Question(collection="x").options()["catalogue"] == Catalogue(collection="x")


@pytest.mark.parametrize(
    ("question", "said"),
    [
        (Question(models=("org/a",)), "two models or more"),
        (Question(models=("org/a", "org/b"), collection="x"), "both models and a collection"),
        (Question(models=tuple(f"o/{i}" for i in range(MOST_MODELS + 1))), "at most"),
        (Question(models=("org/a", "/etc")), "no repository"),
        (Question(models=("org/a", "./x")), "no repository"),
        (Question(models=("org/a", "~root")), "no repository"),
        (Question(models=("org/a", "pyproject.toml")), "no repository"),
        (Question(models=("org/a", "org/b:c")), "no repository"),
        (Question(models=("org/a", "simmerge_hub/space")), "no repository"),
        (Question(models=("org/a", "org/b"), base="/etc"), "no repository"),
    ],
)
def test_what_cannot_be_asked_of_a_space_is_refused(question: Question, said: str) -> None:
    with pytest.raises(RequestError, match=said) as error:
        question.check(folders=False)
    assert error.value.hint


def test_folders_may_be_named_on_their_own_machine() -> None:
    Question(models=("./a", "/b"), base="~/c").check(folders=True)
