"""Single files that lie beside the others in a repository: found on main, or added in one commit.

Knows who may see a repository; nothing of what is in the files.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from huggingface_hub import (
    CommitOperationAdd,
    get_hf_file_metadata,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError
from huggingface_hub.hf_api import RepoFile

from simmerge_hub.errors import PushFailed
from simmerge_hub.hub.client import api, offline, translate_answers
from simmerge_hub.hub.files.cached import local_file
from simmerge_hub.hub.files.hashes import hash_contents
from simmerge_hub.hub.files.location import Location
from simmerge_hub.hub.upload.publish import Commit, RepoType, hide_small_progress, outcome_of
from simmerge_hub.hub.upload.refusals import translate_push_errors
from simmerge_hub.version import __version__

Audience = Literal["public", "gated", "private"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file on a repository's main branch, pinned to a commit; `size` in bytes."""

    location: Location
    path: str
    size: int

    def fetch(self) -> Path:
        """The file here, downloaded into huggingface_hub's cache if it is not there yet."""
        return local_file(self.location, self.path)


def find(repo: str, path: str, *, repo_type: RepoType = "model") -> Attachment | None:
    """A file of a repository's main branch; None if there is none. Downloads nothing.

    Args:
        repo: `org/name`.
        path: inside the repository.
        repo_type: what kind of repository it is.

    Raises:
        HubError: the repository cannot be read.
    """
    with translate_answers(repo):
        if offline():
            return _find_cached(repo, path, repo_type)
        url = hf_hub_url(repo, path, repo_type=repo_type)
        try:
            seen = get_hf_file_metadata(
                url, library_name="simmerge-hub", library_version=__version__
            )
        except EntryNotFoundError:
            return None
    if seen.commit_hash is None or seen.size is None:
        return None
    where = Location(repo=repo, commit=seen.commit_hash, repo_type=repo_type)
    return Attachment(location=where, path=path, size=seen.size)


def audience(repo: str) -> Audience:
    """Who may read a model's files: everybody, whom its owners let in, or its owners."""
    with translate_answers(repo):
        info = api().model_info(repo)
    if info.private:
        return "private"
    return "gated" if info.gated else "public"


def attach(
    file: Path,
    repo: str,
    path: str,
    *,
    repo_type: RepoType = "model",
    closed: str = "",
    beside: Mapping[str, bytes] | None = None,
    message: str,
) -> Commit:
    """Add one file to a repository that exists, in one commit; as a pull request if one may not.

    An open pull request that adds the very same file is not made twice.

    Args:
        file: what to add.
        repo: `org/name`; a dataset is created if it does not exist.
        path: inside the repository.
        repo_type: what kind of repository it is.
        closed: why it may go into a private repository only, if it may; a dataset that is created
            becomes private.
        beside: contents of other files that go with it, by path.
        message: the commit's first line.

    Raises:
        PushFailed: it was refused, or the repository is public and may not be; no commit was made.
        HubError: the Hub is not reached, or does not know the token.
    """
    with hide_small_progress(file.stat().st_size), translate_push_errors(repo):
        if repo_type == "dataset":
            api().create_repo(repo, repo_type=repo_type, private=bool(closed), exist_ok=True)
        info = api().repo_info(repo, repo_type=repo_type)
        if closed and not info.private:
            raise PushFailed(
                f"{closed}, and {repo} is not private; nothing was pushed",
                hint="push to a private dataset of yours: --to org/name",
            )
        base = str(info.sha)
        adds = {path: file, **(beside or {})}
        try:
            return _commit(adds, repo, repo_type, base, message, create_pr=False)
        except HfHubHTTPError as error:
            if error.response.status_code != 403:
                raise
        proposal = _find_proposal(file, repo, path, repo_type, message)
        return proposal or _commit(adds, repo, repo_type, base, message, create_pr=True)


def _commit(
    adds: Mapping[str, Path | bytes],
    repo: str,
    repo_type: RepoType,
    base: str,
    message: str,
    *,
    create_pr: bool,
) -> Commit:
    done = api().create_commit(
        repo,
        [CommitOperationAdd(path, content) for path, content in adds.items()],
        commit_message=message,
        repo_type=repo_type,
        parent_commit=base,
        create_pr=create_pr,
    )
    url = done.pr_url or str(done.repo_url)
    return Commit(repo=repo, oid=done.oid, url=url, outcome=outcome_of(done, base))


def _find_proposal(
    file: Path, repo: str, path: str, repo_type: RepoType, message: str
) -> Commit | None:
    """An open pull request that adds this file already."""
    large, small = hash_contents(file, "sha256"), hash_contents(file, "git")
    talks = api().get_repo_discussions(
        repo, repo_type=repo_type, discussion_type="pull_request", discussion_status="open"
    )
    for talk in talks:
        at = talk.git_reference if talk.title == message else None
        files = api().get_paths_info(repo, path, repo_type=repo_type, revision=at) if at else []
        held = next((f for f in files if isinstance(f, RepoFile)), None)
        if held and (held.lfs.sha256 == large if held.lfs else held.blob_id == small):
            oid = str(api().repo_info(repo, repo_type=repo_type, revision=at).sha)
            return Commit(repo=repo, oid=oid, url=talk.url, outcome="pull request")
    return None


def _find_cached(repo: str, path: str, repo_type: RepoType) -> Attachment | None:
    """The file where an earlier run has put it."""
    known = try_to_load_from_cache(repo, path, repo_type=repo_type)
    if not isinstance(known, str):
        return None
    snapshot = Path(known).parents[path.count("/")]
    where = Location(folder=snapshot, repo=repo, commit=snapshot.name, repo_type=repo_type)
    return Attachment(location=where, path=path, size=Path(known).stat().st_size)
