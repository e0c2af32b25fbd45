"""Who am I, may I, and who else may: accounts and the access lists of gated repositories.

Knows nothing about files. Access is granted by name; there is no web form to ask for it.
"""

from dataclasses import replace

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from simmerge_hub.localhub.api import access
from simmerge_hub.localhub.api.exchange import path_value, reply_page, rooms, text, with_json
from simmerge_hub.localhub.errors import Refused
from simmerge_hub.localhub.store.accounts import check_download
from simmerge_hub.localhub.store.history import now as moment
from simmerge_hub.localhub.store.repositories import Repository

REQUEST_STATUSES = ("pending", "accepted", "rejected")


def whoami(request: Request) -> Response:
    """GET /api/whoami-v2"""
    user = access.member(request)
    token = {"displayName": "localhub", "role": "write", "createdAt": "2025-01-01T00:00:00.000Z"}
    facts = {"type": "user", "id": user.name, "name": user.name, "fullname": user.name, "orgs": []}
    return JSONResponse(
        {
            **facts,
            "avatarUrl": "",
            "isPro": False,
            "auth": {"type": "access_token", "accessToken": token},
        }
    )


def auth_check(request: Request) -> Response:
    """GET /api/{kind}/{id}/auth-check[/write]"""
    repository = access.readable(request)
    check_download(access.viewer(request), repository)
    if request.url.path.endswith("/write"):
        access.writable(request)
    return JSONResponse({})


def grant(request: Request, payload: dict) -> Response:
    """POST …/user-access-request/grant"""
    repository, _ = access.writable(request)
    name = _user_name(request, text(payload, "user"))
    if repository.access.get(name, {}).get("status") == "accepted":
        raise Refused(f"{name} already has access to {repository.id}")
    return _decide(request, repository, name, "accepted")


def handle(request: Request, payload: dict) -> Response:
    """POST …/user-access-request/handle: accept, reject, or put back to pending"""
    repository, _ = access.writable(request)
    status = text(payload, "status")
    if status not in REQUEST_STATUSES:
        raise Refused(f"the status must be one of {', '.join(REQUEST_STATUSES)}, not {status!r}")
    return _decide(request, repository, text(payload, "user", payload.get("requestId")), status)


def requests_with(request: Request) -> Response:
    """GET …/user-access-request/{status}"""
    repository, _ = access.writable(request)
    status = path_value(request, "status")
    entries = [
        (name, entry) for name, entry in repository.access.items() if entry["status"] == status
    ]
    return reply_page(request, entries, lambda item: _access_row(*item))


def _decide(request: Request, repository: Repository, name: str, status: str) -> Response:
    if not repository.gated:
        raise Refused(f"{repository.id} is not gated")
    entry = {"status": status, "timestamp": moment()}

    def set_access(now: Repository) -> Repository:
        return replace(now, access={**now.access, name: entry})

    rooms(request).repositories.change(repository.kind, repository.id, set_access)
    return JSONResponse({})


def _user_name(request: Request, name: str) -> str:
    if rooms(request).accounts.by_name(name) is None:
        raise Refused(f"there is no user {name!r}", status=404)
    return name


def _access_row(name: str, entry: dict[str, str]) -> dict:
    return {"requestId": name, "user": {"user": name, "fullname": name}, **entry}


_ACCESS = "/api/{kind}/{namespace}/{name}/user-access-request"
routes = [
    Route("/api/whoami-v2", whoami),
    Route("/api/{kind}/{namespace}/{name}/auth-check", auth_check),
    Route("/api/{kind}/{namespace}/{name}/auth-check/write", auth_check),
    Route(_ACCESS + "/grant", with_json(grant), methods=["POST"]),
    Route(_ACCESS + "/handle", with_json(handle), methods=["POST"]),
    Route(_ACCESS + "/{status}", requests_with),
]
