"""Files that are sent before the commit that they become visible in, one at a time.

What was sent is in the Hub's store by its sha256, and is found there again by a later run; nobody
sees it until the commit.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi, RepoUrl
from huggingface_hub.lfs import UploadInfo, post_lfs_batch_info

from simmerge_hub.errors import HubError
from simmerge_hub.hub.client import api, first_line
from simmerge_hub.hub.upload.publish import (
    Commit,
    commit_files,
    hide_small_progress,
    hide_warnings,
    open_repository,
)
from simmerge_hub.hub.upload.refusals import translate_push_errors


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A file in the Hub's store: its name in the repository, sha256, size, and first bytes."""

    name: str
    sha256: str
    size: int
    sample: bytes = b""


@dataclass(slots=True, kw_only=True, eq=False)
class Outbox:
    """What is sent for one commit to a repository; see `open_outbox`."""

    repo: RepoUrl
    revision: str | None
    create_pr: bool
    parent: str
    client: HfApi
    """Of whoever has opened it; files are sent from other threads."""
    _adds: dict[str, CommitOperationAdd] = field(default_factory=dict)

    def find(self, files: Mapping[str, Sent]) -> dict[str, Sent]:
        """Those that the store has; they are taken into the commit as they are.

        For a pull request none: who may only propose may not ask the store.

        Raises:
            HubError: the Hub is not reached.
        """
        if self.create_pr:
            return {}
        known = {name: sent for name, sent in files.items() if self._has(sent)}
        for name, sent in known.items():
            add = CommitOperationAdd(name, io.BytesIO())  # its content is not here any more
            add.upload_info = _info(sent)
            self._send(add)
        return known

    def _has(self, sent: Sent) -> bool:
        token = self.client.token if isinstance(self.client.token, str) else None
        with translate_push_errors(self.repo.repo_id):
            answers, _, _ = post_lfs_batch_info(
                [_info(sent)], token=token, repo_type="model",
                repo_id=self.repo.repo_id, revision=self.revision, endpoint=self.client.endpoint,
            )  # fmt: skip
        return any(a.get("oid") == sent.sha256 and not a.get("actions") for a in answers)

    def send(self, name: str, path: Path) -> Sent:
        """Send a file; it may be deleted then.

        Raises:
            PushFailed: it was refused. HubError: the Hub is not reached.
        """
        add = CommitOperationAdd(name, path)
        self._send(add)
        if add.path_or_fileobj != b"":  # the Hub keeps it as a small file: it goes with the commit
            add = self._adds[name] = CommitOperationAdd(name, path.read_bytes())
        info = add.upload_info
        return Sent(name=name, sha256=info.sha256.hex(), size=info.size, sample=info.sample)

    def _send(self, add: CommitOperationAdd) -> None:
        try:
            with translate_push_errors(self.repo.repo_id), hide_small_progress(0), hide_warnings():
                self.client.preupload_lfs_files(
                    self.repo.repo_id, [add], revision=self.revision, create_pr=self.create_pr
                )
        except RuntimeError as error:  # what hf_xet raises, whatever the reason
            raise HubError(
                f"{add.path_in_repo} cannot be sent to {self.repo.repo_id}: {first_line(error)}",
                hint="run the same command again: only for a pull request all is sent again",
            ) from error
        self._adds[add.path_in_repo] = add

    def commit(self, contents: Mapping[str, Path | bytes], message: str) -> Commit:
        """Make one commit of what was sent and of these small files; stale weights and pictures go.

        Raises:
            PushFailed: it was refused, or somebody committed since the outbox was opened.
        """
        adds = [CommitOperationAdd(name, data) for name, data in contents.items()]
        with translate_push_errors(self.repo.repo_id), hide_small_progress(0), hide_warnings():
            return commit_files(
                [*adds, *self._adds.values()], self.repo, "model", self.revision, self.create_pr,
                message, parent=self.parent,
            )  # fmt: skip


def open_outbox(
    repo_id: str,
    *,
    private: bool = False,
    create_pr: bool = False,
    revision: str | None = None,
) -> Outbox:
    """An outbox for one commit on top of what the repository is now; made if there is none.

    The arguments and errors are those of `publish_folder`.
    """
    with translate_push_errors(repo_id):
        repo = open_repository(repo_id, "model", private)
        if revision:
            api().create_branch(repo.repo_id, branch=revision, exist_ok=True)
        parent = str(api().repo_info(repo.repo_id, revision=revision).sha)
    return Outbox(repo=repo, revision=revision, create_pr=create_pr, parent=parent, client=api())


def _info(sent: Sent) -> UploadInfo:
    return UploadInfo(size=sent.size, sample=sent.sample, sha256=bytes.fromhex(sent.sha256))
