"""Where a checkpoint's files lie, and names that stay there. Nothing is read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from simmerge_hub.errors import CheckpointError, RepoNotFound, RevisionNotFound

REPO = re.compile(r"[\w.-]+(/[\w.-]+)?")
SHARED_BLOBS = "blobs"
"""Of a Hub cache: where huggingface_hub keeps what several repositories have."""


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

    `stated` is what the Hub says of the files; it does not make two locations different. `unlisted`
    says that the folder is a cache of a repository whose files nobody listed: it may have others.

    Raises:
        RepoNotFound, RevisionNotFound: a name that none can have; they become paths in the cache.
    """

    folder: Path | None = None
    repo: str = ""
    commit: str = ""
    repo_type: str = "model"
    stated: Mapping[str, FileEntry] = field(default_factory=dict, compare=False, repr=False)
    unlisted: bool = field(default=False, compare=False, repr=False)

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
    if repo and (not REPO.fullmatch(repo) or not is_plain(repo)):
        raise RepoNotFound(
            f"{ascii(repo)[:100]} is neither a folder here nor a repository name",
            hint="write org/name, org/name@revision or the path of a folder",
        )
    if revision and not is_plain(revision):
        raise RevisionNotFound(
            f"{ascii(revision)[:100]} is no name of a revision",
            hint="a revision is a branch, a tag or a commit: org/name@main",
        )


def is_owned_name(text: str) -> bool:
    """Whether it is `org/name`, as what is on the Hub is called, and no `./folder`."""
    return REPO.fullmatch(text) is not None and "/" in text and not text.startswith(".")


def is_plain(path: str) -> bool:
    """Whether a name stays inside the folder it is joined to."""
    parts = path.split("/")
    dotted = any(part in ("", ".", "..") or part.startswith("..") for part in parts)
    return len(path) < 256 and path.isprintable() and not dotted and not set(path) & set("\\:\0")


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
