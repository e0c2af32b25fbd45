"""Bytes of a checkpoint's files: ranges read in place or over HTTP, and files from their beginning.

Knows where a file lies, nothing of what is in it.
"""

from bisect import bisect
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO

from huggingface_hub import get_hf_file_metadata, hf_hub_url
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

from simmerge_hub.errors import CheckpointError, HubError
from simmerge_hub.hub.client import translate_answers
from simmerge_hub.hub.files.cached import file_here, is_cached, local_file
from simmerge_hub.hub.files.location import Location
from simmerge_hub.version import __version__

Span = tuple[int, int]
"""Bytes [start, end) of a file."""
LARGEST_GAP = 64 * 1024
"""Spans closer than this many bytes are fetched in one request."""
MOST_BRIDGED = 256 * 1024
"""Bytes between spans that are fetched at most, unless more than that is asked for."""
CONNECTIONS = 8


def stream_file(location: Location, file: str, *, whole: int) -> Iterator[bytes]:
    """A file's bytes from its beginning, as far as they are asked for.

    What is here is read here, and so is a file of at most `whole` bytes, through the cache. Of a
    larger one no more is fetched than is asked for and what is under way, and nothing is kept.
    """
    if is_cached(location, file) or _size(location, file) <= whole:
        with open(local_file(location, file), "rb") as handle:
            while data := handle.read(LARGEST_GAP):
                yield data
        return
    with (
        translate_answers(location.repo, location.commit),
        get_session().stream("GET", _url(location, file), headers=_agent(), follow_redirects=True)
        as response,
    ):  # fmt: skip
        if response.is_error:
            response.read()
        hf_raise_for_status(response)
        yield from response.iter_bytes()


def _size(location: Location, file: str) -> int:
    with translate_answers(location.repo, location.commit):
        seen = get_hf_file_metadata(
            _url(location, file), library_name="simmerge-hub", library_version=__version__
        )
    return seen.size or 0


def _url(location: Location, file: str) -> str:
    return hf_hub_url(location.repo, file, revision=location.commit, repo_type=location.repo_type)


def _agent() -> dict[str, str]:
    return build_hf_headers(library_name="simmerge-hub", library_version=__version__)


def read_spans(location: Location, file: str, spans: Sequence[Span]) -> list[bytes]:
    """The bytes of each span, in the order given; near ones are fetched together, in parallel."""
    if location.folder is not None:
        return _read_local(file_here(location, file), spans)
    merged = coalesce(spans)
    if len(merged) == 1:
        parts = [_read_remote(location, file, merged[0])]
    else:
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            parts = list(pool.map(lambda span: _read_remote(location, file, span), merged))
    return [_cut(merged, parts, span) for span in spans]


def coalesce(spans: Sequence[Span], gap: int = LARGEST_GAP) -> list[Span]:
    """Few spans that cover these; the narrowest gaps are bridged.

    None wider than `gap` bytes, and all together no more than is asked for or MOST_BRIDGED bytes:
    many small spans near each other must not add up to the whole file.
    """
    apart = _join(spans, 0)
    allowed = max(MOST_BRIDGED, sum(end - start for start, end in apart))
    bridged = 0
    for width in sorted(b[0] - a[1] for a, b in pairwise(apart)):
        allowed -= width
        if width > gap or allowed < 0:
            bridged = min(bridged, width - 1)  # not one of several of this width
            break
        bridged = width
    return _join(apart, bridged)


def _join(spans: Sequence[Span], gap: int) -> list[Span]:
    """Spans in order, of which those at most `gap` bytes apart are one."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start - merged[-1][1] <= gap:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _cut(merged: list[Span], parts: list[bytes], span: Span) -> bytes:
    place = bisect(merged, span[0], key=itemgetter(0)) - 1
    begin = merged[place][0]
    return parts[place][span[0] - begin : span[1] - begin]


def _read_local(path: Path, spans: Sequence[Span]) -> list[bytes]:
    with open(path, "rb") as handle:
        return [_read_at(handle, span) for span in spans]


def _read_at(handle: BinaryIO, span: Span) -> bytes:
    start, end = span
    handle.seek(start)
    data = handle.read(end - start)
    if len(data) != end - start:
        raise CheckpointError(f"{handle.name} ends before byte {end:,}", hint="the file is damaged")
    return data


def _read_remote(location: Location, file: str, span: Span) -> bytes:
    start, end = span
    if start == end:
        return b""
    headers = {**_agent(), "Range": f"bytes={start}-{end - 1}"}
    with (
        translate_answers(location.repo, location.commit),
        get_session().stream("GET", _url(location, file), headers=headers, follow_redirects=True)
        as response,
    ):  # fmt: skip
        if response.is_error:
            response.read()  # the Hub says in the body what is wrong
        hf_raise_for_status(response)
        status = response.status_code
        # any other body is the whole file, and one that does not end is read no further
        data = _read_at_most(response.iter_bytes(), end - start + 1) if status == 206 else None
    if data is None or len(data) != end - start:
        seen = "" if data is None else f" with {len(data):,} bytes"
        raise HubError(
            f"{location.name}/{file}: asked for bytes {start:,}-{end:,}, got status {status}{seen}",
            hint="the server or a proxy does not serve byte ranges; try another HF_ENDPOINT",
        )
    return data


def _read_at_most(parts: Iterable[bytes], size: int) -> bytes:
    """All bytes, or as many parts as have `size` of them."""
    taken, held = list[bytes](), 0
    for part in parts:
        taken.append(part)
        held += len(part)
        if held >= size:
            break
    return b"".join(taken)
