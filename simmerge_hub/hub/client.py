"""The way in: one API object, and huggingface_hub's errors translated into ours with a hint."""

import contextlib
import os
from collections.abc import Iterator
from functools import cache

import httpx2
from huggingface_hub import HfApi, constants
from huggingface_hub import errors as hf

from simmerge_hub.errors import (
    CheckpointError,
    EndpointDown,
    GatedRepo,
    HubError,
    OfflineWithoutCache,
    RepoNotFound,
    RevisionNotFound,
)
from simmerge_hub.version import __version__


@cache
def api() -> HfApi:
    """The Hub's API, under our user agent; the token is the client's own."""
    return HfApi(library_name="simmerge-hub", library_version=__version__)


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
            hint=f"ask for it at {constants.ENDPOINT}/{repo}, then: hf auth login",
        ) from error
    except hf.RepositoryNotFoundError as error:
        raise RepoNotFound(
            f"there is no repository {repo}, or it is private and the token does not open it",
            hint="check the spelling; for a private repository, log in: hf auth login",
        ) from error
    except hf.RevisionNotFoundError as error:
        raise RevisionNotFound(
            f"{repo} has no revision {revision or 'main'!r}",
            hint=f"branches, tags and commits are listed at {constants.ENDPOINT}/{repo}/tree/main",
        ) from error
    except (hf.OfflineModeIsEnabled, hf.LocalEntryNotFoundError) as error:
        raise _unreachable(repo, error) from error
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
    except (httpx2.TransportError, ConnectionError) as error:
        raise _down(error) from error
    except hf.HfHubHTTPError as error:
        raise _refusal(repo, error) from error


def _refusal(repo: str, error: hf.HfHubHTTPError) -> HubError:
    if error.response.status_code == 401:
        return HubError("the Hub does not accept the token", hint="log in: hf auth login")
    return HubError(
        f"the Hub refused a request about {repo}: {first_line(error)}",
        hint="try again later; if it stays, check the token with: hf auth whoami",
    )


def _unreachable(repo: str, error: Exception) -> HubError:
    if offline():
        return OfflineWithoutCache(
            f"offline mode is on, and the cache does not hold {repo}",
            hint="unset HF_HUB_OFFLINE once to fetch it; after that it works offline",
        )
    return _down(error)


def _down(error: Exception) -> EndpointDown:
    return EndpointDown(
        f"nothing answers at {constants.ENDPOINT} ({type(error).__name__})",
        hint="check the network"
        + (" and HF_ENDPOINT" if os.environ.get("HF_ENDPOINT") else "")
        + ", or work from the cache with HF_HUB_OFFLINE=1",
    )


def first_line(error: BaseException) -> str:
    """What an error says, without its request id and advice."""
    return str(error).strip().partition("\n")[0]
