"""What is in a repository at a revision: trees, paths, history, and the bytes of the files.

Knows nothing about how files got there.
"""

from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from simmerge_hub.localhub import info, names
from simmerge_hub.localhub.api import access
from simmerge_hub.localhub.api.exchange import flag, path_value, reply_page, rooms, with_bytes
from simmerge_hub.localhub.errors import EntryNotFound, Refused
from simmerge_hub.localhub.store.history import Commit, Entry, folder_id, folders
from simmerge_hub.localhub.store.repositories import Repository


def tree(request: Request) -> Response:
    """GET /api/{kind}/{id}/tree/{revision}[/{path}]"""
    repository = access.readable(request)
    commit = access.snapshot(request, repository)
    folder = names.file_path(path_value(request, "path")) if "path" in request.path_params else ""
    paths = _below(folder, commit)
    if not flag(request, "recursive"):
        depth = folder.count("/") + 1 if folder else 0
        paths = [path for path in paths if path.count("/") == depth]
    touched = _last_commits(request, repository, commit) if flag(request, "expand") else {}
    return reply_page(request, paths, lambda path: _row(path, commit, touched))


def _below(folder: str, commit: Commit) -> list[str]:
    """Every file and folder in a folder, at any depth; everything for the empty name."""
    inner = folders(commit.files)
    if folder and folder not in inner:
        raise EntryNotFound(f"no folder {folder} at {commit.oid}")
    prefix = f"{folder}/" if folder else ""
    return sorted(path for path in {*commit.files, *inner} if path.startswith(prefix))


def paths_info(request: Request, body: bytes) -> Response:
    """POST /api/{kind}/{id}/paths-info/{revision}, form-encoded"""
    repository = access.readable(request)
    commit = access.snapshot(request, repository)
    form = parse_qs(body.decode(errors="replace"))
    known = {*commit.files, *folders(commit.files)}
    paths = [path.rstrip("/") for path in form.get("paths", [])]
    expand = form.get("expand", ["false"])[0].lower() in ("1", "true")
    touched = _last_commits(request, repository, commit) if expand else {}
    return JSONResponse([_row(path, commit, touched) for path in paths if path in known])


def commits(request: Request) -> Response:
    """GET /api/{kind}/{id}/commits/{revision}"""
    repository = access.readable(request)
    head = access.snapshot(request, repository)
    return reply_page(
        request, list(rooms(request).repositories.log(repository, head.oid)), _commit_row
    )


def resolve(request: Request) -> Response:
    """GET or HEAD /[{kind}/]{id}/resolve/{revision}/{path}; Range requests are answered with 206"""
    repository = access.downloadable(request)
    commit = access.snapshot(request, repository)
    path = names.file_path(path_value(request, "path"))
    entry = commit.files.get(path)
    if entry is None:
        raise EntryNotFound(
            f"no file {path} at {commit.oid}", headers={"X-Repo-Commit": commit.oid}
        )
    blob = rooms(request).blobs.path(entry.sha256)
    return FileResponse(
        blob,
        headers=_file_headers(entry, commit),
        media_type="application/octet-stream" if entry.lfs else "text/plain; charset=utf-8",
        filename=path.rpartition("/")[2],
        content_disposition_type="inline",
    )


def shards(request: Request) -> Response:
    """GET /api/models/{id}/safetensors-metadata/{path}: the headers of all shards, of main"""
    repository = access.downloadable(request)
    commit = access.snapshot(request, repository)
    path = names.file_path(path_value(request, "path"))
    if path not in commit.files:
        raise EntryNotFound(f"no file {path} at {commit.oid}")
    try:
        return JSONResponse(info.shard_headers(commit.files, path, rooms(request).blobs))
    except ValueError as error:
        raise Refused(f"{path} is no index of safetensors files: {error}") from error


def _file_headers(entry: Entry, commit: Commit) -> dict[str, str]:
    headers = {
        "ETag": f'"{entry.etag}"',
        "X-Repo-Commit": commit.oid,
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-cache",
    }
    if entry.lfs:
        headers |= {"X-Linked-Etag": f'"{entry.sha256}"', "X-Linked-Size": str(entry.size)}
    return headers


def _row(path: str, commit: Commit, touched: dict[str, Commit]) -> dict:
    entry = commit.files.get(path)
    row: dict = {"type": "directory" if entry is None else "file", "path": path, "size": 0}
    row["oid"] = folder_id(commit.files, path) if entry is None else entry.oid
    if entry is not None:
        row["size"] = entry.size
    if entry is not None and entry.lfs:
        row["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": entry.pointer_size}
    if path in touched:
        last = touched[path]
        row["lastCommit"] = {"id": last.oid, "title": last.title, "date": last.date}
    return row


def _last_commits(request: Request, repository: Repository, head: Commit) -> dict[str, Commit]:
    """For every file and folder, the newest commit since which it has not changed."""
    last: dict[str, Commit] = {}
    newer = head
    pending = {*head.files}
    for commit in rooms(request).repositories.log(repository, head.oid):
        changed = {path for path in pending if commit.files.get(path) != head.files[path]}
        last |= dict.fromkeys(changed, newer)
        pending -= changed
        newer = commit
    last |= dict.fromkeys(pending, newer)
    by_date = sorted(last.items(), key=lambda item: item[1].date)
    return {folder: commit for path, commit in by_date for folder in folders([path])} | last


def _commit_row(commit: Commit) -> dict:
    return {
        "id": commit.oid,
        "title": commit.title,
        "message": commit.message,
        "authors": [{"user": commit.author}],
        "date": commit.date,
        "formatted": {"title": commit.title, "message": commit.message},
    }


routes = [
    Route("/api/{kind}/{namespace}/{name}/tree/{revision}", tree),
    Route("/api/{kind}/{namespace}/{name}/tree/{revision}/{path:path}", tree),
    Route(
        "/api/{kind}/{namespace}/{name}/paths-info/{revision}",
        with_bytes(paths_info, authorise=access.readable),
        methods=["POST"],
    ),
    Route("/api/{kind}/{namespace}/{name}/commits/{revision}", commits),
    Route("/api/models/{namespace}/{name}/safetensors-metadata/{path:path}", shards),
    Route("/{namespace}/{name}/resolve/{revision}/{path:path}", resolve),
    Route("/{kind}/{namespace}/{name}/resolve/{revision}/{path:path}", resolve),
]
