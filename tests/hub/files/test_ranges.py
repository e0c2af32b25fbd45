"""Byte ranges: coalesced without losing or inventing a byte, equal here and over HTTP."""

import random
import time
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import HfApi, constants
from hypothesis import given, settings
from hypothesis import strategies as st

from simmerge_hub import localhub
from simmerge_hub.errors import CheckpointError, HubError, RepoNotFound
from simmerge_hub.hub.files import ranges
from simmerge_hub.hub.files.cached import local_file
from simmerge_hub.hub.files.location import Location
from simmerge_hub.hub.files.ranges import coalesce, read_spans

SIZE = 700_000
DATA = random.Random(0).randbytes(SIZE)
SPANS = st.lists(
    st.tuples(st.integers(0, 300), st.integers(0, 50)).map(lambda s: (s[0], s[0] + s[1])),
    min_size=1,
    max_size=12,
)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Location:
    folder = tmp_path_factory.mktemp("ranges")
    (folder / "data.bin").write_bytes(DATA)
    return Location(folder=folder)


@pytest.fixture(scope="module")
def there(hub: localhub.Hub, here: Location) -> Location:
    api = HfApi()
    api.create_repo("ranges/data", exist_ok=True)
    assert here.folder is not None
    done = api.upload_folder(repo_id="ranges/data", folder_path=here.folder)
    return Location(repo="ranges/data", commit=done.oid)


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The Range headers that are sent."""
    sent: list[str] = []
    session = ranges.get_session

    def stream(method: str, url: str, headers: dict[str, str], **how: Any) -> Any:
        sent.append(headers["Range"])
        return session().stream(method, url, headers=headers, **how)

    monkeypatch.setattr(ranges, "get_session", lambda: SimpleNamespace(stream=stream))
    return sent


@settings(deadline=None)
@given(spans=SPANS, gap=st.integers(0, 40))
def test_coalesced_spans_cover_the_same_bytes_and_little_else(
    spans: list[tuple[int, int]], gap: int
) -> None:
    merged = coalesce(spans, gap)
    wanted = {at for start, end in spans for at in range(start, end)}
    covered = [at for start, end in merged for at in range(start, end)]
    assert wanted <= set(covered)
    assert len(set(covered)) == len(covered)
    assert all(b[0] - a[1] > gap for a, b in pairwise(merged))
    if gap == 0:
        assert set(covered) == wanted
    assert coalesce(merged, gap) == merged
    assert coalesce(spans[::-1], gap) == merged


@settings(deadline=None)
@given(spans=SPANS)
def test_spans_are_cut_out_in_the_order_asked_for(spans: list[tuple[int, int]]) -> None:
    data = bytes(range(256)) * 2
    merged = coalesce(spans, 20)
    parts = [data[start:end] for start, end in merged]
    assert [ranges._cut(merged, parts, s) for s in spans] == [data[a:b] for a, b in spans]


def test_reading_here_and_over_http_gives_the_same(here: Location, there: Location) -> None:
    spans = [(500_000, 500_100), (0, 1), (10, 10), (0, 100_000), (SIZE - 1, SIZE), (42, 300_000)]
    expected = [DATA[start:end] for start, end in spans]
    assert read_spans(here, "data.bin", spans) == expected
    assert read_spans(there, "data.bin", spans) == expected


def test_near_spans_travel_together_and_far_ones_apart(
    there: Location, requests: list[str]
) -> None:
    gap = ranges.LARGEST_GAP
    spans = [(0, 100), (100 + gap, 200 + gap), (201 + 2 * gap, 300 + 2 * gap), (50, 60)]
    assert read_spans(there, "data.bin", spans) == [DATA[a:b] for a, b in spans]
    assert sorted(requests) == sorted(
        [f"bytes=0-{199 + gap}", f"bytes={201 + 2 * gap}-{299 + 2 * gap}"]
    )


def test_bridges_are_no_more_than_what_they_join() -> None:
    """Or a checkpoint of many narrow tensors would be read nearly whole."""
    gap, width = ranges.LARGEST_GAP, 1000
    spans = [(at, at + width) for at in range(0, 3000 * (width + gap), width + gap)]
    fetched = sum(end - start for start, end in coalesce(spans))
    assert 3000 * width <= fetched <= 2 * 3000 * width
    uneven = [(2**20 * i + i * i, 2**20 * i + i * i + 500) for i in range(1, 250)]
    near = [(end + 40, end + 60) for _, end in uneven]
    assert len(coalesce(uneven + near)) == len(uneven)


def test_reading_in_place_bridges_no_gap(here: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of a narrow matrix lie near each other; bridging would read the file whole."""
    monkeypatch.setattr(ranges, "coalesce", lambda *_: pytest.fail("nothing to coalesce"))
    assert read_spans(here, "data.bin", [(0, 1), (9, 10)]) == [DATA[:1], DATA[9:10]]


def test_thousands_of_far_spans_take_no_quadratic_time() -> None:
    merged = [(i * 10**6, i * 10**6 + 1) for i in range(40_000)]
    parts = [b"x"] * len(merged)
    began = time.perf_counter()
    assert [ranges._cut(merged, parts, span) for span in merged] == parts
    assert time.perf_counter() - began < 5


def test_a_file_that_ends_early(here: Location) -> None:
    with pytest.raises(CheckpointError) as caught:
        read_spans(here, "data.bin", [(SIZE - 1, SIZE + 1)])
    assert str(caught.value) == f"{here.folder}/data.bin ends before byte {SIZE + 1:,}"
    assert caught.value.hint == "the file is damaged"


def test_a_remote_file_that_ends_early(there: Location) -> None:
    with pytest.raises(HubError) as caught:
        read_spans(there, "data.bin", [(SIZE - 1, SIZE + 1)])
    assert "asked for bytes 699,999-700,001, got status 206 with 1 bytes" in str(caught.value)
    assert "does not serve byte ranges" in caught.value.hint


def test_a_server_that_ignores_ranges(there: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole file may be gigabytes: its body is never read."""
    session = ranges.get_session
    answers: list[Any] = []

    @contextmanager
    def stream(method: str, url: str, headers: dict[str, str], **how: Any) -> Any:
        kept = {k: headers[k] for k in headers if k != "Range"}
        with session().stream(method, url, headers=kept, **how) as answer:
            answers.append(answer)
            yield answer

    monkeypatch.setattr(ranges, "get_session", lambda: SimpleNamespace(stream=stream))
    with pytest.raises(HubError, match=r"got status 200$"):
        read_spans(there, "data.bin", [(0, 10)])
    assert [answer.is_stream_consumed for answer in answers] == [False]


def test_a_repository_that_is_not_there(hub: localhub.Hub, org: str) -> None:
    with pytest.raises(RepoNotFound, match=f"there is no repository {org}/nothing"):
        read_spans(Location(repo=f"{org}/nothing", commit="main"), "data.bin", [(0, 1)])


def test_a_file_that_is_not_there(there: Location) -> None:
    for read in (
        lambda: read_spans(there, "other.bin", [(0, 1)]),
        lambda: local_file(there, "other.bin"),
    ):
        with pytest.raises(
            CheckpointError, match="ranges/data lacks a file it should have"
        ) as caught:
            read()
        assert "repository is incomplete" in caught.value.hint


def test_whole_files_come_through_the_cache(here: Location, there: Location) -> None:
    assert here.folder is not None
    assert local_file(here, "data.bin") == here.folder / "data.bin"
    fetched = local_file(there, "data.bin")
    assert fetched.read_bytes() == DATA
    assert fetched.is_relative_to(Path(constants.HF_HUB_CACHE))
    assert local_file(there, "data.bin") == fetched


def test_messages_name_the_repository_and_the_commit_or_the_folder() -> None:
    assert Location(repo="org/a", commit="0123456789").name == "org/a@01234567"
    assert Location(folder=Path("a/b")).name == "a/b"
