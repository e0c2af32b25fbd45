"""Discussions and pull requests: pure functions from one state of a repository to the next.

A pull request is a discussion with a `head` commit, reachable as `refs/pr/N`. Events are kept in
the form the client reads them. Knows nothing about HTTP or the disk.
"""

from dataclasses import replace
from typing import Any
from uuid import uuid4

from simmerge_hub.localhub.errors import EntryNotFound, Refused
from simmerge_hub.localhub.store.history import Commit, now
from simmerge_hub.localhub.store.repositories import Discussion, Repository


def open_discussion(
    repository: Repository,
    author: str,
    title: str,
    *,
    description: str = "",
    base: str | None = None,
    head: Commit | None = None,
) -> Repository:
    """The repository with one more discussion, or pull request from `base` to `head`, at the end.

    A pull request without changes is a draft, as on the Hub.
    """
    empty = head is not None and head.oid == base
    talk = Discussion(
        num=len(repository.discussions) + 1,
        title=title,
        author=author,
        created_at=now(),
        status="draft" if empty else "open",
        base=base,
        head=head.oid if head else None,
        events=(comment_event(author, description),),
    )
    if head is not None and not empty:
        talk = with_event(talk, commit_event(head))
    return repository.with_discussion(talk)


def advance(repository: Repository, reference: str, commit: Commit) -> Repository:
    """The repository with a branch or pull request, given as `refs/…`, at a new commit."""
    if reference.startswith("refs/heads/"):
        return repository.with_branch(reference.removeprefix("refs/heads/"), commit.oid)
    talk = find(repository, int(reference.removeprefix("refs/pr/")))
    return repository.with_discussion(
        with_event(replace(talk, head=commit.oid), commit_event(commit))
    )


def find(repository: Repository, num: int) -> Discussion:
    """A discussion by number."""
    talk = repository.discussion(num)
    if talk is None:
        raise EntryNotFound(f"no discussion {num} in {repository.id}")
    return talk


def with_event(talk: Discussion, event: dict[str, Any]) -> Discussion:
    """The discussion with one more event."""
    return replace(talk, events=(*talk.events, event))


def with_status(talk: Discussion, status: str, author: str) -> Discussion:
    """The discussion opened, closed or merged."""
    if talk.status == "merged" or (talk.status, status) == ("closed", "merged"):
        raise Refused(f"discussion {talk.num} is {talk.status} and cannot become {status!r}")
    return with_event(
        replace(talk, status=status), _event("status-change", author, {"status": status})
    )


def with_title(talk: Discussion, title: str, author: str) -> Discussion:
    """The discussion renamed."""
    event = _event("title-change", author, {"from": talk.title, "to": title})
    return with_event(replace(talk, title=title), event)


def comment_event(author: str, raw: str) -> dict[str, Any]:
    """Somebody says something."""
    latest = {"raw": raw, "html": "", "updatedAt": now(), "author": {"name": author}}
    data = {"edited": False, "hidden": False, "latest": latest, "history": []}
    return _event("comment", author, data)


def commit_event(commit: Commit) -> dict[str, Any]:
    """A commit is proposed."""
    return _event("commit", commit.author, {"subject": commit.title, "oid": commit.oid})


def _event(kind: str, author: str, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": uuid4().hex[:24],
        "type": kind,
        "createdAt": now(),
        "author": {"name": author},
        "data": data,
    }
