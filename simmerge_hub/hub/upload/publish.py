"""Files -> one atomic commit. Large files are sent ahead, one at a time; nothing is visible before
the commit, and a commit in between by somebody else is an error, never overwritten."""

import logging
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, RepoUrl
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import (
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
    validate_repo_id,
)

from simmerge_hub.errors import OutputError, PushFailed, RepoNotFound, RequestError
from simmerge_hub.hub.client import api, offline, translate_answers
from simmerge_hub.hub.files.cached import LARGE_TRANSFER
from simmerge_hub.hub.files.checksums import CHECKSUMS_FILE, PICTURES, visible_files
from simmerge_hub.hub.reference import ADDRESS
from simmerge_hub.hub.upload.refusals import (
    not_private_error,
    offline_error,
    translate_push_errors,
)
from simmerge_hub.names import list_first

RepoType = Literal["model", "dataset", "space"]
Outcome = Literal["commit", "pull request", "unchanged"]
SENT_AHEAD = (".safetensors",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """What became visible: the repository, the commit, and where a person sees it.

    `outcome` says whether it is on the branch, in a pull request, or was there already: where
    nothing differs no commit is made, and `oid` is that of the branch. `collection` is the address
    of that which the repository is in now, if one was named.
    """

    repo: str
    oid: str
    url: str
    outcome: Outcome = "commit"
    collection: str = ""


def publish_folder(
    folder: str | Path,
    repo_id: str,
    *,
    repo_type: RepoType = "model",
    private: bool = False,
    create_pr: bool = False,
    revision: str | None = None,
    message: str = "Upload with simmerge-hub",
    replace: Mapping[str, bytes] | None = None,
) -> Commit:
    """Create the repository if need be and make one commit of a folder's files.

    Args:
        folder: its files are sent, hidden ones left out; weight files of the repository that the
            folder does not have are deleted in the same commit, and of a merge over another the
            other's pictures that its card does not show.
        repo_id: `org/name`.
        private: for a repository that is created now.
        create_pr: open a pull request instead of committing to main.
        revision: the branch to commit to, made from main if there is none; main by default. Not
            with `create_pr`.
        message: the commit's first line.
        replace: contents to send instead of a file's own, by path inside the folder.

    Raises:
        PushFailed: it was refused, or somebody committed in between; no commit was made.
        HubError: the Hub is not reached, or does not know the token.
    """
    contents: dict[str, Path | bytes] = {**visible_files(Path(folder)), **(replace or {})}
    if not contents:
        raise PushFailed(f"{folder} holds no file to push", hint="name the folder of a model")
    size = sum(c.stat().st_size for c in contents.values() if isinstance(c, Path))
    with hide_small_progress(size), hide_warnings(), translate_push_errors(repo_id):
        repo = open_repository(repo_id, repo_type, private)
        if revision:
            api().create_branch(repo.repo_id, branch=revision, repo_type=repo_type, exist_ok=True)
        return _commit(contents, repo, repo_type, revision, create_pr, message)


def check_name(repo_id: str) -> None:
    """Refuse what cannot be pushed to: a name without an owner would be whoever's the token is.

    Raises:
        RequestError: it is not of the form `org/name`, or the Hub allows no such name.
    """
    if not repo_id:
        raise RequestError("no repository is named", hint="write org/name")
    owner, _, name = repo_id.partition("/")
    if not (owner and name):
        raise RequestError(
            f"{repo_id!r} does not say whose the repository is", hint="write org/name"
        )
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise RequestError(
            f"no repository is called {repo_id!r}", hint=f"write {_meant(repo_id)}"
        ) from error


def _meant(repo_id: str) -> str:
    """What may be written instead of a page's address, a name with its branch, or no name."""
    if page := ADDRESS.fullmatch(repo_id):
        return page["repo"]
    repo, _, branch = repo_id.partition("@")
    if branch:
        return f"{repo}; a branch is named apart: push DIR {repo} --revision {branch}"
    return (
        "org/name: letters, digits, -, _ and ., 96 characters at most, no -- or .. in it, neither "
        "- nor . at an end, nor .git"
    )


def refuse_others(repo_id: str, own: Collection[str], *, repo_type: RepoType = "model") -> None:
    """Refuse, before any work, a repository that cannot be one of `own` alone and a card.

    Raises:
        RequestError: it has no owner, or the Hub allows no such name.
        OutputError: other files lie there, whose card and place must not be taken.
        PushFailed: offline mode is on.
    """
    check_name(repo_id)
    if offline():
        raise offline_error(repo_id)
    try:
        with translate_answers(repo_id):
            present = api().list_repo_files(repo_id, repo_type=repo_type)
    except RepoNotFound:
        return
    others = sorted(set(present) - {*own, "README.md", ".gitattributes"})
    if others:
        raise OutputError(
            f"{repo_id} holds something else: {list_first(others)}",
            hint="push it to a repository of its own",
        )


def open_repository(repo_id: str, repo_type: RepoType, private: bool) -> RepoUrl:
    """The repository, created if there is none; a Space is one of gradio.

    Raises:
        RequestError: it has no owner.
        PushFailed: it should be private, and is there and public.
    """
    check_name(repo_id)
    sdk = "gradio" if repo_type == "space" else None
    repo = api().create_repo(
        repo_id, repo_type=repo_type, private=private, space_sdk=sdk, exist_ok=True
    )
    if private and not api().repo_info(repo.repo_id, repo_type=repo_type).private:
        raise not_private_error(repo_id)
    return repo


def _commit(
    contents: Mapping[str, Path | bytes],
    repo: RepoUrl,
    repo_type: RepoType,
    revision: str | None,
    create_pr: bool,
    message: str,
) -> Commit:
    info = api().repo_info(repo.repo_id, repo_type=repo_type, revision=revision)
    adds = [CommitOperationAdd(name, data) for name, data in contents.items()]
    for add in adds:
        if add.path_in_repo.endswith(SENT_AHEAD):
            api().preupload_lfs_files(
                repo.repo_id, [add], repo_type=repo_type, revision=revision, create_pr=create_pr
            )
    return commit_files(adds, repo, repo_type, revision, create_pr, message, parent=str(info.sha))


def commit_files(
    adds: Sequence[CommitOperationAdd],
    repo: RepoUrl,
    repo_type: RepoType,
    revision: str | None,
    create_pr: bool,
    message: str,
    *,
    parent: str,
) -> Commit:
    """One commit of these files on top of `parent`, from which weights and pictures of other
    merges go."""
    present = api().list_repo_files(repo.repo_id, repo_type=repo_type, revision=parent)
    names = {add.path_in_repo for add in adds}
    old = [*(n for n in present if _is_stale(n, names)), *_stale_pictures(present, adds)]
    stale = [CommitOperationDelete(name) for name in old]
    done = api().create_commit(
        repo.repo_id,
        [*adds, *stale],
        commit_message=message,
        repo_type=repo_type,
        revision=revision,
        parent_commit=parent,
        create_pr=create_pr,
    )
    outcome = outcome_of(done, parent)
    place = f"{repo}/tree/{revision}" if revision else str(repo)
    return Commit(repo=repo.repo_id, oid=done.oid, url=done.pr_url or place, outcome=outcome)


def outcome_of(done: CommitInfo, parent: str) -> Outcome:
    """What became of a commit on top of `parent`."""
    if done.pr_url:
        return "pull request"
    return "unchanged" if done.oid == parent else "commit"


@contextmanager
def hide_small_progress(size: int) -> Iterator[None]:
    """No progress bars inside if only a few bytes are sent."""
    if size >= LARGE_TRANSFER or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


@contextmanager
def hide_warnings() -> Iterator[None]:
    """Without the client's own words on how files are sent, or that there is nothing to commit."""
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _is_stale(name: str, contents: Container[str]) -> bool:
    weights = name.endswith((".safetensors", ".safetensors.index.json"))
    return weights and "/" not in name and name not in contents


def _stale_pictures(present: Container[str], adds: Sequence[CommitOperationAdd]) -> list[str]:
    """Pictures of the merge that was there, if another comes whose card does not show them."""
    added = {add.path_in_repo: add for add in adds}
    if not (CHECKSUMS_FILE in present and {CHECKSUMS_FILE, "README.md"} <= added.keys()):
        return []
    with added["README.md"].as_file() as file:
        card = file.read().decode("utf-8", "replace")
    return [n for n in PICTURES if n in present and n not in added and f"]({n})" not in card]
