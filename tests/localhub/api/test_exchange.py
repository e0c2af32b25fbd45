"""Requests are read strictly, and lists are answered in pages that follow each other."""

import json
from urllib.parse import urlsplit

import pytest
from starlette.requests import Request

from simmerge_hub.localhub.api import exchange
from simmerge_hub.localhub.errors import Refused


def request(query: str = "", **path: str) -> Request:
    return Request(
        {
            "type": "http",
            "method": "GET",
            "path": "/api/things",
            "path_params": path,
            "query_string": query.encode(),
            "headers": [(b"host", b"127.0.0.1:9")],
            "server": ("127.0.0.1", 9),
            "scheme": "http",
        }
    )


def test_pages_follow_each_other_and_keep_the_query() -> None:
    query, pages = "limit=3&author=org%2Fx", []
    while query:
        reply = exchange.reply_page(request(query), range(8), lambda item: item * 10)
        pages.append(json.loads(bytes(reply.body)))
        link = reply.headers.get("link", "")
        query = urlsplit(link.partition(">")[0].removeprefix("<")).query
        assert not link or ("author=org%2Fx" in query and link.endswith('>; rel="next"'))
    assert pages == [[0, 10, 20], [30, 40, 50], [60, 70]]


def test_only_the_page_is_rendered() -> None:
    rendered: list[int] = []
    exchange.reply_page(request("limit=2&cursor=4"), range(1000), rendered.append)
    assert rendered == [4, 5]


@pytest.mark.parametrize(("query", "size"), [("", 1000), ("limit=0", 1), ("limit=5000", 1000)])
def test_a_page_has_a_size_one_can_serve(query: str, size: int) -> None:
    reply = exchange.reply_page(request(query), range(3000), lambda item: item)
    assert len(json.loads(bytes(reply.body))) == size


@pytest.mark.parametrize("value", ["-1", "1.5", "x", "1e3", ""])
def test_a_number_is_digits(value: str) -> None:
    with pytest.raises(Refused, match="'p' must be a number"):
        exchange.number(request(f"p={value}&q=1"), "p", 0, most=9)
    assert exchange.number(request("p=77"), "p", 0, most=9) == 9


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"3", b"null", b"\xff"])
def test_only_objects_are_objects(data: bytes) -> None:
    with pytest.raises(Refused, match=r"expected (a )?JSON"):
        exchange.json_object(data)


def test_texts_and_lists_are_what_they_say() -> None:
    assert exchange.text({"a": None}, "a", "else") == "else"
    assert exchange.objects({}, "a") == []
    for payload in ({}, {"a": 3}, {"a": ["x"]}):
        with pytest.raises(Refused, match="'a' must be a text"):
            exchange.text(payload, "a")
    for value in ({}, "x", [3], [{}, None]):
        with pytest.raises(Refused, match="'a' must be a list of objects"):
            exchange.objects({"a": value}, "a")


def test_paths_are_decoded_once_and_must_be_utf8() -> None:
    assert exchange.path_value(request(path="refs%2Fpr%2F1"), "path") == "refs/pr/1"
    assert exchange.path_value(request(path="a%252Fb"), "path") == "a%2Fb"
    with pytest.raises(Refused, match="not UTF-8"):
        exchange.path_value(request(path="%FF"), "path")


@pytest.mark.parametrize(
    ("query", "expected"), [("", False), ("x=1", True), ("x=True", True), ("x=0", False)]
)
def test_flags(query: str, expected: bool) -> None:
    assert exchange.flag(request(query), "x") is expected
