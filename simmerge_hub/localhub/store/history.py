"""Commits: immutable snapshots of a file tree, chained by parent, named by a hash of their content.

Pure data and functions on it: reading, editing and merging trees. Knows nothing about the disk,
about branches, or about who may commit.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Self

from simmerge_hub.localhub.errors import AlreadyExists, EntryNotFound, Refused

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file in a tree. `oid` is its git id: of the content, or of the LFS pointer when `lfs`."""

    size: int
    sha256: str
    oid: str
    lfs: bool

    @property
    def etag(self) -> str:
        """What the client names the file in its cache."""
        return self.sha256 if self.lfs else self.oid

    @property
    def pointer_size(self) -> int:
        """The size of the LFS pointer in bytes."""
        return len(POINTER.format(sha256=self.sha256, size=self.size))


Files = Mapping[str, Entry]


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A snapshot of all files; `oid` is 40 hex digits, as in git."""

    oid: str
    parent: str | None
    title: str
    message: str
    author: str
    date: str
    files: Files

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read what `encode` wrote; the id is computed from the bytes, not believed."""
        fields = json.loads(data)
        files = {path: Entry(**entry) for path, entry in fields.pop("files").items()}
        return cls(oid=hashlib.sha1(data).hexdigest(), files=files, **fields)

    def encode(self) -> bytes:
        """One canonical JSON document, without the id that is derived from it."""
        fields = {"parent": self.parent, "title": self.title, "message": self.message}
        files = {path: asdict(entry) for path, entry in self.files.items()}
        fields |= {"author": self.author, "date": self.date, "files": files}
        return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Put:
    """Add or replace a file."""

    path: str
    entry: Entry


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove a file."""

    path: str


@dataclass(frozen=True, slots=True)
class RemoveFolder:
    """Remove a folder with everything in it."""

    path: str


Edit = Put | Remove | RemoveFolder


def now() -> str:
    """The present moment as the Hub writes it, in UTC with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new_commit(
    *, parent: str | None, title: str, message: str = "", author: str, files: Files
) -> Commit:
    """A commit made now, with its id."""
    draft = Commit(
        oid="",
        parent=parent,
        title=title,
        message=message,
        author=author,
        date=now(),
        files=dict(files),
    )
    return Commit.decode(draft.encode())


def plain_entry(data: bytes, sha256: str) -> Entry:
    """The entry of a regular file, whose git id is taken over its content."""
    return Entry(size=len(data), sha256=sha256, oid=_git_id(data), lfs=False)


def lfs_entry(sha256: str, size: int) -> Entry:
    """The entry of a large file, whose git id is taken over its LFS pointer."""
    pointer = POINTER.format(sha256=sha256, size=size).encode()
    return Entry(size=size, sha256=sha256, oid=_git_id(pointer), lfs=True)


def apply_edits(files: Files, edits: Iterable[Edit]) -> dict[str, Entry]:
    """The tree after some edits, applied in order."""
    after = dict(files)
    for edit in edits:
        match edit:
            case Put(path, entry):
                after[path] = entry
            case Remove(path):
                if after.pop(path, None) is None:
                    raise EntryNotFound(f"A file with this name doesn't exist: {path}")
            case RemoveFolder(path):
                inside = [name for name in after if name.startswith(f"{path}/")]
                if not inside:
                    raise EntryNotFound(f"A folder with this name doesn't exist: {path}")
                for name in inside:
                    del after[name]
    if clashes := folders(after) & after.keys():
        raise Refused(f"a path cannot be a file and a folder: {', '.join(sorted(clashes))}")
    return after


def folders(files: Iterable[str]) -> set[str]:
    """Every folder that holds one of these files, at any depth."""
    parents = set()
    for path in files:
        while "/" in path:
            path = path.rpartition("/")[0]
            parents.add(path)
    return parents


def folder_id(files: Files, folder: str) -> str:
    """A git-like id for a folder: it changes exactly when something below the folder changes."""
    inside = [
        f"{path} {files[path].oid}" for path in sorted(files) if path.startswith(f"{folder}/")
    ]
    return hashlib.sha1("\n".join(inside).encode()).hexdigest()


def find_conflicts(base: Files, ours: Files, theirs: Files) -> list[str]:
    """The paths changed differently on both sides since `base`."""
    changed = [path for path in {*base, *theirs} if base.get(path) != theirs.get(path)]
    return sorted(
        path for path in changed if ours.get(path) not in (base.get(path), theirs.get(path))
    )


def merge_trees(base: Files, ours: Files, theirs: Files) -> dict[str, Entry]:
    """`ours` plus what changed from `base` to `theirs`; AlreadyExists when both changed a file."""
    if clashes := find_conflicts(base, ours, theirs):
        raise AlreadyExists(f"cannot merge, changed on both sides: {', '.join(clashes)}")
    changed = [path for path in {*base, *theirs} if base.get(path) != theirs.get(path)]
    kept = {path: entry for path, entry in ours.items() if path not in changed}
    return apply_edits(kept, [Put(path, theirs[path]) for path in changed if path in theirs])


def _git_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
