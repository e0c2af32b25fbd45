"""New content: which files go where (`preupload`), and the commit that makes them visible.

A commit is checked whole before anything changes: every large file it names must be here, complete.
Knows nothing about how the large files were uploaded.
"""

import base64
from collections.abc import Iterator
from fnmatch import fnmatch

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from simmerge_hub.localhub import names
from simmerge_hub.localhub.api import access
from simmerge_hub.localhub.api.exchange import (
    LARGEST_BODY,
    flag,
    json_object,
    objects,
    rooms,
    text,
    with_bytes,
    with_json,
)
from simmerge_hub.localhub.api.repos import web_url
from simmerge_hub.localhub.errors import Refused, RevisionNotFound, StaleParent
from simmerge_hub.localhub.store.accounts import User
from simmerge_hub.localhub.store.blobs import Blobs
from simmerge_hub.localhub.store.discussions import advance, open_discussion
from simmerge_hub.localhub.store.history import (
    Commit,
    Edit,
    Files,
    Put,
    Remove,
    RemoveFolder,
    apply_edits,
    lfs_entry,
    new_commit,
    plain_entry,
)
from simmerge_hub.localhub.store.repositories import SHORTEST_ID, Repository

LARGEST_REGULAR = 10 * 2**20
LARGEST_COMMIT = 512 * 2**20
"""Bytes of a commit with its regular files; it is read by those who may commit."""
MOST_PATTERNS = 1000
LARGE_MARK = "filter=lfs"


def preupload(request: Request, payload: dict) -> Response:
    """POST /api/{kind}/{id}/preupload/{revision}: which files travel as large ones"""
    repository, _ = access.committable(request)
    files = access.snapshot(request, repository).files
    patterns = _large_patterns(files, rooms(request).blobs)
    wanted = objects(payload, "files")
    return JSONResponse({"files": [_mode(one, files, patterns) for one in wanted]})


def _mode(wanted: dict, files: Files, patterns: list[str]) -> dict:
    path = names.file_path(text(wanted, "path"))
    size = wanted.get("size")
    large = (isinstance(size, int) and size > LARGEST_REGULAR) or _is_binary(wanted)
    large |= any(
        fnmatch(path, pattern) or fnmatch(path.rpartition("/")[2], pattern) for pattern in patterns
    )
    answer = {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
    return answer | ({"oid": files[path].etag} if path in files else {})


def _is_binary(wanted: dict) -> bool:
    return b"\0" in _decode(text(wanted, "sample", ""))


def _large_patterns(files: Files, blobs: Blobs) -> list[str]:
    """The name patterns that the repository's `.gitattributes` marks as large."""
    if ".gitattributes" not in files:
        return []
    if files[".gitattributes"].size > LARGEST_BODY:
        return []
    lines = blobs.read(files[".gitattributes"].sha256).decode(errors="replace").splitlines()
    patterns = [line.split()[0] for line in lines if LARGE_MARK in line.split()[1:]]
    return patterns[:MOST_PATTERNS]


def commit(request: Request, body: bytes) -> Response:
    """POST /api/{kind}/{id}/commit/{revision}[?create_pr=1], one JSON document a line"""
    repository, user = access.committable(request)
    lines = [json_object(line) for line in body.splitlines() if line.strip()]
    header = next((_value(line) for line in lines if line.get("key") == "header"), {})
    edits = list(_edits(request, lines, user))

    def add_commit(now: Repository) -> Repository:
        parent = _parent(request, now, text(header, "parentCommit", ""))
        head = _on_top_of(parent, header, edits, user)
        rooms(request).repositories.keep(now, head)
        if flag(request, "create_pr"):
            return open_discussion(now, user.name, _title(header), base=parent.oid, head=head)
        return advance(now, _reference(request, now), head)

    after = rooms(request).repositories.change(repository.kind, repository.id, add_commit)
    return JSONResponse(_receipt(request, after))


def _parent(request: Request, repository: Repository, expected: str) -> Commit:
    """The commit to build on, which must still be the one the client expects, if it says so."""
    head = access.snapshot(request, repository)
    if not expected or (head.oid.startswith(expected) and len(expected) >= SHORTEST_ID):
        return head
    if flag(request, "create_pr"):
        return rooms(request).repositories.at(repository, names.revision(expected))
    raise StaleParent(f"A commit has happened since {expected}: refresh and try again")


def _on_top_of(parent: Commit, header: dict, edits: list[Edit], user: User) -> Commit:
    return new_commit(
        parent=parent.oid,
        title=_title(header),
        message=text(header, "description", ""),
        author=user.name,
        files=apply_edits(parent.files, edits),
    )


def _reference(request: Request, repository: Repository) -> str:
    """The reference a commit moves: only branches and pull requests can be committed to."""
    revision = access.revision(request).removeprefix("refs/heads/")
    reference = revision if revision.startswith("refs/pr/") else f"refs/heads/{revision}"
    if reference not in repository.references():
        raise RevisionNotFound(
            f"{revision} is neither a branch nor a pull request of {repository.id}"
        )
    return reference


def _receipt(request: Request, repository: Repository) -> dict:
    """What the client is told of the commit that the repository was just changed by."""
    url = web_url(request, repository.kind, repository.id)
    if flag(request, "create_pr"):
        talk = repository.discussions[-1]
        oid, pull = talk.head, {"pullRequestUrl": f"{url}/discussions/{talk.num}"}
    else:
        oid, pull = repository.references()[_reference(request, repository)], {}
    return {"success": True, "commitOid": oid, "commitUrl": f"{url}/commit/{oid}", **pull}


def _title(header: dict) -> str:
    return text(header, "summary", "").strip() or "Update"


def _edits(request: Request, lines: list[dict], user: User) -> Iterator[Edit]:
    blobs = rooms(request).blobs
    for line in lines:
        value = _value(line)
        match line.get("key"):
            case "header":
                continue
            case "file":
                yield _regular(value, blobs)
            case "lfsFile":
                yield _large(request, value, user)
            case "deletedFile":
                yield Remove(_path(value))
            case "deletedFolder":
                yield RemoveFolder(_path(value))
            case other:
                raise Refused(f"unknown operation {other!r} in commit")


def _regular(value: dict, blobs: Blobs) -> Put:
    path, content = _path(value), text(value, "content")
    data = _decode(content) if value.get("encoding") == "base64" else content.encode()
    return Put(path, plain_entry(data, blobs.add(data)))


def _decode(content: str) -> bytes:
    try:
        return base64.b64decode(content, validate=True)
    except ValueError:
        raise Refused("content that is not valid base64") from None


def _large(request: Request, value: dict, user: User) -> Put:
    path, sha256 = _path(value), names.sha256(text(value, "oid"))
    size = rooms(request).blobs.size(sha256)
    known = size is not None and value.get("size", size) == size
    if size is None or not known or not access.may_commit(request, user, sha256):
        raise Refused(f"{path} was not uploaded: no object {sha256} of {value.get('size')} bytes")
    return Put(path, lfs_entry(sha256, size))


def _path(value: dict) -> str:
    return names.file_path(text(value, "path"))


def _value(line: dict) -> dict:
    value = line.get("value")
    if not isinstance(value, dict):
        raise Refused("every line of a commit needs a 'value' object")
    return value


def squash(request: Request, payload: dict) -> Response:
    """POST /api/{kind}/{id}/super-squash/{revision}: forget the history of a branch"""
    repository, user = access.writable(request)

    def forget_history(now: Repository) -> Repository:
        files, title = access.snapshot(request, now).files, text(payload, "message", "Squash")
        alone = new_commit(parent=None, title=title, author=user.name, files=files)
        rooms(request).repositories.keep(now, alone)
        return advance(now, _reference(request, now), alone)

    rooms(request).repositories.change(repository.kind, repository.id, forget_history)
    return JSONResponse({})


routes = [
    Route(
        "/api/{kind}/{namespace}/{name}/preupload/{revision}",
        with_json(preupload, authorise=access.committable),
        methods=["POST"],
    ),
    Route(
        "/api/{kind}/{namespace}/{name}/commit/{revision}",
        with_bytes(commit, authorise=access.committable, most=LARGEST_COMMIT),
        methods=["POST"],
    ),
    Route(
        "/api/{kind}/{namespace}/{name}/super-squash/{revision}",
        with_json(squash),
        methods=["POST"],
    ),
]
