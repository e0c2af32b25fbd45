"""Discussions and pull requests over HTTP.

Knows nothing about how a pull request gets its commits; see `commits`.
"""

from collections.abc import Callable
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from simmerge_hub.localhub import names
from simmerge_hub.localhub.api import access
from simmerge_hub.localhub.api.exchange import number, path_value, rooms, text, with_json
from simmerge_hub.localhub.errors import Forbidden, Refused
from simmerge_hub.localhub.store import discussions
from simmerge_hub.localhub.store.accounts import User
from simmerge_hub.localhub.store.history import find_conflicts, merge_trees, new_commit
from simmerge_hub.localhub.store.repositories import Discussion, Repositories, Repository

TALKS_A_PAGE = 50
DISCUSSION_KINDS = {"pull_request": True, "discussion": False}


def listing(request: Request) -> Response:
    """GET /api/{kind}/{id}/discussions"""
    repository, query = access.readable(request), request.query_params
    talks = [
        talk
        for talk in reversed(repository.discussions)
        if query.get("author", talk.author) == talk.author
    ]
    if query.get("type") in DISCUSSION_KINDS:
        talks = [talk for talk in talks if talk.is_pull_request == DISCUSSION_KINDS[query["type"]]]
    if query.get("status") in ("open", "closed"):
        talks = [
            talk
            for talk in talks
            if (talk.status in ("open", "draft")) == (query["status"] == "open")
        ]
    start = TALKS_A_PAGE * number(request, "p", 0, most=10**6)
    page = [_brief(repository, talk) for talk in talks[start : start + TALKS_A_PAGE]]
    return JSONResponse({"discussions": page, "count": len(talks), "start": start})


def create(request: Request, payload: dict) -> Response:
    """POST /api/{kind}/{id}/discussions: any reader may start one"""
    repository, user = access.readable(request), access.member(request)
    title, description = text(payload, "title"), text(payload, "description", "")
    if len(title) < 3:
        raise Refused("the title needs at least 3 characters")

    def start(now: Repository) -> Repository:
        if not payload.get("pullRequest"):
            return discussions.open_discussion(now, user.name, title, description=description)
        head = rooms(request).repositories.at(now, "main")
        return discussions.open_discussion(
            now, user.name, title, description=description, base=head.oid, head=head
        )

    after = rooms(request).repositories.change(repository.kind, repository.id, start)
    return JSONResponse(_brief(after, after.discussions[-1]))


def details(request: Request) -> Response:
    """GET /api/{kind}/{id}/discussions/{num}"""
    repository = access.readable(request)
    talk = discussions.find(repository, _num(request))
    facts = _brief(repository, talk) | {"events": list(talk.events)}
    if talk.is_pull_request:
        clashes = [] if talk.merged else _conflicts(rooms(request).repositories, repository, talk)
        facts["changes"] = {"base": "refs/heads/main", "mergeCommitId": talk.merged}
        facts["filesWithConflicts"] = clashes
    return JSONResponse(facts)


def comment(request: Request, payload: dict) -> Response:
    """POST …/discussions/{num}/comment: any reader may"""
    repository, user = access.readable(request), access.member(request)
    event = discussions.comment_event(user.name, text(payload, "comment"))
    _change(request, repository, lambda talk: discussions.with_event(talk, event))
    return JSONResponse({"newMessage": event})


def rename(request: Request, payload: dict) -> Response:
    """POST …/discussions/{num}/title"""
    repository, user = _moderate(request)
    title = text(payload, "title")
    talk = _change(request, repository, lambda talk: discussions.with_title(talk, title, user.name))
    return JSONResponse({"newTitle": talk.events[-1]})


def status(request: Request, payload: dict) -> Response:
    """POST …/discussions/{num}/status"""
    repository, user = _moderate(request)
    if (wanted := text(payload, "status")) not in ("open", "closed"):
        raise Refused(f"the status must be 'open' or 'closed', not {wanted!r}")

    def set_status(talk: Discussion) -> Discussion:
        if remark := text(payload, "comment", ""):
            talk = discussions.with_event(talk, discussions.comment_event(user.name, remark))
        return discussions.with_status(talk, wanted, user.name)

    return JSONResponse({"newStatus": _change(request, repository, set_status).events[-1]})


def merge(request: Request, payload: dict) -> Response:
    """POST …/discussions/{num}/merge: bring the files a pull request changed to `main`"""
    repository, user = access.writable(request)

    def merge_pull_request(now: Repository) -> Repository:
        talk = discussions.find(now, _num(request))
        main, files = _merge(rooms(request).repositories, now, talk)
        title = f"{talk.title} (#{talk.num})"
        commit = new_commit(parent=main, title=title, author=user.name, files=files)
        rooms(request).repositories.keep(now, commit)
        talk = replace(discussions.with_status(talk, "merged", user.name), merged=commit.oid)
        return now.with_branch("main", commit.oid).with_discussion(talk)

    rooms(request).repositories.change(repository.kind, repository.id, merge_pull_request)
    return JSONResponse({})


def _merge(store: Repositories, repository: Repository, talk: Discussion) -> tuple[str, dict]:
    if talk.head is None or talk.base is None:
        raise Refused(f"discussion {talk.num} is not a pull request")
    main = store.at(repository, "main")
    base, head = store.commit(repository, talk.base), store.commit(repository, talk.head)
    return main.oid, merge_trees(base.files, main.files, head.files)


def _conflicts(store: Repositories, repository: Repository, talk: Discussion) -> list[str]:
    base, head = (store.commit(repository, oid).files for oid in (talk.base, talk.head) if oid)
    return find_conflicts(base, store.at(repository, "main").files, head)


def _moderate(request: Request) -> tuple[Repository, User]:
    """A repository whose discussion the user started, or may moderate."""
    repository, user = access.readable(request), access.member(request)
    talk = discussions.find(repository, _num(request))
    if user.name != talk.author and not user.may_write(repository.namespace):
        raise Forbidden(f"{user.name} did not start discussion {talk.num}")
    return repository, user


def _change(
    request: Request, repository: Repository, how: Callable[[Discussion], Discussion]
) -> Discussion:
    num = _num(request)
    after = rooms(request).repositories.change(
        repository.kind,
        repository.id,
        lambda now: now.with_discussion(how(discussions.find(now, num))),
    )
    return discussions.find(after, num)


def _num(request: Request) -> int:
    value = path_value(request, "num")
    if not value.isdecimal() or len(value) > 9:
        raise Refused(f"not a discussion number: {value!r}")
    return int(value)


def _brief(repository: Repository, talk: Discussion) -> dict:
    return {
        "num": talk.num,
        "title": talk.title,
        "author": {"name": talk.author},
        "createdAt": talk.created_at,
        "status": talk.status,
        "isPullRequest": talk.is_pull_request,
        "repo": {"name": repository.id, "type": names.REPO_KINDS[repository.kind]},
    }


_TALK = "/api/{kind}/{namespace}/{name}/discussions"
routes = [
    Route(_TALK, listing, methods=["GET"]),
    Route(_TALK, with_json(create), methods=["POST"]),
    Route(_TALK + "/{num}", details),
    Route(_TALK + "/{num}/comment", with_json(comment), methods=["POST"]),
    Route(_TALK + "/{num}/title", with_json(rename), methods=["POST"]),
    Route(_TALK + "/{num}/status", with_json(status), methods=["POST"]),
    Route(_TALK + "/{num}/merge", with_json(merge), methods=["POST"]),
]
