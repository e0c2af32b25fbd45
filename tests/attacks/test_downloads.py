"""A proxy, a mirror or a hostile Hub: what it serves is what the Hub states, or an error.

Attack: serve other weights, or flip one bit, of a file under the right name; answer with headers
that the client makes paths of; answer with a login page, with nothing, or in circles.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi

from simmerge_hub import merger
from simmerge_hub.errors import EndpointDown, HubError, RepoNotFound, SimmergeError
from simmerge_hub.hub import client
from simmerge_hub.hub.files import cached, ranges
from simmerge_hub.hub.files.cached import local_file
from simmerge_hub.hub.files.location import Location
from simmerge_hub.hub.resolve import resolve
from simmerge_hub.recipe import load
from tests import nano
from tests.attacks.conftest import Change, same

Behind = Callable[[Change], None]


@pytest.fixture
def repo(hub: object, org: str, tmp_path: Path) -> str:
    folder = nano.model(tmp_path / "model", seed=3, card="---\nlicense: mit\n---\n# A model\n")
    HfApi().create_repo(f"{org}/model")
    HfApi().upload_folder(repo_id=f"{org}/model", folder_path=folder)
    return f"{org}/model"


def flip_in(name: str) -> Change:
    def change(request: httpx2.Request, answer: httpx2.Response, body: bytes) -> httpx2.Response:
        whole = request.method == "GET" and "range" not in request.headers
        if whole and request.url.path.endswith(f"/{name}"):
            body = body[:-1] + bytes([body[-1] ^ 1])
        return same(answer, body)

    return change


def merge(repo: str, folder: Path) -> None:
    recipe = folder / "m.yaml"
    recipe.write_text(
        f"simmerge: 1\nmodels: [{{model: {repo}, name: a}}]\n"
        "steps: [{operator: passthrough, models: [a]}]\n"
    )
    merger.merge(load(recipe)[0], folder / "out")


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "tokenizer.json", "README.md"]
)
def test_one_flipped_bit_is_noticed(behind: Behind, repo: str, tmp_path: Path, name: str) -> None:
    behind(flip_in(name))
    for _ in range(2):  # and it does not stay in the cache
        with pytest.raises(HubError, match=f"{name} of .* is not the file the Hub states") as seen:
            merge(repo, tmp_path)
        assert "a proxy or mirror" in seen.value.hint
    assert not (tmp_path / "out").exists()


def test_a_bit_flipped_in_the_cache_is_noticed(
    behind: Behind, repo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind(lambda _request, answer, body: same(answer, body))
    path = local_file(resolve(repo).location, "model.safetensors").resolve()
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    cached._downloaded.clear()  # as in another process
    with pytest.raises(HubError, match="is not the file the Hub states") as seen:
        merge(repo, tmp_path)
    assert f"delete {path}" in seen.value.hint
    assert path.exists(), "what we did not download is not ours to delete"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(client, "offline", lambda: True)
    monkeypatch.setattr("simmerge_hub.hub.reference.offline", lambda: True)
    with pytest.raises(HubError, match="is not the file the Hub states"):
        merge(repo, tmp_path)


def test_an_honest_proxy_changes_nothing(behind: Behind, repo: str, tmp_path: Path) -> None:
    behind(lambda _request, answer, body: same(answer, body))
    merge(repo, tmp_path)
    assert (tmp_path / "out" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("etag", '"../../../../escaped"'),
        ("x_linked_etag", '"../../../../escaped"'),
        ("etag", '"..\\\\escaped"'),
        ("etag", '"{}/escaped"'),
        ("x_linked_etag", 'W/"{}/escaped"'),
        ("x_repo_commit", "../../../escaped"),
        ("x_repo_commit", "/tmp/escaped"),
    ],
)
def test_headers_make_no_paths(
    behind: Behind, repo: str, tmp_path: Path, header: str, value: str
) -> None:
    value = value.format(tmp_path)
    behind(lambda _request, answer, body: same(answer, body, **{header: value}))
    with pytest.raises(HubError, match="headers that no Hub sends"):
        resolve(repo)
    assert not list(tmp_path.rglob("*escaped*"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sha", "../../escaped"), ("sha", None), ("sha", ["x"]), ("id", "../../escaped"),
        ("siblings", [{"rfilename": "../../escaped/config.json"}]), ("siblings", 3),
        ("siblings", [{}]), ("siblings", [{"rfilename": None}]),
    ],
)  # fmt: skip
def test_what_the_hub_says_of_a_model_makes_no_paths(
    behind: Behind, repo: str, tmp_path: Path, key: str, value: object
) -> None:
    def change(request: httpx2.Request, answer: httpx2.Response, body: bytes) -> httpx2.Response:
        if request.url.path.startswith("/api/models/"):
            body = json.dumps(json.loads(body) | {key: value}).encode()
        return same(answer, body)

    behind(change)
    with pytest.raises(SimmergeError):
        resolve(repo)
    assert not list(tmp_path.rglob("*escaped*"))


@pytest.mark.parametrize(
    "body", [b"<html>please log in</html>", b"[]", b"null", b"{}", b"3", b"\xff", b"[" * 5000]
)
def test_answers_of_something_that_is_no_hub(behind: Behind, repo: str, body: bytes) -> None:
    behind(lambda _request, answer, _body: same(answer, body))
    with pytest.raises(HubError):
        resolve(repo)


def test_redirects_in_a_circle(behind: Behind, repo: str) -> None:
    def change(request: httpx2.Request, _answer: httpx2.Response, _: bytes) -> httpx2.Response:
        return httpx2.Response(302, headers={"location": str(request.url)})

    behind(change)
    with pytest.raises(HubError):
        resolve(repo)


def test_a_server_that_never_answers(
    behind: Behind, repo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every request has a time-out, also those that huggingface_hub makes without one."""
    limits: list[dict[str, float]] = []

    def change(request: httpx2.Request, answer: httpx2.Response, body: bytes) -> httpx2.Response:
        limits.append(request.extensions["timeout"])
        if len(limits) > 3:
            raise httpx2.ReadTimeout("silent")
        return same(answer, body)

    behind(change)
    with pytest.raises(EndpointDown):
        for _ in range(5):
            resolve(repo)
    assert limits and all(0 < each[key] <= 30 for each in limits for key in each)
    assert all(set(each) == {"connect", "read", "write", "pool"} for each in limits)


@pytest.mark.parametrize(
    "revision",
    [
        "/etc/passwd",
        "../../x",
        "a/../../x",
        "..",
        ".",
        "a//b",
        "a/",
        "x\0y",
        "a\\b",
        "\x1b[31m",
        "x" * 300,
    ],
)
def test_revisions_are_names(revision: str, tmp_path: Path) -> None:
    with pytest.raises(HubError):
        resolve(f"org/x@{revision}")
    with pytest.raises(HubError):
        Location(repo="org/x", commit=revision)
    recipe = tmp_path / "m.yaml"
    recipe.write_text(
        "simmerge: 1\nmodels:\n- {model: org/x, name: a, commit: "
        f"{json.dumps(revision)}}}\nsteps: [{{operator: passthrough, models: [a]}}]\n"
    )
    with pytest.raises(SimmergeError):
        merger.merge(load(recipe)[0], tmp_path / "out")


def test_names_of_repositories(tmp_path: Path) -> None:
    for repo in ("..", "../x", "a/..", "."):
        with pytest.raises(RepoNotFound):
            Location(repo=repo, commit="main")


def test_ranges_are_what_was_asked_for(behind: Behind, repo: str) -> None:
    behind(lambda _request, answer, body: same(answer, body[: len(body) // 2]))
    location = Location(repo=repo, commit="main")
    with pytest.raises(HubError, match=r"does not serve byte ranges|asked for bytes"):
        ranges.read_spans(location, "model.safetensors", [(8, 40)])


def test_a_range_that_does_not_end_is_not_read_on(behind: Behind, repo: str) -> None:
    sent: list[int] = []

    class Endless(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            for number in range(1000):
                sent.append(number)
                yield bytes(4096)

    def change(request: httpx2.Request, answer: httpx2.Response, body: bytes) -> httpx2.Response:
        if "range" not in request.headers:
            return same(answer, body)
        return httpx2.Response(206, stream=Endless())

    behind(change)
    with pytest.raises(HubError, match="asked for bytes 8-40"):
        ranges.read_spans(Location(repo=repo, commit="main"), "model.safetensors", [(8, 40)])
    assert len(sent) < 3
