"""Branches and tags through the client."""

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError


def test_branches_are_created_listed_and_deleted(api: HfApi, repo: str) -> None:
    sha = api.model_info(repo).sha
    api.upload_file(path_or_fileobj=b"1", path_in_repo="a", repo_id=repo)
    api.create_branch(repo, branch="from/old", revision=sha)
    api.create_branch(repo, branch="dev")
    branches = {ref.name: ref.target_commit for ref in api.list_repo_refs(repo).branches}
    assert branches == {
        "main": api.model_info(repo).sha,
        "from/old": sha,
        "dev": api.model_info(repo).sha,
    }
    assert api.model_info(repo, revision="from/old").sha == sha
    api.delete_branch(repo, branch="dev")
    with pytest.raises(RevisionNotFoundError):
        api.model_info(repo, revision="dev")


def test_tags_are_created_listed_and_deleted(api: HfApi, repo: str) -> None:
    sha = api.model_info(repo).sha
    api.create_tag(repo, tag="v1.0", tag_message="first")
    api.upload_file(path_or_fileobj=b"1", path_in_repo="a", repo_id=repo)
    assert api.model_info(repo, revision="v1.0").sha == sha
    assert [(tag.name, tag.ref, tag.target_commit) for tag in api.list_repo_refs(repo).tags] == [
        ("v1.0", "refs/tags/v1.0", sha)
    ]
    api.delete_tag(repo, tag="v1.0")
    assert api.list_repo_refs(repo).tags == []
    with pytest.raises(RevisionNotFoundError):
        api.delete_tag(repo, tag="v1.0")


def test_existing_names_are_409(api: HfApi, repo: str) -> None:
    api.create_tag(repo, tag="v1")
    for again in (
        lambda: api.create_branch(repo, branch="main"),
        lambda: api.create_tag(repo, tag="v1"),
    ):
        with pytest.raises(HfHubHTTPError) as conflict:
            again()
        assert conflict.value.response.status_code == 409
    api.create_branch(repo, branch="main", exist_ok=True)
    api.create_tag(repo, tag="v1", exist_ok=True)


def test_starting_points_must_exist(api: HfApi, repo: str) -> None:
    with pytest.raises(RevisionNotFoundError):
        api.create_branch(repo, branch="dev", revision="none")
    with pytest.raises(RevisionNotFoundError):
        api.create_tag(repo, tag="v1", revision="none")


def test_main_stays(api: HfApi, repo: str) -> None:
    with pytest.raises(HfHubHTTPError) as forbidden:
        api.delete_branch(repo, branch="main")
    assert forbidden.value.response.status_code == 403
