"""Pull requests and discussions through the client."""

from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError


def test_a_commit_can_open_a_pull_request(api: HfApi, repo: str) -> None:
    before = api.model_info(repo).sha
    commit = api.upload_file(path_or_fileobj=b"1", path_in_repo="a", repo_id=repo, create_pr=True)
    assert commit.pr_num == 1 and commit.pr_revision == "refs/pr/1"
    assert api.model_info(repo).sha == before
    assert Path(hf_hub_download(repo, "a", revision="refs/pr/1")).read_bytes() == b"1"
    pulls = api.list_repo_refs(repo, include_pull_requests=True).pull_requests
    assert pulls and [(pull.ref, pull.target_commit) for pull in pulls] == [
        ("refs/pr/1", commit.oid)
    ]


def test_a_pull_request_grows_and_is_merged(api: HfApi, repo: str) -> None:
    api.upload_file(
        path_or_fileobj=b"1", path_in_repo="a", repo_id=repo, create_pr=True, commit_message="Add a"
    )
    api.upload_file(
        path_or_fileobj=b"\0" * 2000, path_in_repo="b.bin", repo_id=repo, revision="refs/pr/1"
    )
    api.upload_file(path_or_fileobj=b"3", path_in_repo="c", repo_id=repo)
    details = api.get_discussion_details(repo, 1)
    assert (details.is_pull_request, details.status, details.conflicting_files) == (
        True,
        "open",
        [],
    )
    api.merge_pull_request(repo, 1)
    assert api.list_repo_files(repo) == [".gitattributes", "a", "b.bin", "c"]
    merged = api.get_discussion_details(repo, 1)
    assert merged.status == "merged" and merged.merge_commit_oid == api.model_info(repo).sha


def test_conflicting_changes_are_not_merged(api: HfApi, repo: str) -> None:
    api.upload_file(path_or_fileobj=b"theirs", path_in_repo="a", repo_id=repo, create_pr=True)
    ours = api.upload_file(path_or_fileobj=b"ours", path_in_repo="a", repo_id=repo).oid
    assert api.get_discussion_details(repo, 1).conflicting_files == ["a"]
    with pytest.raises(HfHubHTTPError) as conflict:
        api.merge_pull_request(repo, 1)
    assert conflict.value.response.status_code == 409
    assert api.model_info(repo).sha == ours


def test_upload_folder_opens_a_pull_request(api: HfApi, repo: str, folder: Path) -> None:
    commit = api.upload_folder(repo_id=repo, folder_path=folder, create_pr=True)
    assert commit.pr_revision == "refs/pr/1"
    assert api.list_repo_files(repo) == [".gitattributes"]
    assert "weights.bin" in api.list_repo_files(repo, revision="refs/pr/1")


def test_a_pull_request_can_start_at_an_older_commit(api: HfApi, repo: str) -> None:
    old = api.model_info(repo).sha
    api.upload_file(path_or_fileobj=b"1", path_in_repo="a", repo_id=repo)
    operations = [CommitOperationAdd("b", b"2")]
    api.create_commit(repo, operations, commit_message="b", create_pr=True, parent_commit=old)
    assert api.list_repo_files(repo, revision="refs/pr/1") == [".gitattributes", "b"]
    api.merge_pull_request(repo, 1)
    assert api.list_repo_files(repo) == [".gitattributes", "a", "b"]


def test_a_reader_may_propose_but_not_commit(api: HfApi, visitor: HfApi, repo: str) -> None:
    with pytest.raises(HfHubHTTPError) as forbidden:
        visitor.upload_file(path_or_fileobj=b"1", path_in_repo="a", repo_id=repo)
    assert forbidden.value.response.status_code == 403
    data = b"\0" * 3000
    visitor.upload_file(path_or_fileobj=data, path_in_repo="w.bin", repo_id=repo, create_pr=True)
    visitor.upload_file(path_or_fileobj=b"2", path_in_repo="b", repo_id=repo, revision="refs/pr/1")
    with pytest.raises(HfHubHTTPError):
        visitor.merge_pull_request(repo, 1)
    api.merge_pull_request(repo, 1)
    assert api.list_repo_commits(repo, revision="refs/pr/1")[0].authors == ["visitor"]
    assert "w.bin" in api.list_repo_files(repo)


def test_a_discussion_from_start_to_end(api: HfApi, repo: str) -> None:
    talk = api.create_discussion(repo, "A question", description="How?")
    api.comment_discussion(repo, talk.num, "Like this.")
    api.rename_discussion(repo, talk.num, "An answered question")
    api.change_discussion_status(repo, talk.num, "closed", comment="done")
    after = api.get_discussion_details(repo, talk.num)
    assert (after.title, after.status, after.is_pull_request) == (
        "An answered question",
        "closed",
        False,
    )
    types = [event.type for event in after.events]
    assert types == ["comment", "comment", "title-change", "comment", "status-change"]
    api.create_pull_request(repo, "A proposal")
    listed = lambda **how: [talk.num for talk in api.get_repo_discussions(repo, **how)]  # noqa: E731
    assert listed() == [2, 1]
    assert listed(discussion_type="pull_request") == listed(discussion_status="open") == [2]
    assert listed(author="nobody") == []


def test_discussions_that_do_not_exist(api: HfApi, repo: str) -> None:
    with pytest.raises(HfHubHTTPError) as missing:
        api.get_discussion_details(repo, 7)
    assert missing.value.response.status_code == 404
