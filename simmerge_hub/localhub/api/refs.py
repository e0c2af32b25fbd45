"""Branches and tags.

Knows nothing about what the commits they point to contain.
"""

from collections.abc import Mapping
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from simmerge_hub.localhub import names
from simmerge_hub.localhub.api import access
from simmerge_hub.localhub.api.exchange import flag, path_value, rooms, text, with_json
from simmerge_hub.localhub.errors import AlreadyExists, Forbidden, RevisionNotFound
from simmerge_hub.localhub.store.repositories import Repository


def listing(request: Request) -> Response:
    """GET /api/{kind}/{id}/refs[?include_prs=1]"""
    repository = access.readable(request)
    groups: dict[str, list[dict]] = {"heads": [], "tags": [], "pr": []}
    for reference, oid in repository.references().items():
        group, _, name = reference.removeprefix("refs/").partition("/")
        shown = reference if group == "pr" else name
        groups[group].append({"name": shown, "ref": reference, "targetCommit": oid})
    pulls = {"pullRequests": groups["pr"]} if flag(request, "include_prs") else {}
    return JSONResponse(
        {"branches": groups["heads"], "tags": groups["tags"], "converts": [], **pulls}
    )


def create_branch(request: Request, payload: dict) -> Response:
    """POST /api/{kind}/{id}/branch/{branch}"""
    repository, _ = access.writable(request)
    branch = names.branch(path_value(request, "branch"))
    start = names.revision(text(payload, "startingPoint", "main"))

    def add_branch(now: Repository) -> Repository:
        if branch in now.branches:
            raise AlreadyExists(f"branch {branch} exists")
        return now.with_branch(branch, rooms(request).repositories.at(now, start).oid)

    rooms(request).repositories.change(repository.kind, repository.id, add_branch)
    return JSONResponse({})


def delete_branch(request: Request) -> Response:
    """DELETE /api/{kind}/{id}/branch/{branch}"""
    repository, _ = access.writable(request)
    branch = path_value(request, "branch")
    if branch == "main":
        raise Forbidden("the main branch cannot be deleted")

    def drop_branch(now: Repository) -> Repository:
        return replace(now, branches=_without(now.branches, branch))

    rooms(request).repositories.change(repository.kind, repository.id, drop_branch)
    return JSONResponse({})


def create_tag(request: Request, payload: dict) -> Response:
    """POST /api/{kind}/{id}/tag/{revision}, the tag's name in the body"""
    repository, _ = access.writable(request)
    tag = names.branch(text(payload, "tag"))

    def add_tag(now: Repository) -> Repository:
        if tag in now.tags:
            raise AlreadyExists(f"tag {tag} exists")
        return replace(now, tags={**now.tags, tag: access.snapshot(request, now).oid})

    rooms(request).repositories.change(repository.kind, repository.id, add_tag)
    return JSONResponse({})


def delete_tag(request: Request) -> Response:
    """DELETE /api/{kind}/{id}/tag/{tag}"""
    repository, _ = access.writable(request)
    tag = access.revision(request)

    def drop_tag(now: Repository) -> Repository:
        return replace(now, tags=_without(now.tags, tag))

    rooms(request).repositories.change(repository.kind, repository.id, drop_tag)
    return JSONResponse({})


def _without(references: Mapping[str, str], name: str) -> dict[str, str]:
    if name not in references:
        raise RevisionNotFound(f"no reference {name}")
    return {other: oid for other, oid in references.items() if other != name}


_BRANCH = "/api/{kind}/{namespace}/{name}/branch/{branch}"
_TAG = "/api/{kind}/{namespace}/{name}/tag/{revision}"
routes = [
    Route("/api/{kind}/{namespace}/{name}/refs", listing),
    Route(_BRANCH, with_json(create_branch), methods=["POST"]),
    Route(_BRANCH, delete_branch, methods=["DELETE"]),
    Route(_TAG, with_json(create_tag), methods=["POST"]),
    Route(_TAG, delete_tag, methods=["DELETE"]),
]
