"""Files -> one atomic commit. Large files are sent ahead, one at a time; nothing is visible before
the commit, and a commit in between by somebody else is an error, never overwritten."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from huggingface_hub import CommitOperationAdd, CommitOperationDelete
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import (
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
)

from simmerge_hub.errors import HubError, PushFailed
from simmerge_hub.hub.client import api, first_line, translate_errors
from simmerge_hub.hub.files.ranges import LARGE_TRANSFER

RepoType = Literal["model", "dataset", "space"]
SENT_AHEAD = (".safetensors",)
BAD_CARD = "Invalid metadata in README.md"
"""How huggingface_hub's ValueError begins when the Hub does not accept a card."""
EXPLAINED_BY_CLIENT = {401, 404}
"""Refusals that `translate_errors` already explains: no such token, no such repository."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """What became visible: the repository, the commit, and where a person sees it."""

    repo: str
    oid: str
    url: str


def publish_folder(
    folder: str | Path,
    repo_id: str,
    *,
    repo_type: RepoType = "model",
    private: bool = False,
    create_pr: bool = False,
    message: str = "Upload with simmerge-hub",
    replace: Mapping[str, bytes] | None = None,
) -> Commit:
    """Create the repository if need be and make one commit of a folder's files.

    Args:
        folder: its files are sent, hidden ones left out; weight files of the repository that the
            folder does not have are deleted in the same commit.
        repo_id: `org/name`.
        private: for a repository that is created now.
        create_pr: open a pull request instead of committing to main.
        message: the commit's first line.
        replace: contents to send instead of a file's own, by path inside the folder.

    Raises:
        PushFailed: it was refused, or somebody committed in between; no commit was made.
        HubError: the Hub is not reached, or does not know the token.
    """
    contents: dict[str, Path | bytes] = {**_files(Path(folder)), **(replace or {})}
    if not contents:
        raise PushFailed(f"{folder} holds no file to push", hint="name the folder of a model")
    size = sum(c.stat().st_size for c in contents.values() if isinstance(c, Path))
    with hide_small_progress(size), translate_push_errors(repo_id):
        return _publish(contents, repo_id, repo_type, private, create_pr, message)


def _publish(
    contents: Mapping[str, Path | bytes],
    repo_id: str,
    repo_type: RepoType,
    private: bool,
    create_pr: bool,
    message: str,
) -> Commit:
    repo = api().create_repo(repo_id, repo_type=repo_type, private=private, exist_ok=True)
    info = api().repo_info(repo.repo_id, repo_type=repo_type)
    if private and not info.private:
        raise PushFailed(
            f"{repo_id} exists already, and is public; nothing was pushed",
            hint="push to a new repository, or make that one private first",
        )
    present = api().list_repo_files(repo.repo_id, repo_type=repo_type, revision=info.sha)
    adds = [CommitOperationAdd(name, data) for name, data in contents.items()]
    for add in adds:
        if add.path_in_repo.endswith(SENT_AHEAD):
            api().preupload_lfs_files(repo.repo_id, [add], repo_type=repo_type, create_pr=create_pr)
    stale = [CommitOperationDelete(n) for n in present if _is_stale(n, contents)]
    done = api().create_commit(
        repo.repo_id,
        [*adds, *stale],
        commit_message=message,
        repo_type=repo_type,
        parent_commit=info.sha,
        create_pr=create_pr,
    )
    return Commit(repo=repo.repo_id, oid=done.oid, url=done.pr_url or str(repo))


@contextmanager
def translate_push_errors(repo_id: str) -> Iterator[None]:
    """`translate_errors`, with what the Hub refuses to let us do as PushFailed."""
    try:
        with translate_errors(repo_id):
            yield
    except HubError as error:
        refusal = _refusal(repo_id, error.__cause__)
        if refusal is None:
            raise
        raise refusal from error
    except ValueError as error:
        if not str(error).startswith(BAD_CARD):
            raise
        seen = " ".join(str(error).removeprefix(BAD_CARD).strip(" .:-\n").split())
        raise PushFailed(
            f"the Hub refuses the front matter of README.md ({seen}); no commit was made",
            hint="correct the lines between the first two `---` of README.md, then push again",
        ) from error


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


def _files(folder: Path) -> dict[str, Path]:
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
    inside = {p.relative_to(folder).as_posix(): p for p in paths}
    return {n: p for n, p in inside.items() if not any(part[0] == "." for part in Path(n).parts)}


def _is_stale(name: str, contents: Mapping[str, object]) -> bool:
    weights = name.endswith((".safetensors", ".safetensors.index.json"))
    return weights and "/" not in name and name not in contents


def _refusal(repo_id: str, cause: BaseException | None) -> PushFailed | None:
    if not isinstance(cause, HfHubHTTPError):
        return None
    status = cause.response.status_code
    if status == 412:
        return PushFailed(
            f"somebody else committed to {repo_id} meanwhile; no commit was made",
            hint="look at their commit, then push again",
        )
    if status == 403:
        return PushFailed(
            f"the token may not write to {repo_id}; no commit was made",
            hint="use a token with write access (hf auth login), or open a pull request: --pr",
        )
    if 400 <= status < 500 and status not in EXPLAINED_BY_CLIENT:
        return PushFailed(
            f"the Hub refused the push to {repo_id}: {first_line(cause)}; no commit was made",
            hint="correct what it names, then push again",
        )
    return None
