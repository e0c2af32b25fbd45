"""Whatever is sent, there is an answer: malformed requests are refused, never a server error."""

import errno
import json
import re

import pytest
from huggingface_hub import HfApi
from huggingface_hub.utils import build_hf_headers, get_session
from starlette.requests import Request
from starlette.routing import Route

from simmerge_hub.localhub import Hub
from simmerge_hub.localhub.application import ROUTE_GROUPS, answer_failure
from simmerge_hub.localhub.store.storage import verify

ROUTES = [
    pytest.param(method, route.path, id=f"{method} {route.path}")
    for group in ROUTE_GROUPS
    for route in group.routes
    if isinstance(route, Route)
    for method in sorted(route.methods or ())
]
KEYS = (
    *("name", "organization", "fromRepo", "toRepo", "type", "files", "objects", "operation", "oid"),
    *("key", "value", "tag", "title", "description", "comment", "status", "user", "gated"),
    *("content", "message", "startingPoint", "visibility", "sdk", "size"),
)
VALUES = (None, 3, "", "x", "../x", [], [3], {}, [{}], [{"path": 3, "size": "y", "sample": "!"}])
RAW = (b"", b"{", b"[]", b"3", b"\xff\xfe", b'{"key": "header"}', b"paths=%FF&paths=..")
BODIES = (*RAW, *(json.dumps(dict.fromkeys(KEYS, value)).encode() for value in VALUES))
NAMES = ("..%2F..", "%00", "refs%2Fpr%2F9", "1", "9" * 400, "%FF", "a" * 64)
REQUESTS = [(body, "main") for body in BODIES] + [(b"{}", name) for name in NAMES]


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 507, "no room left on its disk"),
        (OSError(errno.EIO, "Input/output error"), 500, "its log says why"),
    ],
)
def test_a_full_disk_is_told_from_a_mistake(error: OSError, status: int, said: str) -> None:
    answer = answer_failure(Request({"type": "http"}), error)
    assert answer.status_code == status
    assert said in bytes(answer.body).decode()


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_no_request_makes_it_fail(api: HfApi, repo: str, method: str, path: str) -> None:
    namespace, name = repo.split("/")
    place = (
        path.replace("{kind}", "models").replace("{namespace}", namespace).replace("{name}", name)
    )
    for body, rest in REQUESTS:
        url = api.endpoint + re.sub(r"\{[^}]+\}", rest, place)
        answer = get_session().request(method, url, content=body, headers=build_hf_headers())
        assert answer.status_code < 500, (url, body)


def test_errors_are_json_with_one_line_headers(api: HfApi, repo: str) -> None:
    url = f"{api.endpoint}/{repo}/resolve/main/%0A%C3%A9"
    answer = get_session().get(url, headers=build_hf_headers())
    assert answer.status_code == 400
    assert "invalid path" in answer.json()["error"]
    assert answer.headers["x-error-message"].isascii()


def test_after_all_that_the_storage_is_intact(hub: Hub) -> None:
    assert verify(hub.home.parent) == []
