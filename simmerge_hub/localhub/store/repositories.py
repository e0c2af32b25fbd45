"""Repositories on disk: their settings and references in one file each, their commits beside it.

    repos/models/org/name/repository.json     settings, branches, tags, discussions: replaced whole
    repos/models/org/name/commits/<oid>.json  immutable snapshots

A change writes its commit first and replaces `repository.json` last, so it is visible whole or not
at all. Knows nothing about HTTP, users or the content of files.
"""

import errno
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, Self
from uuid import uuid4

from simmerge_hub.localhub import names
from simmerge_hub.localhub.errors import AlreadyExists, RepoNotFound, RevisionNotFound
from simmerge_hub.localhub.store import durable
from simmerge_hub.localhub.store.history import Commit

SHORTEST_ID = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Discussion:
    """A discussion, or a pull request when it has a `head`; `events` as the client reads them."""

    num: int
    title: str
    author: str
    created_at: str
    status: str
    base: str | None = None
    head: str | None = None
    merged: str | None = None
    events: tuple[dict[str, Any], ...] = ()

    @property
    def is_pull_request(self) -> bool:
        """Whether it proposes commits."""
        return self.head is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """What `repository.json` holds. Changes are made with `dataclasses.replace`."""

    kind: str
    id: str
    created_at: str
    private: bool = False
    gated: str | bool = False
    sdk: str | None = None
    branches: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    discussions: tuple[Discussion, ...] = ()
    access: Mapping[str, dict[str, str]] = field(default_factory=dict)
    variables: Mapping[str, dict[str, str]] = field(default_factory=dict)
    secrets: Mapping[str, dict[str, str]] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        """The user or organization it belongs to."""
        return self.id.partition("/")[0]

    @classmethod
    def decode(cls, kind: str, repo_id: str, data: bytes) -> Self:
        """Read what `encode` wrote; kind and id are where the document is, not in it."""
        fields = json.loads(data)
        talks = tuple(
            Discussion(**talk | {"events": tuple(talk["events"])})
            for talk in fields.pop("discussions")
        )
        return cls(kind=kind, id=repo_id, discussions=talks, **fields)

    def encode(self) -> bytes:
        """One JSON document."""
        fields = asdict(self)
        del fields["kind"], fields["id"]
        return json.dumps(fields, indent=1).encode()

    def references(self) -> dict[str, str]:
        """Every commit that has a name: full reference to commit id."""
        pulls = {f"refs/pr/{talk.num}": talk.head for talk in self.discussions if talk.head}
        heads = {f"refs/heads/{name}": oid for name, oid in self.branches.items()}
        return heads | {f"refs/tags/{name}": oid for name, oid in self.tags.items()} | pulls

    def discussion(self, num: int) -> Discussion | None:
        """A discussion or pull request by its number."""
        return next((talk for talk in self.discussions if talk.num == num), None)

    def with_discussion(self, talk: Discussion) -> "Repository":
        """The repository with one discussion added or replaced."""
        others = [other for other in self.discussions if other.num != talk.num]
        return replace(self, discussions=tuple(sorted([*others, talk], key=lambda each: each.num)))

    def with_branch(self, name: str, oid: str) -> "Repository":
        """The repository with a branch added or at another commit."""
        return replace(self, branches={**self.branches, name: oid})


class Repositories:
    """All repositories below one folder; changes to one repository are made one after the other."""

    def __init__(self, root: Path, staging: Path):
        self._root = root
        self._staging = staging
        self._locks: defaultdict[Path, Lock] = defaultdict(Lock)
        self._locks_guard = Lock()
        self._read = lru_cache(maxsize=512)(_read)

    def get(self, kind: str, repo_id: str) -> Repository:
        """One repository as it is now."""
        try:
            data = (self._folder(kind, repo_id) / "repository.json").read_bytes()
        except FileNotFoundError:
            raise RepoNotFound(f"no {names.REPO_KINDS[kind]} named {repo_id}") from None
        return Repository.decode(kind, repo_id, data)

    def every(self, kind: str) -> Iterator[Repository]:
        """All repositories of a kind, by name."""
        for folder in sorted((self._root / kind).glob("*/*")):
            with suppress(RepoNotFound):  # deleted while we were listing
                yield self.get(kind, f"{folder.parent.name}/{folder.name}")

    def create(self, repository: Repository, first: Commit) -> None:
        """Add a repository whose references point to its first commit."""
        staged = self._staging / uuid4().hex
        durable.make_folder(staged / "commits")
        durable.write(
            staged / "commits" / f"{first.oid}.json", first.encode(), staging=self._staging
        )
        durable.write(staged / "repository.json", repository.encode(), staging=self._staging)
        self._settle(staged, self._folder(repository.kind, repository.id))

    def change(
        self, kind: str, repo_id: str, how: Callable[[Repository], Repository]
    ) -> Repository:
        """Replace a repository by `how(repository)`; an exception in `how` changes nothing."""
        with self._alone(self._folder(kind, repo_id)):
            after = how(self.get(kind, repo_id))
            target = self._folder(kind, repo_id) / "repository.json"
            durable.write(target, after.encode(), staging=self._staging)
        return after

    def delete(self, kind: str, repo_id: str) -> None:
        """Remove a repository and its commits; blobs stay."""
        with self._alone(self._folder(kind, repo_id)):
            self.get(kind, repo_id)
            durable.remove_folder(self._folder(kind, repo_id), staging=self._staging)

    def move(self, kind: str, old: str, new: str) -> None:
        """Rename a repository."""
        source, target = self._folder(kind, old), self._folder(kind, new)
        with self._alone(source, target):
            self.get(kind, old)
            self._settle(source, target)

    def keep(self, repository: Repository, commit: Commit) -> None:
        """Store a commit, which stays invisible until a reference points to it."""
        path = self._commits(repository) / f"{commit.oid}.json"
        durable.write(path, commit.encode(), staging=self._staging)

    def commit(self, repository: Repository, oid: str) -> Commit:
        """A commit by its full id."""
        return self._read(self._commits(repository) / f"{oid}.json")

    def at(self, repository: Repository, revision: str) -> Commit:
        """The commit a revision names: branch, tag, full reference, or 7 to 40 digits of an id."""
        references = repository.references()
        for reference in (f"refs/heads/{revision}", f"refs/tags/{revision}", revision):
            if reference in references:
                return self.commit(repository, references[reference])
        if SHORTEST_ID <= len(revision) <= 40 and names.is_hex(revision, len(revision)):
            paths = list(self._commits(repository).glob(f"{revision}*.json"))
            if len(paths) == 1:
                return self._read(paths[0])
        raise RevisionNotFound(f"no revision {revision} in {repository.id}")

    def log(self, repository: Repository, oid: str | None) -> Iterator[Commit]:
        """A commit and its ancestors, newest first."""
        while oid is not None:
            commit = self.commit(repository, oid)
            yield commit
            oid = commit.parent

    def holds(self, repository: Repository, sha256: str) -> bool:
        """Whether a file of any commit that a reference leads to has this content."""
        seen: set[str] = set()
        pending = set(repository.references().values())
        while pending - seen:
            oid = (pending - seen).pop()
            seen.add(oid)
            commit = self.commit(repository, oid)
            if any(entry.sha256 == sha256 for entry in commit.files.values()):
                return True
            pending |= {commit.parent} if commit.parent else set()
        return False

    def _folder(self, kind: str, repo_id: str) -> Path:
        namespace, _, name = repo_id.partition("/")
        return self._root / kind / names.repo_id(namespace, name)

    def _commits(self, repository: Repository) -> Path:
        return self._folder(repository.kind, repository.id) / "commits"

    def _settle(self, source: Path, target: Path) -> None:
        try:
            durable.move_folder(source, target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            raise AlreadyExists(f"{target.parent.name}/{target.name} already exists") from None

    def _alone(self, *folders: Path) -> ExitStack:
        """Hold the locks of some repositories, always taken in the same order."""
        with self._locks_guard:
            locks = [self._locks[folder] for folder in sorted({*folders})]
        stack = ExitStack()
        for lock in locks:
            stack.enter_context(lock)
        return stack


def _read(path: Path) -> Commit:
    return Commit.decode(path.read_bytes())
