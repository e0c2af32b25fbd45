"""Bytes of a checkpoint's files: ranges read in place or over HTTP, whole files through the cache.

Knows where a file lies, nothing of what is in it. A whole file is held against the digest that a
Hub states of it.
"""

import re
import time
from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO

from huggingface_hub import (
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status, tqdm

from simmerge_hub.errors import CheckpointError, HubError, RepoNotFound, RevisionNotFound
from simmerge_hub.hub.client import first_line, translate_answers
from simmerge_hub.hub.files.hashes import hash_path
from simmerge_hub.version import __version__

Span = tuple[int, int]
"""Bytes [start, end) of a file."""
LARGEST_GAP = 64 * 1024
"""Spans closer than this many bytes are fetched in one request."""
MOST_BRIDGED = 256 * 1024
"""Bytes between spans that are fetched at most, unless more than that is asked for."""
CONNECTIONS = 8
REPO = re.compile(r"[\w.-]+(/[\w.-]+)?")
SHARED_BLOBS = "blobs"
"""Of a Hub cache: where huggingface_hub keeps what several repositories have."""
LARGE_TRANSFER = 50 * 2**20
"""Bytes from which a download shows a progress bar."""


class LargeOnly(tqdm):
    """huggingface_hub's progress bar, silent for files that take no time."""

    def __init__(self, *args: Any, **options: Any) -> None:
        small = (options.get("total") or 0) < LARGE_TRANSFER
        super().__init__(*args, **{**options, "disable": small or options.get("disable")})


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """A file of a checkpoint: its size in bytes, and the digest the Hub states, if it does.

    `sha256` is that of a large file (LFS, Xet), `git` the object id of a small one.
    """

    size: int
    sha256: str | None = None
    git: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Where files lie: a folder here, or a repository at one commit.

    `stated` is what the Hub says of the files; it does not make two locations different.

    Raises:
        RepoNotFound, RevisionNotFound: a name that none can have; they become paths in the cache.
    """

    folder: Path | None = None
    repo: str = ""
    commit: str = ""
    repo_type: str = "model"
    stated: Mapping[str, FileEntry] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        check_names(self.repo, self.commit)

    @property
    def name(self) -> str:
        """For messages."""
        return str(self.folder) if self.folder else f"{self.repo}@{self.commit[:8]}"


def check_names(repo: str, revision: str) -> None:
    """Refuse what no repository or revision is called; "" stands for none.

    Raises:
        RepoNotFound, RevisionNotFound: see there.
    """
    if repo and (not REPO.fullmatch(repo) or not _is_plain(repo)):
        raise RepoNotFound(
            f"{ascii(repo)[:100]} is neither a folder here nor a repository name",
            hint="write org/name, org/name@revision or the path of a folder",
        )
    if revision and not _is_plain(revision):
        raise RevisionNotFound(
            f"{ascii(revision)[:100]} is no name of a revision",
            hint="a revision is a branch, a tag or a commit: org/name@main",
        )


def _is_plain(path: str) -> bool:
    """Whether a name stays inside the folder it is joined to."""
    parts = path.split("/")
    dotted = any(part in ("", ".", "..") or part.startswith("..") for part in parts)
    return len(path) < 256 and path.isprintable() and not dotted and not set(path) & set("\\:\0")


def local_file(location: Location, file: str) -> Path:
    """The path of a whole file, downloaded into huggingface_hub's cache if it is remote.

    Raises:
        CheckpointError: it is a link that leads out of its folder, or there is no such file.
        HubError: it cannot be had, or is not the file that the Hub states.
    """
    if location.folder is not None:
        path = inside(location.folder, file)
    else:
        known = is_cached(location, file)
        began = time.time_ns()
        path = _download(location, file)
        if not known and path.resolve().stat().st_mtime_ns >= began:
            _downloaded.add(path)
    _check_digest(location, file, path)
    return path


_downloaded: set[Path] = set()
"""Files that this process has downloaded, and that were not in the cache for anything else."""


def _download(location: Location, file: str) -> Path:
    if not _is_plain(file):
        raise HubError(f"{location.name} lists {ascii(file)[:100]}, which is no name of a file")
    try:
        with translate_answers(location.repo, location.commit):
            return Path(
                hf_hub_download(
                    location.repo,
                    file,
                    revision=location.commit,
                    repo_type=location.repo_type,
                    library_name="simmerge-hub",
                    library_version=__version__,
                    tqdm_class=LargeOnly,
                )
            )
    except RuntimeError as error:  # what hf_xet raises, be it the network or a full disk
        raise HubError(
            f"{file} of {location.repo} cannot be downloaded: {first_line(error)}",
            hint="check the network, and the space left for the cache",
        ) from error


def inside(folder: Path, file: str) -> Path:
    """A file of a folder. Links within it are followed, and those of a Hub cache into its blobs.

    Raises:
        CheckpointError: a link that leads anywhere else, or nowhere.
    """
    path = folder / file
    if not path.is_symlink() and path.parent == folder:
        return path
    home, target = folder.resolve(), path.resolve()
    snapshot = home.parent.name == "snapshots"
    blobs = home.parents[1] / "blobs" if snapshot else home
    if not target.is_relative_to(home) and target.parent != blobs and not _is_shared(home, target):
        raise CheckpointError(
            f"{file} of {folder} is a link to {target}, outside of the folder",
            hint="if it belongs to the model, put a copy or a hard link (ln) of it there, "
            "or link the whole folder",
        )
    if not target.exists():
        raise CheckpointError(
            f"{file} of {folder} is a link to a file that is not there",
            hint="the download is incomplete; fetch the model again",
        )
    return path


def _is_shared(home: Path, target: Path) -> bool:
    """Whether a file is in the store that repositories of one Hub cache share."""
    cache = home.parents[2] if len(home.parents) > 2 else home
    return home.parent.name == "snapshots" and target.is_relative_to(cache / SHARED_BLOBS)


def _check_digest(location: Location, file: str, path: Path) -> None:
    """Hold a file against what the Hub states of it."""
    entry = location.stated.get(file)
    stated = (entry.sha256 or entry.git) if entry else None
    if entry is None or stated is None:
        return
    actual = hash_path(path, "sha256" if entry.sha256 else "git")
    if actual == stated:
        return
    hint = f"the cache is damaged: delete {path.resolve()}"
    if path in _downloaded:
        discard(Fetched(path=path, new=True))
        hint = "try again; if it stays, a proxy or mirror changes what it serves"
    raise HubError(
        f"{file} of {location.repo} is not the file the Hub states: {actual[:12]}, expected "
        f"{stated[:12]}",
        hint=hint,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A whole file here; `new` if it was downloaded just now and is in no other snapshot."""

    path: Path
    new: bool


def fetch(location: Location, file: str) -> Fetched:
    """`local_file`, and whether this process has downloaded it."""
    path = local_file(location, file)
    return Fetched(path=path, new=path in _downloaded)


def is_cached(location: Location, file: str) -> bool:
    """Whether a whole file is here already; asks nobody."""
    if location.folder is not None:
        return True
    path = try_to_load_from_cache(
        location.repo, file, revision=location.commit, repo_type=location.repo_type
    )
    return isinstance(path, str)


def discard(fetched: Fetched) -> None:
    """Delete a downloaded file from huggingface_hub's cache: the snapshot's link and the blob."""
    _downloaded.discard(fetched.path)
    path = fetched.path
    blob = path.parent / path.readlink() if path.is_symlink() else path
    for each in (blob.resolve(), blob, path):
        each.unlink(missing_ok=True)


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
        return _read_local(inside(location.folder, file), spans)
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
        data = response.read() if status == 206 else None  # any other body is the whole file
    if data is None or len(data) != end - start:
        seen = "" if data is None else f" with {len(data):,} bytes"
        raise HubError(
            f"{location.name}/{file}: asked for bytes {start:,}-{end:,}, got status {status}{seen}",
            hint="the server or a proxy does not serve byte ranges; try another HF_ENDPOINT",
        )
    return data
