"""What may be asked of a plan is checked before anything is read."""

from dataclasses import replace
from typing import Any

import pytest

from simmerge_hub.errors import BanditError, ObjectiveError, ProbeError, RequestError, SimmergeError
from simmerge_hub.planning.ask.objective import Objective
from simmerge_hub.planning.ask.options import Ask, Catalogue, Search, Sources, Tasks
from simmerge_hub.planning.plan import plan

STRUCTURAL = Sources(signals="structural")
BANDIT = Sources(bandit="org/bandit")
INFER = Tasks(infer=("code",))
SHELF = Catalogue(collection="org/shelf-0123456789abcdef01234567")


@pytest.mark.parametrize(
    ("models", "given", "error", "message"),
    [
        (0, {}, RequestError, "two models make a merge, and none are given"),
        (1, {}, RequestError, "two models make a merge, and one is given"),
        (2, {"catalogue": SHELF}, RequestError, "both models and a catalogue are given"),
        (1, {"catalogue": SHELF}, RequestError, "both models and a catalogue are given"),
        (3, {"sources": BANDIT}, BanditError, "a bandit chooses the operator of two models"),
        (0, {"sources": BANDIT, "catalogue": SHELF}, BanditError, "a bandit chooses the operator"),
        (3, {"tasks": INFER}, ProbeError, "code cannot be inferred among three or more models"),
        (0, {"tasks": INFER, "catalogue": SHELF}, ProbeError, "code cannot be inferred among"),
        (2, {"tasks": INFER, "sources": STRUCTURAL}, ProbeError, "from probes, and none are run"),
        (3, {"tries": 1, "sources": STRUCTURAL}, ProbeError, "tried on the tasks' probes"),
        (2, {"tries": 1, "sources": STRUCTURAL}, ProbeError, "tried on the tasks' probes"),
        (
            2,
            {"tries": 1, "sources": BANDIT},
            BanditError,
            "its own suggestion, and merges shall be",
        ),
        (2, {"tries": -1}, RequestError, "-1 merges shall be tried"),
        (2, {"search": Search(least=3)}, RequestError, "a merge shall have 3 to 2 of 2 models"),
        (3, {"search": Search(least=1)}, RequestError, "a merge shall have 1 to 3 of 3 models"),
        (3, {"search": Search(least=4)}, RequestError, "a merge shall have 4 to 3 of 3 models"),
        (3, {"search": Search(least=3, most=2)}, RequestError, "a merge shall have 3 to 2 of 3"),
        (0, {"catalogue": replace(SHELF, shortlist=1)}, RequestError, "a shortlist of 1 is asked"),
        (
            0,
            {"catalogue": SHELF, "search": Search(most=1)},
            RequestError,
            "shall have 2 to 1",
        ),
        (
            0,
            {"catalogue": SHELF, "search": Search(least=5)},
            RequestError,
            "shall have 5 to 4",
        ),
        (
            2,
            {"sources": BANDIT, "objective": Objective(worst=True)},
            ObjectiveError,
            "a bandit tries the best arm for the mean over tasks",
        ),
    ],
)
def test_what_cannot_be_had(
    models: int, given: dict[str, Any], error: type[SimmergeError], message: str
) -> None:
    """No repository of these names exists: it is refused before one is asked for."""
    with pytest.raises(error, match=message) as caught:
        plan(*(f"org/model-{number}" for number in range(models)), **given)
    assert type(caught.value) is error
    assert caught.value.hint


@pytest.mark.parametrize(
    ("models", "given"),
    [
        (2, {}),
        (2, {"sources": BANDIT}),
        (2, {"tasks": INFER}),
        (3, {"search": Search(least=3, most=3)}),
        (2, {"tries": 4}),
        (5, {"tries": 1}),
    ],
)
def test_what_can_be_had(models: int, given: dict[str, Any]) -> None:
    Ask(**given).check(models)


def test_a_catalogue_needs_no_models() -> None:
    """How many it leaves is not known yet, and checked later."""
    Ask(catalogue=SHELF, search=Search(least=3)).check(0)


@pytest.mark.parametrize(
    ("models", "search"), [(3, Search(most=1)), (3, Search(least=4)), (3, Search(least=1))]
)
def test_the_hint_can_be_followed(models: int, search: Search) -> None:
    with pytest.raises(RequestError) as caught:
        Ask(search=search).check_size(models)
    assert caught.value.hint == "--min-models 2 --max-models 3: from 2 to all of them"
    Ask(search=Search(least=2, most=3)).check_size(models)
