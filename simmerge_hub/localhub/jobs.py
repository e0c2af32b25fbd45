"""Jobs on the Hub's machines: they are taken and shown, and never run.

The values of secrets are not kept: nothing here could use them. Jobs are forgotten when the server
stops. Who may not write to a namespace may neither submit its jobs nor see them.
"""

from secrets import token_hex
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from simmerge_hub.localhub.api import access
from simmerge_hub.localhub.api.exchange import path_value, text, with_json
from simmerge_hub.localhub.errors import Refused
from simmerge_hub.localhub.store.accounts import check_write
from simmerge_hub.localhub.store.history import now as moment

MOST = 1000
"""Jobs that are remembered."""


def submit(request: Request, payload: dict) -> Response:
    """POST /api/jobs/{namespace}"""
    user = check_write(access.viewer(request), path_value(request, "namespace"))
    command, secrets = payload.get("command"), payload.get("secrets") or {}
    if not isinstance(command, list) or not all(isinstance(word, str) for word in command):
        raise Refused("a job needs a command, a list of words")
    if not (payload.get("dockerImage") or payload.get("spaceId")):
        raise Refused("a job needs an image: dockerImage or spaceId")
    job = {
        "id": token_hex(12),
        "createdAt": moment(),
        "dockerImage": payload.get("dockerImage"),
        "spaceId": payload.get("spaceId"),
        "command": command,
        "arguments": payload.get("arguments") or [],
        "environment": payload.get("environment") or {},
        "secrets": dict.fromkeys(secrets, ""),
        "flavor": text(payload, "flavor"),
        "timeoutSeconds": payload.get("timeoutSeconds"),
        "labels": payload.get("labels"),
        "status": {"stage": "SCHEDULING", "message": "localhub runs no jobs"},
        "owner": {"id": user.name, "name": path_value(request, "namespace"), "type": "user"},
    }
    jobs = _jobs(request)
    jobs[job["id"]] = job
    while len(jobs) > MOST:
        jobs.pop(next(iter(jobs)))
    return JSONResponse(job)


def inspect(request: Request) -> Response:
    """GET /api/jobs/{namespace}/{job}"""
    check_write(access.viewer(request), path_value(request, "namespace"))
    job = _jobs(request).get(path_value(request, "job"))
    if job is None or job["owner"]["name"] != path_value(request, "namespace"):
        raise Refused("no such job", status=404)
    return JSONResponse(job)


def _jobs(request: Request) -> dict[str, dict[str, Any]]:
    state = request.app.state
    if not hasattr(state, "jobs"):
        state.jobs = {}
    return state.jobs


routes = [
    Route("/api/jobs/{namespace}", with_json(submit), methods=["POST"]),
    Route("/api/jobs/{namespace}/{job}", inspect),
]
