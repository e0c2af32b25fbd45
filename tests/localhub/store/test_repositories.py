"""Repositories: what a revision names, what a change keeps, and what writers at once do."""

import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from simmerge_hub.localhub.errors import AlreadyExists, RepoNotFound, RevisionNotFound
from simmerge_hub.localhub.store import durable, history
from simmerge_hub.localhub.store.history import Commit
from simmerge_hub.localhub.store.repositories import Discussion, Repositories, Repository


@pytest.fixture
def repositories(tmp_path: Path) -> Repositories:
    durable.make_folder(tmp_path / "staging")
    return Repositories(tmp_path / "repos", tmp_path / "staging")


def commit(parent: str | None = None, title: str = "title") -> Commit:
    return history.new_commit(parent=parent, title=title, author="me", files={})


def create(repositories: Repositories, name: str = "org/x") -> tuple[Repository, Commit]:
    first = commit()
    repository = Repository(
        kind="models", id=name, created_at=history.now(), branches={"main": first.oid}
    )
    repositories.create(repository, first)
    return repository, first


def test_every_field_is_read_as_it_was_written() -> None:
    talk = Discussion(
        num=1, title="t", author="a", created_at="now", status="open", base="b", head="h",
        events=({"id": "1"}, {"id": "2"}),
    )  # fmt: skip
    access: Mapping[str, dict[str, str]] = {"me": {"status": "accepted"}}
    whole = Repository(
        kind="spaces", id="org/x", created_at="now", private=True, gated="auto", sdk="gradio",
        branches={"main": "1"}, tags={"v1": "2"}, discussions=(talk,), access=access,
        variables={"a": {"key": "a"}}, secrets={"b": {"key": "b"}},
    )  # fmt: skip
    assert Repository.decode("spaces", "org/x", whole.encode()) == whole


def test_a_revision_is_a_branch_before_a_tag_before_a_full_reference(
    repositories: Repositories,
) -> None:
    repository, first = create(repositories)
    second, third = commit(first.oid, "second"), commit(first.oid, "third")
    for each in (second, third):
        repositories.keep(repository, each)
    talk = Discussion(num=1, title="t", author="a", created_at="now", status="open", head=third.oid)
    named = replace(
        repository, branches={"main": first.oid, "v1": second.oid}, tags={"v1": third.oid}
    ).with_discussion(talk)
    assert repositories.at(named, "v1") == second
    assert repositories.at(named, "refs/tags/v1") == third
    assert repositories.at(named, "refs/heads/main") == first
    assert repositories.at(named, "refs/pr/1") == third
    assert repositories.at(named, second.oid) == second
    for missing in ("v2", "refs/pr/2", "0" * 40, "main/../main"):
        with pytest.raises(RevisionNotFound):
            repositories.at(named, missing)


def test_the_log_is_a_commit_and_its_ancestors(repositories: Repositories) -> None:
    repository, first = create(repositories)
    second = commit(first.oid, "second")
    repositories.keep(repository, second)
    assert list(repositories.log(repository, second.oid)) == [second, first]
    assert list(repositories.log(repository, None)) == []


def test_a_name_is_taken_once(repositories: Repositories) -> None:
    create(repositories)
    create(repositories, "org/other")
    with pytest.raises(AlreadyExists, match="org/x already exists"):
        create(repositories)
    with pytest.raises(AlreadyExists, match="org/x already exists"):
        repositories.move("models", "org/other", "org/x")
    assert [each.id for each in repositories.every("models")] == ["org/other", "org/x"]
    assert list(repositories.every("datasets")) == []


def test_a_move_takes_the_commits_along(repositories: Repositories) -> None:
    _, first = create(repositories)
    repositories.move("models", "org/x", "elsewhere/y")
    moved = repositories.get("models", "elsewhere/y")
    assert repositories.at(moved, "main") == first
    with pytest.raises(RepoNotFound):
        repositories.get("models", "org/x")


def test_discussions_stay_in_order_when_one_is_replaced() -> None:
    talks = [
        Discussion(num=n, title="t", author="a", created_at="now", status="open") for n in (1, 2)
    ]
    repository = Repository(kind="models", id="org/x", created_at="now", discussions=tuple(talks))
    changed = repository.with_discussion(replace(talks[0], status="closed"))
    assert [(talk.num, talk.status) for talk in changed.discussions] == [(1, "closed"), (2, "open")]
    assert changed.discussion(3) is None


def test_changes_at_once_lose_nothing(repositories: Repositories) -> None:
    create(repositories)

    def tag(number: int) -> None:
        for i in range(10):
            name = f"{number}.{i}"
            repositories.change(
                "models", "org/x", lambda now, n=name: replace(now, tags={**now.tags, n: n})
            )

    threads = [threading.Thread(target=tag, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(repositories.get("models", "org/x").tags) == 40
