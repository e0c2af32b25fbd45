"""Discussions and pull requests: each change is one event, and what is merged stays merged."""

import pytest

from simmerge_hub.localhub.errors import EntryNotFound, Refused
from simmerge_hub.localhub.store import discussions, history
from simmerge_hub.localhub.store.history import Commit
from simmerge_hub.localhub.store.repositories import Repository


def commit(title: str = "title", parent: str | None = None) -> Commit:
    return history.new_commit(parent=parent, title=title, author="me", files={})


MAIN = commit()
EMPTY = Repository(kind="models", id="org/x", created_at="now", branches={"main": MAIN.oid})


def kinds(repository: Repository) -> list[str]:
    return [event["type"] for event in repository.discussions[-1].events]


def test_a_discussion_begins_with_what_was_said() -> None:
    after = discussions.open_discussion(EMPTY, "me", "Hello", description="text")
    after = discussions.open_discussion(after, "you", "Again")
    assert [talk.num for talk in after.discussions] == [1, 2]
    assert after.discussions[0].events[0]["data"]["latest"]["raw"] == "text"
    assert not after.discussions[0].is_pull_request and kinds(after) == ["comment"]


def test_a_pull_request_without_changes_is_a_draft() -> None:
    draft = discussions.open_discussion(EMPTY, "me", "PR", base=MAIN.oid, head=MAIN)
    assert (draft.discussions[0].status, kinds(draft)) == ("draft", ["comment"])
    ready = discussions.open_discussion(EMPTY, "me", "PR", base=MAIN.oid, head=commit("new"))
    assert (ready.discussions[0].status, kinds(ready)) == ("open", ["comment", "commit"])


def test_a_branch_or_a_pull_request_advances() -> None:
    head, newer = commit("new"), commit("newer")
    pull = discussions.open_discussion(EMPTY, "me", "PR", base=MAIN.oid, head=head)
    branch = discussions.advance(pull, "refs/heads/side/x", newer)
    assert branch.branches == {"main": MAIN.oid, "side/x": newer.oid}
    after = discussions.advance(pull, "refs/pr/1", newer)
    assert after.branches == EMPTY.branches
    assert after.references()["refs/pr/1"] == newer.oid
    assert after.discussions[0].base == MAIN.oid
    assert kinds(after) == ["comment", "commit", "commit"]


@pytest.mark.parametrize(
    ("steps", "refused"),
    [
        (["closed", "open", "merged"], "open"),
        (["merged"], "closed"),
        (["closed"], "merged"),
    ],
)
def test_statuses_that_follow_and_those_that_do_not(steps: list[str], refused: str) -> None:
    talk = discussions.open_discussion(EMPTY, "me", "Hello").discussions[0]
    for status in steps:
        talk = discussions.with_status(talk, status, "me")
        assert talk.status == talk.events[-1]["data"]["status"] == status
    with pytest.raises(Refused, match=f"is {steps[-1]} and cannot become '{refused}'"):
        discussions.with_status(talk, refused, "me")


def test_a_new_title_keeps_the_old_one_in_its_event() -> None:
    talk = discussions.open_discussion(EMPTY, "me", "Old").discussions[0]
    renamed = discussions.with_title(talk, "New", "you")
    assert renamed.title == "New"
    assert renamed.events[-1]["data"] == {"from": "Old", "to": "New"}
    assert renamed.events[-1]["author"] == {"name": "you"}


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(EntryNotFound, match="no discussion 1 in org/x"):
        discussions.find(EMPTY, 1)
