"""A folder that many write to at once: lines are only ever added, and nobody's are lost.

It lies in a repository or in a folder here. Every addition is one new file `events/00000042.jsonl`
with the next number. On the Hub it is one commit on the parent that was read (optimistic locking);
in a folder, a file that must not exist yet. Whoever comes second reads again and decides anew.
Knows nothing of what the lines say.
"""

import os
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Self, TypeVar
from uuid import uuid4

from huggingface_hub import CommitOperationAdd
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import WeakFileLock

from simmerge_hub.errors import HubError, OfflineWithoutCache, PushFailed
from simmerge_hub.hub.assets import writing
from simmerge_hub.hub.client import api, offline, translate_answers
from simmerge_hub.hub.files.cached import local_file
from simmerge_hub.hub.files.location import Location
from simmerge_hub.hub.files.ranges import CONNECTIONS
from simmerge_hub.hub.reference import ModelRef, local_folder, resolve_files
from simmerge_hub.hub.upload.publish import hide_small_progress
from simmerge_hub.hub.upload.refusals import offline_error, translate_push_errors
from simmerge_hub.names import list_first

SEGMENT_FILE = re.compile(r"events/(\d{8})\.jsonl")
TRIES = 60
"""Attempts of one addition; between them a random wait, which grows to two seconds."""
LARGEST_FILE = 256 * 2**20
"""Bytes of the largest file that is read."""

T = TypeVar("T")
Changes = Mapping[str, bytes]
"""Files to write beside the new lines, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The ledger as it was at one moment.

    Args:
        location: the folder, or the repository at one commit.
        files: name -> bytes of every file.
    """

    location: Location
    files: Mapping[str, int]

    @classmethod
    def read(cls, reference: str) -> Self:
        """The newest page of `org/name` or a folder. Raises HubError."""
        location, entries = resolve_files(ModelRef.parse(reference))
        return cls(location=location, files={name: e.size for name, e in entries.items()})

    @property
    def segments(self) -> tuple[str, ...]:
        """The files of lines, oldest first."""
        return tuple(sorted(name for name in self.files if SEGMENT_FILE.fullmatch(name)))

    def file(self, name: str) -> Path:
        """One file here; downloaded once, as a commit's files never change."""
        if self.files.get(name, 0) > LARGEST_FILE:
            raise HubError(
                f"{name} of {self.location.name} has {self.files[name]:,} bytes, "
                "more than a ledger needs",
                hint="tell its owner, or start another one",
            )
        return local_file(self.location, name)

    def lines(self, known: Mapping[str, str] | None = None) -> dict[str, str]:
        """Segment -> its text; what is in `known` is not read again."""
        segments = dict(known or {})
        wanted = [name for name in self.segments if name not in segments]
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            texts = pool.map(lambda name: self.file(name).read_text("utf-8"), wanted)
            segments.update(zip(wanted, texts, strict=True))
        return {name: segments[name] for name in self.segments}

    @property
    def next_segment(self) -> str:
        """The name of the next segment."""
        last = int(SEGMENT_FILE.fullmatch(self.segments[-1])[1]) if self.segments else 0  # type: ignore[index]
        return f"events/{last + 1:08d}.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition(Generic[T]):
    """What follows from a page.

    Args:
        lines: to be added; an empty text and no `files` add nothing.
        files: to be written beside them.
        result: what the caller of `append` is given once all of it is added.
    """

    lines: str = ""
    files: Changes = field(default_factory=dict)
    result: T


def demand_free(reference: str) -> None:
    """Refuse a repository or folder that something is in; nothing is sent.

    Args:
        reference: `org/name` or a folder.

    Raises:
        PushFailed: something is there already, or offline mode is on.
        HubError: the Hub is not reached, or refuses to say.
    """
    folder = local_folder(reference, new=True)
    if folder is not None:
        return _demand_empty(folder)
    if offline():
        raise offline_error(reference)
    with translate_answers(reference):
        there = api().repo_exists(reference)
        listed = api().list_repo_files(reference) if there else []
    return _demand_none(reference, listed)


def create(reference: str, files: Changes, *, private: bool = False, message: str) -> str:
    """Make the repository or folder with these files; returns where it is.

    Raises:
        PushFailed: something is there already.
        HubError: the Hub is not reached, or refuses.
    """
    folder = local_folder(reference, new=True)
    if folder is not None:
        return _create_folder(folder, files)
    with hide_small_progress(sum(map(len, files.values()))), translate_push_errors(reference):
        repo = api().create_repo(reference, private=private, exist_ok=True)
        head = str(api().repo_info(repo.repo_id).sha)
        listed = api().list_repo_files(repo.repo_id, revision=head)
        _demand_none(reference, listed)
        _commit(reference, files, head, message)
    return reference


def append(reference: str, decide: Callable[[Page], Addition[T]], *, message: str) -> T:
    """Read the newest page, let `decide` say what follows from it, add that; again if too late.

    Args:
        reference: `org/name` or a folder.
        decide: called with the newest page, as often as somebody else was quicker. What it raises
            ends the attempt, and nothing is changed.
        message: the commit's first line.

    Returns:
        The result of the addition that was made.

    Raises:
        PushFailed: refused, or somebody else was quicker every time.
        OfflineWithoutCache: offline mode is on.
    """
    if offline() and local_folder(reference) is None:
        raise OfflineWithoutCache(
            f"offline mode is on, and nothing can be written to {reference}",
            hint="unset HF_HUB_OFFLINE, then try again",
        )
    wait = 0.02
    for _ in range(TRIES):
        page = Page.read(reference)
        addition = decide(page)
        lines = {page.next_segment: addition.lines.encode()} if addition.lines else {}
        files = {**addition.files, **lines}
        if not files or _try_to_add(reference, page, files, message):
            return addition.result
        time.sleep(random.uniform(0, wait))
        wait = min(2.0, wait * 1.5)
    raise PushFailed(
        f"others wrote to {reference} {TRIES} times in a row; nothing was added",
        hint="report several outcomes at once: fewer commits, fewer conflicts",
    )


def _try_to_add(reference: str, page: Page, files: Changes, message: str) -> bool:
    """Whether the files were added; False if the page is not the newest any more."""
    if page.location.folder is not None:
        return _add_here(page.location.folder, files)
    with hide_small_progress(sum(map(len, files.values()))), translate_push_errors(reference):
        try:
            _commit(reference, files, page.location.commit, message)
        except HfHubHTTPError as error:
            if error.response.status_code in (409, 412):
                return False
            raise
    return True


def _commit(repo: str, files: Changes, parent: str, message: str) -> None:
    adds = [CommitOperationAdd(name, data) for name, data in files.items()]
    api().create_commit(repo, adds, commit_message=message, parent_commit=parent)


def _create_folder(folder: Path, files: Changes) -> str:
    _demand_empty(folder)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _replace(folder, files)
    return str(folder)


def _add_here(folder: Path, files: Changes) -> bool:
    """Write the segment under its final name if nobody has; then the files beside it."""
    with writing(folder):
        return _add(folder, files)


def _add(folder: Path, files: Changes) -> bool:
    (folder / "events").mkdir(exist_ok=True)
    for name in filter(SEGMENT_FILE.fullmatch, files):
        written = _write_beside(folder / "new", files[name])
        try:
            os.link(written, folder / name)
        except FileExistsError:
            return False
        finally:
            written.unlink()
    beside = {name: data for name, data in files.items() if not SEGMENT_FILE.fullmatch(name)}
    if beside:  # one writer at a time, so that the files of two never mix
        with WeakFileLock(folder / ".lock"):
            _replace(folder, beside)
    return True


def _replace(folder: Path, files: Changes) -> None:
    """All are on disk before the first takes its name."""
    written = {name: _write_beside(folder / name, data) for name, data in files.items()}
    for name, partial in written.items():
        partial.replace(folder / name)


def _write_beside(path: Path, data: bytes) -> Path:
    """A hidden file of its own in the same folder, with the mode that files get there: whoever may
    read the folder's other files may read it."""
    partial = path.with_name(f".{path.name}-{uuid4().hex}")
    partial.write_bytes(data)
    return partial


def _demand_empty(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        _demand_none(str(folder.parent), [folder.name])
    _demand_none(str(folder), [p.name for p in folder.iterdir()] if folder.is_dir() else [])


def _demand_none(where: str, listed: Sequence[str]) -> None:
    present = sorted(name for name in listed if name != ".gitattributes")
    if present:
        raise PushFailed(
            f"{where} holds something already: {list_first(present)}",
            hint="name a new repository or folder",
        )
