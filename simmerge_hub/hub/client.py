"""The way in: one API object, a client that believes no server, huggingface_hub's errors as ours.

A server may be anybody, or stand behind a proxy that is: every request has a time-out, and what the
client makes paths of (ETag, commit) is checked before it does.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from contextvars import ContextVar
from functools import cache
from http import HTTPStatus

import httpx2
from huggingface_hub import HfApi, constants, get_token, set_client_factory
from huggingface_hub import errors as hf
from huggingface_hub.utils._http import default_client_factory

from simmerge_hub.errors import (
    CheckpointError,
    EndpointDown,
    GatedRepo,
    HubError,
    OfflineWithoutCache,
    RepoNotFound,
    RevisionNotFound,
)
from simmerge_hub.literal import without_credentials
from simmerge_hub.version import __version__

LOG_IN = "log in: hf auth login"
ANSWER_SECONDS = 30.0
"""How long a server may be silent."""
COMMIT_SECONDS = 300.0
"""How long it may take to make a commit of many files."""
COMMIT_HASH = re.compile("[0-9a-f]{7,64}")
ASKED_KIND = re.compile(
    "/api/(model|dataset|space)s/|^https?://[^/]+/(dataset|space)s/[^/]+/[^/?#]+"
)
"""Of what kind the repository is that an address of the Hub's API is about."""


def _make_client() -> httpx2.Client:
    client = default_client_factory()
    hooks = client.event_hooks
    client.event_hooks = {
        "request": [*hooks["request"], _limit_time],
        "response": [*hooks["response"], _check_names],
    }
    return client


def _limit_time(request: httpx2.Request) -> None:
    """huggingface_hub asks most things without a time-out."""
    longest = ANSWER_SECONDS if request.method in ("GET", "HEAD") else COMMIT_SECONDS
    asked = request.extensions.get("timeout", {})
    request.extensions["timeout"] = {
        key: min(asked.get(key) or longest, longest) for key in ("connect", "read", "write", "pool")
    }


def _check_names(response: httpx2.Response) -> None:
    """huggingface_hub calls files in its cache by these headers."""
    commit = response.headers.get("X-Repo-Commit")
    tags = [response.headers.get(name, "") for name in ("ETag", "X-Linked-Etag")]
    if any(map(_leads_out, tags)) or (commit is not None and not COMMIT_HASH.fullmatch(commit)):
        raise HubError(
            f"{_host(response)} answers with headers that no Hub sends",
            hint="do not use this server; check HF_ENDPOINT",
        )


def _leads_out(tag: str) -> bool:
    """Whether an ETag, as huggingface_hub makes a name of it, is a path to somewhere else."""
    name = tag.lstrip("W/").strip('"')
    return ".." in name or "\\" in name or name.startswith((".", "/"))


def _host(response: httpx2.Response) -> str:
    return response.request.url.host or "the server"


set_client_factory(_make_client)


def endpoint() -> str:
    """The Hub's address, without a name and password that may be in it."""
    return without_credentials(constants.ENDPOINT)


_TOKEN: ContextVar[str | None] = ContextVar("token", default=None)


def api() -> HfApi:
    """The Hub's API, under our user agent; the token is the client's own, or of `acting_with`."""
    token = _TOKEN.get()
    return _own_api() if token is None else _make_api(token)


@contextlib.contextmanager
def acting_with(token: str | None) -> Iterator[None]:
    """Inside, the Hub is written to by whoever this token is of; None: by the client's own."""
    before = _TOKEN.set(token)
    try:
        yield
    finally:
        _TOKEN.reset(before)


@cache
def _own_api() -> HfApi:
    return _make_api(None)


def _make_api(token: str | None) -> HfApi:
    return HfApi(token=token, library_name="simmerge-hub", library_version=__version__)


def offline() -> bool:
    """Whether HF_HUB_OFFLINE keeps the client from the network."""
    return constants.is_offline_mode()


@contextlib.contextmanager
def translate_errors(repo: str, revision: str | None = None) -> Iterator[None]:
    """Raise what the client raises inside as an error of ours that names `repo`."""
    try:
        yield
    except hf.GatedRepoError as error:
        raise GatedRepo(
            f"{repo} is gated, and this account has no access yet",
            hint=f"ask for it at {endpoint()}/{repo}, then: hf auth login",
        ) from error
    except hf.RepositoryNotFoundError as error:
        asked = ASKED_KIND.search(str(error.response.url))
        kind = (asked[1] or asked[2]) if asked else ""
        raise RepoNotFound(
            f"there is no {kind or 'repository'} {repo}, or it is private and the token does not "
            "open it",
            hint="check the spelling; for a private repository, log in: hf auth login",
            repo=repo,
            kind=kind,
        ) from error
    except hf.RevisionNotFoundError as error:
        raise RevisionNotFound(
            f"{repo} has no revision {revision or 'main'!r}",
            hint=f"branches, tags and commits are listed at {endpoint()}/{repo}/tree/main",
        ) from error
    except (hf.OfflineModeIsEnabled, hf.LocalEntryNotFoundError) as error:
        raise (not_cached(_at(repo, revision)) if offline() else _down(error)) from error
    except hf.EntryNotFoundError as error:
        raise CheckpointError(
            f"{repo} lacks a file it should have: {first_line(error)}",
            hint="the repository is incomplete; tell its author, or pin another revision",
        ) from error
    except hf.HFValidationError as error:
        raise RepoNotFound(
            f"{repo!r} is neither a folder here nor a repository name",
            hint="write org/name, org/name@revision or the path of a folder",
        ) from error
    except hf.HfHubHTTPError as error:
        raise _refusal(repo, error) from error
    except (httpx2.TransportError, httpx2.InvalidURL, ConnectionError) as error:
        raise _down(error) from error
    except httpx2.HTTPError as error:  # a loop of redirects, an encoding that is none
        raise _unreadable(repo, error) from error


@contextlib.contextmanager
def translate_answers(repo: str, revision: str | None = None) -> Iterator[None]:
    """`translate_errors` where the Hub is asked and nothing else is done.

    What the client cannot make sense of is the answer's fault: a login page, another kind of JSON.
    """
    try:
        with translate_errors(repo, revision):
            yield
    except (
        AssertionError, AttributeError, LookupError, TypeError, ValueError, RecursionError
    ) as error:  # fmt: skip
        raise _unreadable(repo, error) from error


def _unreadable(repo: str, error: Exception) -> HubError:
    return HubError(
        f"what {endpoint()} says about {repo} cannot be read ({type(error).__name__})",
        hint="it answers, but not as a Hub: check HF_ENDPOINT, a proxy or a login page",
    )


def _refusal(repo: str, error: hf.HfHubHTTPError) -> HubError:
    if error.response.status_code == 401:
        return _unknown_user()
    if error.response.status_code == HTTPStatus.INSUFFICIENT_STORAGE:
        return HubError(
            f"the Hub has no room left: it stored nothing of {repo}",
            hint="free some space on the disk of the Hub's machine, then try again",
        )
    return HubError(
        f"the Hub refused a request about {repo}: {first_line(error)}",
        hint="try again later; if it stays, check the token with: hf auth whoami",
    )


def _unknown_user() -> HubError:
    """HF_TOKEN counts before what `hf auth login` keeps."""
    if not (_TOKEN.get() or get_token()):
        return HubError("the Hub asks for a token, and there is none", hint=LOG_IN)
    wrong = _TOKEN.get() is None and "HF_TOKEN" in os.environ
    return HubError(
        "the Hub does not accept the token",
        hint=f"correct HF_TOKEN, or unset it and {LOG_IN}" if wrong else LOG_IN,
    )


def not_cached(what: str) -> OfflineWithoutCache:
    """The error that says that offline there is no `what`."""
    return OfflineWithoutCache(
        f"offline mode is on, and the cache does not hold {what}",
        hint="unset HF_HUB_OFFLINE once to fetch it; after that it works offline",
    )


def _at(repo: str, revision: str | None) -> str:
    short = revision[:12] if revision and COMMIT_HASH.fullmatch(revision) else revision
    return f"{repo}@{short}" if short else repo


def _down(error: Exception) -> EndpointDown:
    if isinstance(error, httpx2.UnsupportedProtocol | httpx2.InvalidURL):
        return EndpointDown(
            f"HF_ENDPOINT is {endpoint()}, which is no address of a Hub",
            hint="write all of it, such as https://huggingface.co, or unset it",
        )
    return EndpointDown(
        f"nothing answers at {endpoint()} ({type(error).__name__})",
        hint="check the network"
        + (" and HF_ENDPOINT" if os.environ.get("HF_ENDPOINT") else "")
        + ", or work from the cache with HF_HUB_OFFLINE=1",
    )


def first_line(error: BaseException) -> str:
    """What an error says, without its request id and advice, and without passwords; where its
    first line only announces a reason, the reason too."""
    first, *rest = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    return without_credentials(f"{first} {rest[0]}" if first.endswith(":") and rest else first)
