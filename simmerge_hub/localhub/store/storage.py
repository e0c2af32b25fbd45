"""The folder a server lives in: its layout, who owns it, and whether what it holds is intact.

    blobs/ab/abcd…   content of all files, by SHA-256
    repos/           repositories and their commits
    collections/     collections of repositories, one file each
    staging/         files being written; emptied at every start
    xorbs/           Xet uploads of the running server; emptied at every start
    client/          HF_HOME for the clients of this server
    lock             held while a server runs

Knows nothing about HTTP.
"""

import fcntl
import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from simmerge_hub.localhub import names
from simmerge_hub.localhub.errors import LocalhubError
from simmerge_hub.localhub.store import durable
from simmerge_hub.localhub.store.blobs import Blobs
from simmerge_hub.localhub.store.collections import Collections
from simmerge_hub.localhub.store.history import Commit, Entry
from simmerge_hub.localhub.store.repositories import Repositories, Repository
from simmerge_hub.localhub.xet import Xorbs


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """The parts of one storage folder."""

    blobs: Blobs
    repositories: Repositories
    collections: Collections
    xorbs: Xorbs


def claim(root: Path) -> BinaryIO:
    """Become the only owner of a storage folder, for as long as the returned file is open."""
    root.mkdir(parents=True, exist_ok=True)
    lock = (root / "lock").open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise LocalhubError(
            f"another localhub is running on {root}; stop it or choose another --dir"
        ) from None
    return lock


def prepare(root: Path) -> Storage:
    """Open a claimed storage folder; the half-written files of a crash are dropped."""
    for scratch in (root / "staging", root / "xorbs"):
        shutil.rmtree(scratch, ignore_errors=True)
        durable.make_folder(scratch)
    return _parts(root)


def verify(root: Path) -> list[str]:
    """What is wrong in a storage folder, a line for each problem; nothing when all is intact.

    Every reference must lead to a commit, every commit to its parent, and every file of every
    commit to a blob with the right size and SHA-256. Reads everything once, also beside a server.
    """
    parts = _parts(Path(root))
    blobs: dict[str, str | None] = {}
    return parts.collections.find_damaged() + [
        f"{kind}/{repository.id}: {problem}"
        for kind in names.REPO_KINDS
        for repository in parts.repositories.every(kind)
        for problem in _problems(repository, parts, blobs)
    ]


def _parts(root: Path) -> Storage:
    staging = root / "staging"
    return Storage(
        blobs=Blobs(root / "blobs", staging),
        repositories=Repositories(root / "repos", staging),
        collections=Collections(root / "collections", staging),
        xorbs=Xorbs(root / "xorbs"),
    )


def _problems(
    repository: Repository, parts: Storage, blobs: dict[str, str | None]
) -> Iterator[str]:
    pending = set(repository.references().values())
    seen: set[str] = set()
    while pending:
        oid = pending.pop()
        seen.add(oid)
        try:
            commit = parts.repositories.commit(repository, oid)
        except (OSError, ValueError) as error:
            yield f"commit {oid} cannot be read: {error}"
            continue
        if commit.oid != oid:
            yield f"commit {oid} is damaged"
        pending |= {commit.parent} - seen if commit.parent else set()
        yield from _damaged_files(commit, parts.blobs, blobs)


def _damaged_files(commit: Commit, store: Blobs, known: dict[str, str | None]) -> Iterator[str]:
    for path, entry in commit.files.items():
        if entry.sha256 not in known:
            known[entry.sha256] = _damage(entry, store)
        if known[entry.sha256]:
            yield f"{path} at {commit.oid}: {known[entry.sha256]}"


def _damage(entry: Entry, blobs: Blobs) -> str | None:
    """What is wrong with the blob of an entry, None when it is intact."""
    size = blobs.size(entry.sha256)
    if size != entry.size:
        return f"blob {entry.sha256} has {size} bytes, expected {entry.size}"
    with blobs.path(entry.sha256).open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    return None if actual == entry.sha256 else f"blob {entry.sha256} is damaged"
