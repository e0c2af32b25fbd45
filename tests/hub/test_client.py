"""Every error of the client becomes one of ours, with a message and a hint."""

import httpx2
import pytest
from huggingface_hub import constants
from huggingface_hub import errors as hf

from simmerge_hub import __version__
from simmerge_hub.errors import (
    CheckpointError,
    EndpointDown,
    GatedRepo,
    HubError,
    OfflineWithoutCache,
    RepoNotFound,
    RevisionNotFound,
    SimmergeError,
)
from simmerge_hub.hub import client
from simmerge_hub.hub.client import api, first_line, translate_errors


def answered(kind: type[hf.HfHubHTTPError], status: int) -> hf.HfHubHTTPError:
    request = httpx2.Request("GET", "http://hub/api/models/org/a")
    return kind("first line\nsecond line", response=httpx2.Response(status, request=request))


NOT_FOUND = "there is no model org/a, or it is private and the token does not open it"


@pytest.mark.parametrize(
    ("raised", "kind", "message", "hint"),
    [
        (answered(hf.GatedRepoError, 403), GatedRepo, "org/a is gated, and", "hf auth login"),
        (answered(hf.RepositoryNotFoundError, 404), RepoNotFound, NOT_FOUND, "check the spelling"),
        (answered(hf.RepositoryNotFoundError, 401), RepoNotFound, NOT_FOUND, "hf auth login"),
        (answered(hf.RevisionNotFoundError, 404), RevisionNotFound, "no revision 'v1'", "tree/"),
        (answered(hf.RemoteEntryNotFoundError, 404), CheckpointError, "org/a lacks a file it "
         "should have: first line", "the repository is incomplete"),
        (answered(hf.HfHubHTTPError, 401), HubError, "the Hub does not accept the token", "log in"),
        (answered(hf.HfHubHTTPError, 507), HubError, "no room left: it stored nothing of org/a",
         "free some space"),
        (answered(hf.HfHubHTTPError, 500), HubError, "the Hub refused a request about org/a: first "
         "line", "try again later"),
        (hf.HFValidationError("x"), RepoNotFound, "'org/a' is neither a folder", "write org/name"),
        (hf.LocalEntryNotFoundError("x"), EndpointDown, "nothing answers at", "check the network"),
        (httpx2.ConnectError("x"), EndpointDown, "(ConnectError)", "HF_HUB_OFFLINE=1"),
        (httpx2.ReadTimeout("x"), EndpointDown, "(ReadTimeout)", "HF_HUB_OFFLINE=1"),
        (ConnectionError("x"), EndpointDown, "(ConnectionError)", "HF_HUB_OFFLINE=1"),
    ],
)  # fmt: skip
def test_what_the_client_raises(
    raised: Exception, kind: type[SimmergeError], message: str, hint: str
) -> None:
    with pytest.raises(SimmergeError) as caught, translate_errors("org/a", "v1"):
        raise raised
    assert type(caught.value) is kind
    assert message in str(caught.value)
    assert "second line" not in str(caught.value)
    assert hint in caught.value.hint
    assert caught.value.__cause__ is raised


@pytest.mark.parametrize("kind", ["model", "dataset", "space"])
def test_what_is_not_there_has_a_kind(kind: str) -> None:
    error = answered(hf.RepositoryNotFoundError, 404)
    error.response.request = httpx2.Request("GET", f"http://hub/api/{kind}s/org/a")
    with (
        pytest.raises(RepoNotFound, match=f"^there is no {kind} org/a, or it is private") as caught,
        translate_errors("org/a"),
    ):
        raise error
    assert (caught.value.repo, caught.value.kind) == ("org/a", kind)


def test_a_token_that_is_wrong_and_one_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a login keeps is not looked at while HF_TOKEN is set."""

    def said() -> tuple[str, str]:
        with pytest.raises(HubError) as caught, translate_errors("org/a"):
            raise answered(hf.HfHubHTTPError, 401)
        return str(caught.value), caught.value.hint

    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    wrong = "the Hub does not accept the token"
    assert said() == (wrong, "correct HF_TOKEN, or unset it and log in: hf auth login")
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(client, "get_token", lambda: "hf_kept")
    assert said() == (wrong, "log in: hf auth login")
    monkeypatch.setattr(client, "get_token", lambda: None)
    assert said() == ("the Hub asks for a token, and there is none", "log in: hf auth login")


@pytest.mark.parametrize("raised", [httpx2.UnsupportedProtocol("x"), httpx2.InvalidURL("x")])
def test_an_endpoint_that_is_no_address(raised: Exception) -> None:
    with pytest.raises(EndpointDown) as caught, translate_errors("org/a"):
        raise raised
    assert str(caught.value).endswith(", which is no address of a Hub")
    assert caught.value.hint.startswith("write all of it, such as https://huggingface.co")


@pytest.mark.parametrize("raised", [hf.OfflineModeIsEnabled("x"), hf.LocalEntryNotFoundError("x")])
def test_offline(raised: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "offline", lambda: True)
    with pytest.raises(OfflineWithoutCache) as caught, translate_errors("org/a"):
        raise raised
    assert str(caught.value) == "offline mode is on, and the cache does not hold org/a"
    assert caught.value.hint.startswith("unset HF_HUB_OFFLINE once to fetch it")
    for revision, said in (("v9", "v9"), ("0123456789abcdef" * 2, "0123456789ab")):
        match = f"does not hold org/a@{said}$"
        with (
            pytest.raises(OfflineWithoutCache, match=match),
            translate_errors("org/a", revision),
        ):
            raise raised


def test_the_endpoint_is_named_where_it_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_ENDPOINT")
    with pytest.raises(EndpointDown) as caught, translate_errors("org/a"):
        raise httpx2.ConnectError("x")
    assert constants.ENDPOINT in str(caught.value)
    assert "HF_ENDPOINT" not in caught.value.hint


def test_our_own_errors_and_bugs_pass_through() -> None:
    for raised in (RepoNotFound("ours"), ValueError("a bug")):
        with pytest.raises(type(raised)) as caught, translate_errors("org/a"):
            raise raised
        assert caught.value is raised


def test_one_client_under_our_user_agent() -> None:
    assert api() is api()
    assert (api().library_name, api().library_version) == ("simmerge-hub", __version__)


def test_inside_the_hub_is_asked_as_somebody_else() -> None:
    own = client.api()
    with client.acting_with("hf_visitor"):
        assert client.api().whoami()["name"] == "visitor"
        with client.acting_with(None):
            assert client.api() is own
    assert client.api() is own
    assert own.whoami()["name"] == "nano"


def test_the_reason_after_a_first_line_that_announces_it() -> None:
    assert first_line(ValueError("Bad request:\n\nno such branch\nmore")) == (
        "Bad request: no such branch"
    )
    assert first_line(ValueError("refused\n(Request ID: 1)")) == "refused"
    assert first_line(ValueError("")) == ""
