"""Large files on their way in: Xet (what the client uses by default) and LFS.

Both end as one blob named by its SHA-256, which a commit may then refer to. Uploads carry signed
slips instead of user tokens, as on the Hub. Knows nothing about commits.
"""

import time
from typing import Protocol

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from simmerge_hub.localhub import names
from simmerge_hub.localhub.api import access
from simmerge_hub.localhub.api.exchange import (
    base_url,
    objects,
    path_value,
    rooms,
    text,
    with_bytes,
    with_json,
)
from simmerge_hub.localhub.errors import EntryNotFound, Refused, TooLarge
from simmerge_hub.localhub.store import durable
from simmerge_hub.localhub.store.accounts import User
from simmerge_hub.localhub.xet import XORB_LIMIT, read_shard

HOUR = 3600
XET = "xet upload"
LARGEST_SHARD = 64 * 2**20


class Sink(Protocol):
    """Anything bytes can be written into."""

    def write(self, data: bytes, /) -> object: ...


def xet_token(request: Request) -> Response:
    """GET /api/{kind}/{id}/xet-write-token/{revision}[?create_pr=1]"""
    _, user = access.committable(request)
    expires = int(time.time()) + HOUR
    url = f"{base_url(request)}/xet/{rooms(request).instance}-{user.name}"
    slip = rooms(request).signer.sign(f"{XET} of {user.name}", seconds=HOUR)
    return JSONResponse(
        {"casUrl": url, "accessToken": slip, "exp": expires},
        headers={
            "X-Xet-Cas-Url": url,
            "X-Xet-Access-Token": slip,
            "X-Xet-Token-Expiration": str(expires),
        },
    )


async def xorb(request: Request) -> Response:
    """POST /xet/{instance}/v1/xorbs/default/{hash}"""
    user = _check_cas(request)
    store, name = rooms(request), names.sha256(path_value(request, "hash"))
    known = store.xorbs.path(name).exists()
    with durable.draft(store.blobs.staging) as staged:
        await _receive(request, staged, limit=XORB_LIMIT + 2**20)
        await run_in_threadpool(store.xorbs.receive, name, staged)
    store.uploads.add(user, name)
    return JSONResponse({"was_inserted": not known})


def shard(request: Request, body: bytes) -> Response:
    """POST /xet/{instance}/v1/shards: every file in it is put together, checked and kept"""
    user, store = _check_cas(request), rooms(request)
    for file in read_shard(body):
        for segment in file.segments:
            if (user, segment.xorb) not in store.uploads:
                raise Refused(f"xorb {segment.xorb} was not uploaded")
        store.uploads.add(user, store.xorbs.rebuild(file, store.blobs))
    return JSONResponse({"result": 1})


def lfs_batch(request: Request, payload: dict) -> Response:
    """POST /[{kind}/]{id}.git/info/lfs/objects/batch: where to send what is not here yet"""
    access.readable(request)
    user = access.member(request)
    if payload.get("operation") != "upload":
        raise Refused("localhub serves LFS uploads only; download with /resolve")
    answers = [_lfs_object(request, user, wanted) for wanted in objects(payload, "objects")]
    return JSONResponse({"transfer": "basic", "objects": answers})


def _lfs_object(request: Request, user: User, wanted: dict) -> dict:
    sha256, size = names.sha256(text(wanted, "oid")), wanted.get("size")
    if rooms(request).blobs.size(sha256) == size and access.may_commit(request, user, sha256):
        return {"oid": sha256, "size": size}
    slip = rooms(request).signer.sign(f"{sha256} of {user.name}", seconds=HOUR)
    upload = {"href": f"{base_url(request)}/lfs/{sha256}/{user.name}/{slip}"}
    verify = {"href": f"{base_url(request)}/lfs/verify"}
    return {"oid": sha256, "size": size, "actions": {"upload": upload, "verify": verify}}


async def lfs_put(request: Request) -> Response:
    """PUT /lfs/{sha256}/{user}/{slip}"""
    store, sha256 = rooms(request), names.sha256(path_value(request, "sha256"))
    user = path_value(request, "user")
    store.signer.check(f"{sha256} of {user}", path_value(request, "slip"))
    with store.blobs.receive() as incoming:
        await _receive(request, incoming)
        await run_in_threadpool(incoming.keep, sha256=sha256)
    store.uploads.add(user, sha256)
    return Response()


def lfs_verify(request: Request, payload: dict) -> Response:
    """POST /lfs/verify"""
    user, sha256 = access.member(request), names.sha256(text(payload, "oid"))
    known = rooms(request).blobs.size(sha256) == payload.get("size")
    if not known or not access.may_commit(request, user, sha256):
        raise EntryNotFound(f"no object {payload.get('oid')} of {payload.get('size')} bytes")
    return JSONResponse({})


async def _receive(request: Request, sink: Sink, limit: int | None = None) -> None:
    received = 0
    async for data in request.stream():
        received += len(data)
        if limit is not None and received > limit:
            raise TooLarge(f"more than {limit} bytes")
        sink.write(data)


def _check_cas(request: Request) -> str:
    """The user whose upload it is; Refused for a path of an earlier start, whose xorbs are gone.

    The path is new at every start and for every user, as the client remembers what it sent where.
    """
    instance, _, user = path_value(request, "instance").partition("-")
    if instance != rooms(request).instance:
        raise Refused("this upload began before the server was restarted", status=404)
    slip = request.headers.get("authorization", "").removeprefix("Bearer ")
    rooms(request).signer.check(f"{XET} of {user}", slip)
    return user


_LFS = "{namespace}/{name}.git/info/lfs/objects/batch"
routes = [
    Route("/api/{kind}/{namespace}/{name}/xet-write-token/{revision}", xet_token),
    Route("/xet/{instance}/v1/xorbs/default/{hash}", xorb, methods=["POST"]),
    Route(
        "/xet/{instance}/v1/shards",
        with_bytes(shard, authorise=_check_cas, most=LARGEST_SHARD),
        methods=["POST"],
    ),
    Route(f"/{_LFS}", with_json(lfs_batch), methods=["POST"]),
    Route(f"/{{kind}}/{_LFS}", with_json(lfs_batch), methods=["POST"]),
    Route("/lfs/verify", with_json(lfs_verify), methods=["POST"]),
    Route("/lfs/{sha256}/{user}/{slip}", lfs_put, methods=["PUT"]),
]
