"""What is particular to Spaces: variables, secrets and the state of the app, which localhub never
runs.

The values of secrets are not stored: nothing here could use them.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from simmerge_hub.localhub import info
from simmerge_hub.localhub.api import access
from simmerge_hub.localhub.api.exchange import rooms, text, with_json
from simmerge_hub.localhub.errors import Refused
from simmerge_hub.localhub.store.history import now as moment
from simmerge_hub.localhub.store.repositories import Repository

Table = Mapping[str, dict[str, str]]


def runtime(request: Request) -> Response:
    """GET /api/spaces/{id}/runtime"""
    _space(access.readable(request))
    return JSONResponse(info.runtime())


def table(field: str) -> Callable[[Request], Response]:
    """GET /api/spaces/{id}/variables, or secrets"""

    def endpoint(request: Request) -> Response:
        repository, _ = access.writable(request)
        return JSONResponse(getattr(_space(repository), field))

    return endpoint


def add(field: str) -> Callable[[Request, dict], Response]:
    """POST /api/spaces/{id}/variables, or secrets"""

    def endpoint(request: Request, payload: dict) -> Response:
        key, value = text(payload, "key"), text(payload, "value")
        entry = {"key": key, "description": text(payload, "description", ""), "updatedAt": moment()}
        entry |= {"value": value} if field == "variables" else {}
        return _replace(request, field, lambda old: {**old, key: entry})

    return endpoint


def remove(field: str) -> Callable[[Request, dict], Response]:
    """DELETE /api/spaces/{id}/variables, or secrets"""

    def endpoint(request: Request, payload: dict) -> Response:
        key = text(payload, "key")
        return _replace(
            request, field, lambda old: {name: old[name] for name in old if name != key}
        )

    return endpoint


def _replace(request: Request, field: str, how: Callable[[Table], Table]) -> Response:
    repository = _space(access.writable(request)[0])

    def replace_table(now: Repository) -> Repository:
        return replace(now, **{field: how(getattr(now, field))})

    after = rooms(request).repositories.change("spaces", repository.id, replace_table)
    return JSONResponse(getattr(after, field))


def _space(repository: Repository) -> Repository:
    if repository.kind != "spaces":
        raise Refused(f"{repository.id} is not a Space", status=404)
    return repository


routes = [Route("/api/{kind}/{namespace}/{name}/runtime", runtime)]
for _field in ("variables", "secrets"):
    _path = f"/api/{{kind}}/{{namespace}}/{{name}}/{_field}"
    routes += [
        Route(_path, table(_field), methods=["GET"]),
        Route(_path, with_json(add(_field)), methods=["POST"]),
        Route(_path, with_json(remove(_field)), methods=["DELETE"]),
    ]
