"""Users, their tokens, and what each may see or change.

On loopback there is one owner: `nano`, who may do everything. Other users exist to rehearse private
and gated repositories. Tokens are kept only as digests and never logged. Knows nothing about
storage; the few facts it needs about a repository are read from `Repository`.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass

from simmerge_hub.localhub.errors import BadToken, Forbidden, GatedRepo, LoginRequired, RepoNotFound
from simmerge_hub.localhub.store.repositories import Repository

OWNER = "nano"
OWNER_TOKEN = "hf_localhub"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody with a token: the owner writes everywhere, others below their own name."""

    name: str
    owner: bool = False

    def may_write(self, namespace: str) -> bool:
        """Whether repositories of a namespace may be created and changed."""
        return self.owner or self.name == namespace


class Accounts:
    """The users of one server: the owner, with the built-in token or another one, and the rest."""

    def __init__(self, tokens: Mapping[str, str]):
        tokens = {OWNER: OWNER_TOKEN, **tokens}
        self._users = {
            _digest(token): User(name=name, owner=name == OWNER) for name, token in tokens.items()
        }

    def user(self, authorization: str | None) -> User | None:
        """Who sent an `Authorization` header, None without one; BadToken when it is nobody's."""
        if not authorization:
            return None
        scheme, _, token = authorization.partition(" ")
        user = self._users.get(_digest(token.strip()))
        if scheme.lower() != "bearer" or user is None:
            raise BadToken
        return user

    def by_name(self, name: str) -> User | None:
        """The user of that name."""
        return next((user for user in self._users.values() if user.name == name), None)


def check_read(user: User | None, repository: Repository) -> None:
    """RepoNotFound for a private repository of somebody else: its existence is private too."""
    if repository.private and not (user and user.may_write(repository.namespace)):
        raise RepoNotFound(f"no repository {repository.id}", status=None if user else 401)


def check_download(user: User | None, repository: Repository) -> None:
    """`check_read`, then GatedRepo for the files of a gated repository without granted access."""
    check_read(user, repository)
    if not repository.gated or (user and user.may_write(repository.namespace)):
        return
    if user is None:
        raise GatedRepo(f"Access to {repository.id} is restricted, log in first", status=401)
    if repository.access.get(user.name, {}).get("status") != "accepted":
        raise GatedRepo(
            f"Access to {repository.id} is restricted and {user.name} is not in the list"
        )


def check_write(user: User | None, namespace: str) -> User:
    """The user, if they may create and change repositories of a namespace."""
    user = check_login(user)
    if not user.may_write(namespace):
        raise Forbidden(f"{user.name} has no write access to {namespace}")
    return user


def check_login(user: User | None) -> User:
    """The user, if there is one."""
    if user is None:
        raise LoginRequired("log in first: this needs a token")
    return user


class Signer:
    """Unforgeable, expiring permission slips, for uploads that carry no user token."""

    def __init__(self):
        self._key = secrets.token_bytes(32)

    def sign(self, subject: str, *, seconds: int) -> str:
        """A slip for `subject`, good for some seconds and until the server stops."""
        expires = int(time.time()) + seconds
        return f"{expires}-{self._mac(f'{expires} {subject}')}"

    def check(self, subject: str, slip: str) -> None:
        """BadToken unless `slip` was signed for `subject` and has not expired."""
        expires, _, mac = slip.partition("-")
        genuine = hmac.compare_digest(mac.encode(), self._mac(f"{expires} {subject}").encode())
        if not genuine or int(expires) < time.time():
            raise BadToken

    def _mac(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), "sha256").hexdigest()


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
