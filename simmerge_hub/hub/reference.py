"""A reference -> the files it names: a repository pinned to a commit, or a folder here."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from huggingface_hub import constants, snapshot_download
from huggingface_hub.file_download import repo_folder_name

from simmerge_hub.errors import RepoNotFound
from simmerge_hub.hub.client import api, offline, translate_errors
from simmerge_hub.hub.files.ranges import Location

FOLDERS_DEEP = 1
"""How deep folders inside that of a model are listed: templates and modules lie in such ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRef:
    """What a user names: a repository with an optional revision, or a folder here."""

    repo: str = ""
    revision: str | None = None
    folder: Path | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """`./folder`, `org/name` or `org/name@revision`. An existing folder wins."""
        folder = local_folder(text)
        if folder is not None and _is_there(folder):
            return cls(folder=folder)
        repo, _, revision = text.partition("@")
        if folder is not None or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", repo):
            raise _neither(text)
        return cls(repo=repo, revision=revision or None)

    @property
    def name(self) -> str:
        """The repository's name, or the folder's own (never its path)."""
        return self.folder.resolve().name if self.folder else self.repo

    def __str__(self) -> str:
        if self.folder:
            return str(self.folder)
        return f"{self.repo}@{self.revision}" if self.revision else self.repo


def local_folder(text: str, *, new: bool = False) -> Path | None:
    """The folder that a reference means, or None if it means a repository.

    An existing folder wins, and `./name`, `/name` and `~/name` can be nothing else.

    Args:
        text: what a user names.
        new: whether it is to be made now; then a name without an owner is a folder too.

    Raises:
        RepoNotFound: `~user/…` of a user there is not.
    """
    try:
        folder = Path(text).expanduser()
    except RuntimeError as error:  # the home of a user there is not
        raise _neither(text) from error
    only_a_path = text.startswith((".", "/", "~")) or (new and "/" not in text)
    return folder if only_a_path or _is_there(folder) else None


def _is_there(folder: Path) -> bool:
    try:
        return folder.is_dir()
    except OSError:  # too long for a path
        return False


def _neither(text: str) -> RepoNotFound:
    return RepoNotFound(
        f"{text!r} is neither a folder here nor a repository name",
        hint="write org/name, org/name@revision or the path of a folder",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """A file of a checkpoint: its size in bytes, and its sha256 where the Hub states it."""

    size: int
    sha256: str | None = None


def resolve_files(ref: ModelRef) -> tuple[Location, dict[str, FileEntry]]:
    """Pin a reference to a commit and list its files; raises HubError."""
    if ref.folder is not None:
        return _folder_listing(ref.folder)
    if offline():
        return _cached_listing(ref)
    with translate_errors(ref.repo, ref.revision):
        info = api().model_info(ref.repo, revision=ref.revision, files_metadata=True)
    assert info.sha is not None
    _remember(ref, info.sha)
    files = {
        s.rfilename: FileEntry(size=s.size or 0, sha256=s.lfs.sha256 if s.lfs else None)
        for s in info.siblings or ()
    }
    return Location(repo=info.id, commit=info.sha), files


def _remember(ref: ModelRef, commit: str) -> None:
    """Note in huggingface_hub's cache which commit a branch or tag is, for offline use."""
    revision = ref.revision or "main"
    if revision != commit and ".." not in revision:
        repository = repo_folder_name(repo_id=ref.repo, repo_type="model")
        path = Path(constants.HF_HUB_CACHE, repository, "refs", revision)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(commit)


def _cached_listing(ref: ModelRef) -> tuple[Location, dict[str, FileEntry]]:
    with translate_errors(ref.repo, ref.revision):
        snapshot = Path(snapshot_download(ref.repo, revision=ref.revision, local_files_only=True))
    _, files = _folder_listing(snapshot)
    return Location(folder=snapshot, repo=ref.repo, commit=snapshot.name), files


def _folder_listing(folder: Path) -> tuple[Location, dict[str, FileEntry]]:
    if not folder.is_dir():
        raise RepoNotFound(f"there is no folder {folder}", hint="check the path of the model")
    files = {p.relative_to(folder).as_posix(): FileEntry(size=p.stat().st_size)
             for p in _visible_files(folder, FOLDERS_DEEP)}  # fmt: skip
    return Location(folder=folder), files


def _visible_files(folder: Path, depth: int) -> Iterator[Path]:
    """The files of a folder and of folders inside it; nothing hidden, and no linked folder."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_file():
            yield path
        elif depth and path.is_dir() and not path.is_symlink():
            yield from _visible_files(path, depth - 1)
