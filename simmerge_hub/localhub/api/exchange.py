"""What every handler needs: the rooms behind the server, the body of a request, pages of replies.

Knows nothing about repositories or who may see them; see `access` for that.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from simmerge_hub.documents import DocumentError, read_json_object
from simmerge_hub.localhub.errors import Refused, TooLarge
from simmerge_hub.localhub.store.accounts import Accounts, Signer, check_login
from simmerge_hub.localhub.store.blobs import Blobs
from simmerge_hub.localhub.store.collections import Collections
from simmerge_hub.localhub.store.repositories import Repositories
from simmerge_hub.localhub.store.uploads import Uploads
from simmerge_hub.localhub.xet import Xorbs

ITEMS_A_PAGE = 1000
LARGEST_BODY = 16 * 2**20
"""Bytes of a request that is read whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """What one running server works with. `instance` is new for every start."""

    blobs: Blobs
    repositories: Repositories
    collections: Collections
    accounts: Accounts
    signer: Signer
    xorbs: Xorbs
    uploads: Uploads
    instance: str


class Handler(Protocol):
    """What answers a request whose body has been read."""

    def __call__(self, request: Request, body: Any, /) -> Response: ...


def rooms(request: Request) -> Rooms:
    """The rooms behind the server."""
    return request.app.state.rooms


def logged_in(request: Request) -> None:
    """LoginRequired or BadToken unless the request carries somebody's token."""
    check_login(rooms(request).accounts.user(request.headers.get("authorization")))


def with_bytes(
    handler: Handler,
    *,
    authorise: Callable[[Request], object] = logged_in,
    most: int = LARGEST_BODY,
) -> Callable:
    """An endpoint that reads the whole body, then calls `handler(request, body)` in a thread.

    Not a byte is read before `authorise` has let the request pass, and never more than `most`.
    """

    async def endpoint(request: Request) -> Response:
        await run_in_threadpool(authorise, request)
        return await run_in_threadpool(handler, request, await _body(request, most))

    return endpoint


async def _body(request: Request, most: int) -> bytes:
    body = bytearray()
    async for data in request.stream():
        body += data
        if len(body) > most:
            raise TooLarge(f"more than {most} bytes")
    return bytes(body)


def anybody(request: Request) -> None:
    """Lets every request pass."""


def with_json(
    handler: Handler,
    *,
    authorise: Callable[[Request], object] = logged_in,
    most: int = LARGEST_BODY,
) -> Callable:
    """An endpoint that reads a JSON object (an empty body counts as one) and passes it on."""

    def parse_first(request: Request, body: bytes) -> Response:
        return handler(request, json_object(body or b"{}"))

    return with_bytes(parse_first, authorise=authorise, most=most)


def json_object(data: bytes) -> dict[str, Any]:
    """A JSON object; Refused when it is anything else."""
    try:
        return read_json_object(data, finite=True)
    except DocumentError as error:
        raise Refused(f"expected a JSON object: {error}") from None


def text(payload: dict[str, Any], key: str, default: str | None = None) -> str:
    """A text in a JSON object; Refused when it is missing without a default, or not a text."""
    value = payload.get(key)
    value = default if value is None else value
    if not isinstance(value, str):
        raise Refused(f"{key!r} must be a text")
    return value


def objects(payload: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """A list of objects in a JSON object; a missing one is empty."""
    value = payload.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise Refused(f"{key!r} must be a list of objects")
    return value


def path_value(request: Request, name: str) -> str:
    """A part of the URL path, decoded: routes are matched on the path as it was sent."""
    try:
        return unquote(request.path_params[name], errors="strict")
    except UnicodeDecodeError:
        raise Refused("the URL is not UTF-8") from None


def base_url(request: Request) -> str:
    """Where the client reaches this server, without trailing slash."""
    return f"http://{request.headers['host']}"


def flag(request: Request, name: str) -> bool:
    """Whether a query parameter is set to something true."""
    return request.query_params.get(name, "").lower() in ("1", "true")


def number(request: Request, name: str, default: int, most: int) -> int:
    """A query parameter that is a number from 0 to `most`."""
    value = request.query_params.get(name, str(default))
    if not value.isdecimal() or len(value) > 12:
        raise Refused(f"{name!r} must be a number, not {value!r}")
    return min(int(value), most)


def reply_page(request: Request, items: Sequence[Any], render: Callable[[Any], Any]) -> Response:
    """One page of items, with a `Link` to the next one; only this page is rendered."""
    start = number(request, "cursor", 0, most=2**31)
    size = max(1, number(request, "limit", ITEMS_A_PAGE, most=ITEMS_A_PAGE))
    headers = {}
    if start + size < len(items):
        query = [(key, value) for key, value in parse_qsl(request.url.query) if key != "cursor"]
        following = urlencode([*query, ("cursor", start + size)])
        headers["Link"] = f'<{base_url(request)}{request.scope["path"]}?{following}>; rel="next"'
    return JSONResponse([render(item) for item in items[start : start + size]], headers=headers)
