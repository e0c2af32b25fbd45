"""What stands between us and the Hub: a proxy that changes answers, with the unmodified client."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import close_session, constants, set_client_factory

from simmerge_hub.hub import client

Change = Callable[[httpx2.Request, httpx2.Response, bytes], httpx2.Response]
"""(request, answer, its body) -> what the client gets."""


class Proxy(httpx2.BaseTransport):
    """Hands every request on, and lets `change` answer."""

    def __init__(self, inner: httpx2.BaseTransport, change: Change) -> None:
        self.inner, self.change = inner, change

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = self.inner.handle_request(request)
        assert isinstance(answer.stream, httpx2.SyncByteStream)
        body = b"".join(answer.stream)
        answer.close()
        return self.change(request, answer, body)

    def close(self) -> None:
        self.inner.close()


def same(answer: httpx2.Response, body: bytes, **headers: str) -> httpx2.Response:
    """The answer with another body and more headers, which are written with `_` for `-`."""
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    kept = {**answer.headers, **more}
    if body:
        kept["content-length"] = str(len(body))
    return httpx2.Response(answer.status_code, headers=kept, stream=httpx2.ByteStream(body))


@pytest.fixture
def behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Change], None]]:
    """Puts a proxy between the client and the Hub, in front of an empty cache."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))

    def install(change: Change) -> None:
        def make() -> httpx2.Client:
            made = client._make_client()
            made._transport = Proxy(made._transport, change)
            return made

        close_session()
        set_client_factory(make)

    yield install
    close_session()
    set_client_factory(client._make_client)
