"""The routes put together into one application, and every refusal turned into a reply.

Knows nothing about sockets and processes; see `server`.
"""

import errno
import re
import time
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from simmerge_hub.localhub import jobs
from simmerge_hub.localhub.api import (
    collections,
    commits,
    community,
    contents,
    people,
    refs,
    repos,
    spaces,
    uploads,
    validation,
)
from simmerge_hub.localhub.api.exchange import Rooms
from simmerge_hub.localhub.errors import Refused
from simmerge_hub.localhub.store import storage
from simmerge_hub.localhub.store.accounts import Accounts, Signer
from simmerge_hub.localhub.store.uploads import Uploads
from simmerge_hub.localhub.web import pages

LOOPBACK = "127.0.0.1"
# The first four come first: `/api/whoami-v2`, `/api/jobs` and others would match `/api/{kind}`.
ROUTE_GROUPS = (
    people, validation, jobs, collections, repos, contents, commits, refs, community, uploads,
    spaces,
)  # fmt: skip
CANONICAL = re.compile(
    r"/(?:api/(?:models|datasets|spaces)/[^/]+(?:/(?:revision|tree|refs|commits)/.*)?|[^/]+/resolve/.*)"
)
"""Paths of repositories without namespace (`gpt2`), which localhub does not have."""


class Pulse:
    """An ASGI layer that hands on the path as it was sent, and knows when it was last needed.

    Revisions and folders arrive with encoded slashes (`refs%2Fpr%2F1`): routes must be matched
    before decoding.
    """

    def __init__(self, app: ASGIApp):
        self._app = app
        self._busy = 0
        self._last = time.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        self._busy += 1
        try:
            await self._app({**scope, "path": scope["raw_path"].decode("latin-1")}, receive, send)
        finally:
            self._busy -= 1
            self._last = time.monotonic()

    def idle(self) -> float:
        """Seconds since the last request ended."""
        return 0.0 if self._busy else time.monotonic() - self._last


def application(root: Path, tokens: Mapping[str, str]) -> Starlette:
    """The Hub over a storage folder that the caller has claimed; `tokens` maps users to tokens."""
    app = Starlette(
        routes=[
            Route("/", answer_hello),
            *(route for group in ROUTE_GROUPS for route in group.routes),
            *pages.routes,  # last: `/{namespace}/{name}` matches much
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[LOOPBACK, "localhost"])],
        exception_handlers={
            Refused: answer_refusal,
            HTTPException: answer_unknown,
            Exception: answer_failure,
        },
    )
    parts = storage.prepare(root)
    app.state.rooms = Rooms(
        blobs=parts.blobs,
        repositories=parts.repositories,
        collections=parts.collections,
        xorbs=parts.xorbs,
        uploads=Uploads(),
        accounts=Accounts(tokens),
        signer=Signer(),
        instance=uuid4().hex,
    )
    return app


def answer_hello(request: Request) -> Response:
    if is_browser(request):
        return pages.show_all(request)
    return JSONResponse({"name": "localhub", "instance": request.app.state.rooms.instance})


def is_browser(request: Request) -> bool:
    """Whether a person looks: clients do not ask for HTML."""
    return request.method == "GET" and "text/html" in request.headers.get("accept", "")


def answer_refusal(request: Request, refused: Exception) -> Response:
    assert isinstance(refused, Refused)
    if is_browser(request):
        return pages.show_refusal(refused)
    message = str(refused)
    # A header is one trimmed line of ASCII, and the message may quote what the client sent.
    line = "".join(letter if " " <= letter <= "~" else "?" for letter in message).strip()
    headers = refused.headers | {"X-Error-Message": line}
    if refused.code:
        headers["X-Error-Code"] = refused.code
    return JSONResponse({"error": message}, refused.status, headers)


def answer_unknown(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.scope["path"]
    if error.status_code == 404 and CANONICAL.fullmatch(path):
        message = "localhub has no repositories without a namespace"
        return JSONResponse({"error": message}, 404, {"X-Error-Code": "RepoNotFound"})
    message = f"localhub does not serve {request.method} {path}"
    return JSONResponse({"error": message}, error.status_code, error.headers)


def answer_failure(request: Request, error: Exception) -> Response:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return JSONResponse({"error": "localhub has no room left on its disk"}, 507)
    return JSONResponse({"error": "localhub failed; its log says why"}, 500)
