"""Who reaches a repository: each door alone, for the owner of a namespace, others, and nobody."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request

from simmerge_hub.localhub.api import access
from simmerge_hub.localhub.application import application
from simmerge_hub.localhub.errors import Forbidden, GatedRepo, LoginRequired, Refused, RepoNotFound
from simmerge_hub.localhub.store import discussions, history
from simmerge_hub.localhub.store.repositories import Repositories, Repository

TOKENS = {"org": "hf_org", "guest": "hf_guest"}
Door = Callable[[Request], Any]
DOORS: tuple[Door, ...] = (
    access.readable, access.downloadable, access.writable, access.committable,
)  # fmt: skip


@pytest.fixture
def app(tmp_path: Path) -> Starlette:
    app = application(tmp_path, TOKENS)
    first = history.new_commit(parent=None, title="first", author="org", files={})
    repository = Repository(
        kind="models", id="org/x", created_at=history.now(), branches={"main": first.oid}
    )
    app.state.rooms.repositories.create(repository, first)
    return app


def change(app: Starlette, **fields: Any) -> None:
    repositories: Repositories = app.state.rooms.repositories
    repositories.change("models", "org/x", lambda now: replace(now, **fields))


def request(app: Starlette, user: str = "", query: str = "", **path: str) -> Request:
    token = [(b"authorization", f"Bearer {TOKENS[user]}".encode())] if user else []
    return Request(
        {
            "type": "http",
            "app": app,
            "path": "/",
            "path_params": {"namespace": "org", "name": "x", **path},
            "query_string": query.encode(),
            "headers": token,
        }
    )


def opens(door: Door, request: Request) -> type[Exception] | None:
    """What a door raises; None if it opens."""
    try:
        door(request)
    except Refused as refused:
        return type(refused)
    return None


@pytest.mark.parametrize(
    ("state", "user", "expected"),
    [
        ({}, "org", (None, None, None, None)),
        ({}, "guest", (None, None, Forbidden, Forbidden)),
        ({}, "", (None, None, LoginRequired, LoginRequired)),
        ({"gated": "auto"}, "org", (None, None, None, None)),
        ({"gated": "auto"}, "guest", (None, GatedRepo, Forbidden, Forbidden)),
        ({"gated": "auto"}, "", (None, GatedRepo, LoginRequired, LoginRequired)),
        ({"private": True}, "org", (None, None, None, None)),
        ({"private": True}, "guest", (RepoNotFound,) * 4),
        ({"private": True}, "", (RepoNotFound,) * 4),
    ],
)
def test_who_passes_which_door(
    app: Starlette, state: dict, user: str, expected: tuple[type[Exception] | None, ...]
) -> None:
    change(app, **state)
    assert tuple(opens(door, request(app, user)) for door in DOORS) == expected


def test_a_reader_commits_to_pull_requests_of_their_own_only(app: Starlette) -> None:
    repositories: Repositories = app.state.rooms.repositories
    head = repositories.at(repositories.get("models", "org/x"), "main")

    def open_two(now: Repository) -> Repository:
        for author in ("guest", "org"):
            now = discussions.open_discussion(now, author, "PR", base=head.oid, head=head)
        return discussions.open_discussion(now, "guest", "no pull request")

    repositories.change("models", "org/x", open_two)
    reached = {
        number: opens(access.committable, request(app, "guest", revision=f"refs%2Fpr%2F{number}"))
        for number in (1, 2, 3)
    }
    assert reached == {1: None, 2: Forbidden, 3: Forbidden}
    assert opens(access.committable, request(app, "guest", "create_pr=1")) is None
    assert opens(access.committable, request(app, "", "create_pr=1")) is LoginRequired
    assert opens(access.committable, request(app, "guest", revision="main")) is Forbidden


@pytest.mark.parametrize(
    "path", [{"name": "y"}, {"namespace": "..%2F.."}, {"name": "%FF"}, {"kind": "datasets"}]
)
def test_a_visitor_is_told_to_log_in_where_a_user_is_told_there_is_nothing(
    app: Starlette, path: dict[str, str]
) -> None:
    for user, status in (("", 401), ("org", 404)):
        with pytest.raises(RepoNotFound) as refused:
            access.readable(request(app, user, **path))
        assert refused.value.status == status


def test_a_kind_there_is_not(app: Starlette) -> None:
    assert access.kind(request(app)) == "models"
    with pytest.raises(Refused, match="localhub has no 'papers'") as refused:
        access.kind(request(app, kind="papers"))
    assert refused.value.status == 404
