"""From a request to the repository it is about, and to the user, or a refusal.

Every handler that touches a repository gets it through one of these functions, so that names are
checked and permissions asked in one place. Knows nothing about what is then done with the
repository.
"""

from collections.abc import Callable

from starlette.requests import Request

from simmerge_hub.localhub import names
from simmerge_hub.localhub.api.exchange import flag, path_value, rooms
from simmerge_hub.localhub.errors import Refused, RepoNotFound
from simmerge_hub.localhub.store.accounts import (
    User,
    check_download,
    check_login,
    check_read,
    check_write,
)
from simmerge_hub.localhub.store.history import Commit
from simmerge_hub.localhub.store.repositories import Repository


def viewer(request: Request) -> User | None:
    """The user behind the request, None when it carries no token."""
    return rooms(request).accounts.user(request.headers.get("authorization"))


def member(request: Request) -> User:
    """The user behind the request, who must be logged in."""
    return check_login(viewer(request))


def kind(request: Request) -> str:
    """Which of models, datasets and spaces the path is about; web paths of models do not say it."""
    value = request.path_params.get("kind", "models")
    if value not in names.REPO_KINDS:
        raise Refused(f"localhub has no {value!r}", status=404)
    return value


def readable(request: Request) -> Repository:
    """The repository in the path, if the user may know about it."""
    user = viewer(request)
    repository = _find_repository(request, user)
    check_read(user, repository)
    return repository


def downloadable(request: Request) -> Repository:
    """The repository in the path, if the user may read its files."""
    user = viewer(request)
    repository = _find_repository(request, user)
    check_download(user, repository)
    return repository


def writable(request: Request) -> tuple[Repository, User]:
    """The repository in the path and the user, if the user may change it."""
    repository = readable(request)
    return repository, check_write(viewer(request), repository.namespace)


def committable(request: Request) -> tuple[Repository, User]:
    """Like `writable`, but readers may open pull requests and commit to their own."""
    repository, user = readable(request), member(request)
    own = [
        talk for talk in repository.discussions if talk.author == user.name and talk.is_pull_request
    ]
    if flag(request, "create_pr") or revision(request) in {f"refs/pr/{talk.num}" for talk in own}:
        return repository, user
    return writable(request)


def visible(request: Request, kind: str) -> list[Repository]:
    """The repositories of a kind that the user may know about."""
    user, every = viewer(request), rooms(request).repositories.every(kind)
    return [repository for repository in every if _passes(check_read, user, repository)]


def may_commit(request: Request, user: User, sha256: str) -> bool:
    """Whether the user may use a stored object: they have sent it, or may read a file it is."""
    store = rooms(request)
    if user.owner or (user.name, sha256) in store.uploads:
        return True
    return any(
        _passes(check_download, user, repository) and store.repositories.holds(repository, sha256)
        for kind in names.REPO_KINDS
        for repository in store.repositories.every(kind)
    )


def _passes(
    check: Callable[[User | None, Repository], None], user: User | None, repository: Repository
) -> bool:
    """Whether a check of a repository lets a user pass."""
    try:
        check(user, repository)
    except Refused:
        return False
    return True


def revision(request: Request) -> str:
    """The revision in the path, `main` without one."""
    return (
        names.revision(path_value(request, "revision"))
        if "revision" in request.path_params
        else "main"
    )


def snapshot(request: Request, repository: Repository) -> Commit:
    """The commit named by the revision in the path."""
    return rooms(request).repositories.at(repository, revision(request))


def _find_repository(request: Request, user: User | None) -> Repository:
    """The repository in the path. Anonymous visitors are told to log in, as it might be private."""
    plural = kind(request)
    try:
        repo_id = names.repo_id(path_value(request, "namespace"), path_value(request, "name"))
        return rooms(request).repositories.get(plural, repo_id)
    except Refused as refused:
        raise RepoNotFound(str(refused), status=None if user else 401) from None
