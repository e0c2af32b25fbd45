"""Lines of many writers: none is lost, none is doubled, and nobody's refusal changes anything."""

import threading
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
from huggingface_hub.errors import HfHubHTTPError

from simmerge_hub.errors import HubError, OfflineWithoutCache, OutputError, PushFailed
from simmerge_hub.hub.upload import ledger
from simmerge_hub.hub.upload.ledger import Addition, Page, append, create, demand_free


@pytest.fixture(params=["folder", "repository"])
def place(request: pytest.FixtureRequest, org: str, tmp_path: Path) -> str:
    return str(tmp_path / "ledger") if request.param == "folder" else f"{org}/ledger"


def test_lines_are_added_and_read_in_order(place: str) -> None:
    create(place, {"head.json": b"{}"}, message="Start")
    assert Page.read(place).segments == ()
    append(place, lambda page: Addition(lines="one\n", result=None), message="One")
    append(
        place,
        lambda page: Addition(lines="two\n", files={"head.json": b"[]"}, result=None),
        message="Two",
    )
    page = Page.read(place)
    assert list(page.lines().values()) == ["one\n", "two\n"]
    assert page.file("head.json").read_bytes() == b"[]"
    assert page.lines({page.segments[0]: "known"})[page.segments[0]] == "known"


def test_a_file_too_large_to_read_is_no_push_that_failed(place: str) -> None:
    create(place, {"head.json": b"{}"}, message="Start")
    page = replace(Page.read(place), files={"head.json": 2**40})
    with pytest.raises(HubError, match="more than a ledger needs") as caught:
        page.file("head.json")
    assert type(caught.value) is HubError


def test_what_refuses_changes_nothing(place: str) -> None:
    create(place, {"head.json": b"{}"}, message="Start")

    def refuse(page: Page) -> Addition[None]:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        append(place, refuse, message="No")
    append(place, lambda page: Addition(result=None), message="Nothing")
    assert Page.read(place).segments == ()


def test_what_is_there_is_not_overwritten(place: str) -> None:
    create(place, {"head.json": b"{}"}, message="Start")
    with pytest.raises(PushFailed, match="holds something already"):
        create(place, {"head.json": b"[]"}, message="Again")


def test_a_place_is_free_or_not(place: str, tmp_path: Path) -> None:
    demand_free(place)
    create(place, {"head.json": b"{}"}, message="Start")
    with pytest.raises(PushFailed, match="holds something already: head"):
        demand_free(place)
    (tmp_path / "file").write_text("")
    with pytest.raises(PushFailed, match="holds something already: file"):
        demand_free(str(tmp_path / "file"))


@pytest.mark.parametrize("status", [400, 403, 429, 500])
def test_a_refused_look_is_no_push_that_failed(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: object, **named: object) -> bool:
        request = httpx2.Request("GET", "http://hub/api/models/org/a")
        raise HfHubHTTPError("not now", response=httpx2.Response(status, request=request))

    monkeypatch.setattr(ledger.api(), "repo_exists", refuse)
    with pytest.raises(HubError) as caught:
        demand_free("org/a")
    assert type(caught.value) is HubError
    assert str(caught.value) == "the Hub refused a request about org/a: not now"
    assert caught.value.hint.startswith("try again later")


def test_who_comes_second_decides_again(place: str) -> None:
    create(place, {"head.json": b"{}"}, message="Start")
    seen: list[int] = []

    def decide(page: Page) -> Addition[int]:
        seen.append(len(page.segments))
        if len(seen) == 1:
            append(place, lambda other: Addition(lines="quicker\n", result=None), message="Quicker")
        return Addition(lines=f"after {len(page.segments)}\n", result=len(page.segments))

    assert append(place, decide, message="Slower") == 1
    assert seen == [0, 1]
    assert list(Page.read(place).lines().values()) == ["quicker\n", "after 1\n"]


def test_threads_in_one_folder_lose_nothing(tmp_path: Path) -> None:
    place = str(tmp_path / "ledger")
    create(place, {"head.json": b"{}"}, message="Start")

    def write(name: int) -> None:
        for i in range(10):
            append(
                place, lambda page, i=i: Addition(lines=f"{name}.{i}\n", result=None), message="Add"
            )

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = list(Page.read(place).lines().values())
    assert sorted(lines) == sorted(f"{n}.{i}\n" for n in range(4) for i in range(10))


def test_too_many_others_are_an_error(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    create(place, {"head.json": b"{}"}, message="Start")
    monkeypatch.setattr(ledger, "TRIES", 3)
    monkeypatch.setattr(ledger, "_try_to_add", lambda *given: False)
    with pytest.raises(PushFailed, match="3 times in a row"):
        append(place, lambda page: Addition(lines="line\n", result=None), message="Add")


def test_offline_nothing_is_written(org: str, monkeypatch: pytest.MonkeyPatch) -> None:
    create(f"{org}/ledger", {"head.json": b"{}"}, message="Start")
    Page.read(f"{org}/ledger").file("head.json")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for name in ("ledger", "never-seen"):
        with pytest.raises(OfflineWithoutCache, match="nothing can be written"):
            append(
                f"{org}/{name}", lambda page: Addition(lines="line\n", result=None), message="Add"
            )
    with pytest.raises(PushFailed, match="nothing was pushed"):
        demand_free(f"{org}/new")


def test_a_folder_that_cannot_be_made_is_said_with_what_to_do() -> None:
    with pytest.raises(OutputError, match="/proc/ledger cannot be written"):
        create("/proc/ledger", {"head.json": b"{}"}, message="Start")


def test_files_of_two_writers_never_mix(tmp_path: Path) -> None:
    place = create(str(tmp_path / "ledger"), {"one": b"", "two": b""}, message="Start")

    def write(tag: bytes) -> None:
        append(
            place,
            lambda page: Addition(files={"one": tag, "two": tag}, result=None),
            message="Replace",
        )

    for number in range(100):
        writers = [threading.Thread(target=write, args=(b"%d-%d" % (number, i),)) for i in (0, 1)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        one, two = ((Path(place) / name).read_bytes() for name in ("one", "two"))
        assert one == two != b""
