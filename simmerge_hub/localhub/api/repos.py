"""Repositories as such: create, delete, move, settings, describe, list.

Knows nothing about the files in them.
"""

from dataclasses import replace

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from simmerge_hub.localhub import info, names
from simmerge_hub.localhub.api import access
from simmerge_hub.localhub.api.exchange import base_url, flag, reply_page, rooms, text, with_json
from simmerge_hub.localhub.errors import AlreadyExists, Refused
from simmerge_hub.localhub.store.accounts import User, check_read, check_write
from simmerge_hub.localhub.store.history import new_commit, now, plain_entry
from simmerge_hub.localhub.store.repositories import Repository

LARGE_FILES = "7z arrow bin bz2 ckpt ftz gguf gz h5 joblib mlmodel model msgpack npy npz onnx ot parquet pb pickle pkl pt pth rar safetensors tar tflite tgz wasm xz zip zst wav flac mp3 ogg png jpg jpeg gif webp mp4"  # noqa: E501
ATTRIBUTES = "".join(
    f"*.{ending} filter=lfs diff=lfs merge=lfs -text\n" for ending in LARGE_FILES.split()
)


def web_url(request: Request, kind: str, repo_id: str) -> str:
    """The address a browser would have for a repository."""
    prefix = "" if kind == "models" else f"{kind}/"
    return f"{base_url(request)}/{prefix}{repo_id}"


def create(request: Request, payload: dict) -> Response:
    """POST /api/repos/create"""
    user = access.member(request)
    repo_id = _repo_id(payload, user)
    check_write(user, repo_id.partition("/")[0])
    kind = names.kind_of(payload.get("type"))
    files = {
        ".gitattributes": plain_entry(
            ATTRIBUTES.encode(), rooms(request).blobs.add(ATTRIBUTES.encode())
        )
    }
    first = new_commit(parent=None, title="initial commit", author=user.name, files=files)
    repository = Repository(
        kind=kind,
        id=repo_id,
        created_at=now(),
        private=_private(payload) or False,
        sdk=payload.get("sdk"),
        branches={"main": first.oid},
    )
    url = web_url(request, kind, repo_id)
    try:
        rooms(request).repositories.create(repository, first)
    except AlreadyExists:
        # `exist_ok=True` reads the url from this reply too.
        message = f"You already created this {names.REPO_KINDS[kind]} repo: {repo_id}"
        return JSONResponse({"error": message, "url": url}, 409)
    return JSONResponse({"url": url, "name": repo_id, "id": repo_id})


def delete(request: Request, payload: dict) -> Response:
    """DELETE /api/repos/delete"""
    user = access.member(request)
    repo_id, kind = _repo_id(payload, user), names.kind_of(payload.get("type"))
    _check_owned(request, user, kind, repo_id)
    rooms(request).repositories.delete(kind, repo_id)
    return JSONResponse({})


def move(request: Request, payload: dict) -> Response:
    """POST /api/repos/move"""
    user = access.member(request)
    kind = names.kind_of(payload.get("type"))
    old, new = (_split(text(payload, key)) for key in ("fromRepo", "toRepo"))
    _check_owned(request, user, kind, old)
    check_write(user, new.partition("/")[0])
    rooms(request).repositories.move(kind, old, new)
    return JSONResponse({"url": web_url(request, kind, new)})


def settings(request: Request, payload: dict) -> Response:
    """PUT /api/{kind}/{id}/settings"""
    repository, _ = access.writable(request)
    gated, private = payload.get("gated"), _private(payload)
    if gated not in (None, False, "auto", "manual"):
        raise Refused(f"gated must be 'auto', 'manual' or false, not {gated!r}")

    def apply_settings(now: Repository) -> Repository:
        return replace(
            now,
            gated=now.gated if gated is None else gated,
            private=now.private if private is None else private,
        )

    after = rooms(request).repositories.change(repository.kind, repository.id, apply_settings)
    return JSONResponse({"private": after.private, "gated": after.gated})


def describe(request: Request) -> Response:
    """GET /api/{kind}/{id}[/revision/{revision}]"""
    repository = access.readable(request)
    commit = access.snapshot(request, repository)
    facts = info.describe(repository, commit, rooms(request).blobs, sizes=flag(request, "blobs"))
    if flag(request, "securityStatus"):
        facts["securityRepoStatus"] = {"scansDone": False, "filesWithIssues": []}
    return JSONResponse(info.choose(facts, _expand(request)))


def listing(request: Request) -> Response:
    """GET /api/{kind}, filtered, sorted and in pages"""
    kind, query = access.kind(request), request.query_params
    listed = access.visible(request, kind)
    listed = [repo for repo in listed if query.get("author", repo.namespace) == repo.namespace]
    listed = [repo for repo in listed if query.get("search", "").lower() in repo.id.lower()]
    facts = [_facts(request, repo) for repo in listed]
    wanted = {*query.getlist("filter"), *query.getlist("pipeline_tag")}
    facts = [
        each
        for each in facts
        if wanted <= {*each["tags"]} and _gate_matches(query.get("gated"), each)
    ]
    if query.get("sort") in ("lastModified", "createdAt"):
        facts.sort(key=lambda each: each[query["sort"]], reverse=True)
    return reply_page(request, facts, lambda each: _list_row(request, each))


def _facts(request: Request, repository: Repository) -> dict:
    commit = rooms(request).repositories.at(repository, "main")
    return info.describe(repository, commit, rooms(request).blobs)


def _list_row(request: Request, facts: dict) -> dict:
    if expand := _expand(request):
        return info.choose(facts, expand)
    return info.brief(facts, full=flag(request, "full"), card=flag(request, "cardData"))


def _expand(request: Request) -> list[str]:
    return [*request.query_params.getlist("expand"), *request.query_params.getlist("expand[]")]


def _gate_matches(wanted: str | None, facts: dict) -> bool:
    return wanted is None or (wanted.lower() == "true") == bool(facts["gated"])


def _check_owned(request: Request, user: User, kind: str, repo_id: str) -> None:
    """RepoNotFound or Forbidden unless the repository named in a body exists and is the user's."""
    repository = rooms(request).repositories.get(kind, repo_id)
    check_read(user, repository)
    check_write(user, repository.namespace)


def _repo_id(payload: dict, user: User) -> str:
    return names.repo_id(text(payload, "organization", user.name), text(payload, "name"))


def _split(repo_id: str) -> str:
    namespace, _, name = repo_id.partition("/")
    return names.repo_id(namespace, name)


def _private(payload: dict) -> bool | None:
    if "visibility" in payload:
        return payload["visibility"] == "private"
    return payload.get("private")


routes = [
    Route("/api/repos/create", with_json(create), methods=["POST"]),
    Route("/api/repos/delete", with_json(delete), methods=["DELETE"]),
    Route("/api/repos/move", with_json(move), methods=["POST"]),
    Route("/api/{kind}", listing),
    Route("/api/{kind}/{namespace}/{name}", describe),
    Route("/api/{kind}/{namespace}/{name}/revision/{revision}", describe),
    Route("/api/{kind}/{namespace}/{name}/settings", with_json(settings), methods=["PUT"]),
]
