"""A reference -> the files it names: a repository pinned to a commit, or a folder here."""

import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote

from huggingface_hub import constants, get_cached_repo_tree, snapshot_download
from huggingface_hub.errors import CachedRepoTreeNotFoundError
from huggingface_hub.file_download import repo_folder_name

from simmerge_hub.errors import HubError, OutputError, RepoNotFound
from simmerge_hub.hub.assets import CLOSED, assets_folder, replace_file
from simmerge_hub.hub.client import COMMIT_HASH, api, offline, translate_answers
from simmerge_hub.hub.files.location import REPO, FileEntry, Location, check_names, inside

DIGEST = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")

ADDRESS = re.compile(
    r"https?://[^/?#\s]+/(?:models/)?(?P<repo>[\w.-]+/[\w.-]+?)"
    r"(?:/(?:tree|blob|resolve|commit)/(?P<revision>[^/?#\s]+)[^?#\s]*)?/?(?:[?#]\S*)?"
)
"""A model's page on a Hub, as it is pasted from a browser."""
ELSE = re.compile(r"https?://[^/?#\s]+/(dataset|space|collection)s/(\S+)")
"""A page of a Hub that is none of a model's."""
FOLDERS_DEEP = 1
"""How deep folders inside that of a model are listed: templates and modules lie in such ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRef:
    """What a user names: a repository with an optional revision, or a folder here.

    Raises:
        RepoNotFound, RevisionNotFound: a name that no repository or revision has.
    """

    repo: str = ""
    revision: str | None = None
    folder: Path | None = None

    def __post_init__(self) -> None:
        check_names(self.repo, self.revision or "")

    @classmethod
    def parse(cls, text: str) -> Self:
        """`./folder`, `org/name`, `org/name@revision` or the address of a model's page.

        An existing folder wins.

        Raises:
            RepoNotFound: it is neither, or the address of something else.
        """
        if other := ELSE.fullmatch(text.strip()):
            raise RepoNotFound(
                f"{text} is the page of a {other[1]}, and a model is needed",
                hint=f"for its models: --collection {other[2]}"
                if other[1] == "collection"
                else "name a model: org/name, or the address of its page",
            )
        if address := ADDRESS.fullmatch(text.strip()):
            return cls(repo=address["repo"], revision=unquote(address["revision"] or "") or None)
        folder = local_folder(text)
        if folder is not None and _is_there(folder):
            return cls(folder=folder)
        if _is_there(home_path(text), Path.is_file):
            raise _no_folder(text)
        repo, _, revision = text.partition("@")
        if folder is not None or not REPO.fullmatch(repo):
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
    folder = home_path(text)
    only_a_path = text.startswith((".", "/", "~")) or (new and "/" not in text)
    return folder if only_a_path or _is_there(folder) else None


def can_be_on_a_hub(text: str) -> bool:
    """Whether a reference is a name that a repository can have, or an address on a Hub, and not
    something that is here."""
    if ELSE.fullmatch(text.strip()) or ADDRESS.fullmatch(text.strip()):
        return True
    if text.startswith((".", "/", "~")) or _is_there(Path(text), Path.exists):
        return False
    return bool(REPO.fullmatch(text.partition("@")[0]))


def home_path(text: str | Path) -> Path:
    """A path with `~` and `~user` written out; RepoNotFound for a user there is not."""
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise _neither(str(text)) from error


def _is_there(path: Path, kind: Callable[[Path], bool] = Path.is_dir) -> bool:
    try:
        return kind(path)
    except OSError:  # too long for a path
        return False


def _no_folder(text: str) -> RepoNotFound:
    hint = "name the folder that it is in"
    if text.endswith((".yaml", ".yml")):
        hint = (
            f"what a plan or recipe makes is one: simmerge-hub merge {shlex.quote(text)} -o FOLDER"
        )
    return RepoNotFound(f"{text} is a file, and a model is a folder or a repository", hint=hint)


def _neither(text: str) -> RepoNotFound:
    return RepoNotFound(
        f"{text!r} is neither a folder here nor a repository name",
        hint="write org/name, org/name@revision or the path of a folder",
    )


def resolve_files(ref: ModelRef) -> tuple[Location, dict[str, FileEntry]]:
    """Pin a reference to a commit and list its files; raises HubError."""
    if ref.folder is not None:
        return _folder_listing(ref.folder)
    if offline():
        return _cached_listing(ref)
    location, files = list_repository(ref)
    remember(ref.repo, ref.revision, location.commit)
    remember_files(ref.repo, location.commit, files)
    return location, files


def list_repository(ref: ModelRef) -> tuple[Location, dict[str, FileEntry]]:
    """`resolve_files` of a repository as it is now on the Hub; nothing is noted for offline use."""
    with translate_answers(ref.repo, ref.revision):
        info = api().model_info(ref.repo, revision=ref.revision, files_metadata=True)
    if not (isinstance(info.sha, str) and COMMIT_HASH.fullmatch(info.sha)):
        raise HubError(f"the Hub states no commit of {ref.repo}", hint="check HF_ENDPOINT")
    files = {str(s.rfilename): _entry(s) for s in info.siblings or ()}
    return Location(repo=info.id, commit=info.sha, stated=files), files


def _entry(sibling: Any) -> FileEntry:
    """What the Hub states of a file: the digest of its content, as LFS and Xet or git have it."""
    size = sibling.size if isinstance(sibling.size, int) and sibling.size >= 0 else 0
    large = sibling.lfs
    stated = large.sha256 if large is not None else sibling.blob_id
    known = isinstance(stated, str) and DIGEST.fullmatch(stated)
    return FileEntry(
        size=size, **{"sha256" if large is not None else "git": stated if known else None}
    )


def remember(repo: str, revision: str | None, commit: str, *, repo_type: str = "model") -> None:
    """Note in huggingface_hub's cache which commit a branch or tag is, for offline use.

    Of a cache that others own and nobody may write to, the note is left out.

    Raises:
        RevisionNotFound: no revision is called so.
    """
    revision = revision or "main"
    check_names(repo, revision)
    if revision != commit:
        repository = repo_folder_name(repo_id=repo, repo_type=repo_type)
        path = Path(constants.HF_HUB_CACHE, repository, "refs", revision)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(commit)
        except OSError as error:
            if error.errno not in CLOSED:
                raise


def _cached_listing(ref: ModelRef) -> tuple[Location, dict[str, FileEntry]]:
    snapshot = cached_snapshot(ref.repo, ref.revision)
    _, here = _folder_listing(snapshot)
    here = {name: replace(e, sha256=_blob(snapshot / name)) for name, e in here.items()}
    listed = remembered_files(ref.repo, snapshot.name)
    location = Location(
        folder=snapshot,
        repo=ref.repo,
        commit=snapshot.name,
        stated=here,
        unlisted=listed is None and not _is_whole(ref.repo, snapshot),
    )
    return location, {**(listed or {}), **here}


def _is_whole(repo: str, snapshot: Path) -> bool:
    """Whether the cache has all files of a repository, as its client listed them."""
    try:
        listed = get_cached_repo_tree(repo, revision=snapshot.name)
        return all((snapshot / each.path).exists() for each in listed)
    except (CachedRepoTreeNotFoundError, OSError, ValueError):
        return False


def cached_snapshot(repo: str, revision: str | None, *, repo_type: str = "model") -> Path:
    """The folder of the cache with what was fetched of a repository at a commit, all of it or not.

    Raises:
        OfflineWithoutCache: nothing was, or no commit is known for the revision.
    """
    with translate_answers(repo, revision):
        folder = snapshot_download(
            repo,
            repo_type=repo_type,
            revision=revision,
            local_files_only=True,
            allow_patterns=[],  # else it wants all files there are, once a program has listed them
        )
    return Path(folder)


def remember_files(
    repo: str, commit: str, files: Mapping[str, FileEntry], *, repo_type: str = "model"
) -> None:
    """Note which files a repository has at a commit, for offline use: a cache has those that were
    needed, and does not say whether there are others. As in `remember`, of one that nobody may
    write to the note is left out."""
    try:
        note = _note_of_files(repo, commit, repo_type)
        if remembered_files(repo, commit, repo_type=repo_type) is None:
            listed = {name: asdict(entry) for name, entry in files.items()}
            replace_file(note, json.dumps(listed).encode())
    except (OSError, OutputError) as error:
        refused = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(refused, OSError) or refused.errno not in CLOSED:
            raise


def remembered_files(
    repo: str, commit: str, *, repo_type: str = "model"
) -> dict[str, FileEntry] | None:
    """What `remember_files` noted; None if nothing, or nothing that can be read."""
    try:
        listed = json.loads(_note_of_files(repo, commit, repo_type).read_bytes())
        return {name: FileEntry(**entry) for name, entry in listed.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def _note_of_files(repo: str, commit: str, repo_type: str) -> Path:
    folder = assets_folder("files", repo_folder_name(repo_id=repo, repo_type=repo_type))
    return folder / f"{commit}.json"


def _blob(path: Path) -> str | None:
    """The sha256 that a large file in huggingface_hub's cache is called by."""
    name = path.readlink().name if path.is_symlink() else ""
    return name if len(name) == 64 and DIGEST.fullmatch(name) else None


def _folder_listing(folder: Path) -> tuple[Location, dict[str, FileEntry]]:
    if not folder.is_dir():
        raise RepoNotFound(f"there is no folder {folder}", hint="check the path of the model")
    files = {}
    for path in _visible_files(folder, FOLDERS_DEEP):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            inside(folder, name)  # where it leads, and whether anything is there
        if path.is_file():
            files[name] = FileEntry(size=path.stat().st_size)
    return Location(folder=folder), files


def _visible_files(folder: Path, depth: int) -> Iterator[Path]:
    """The files of a folder and of folders inside it; nothing hidden, and no linked folder."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if not path.is_dir():
            yield path
        elif depth and path.is_dir() and not path.is_symlink():
            yield from _visible_files(path, depth - 1)
