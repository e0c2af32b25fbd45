"""Tokens, private and gated repositories, seen through the client."""

import pytest
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError


@pytest.fixture
def private(api: HfApi, org: str) -> str:
    repo = api.create_repo(f"{org}/private", private=True).repo_id
    api.upload_file(path_or_fileobj=b"secret", path_in_repo="x", repo_id=repo)
    return repo


@pytest.fixture
def gated(api: HfApi, repo: str) -> str:
    api.upload_file(path_or_fileobj=b"gated", path_in_repo="x", repo_id=repo)
    api.update_repo_settings(repo, gated="manual")
    return repo


def test_whoami(api: HfApi, visitor: HfApi) -> None:
    assert (api.whoami()["name"], visitor.whoami()["name"]) == ("nano", "visitor")
    assert api.whoami()["avatarUrl"] == ""  # gradio's button to sign in reads it


def test_an_unknown_token_is_401_everywhere(repo: str) -> None:
    stranger = HfApi(token="hf_nobody")
    with pytest.raises(HfHubHTTPError, match="Invalid user token") as unknown:
        stranger.whoami()
    assert unknown.value.response.status_code == 401
    with pytest.raises(HfHubHTTPError) as refused:
        stranger.model_info(repo)
    assert refused.value.response.status_code == 401
    assert not isinstance(refused.value, RepositoryNotFoundError)
    with pytest.raises(HfHubHTTPError):
        stranger.create_repo("nobody/x")


def test_anonymous_visitors_read_public_repositories_only(
    anonymous: HfApi, repo: str, private: str
) -> None:
    assert anonymous.model_info(repo).id == repo
    with pytest.raises(RepositoryNotFoundError):
        anonymous.model_info(private)
    with pytest.raises(HfHubHTTPError) as refused:
        anonymous.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id=repo)
    assert refused.value.response.status_code == 401


def test_private_repositories_do_not_exist_for_others(
    visitor: HfApi, anonymous: HfApi, private: str
) -> None:
    for other in (visitor, anonymous):
        with pytest.raises(RepositoryNotFoundError):
            other.model_info(private)
        with pytest.raises(RepositoryNotFoundError):
            other.list_repo_files(private)
        with pytest.raises(RepositoryNotFoundError):
            hf_hub_download(private, "x", token=other.token)
        with pytest.raises(RepositoryNotFoundError):
            other.delete_repo(private) if other is visitor else other.auth_check(private)
        assert private not in [info.id for info in other.list_models(author=private.split("/")[0])]


def test_the_owner_lists_private_repositories(api: HfApi, private: str, org: str) -> None:
    assert [info.id for info in api.list_models(author=org)] == [private]


def test_users_write_below_their_own_name_only(visitor: HfApi, org: str) -> None:
    own = visitor.create_repo(f"visitor/{org}", private=True).repo_id
    visitor.upload_file(path_or_fileobj=b"\0" * 100, path_in_repo="x.bin", repo_id=own)
    assert visitor.list_repo_files(own) == [".gitattributes", "x.bin"]
    with pytest.raises(HfHubHTTPError) as forbidden:
        visitor.create_repo(f"{org}/x")
    assert forbidden.value.response.status_code == 403
    with pytest.raises(HfHubHTTPError):
        visitor.move_repo(own, f"{org}/taken")


def test_gated_files_need_granted_access(
    api: HfApi, visitor: HfApi, anonymous: HfApi, gated: str
) -> None:
    assert visitor.model_info(gated).gated == "manual"
    for other in (visitor, anonymous):
        with pytest.raises(GatedRepoError):
            hf_hub_download(gated, "x", token=other.token)
        with pytest.raises(GatedRepoError):
            other.auth_check(gated)
    api.auth_check(gated)
    hf_hub_download(gated, "x", token=api.token)


def test_access_is_granted_listed_and_taken_back(api: HfApi, visitor: HfApi, gated: str) -> None:
    api.grant_access(gated, "visitor")
    visitor.auth_check(gated)
    assert [entry.username for entry in api.list_accepted_access_requests(gated)] == ["visitor"]
    with pytest.raises(HfHubHTTPError):
        api.grant_access(gated, "visitor")
    api.cancel_access_request(gated, "visitor")
    assert [entry.status for entry in api.list_pending_access_requests(gated)] == ["pending"]
    with pytest.raises(GatedRepoError):
        visitor.auth_check(gated)
    api.accept_access_request(gated, "visitor")
    visitor.auth_check(gated)
    api.reject_access_request(gated, "visitor", rejection_reason=None)
    with pytest.raises(GatedRepoError):
        visitor.auth_check(gated)


def test_access_needs_a_gate_and_a_known_user(
    api: HfApi, visitor: HfApi, gated: str, org: str
) -> None:
    with pytest.raises(HfHubHTTPError) as unknown:
        api.grant_access(gated, "nobody")
    assert unknown.value.response.status_code == 404
    open_repo = api.create_repo(f"{org}/open").repo_id
    with pytest.raises(HfHubHTTPError) as pointless:
        api.grant_access(open_repo, "visitor")
    assert pointless.value.response.status_code == 400
    with pytest.raises(HfHubHTTPError) as forbidden:
        visitor.grant_access(gated, "visitor")
    assert forbidden.value.response.status_code == 403


def test_auth_check_can_ask_for_write_access(api: HfApi, visitor: HfApi, repo: str) -> None:
    visitor.auth_check(repo)
    api.auth_check(repo, write=True)
    with pytest.raises(HfHubHTTPError):
        visitor.auth_check(repo, write=True)
