"""What the Hub refuses to let us push, and pushes that cannot be: each as an error of ours."""

from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub.errors import HfHubHTTPError

from simmerge_hub.errors import HubError, OfflineWithoutCache, PushFailed
from simmerge_hub.hub.client import first_line, translate_errors

BAD_CARD = "Invalid metadata in README.md"
"""How huggingface_hub's ValueError begins when the Hub does not accept a card."""
EXPLAINED_BY_CLIENT = {401, 404}
"""Refusals that `translate_errors` already explains: no such token, no such repository."""


@contextmanager
def translate_push_errors(repo_id: str) -> Iterator[None]:
    """`translate_errors`, with what the Hub refuses to let us do as PushFailed."""
    try:
        with translate_errors(repo_id):
            yield
    except OfflineWithoutCache as error:
        raise offline_error(repo_id) from error
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


def offline_error(repo_id: str) -> PushFailed:
    """The error for a push in offline mode, of which the cache holds nothing to say."""
    return PushFailed(
        f"offline mode is on, and {repo_id} is on the Hub; nothing was pushed",
        hint="unset HF_HUB_OFFLINE, then push again",
    )


def not_private_error(repo_id: str) -> PushFailed:
    """The error for a repository that should be private, and is there and is not."""
    return PushFailed(
        f"{repo_id} exists already, and is public; nothing was pushed",
        hint="push to a new repository, or make that one private first",
    )


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
            hint="use a token with write access (hf auth login), or, where the command has --pr, "
            "open a pull request",
        )
    if 400 <= status < 500 and status not in EXPLAINED_BY_CLIENT:
        return PushFailed(
            f"the Hub refused the push to {repo_id}: {first_line(cause)}; no commit was made",
            hint="correct what it names, then push again",
        )
    return None
