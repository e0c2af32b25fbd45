"""What a bandit suggests, wherever it is kept."""

from dataclasses import replace

import pytest

from simmerge_hub.errors import BanditError
from simmerge_hub.selector.bandit import representation
from simmerge_hub.selector.bandit.bandit import start
from simmerge_hub.selector.bandit.history import History
from simmerge_hub.selector.bandit.reader import State
from simmerge_hub.selector.bandit.suggestions import Asked, suggest
from simmerge_hub.selector.tables.rows import Rows, join
from tests.selector.conftest import ARMS, zoo


@pytest.fixture(scope="module")
def rows() -> Rows:
    return join(*zoo(models=10), ARMS)


@pytest.fixture(scope="module")
def state(rows: Rows) -> State:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(representation, "TREES", 50)
        return State(where="here", bandit=start(rows), history=History(suggestions={}, gains={}))


@pytest.fixture
def asked(rows: Rows) -> list[Asked]:
    return [
        Asked(
            task=rows.tasks[i],
            expert=rows.experts[i],
            auxiliary=rows.auxiliaries[i],
            names=rows.names,
            schema=rows.schema,
            values=rows.values[i],
        )
        for i in range(8)
    ]


def test_each_is_suggested_an_arm(state: State, asked: list[Asked]) -> None:
    made = suggest(state, asked)
    assert [each.id for each in made] == [f"s00000{i}" for i in range(1, 9)]
    assert [each.expert for each in made] == [each.expert for each in asked]
    assert len({each.arm for each in made}) > 1
    assert all(sum(each.chance.values()) == pytest.approx(1, abs=1e-3) for each in made)


def test_together_they_are_suggested_one(state: State, asked: list[Asked]) -> None:
    made = suggest(state, asked, together=True)
    assert len(made) == 8
    assert len({each.arm for each in made}) == 1
    assert len({each.forecast for each in made}) > 1


def test_only_among_the_arms_that_may_be_suggested(state: State, asked: list[Asked]) -> None:
    label = ARMS[-1].label
    assert {each.arm for each in suggest(state, asked, among={label})} == {label}
    with pytest.raises(BanditError, match="the bandit of here has none of the arms"):
        suggest(state, asked, among={"nothing"})


def test_one_that_does_not_fit_refuses_all(state: State, asked: list[Asked]) -> None:
    other = replace(asked[-1], schema=7)
    with pytest.raises(BanditError, match="reads features of schema 1, but is given schema 7"):
        suggest(state, [*asked, other])
    short = replace(asked[-1], values=asked[-1].values[1:])
    with pytest.raises(BanditError, match=f"are not {len(asked[-1].names)} numbers"):
        suggest(state, [*asked, short])
