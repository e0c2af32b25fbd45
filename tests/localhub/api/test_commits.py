"""Commits as the client makes them: whole, on top of what it expects, or not at all."""

import hashlib
import json
import threading
from pathlib import Path

import pytest
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
    HfApi,
    ModelCard,
    hf_hub_download,
)
from huggingface_hub.errors import (
    BadRequestError,
    EntryNotFoundError,
    HfHubHTTPError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import build_hf_headers, get_session


def head(api: HfApi, repo: str) -> str:
    return api.model_info(repo).sha or ""


def post(api: HfApi, repo: str, *lines: str, revision: str = "main") -> int:
    url = f"{api.endpoint}/api/models/{repo}/commit/{revision}"
    return get_session().post(url, content="\n".join(lines), headers=build_hf_headers()).status_code


def lfs_line(path: str, sha256: str, size: int) -> str:
    return json.dumps({"key": "lfsFile", "value": {"path": path, "oid": sha256, "size": size}})


HEADER = '{"key": "header", "value": {"summary": "s"}}'


def test_one_commit_adds_edits_and_deletes(api: HfApi, repo: str) -> None:
    api.create_commit(
        repo,
        [CommitOperationAdd("a.txt", b"1"), CommitOperationAdd("d/b.bin", b"\0" * 2000)],
        commit_message="first",
        commit_description="why",
    )
    api.create_commit(
        repo,
        [
            CommitOperationAdd("a.txt", b"2"),
            CommitOperationDelete("d/"),
            CommitOperationAdd("c", b"3"),
        ],
        commit_message="second",
    )
    assert api.list_repo_files(repo) == [".gitattributes", "a.txt", "c"]
    assert Path(hf_hub_download(repo, "a.txt")).read_bytes() == b"2"
    assert api.list_repo_commits(repo)[1].message == "why"


@pytest.mark.parametrize("kind", ["dataset", "space"])
def test_folders_go_to_datasets_and_spaces_too(
    api: HfApi, org: str, folder: Path, kind: str
) -> None:
    sdk = "static" if kind == "space" else None
    repo = api.create_repo(f"{org}/x", repo_type=kind, space_sdk=sdk).repo_id
    api.upload_folder(repo_id=repo, folder_path=folder, repo_type=kind)
    path = hf_hub_download(repo, "weights.bin", repo_type=kind)
    assert Path(path).read_bytes() == (folder / "weights.bin").read_bytes()
    assert "notes/deep/b.txt" in api.list_repo_files(repo, repo_type=kind)


def test_upload_folder_can_delete_what_is_gone(api: HfApi, repo: str, folder: Path) -> None:
    api.upload_folder(repo_id=repo, folder_path=folder)
    (folder / "notes/a.txt").unlink()
    api.upload_folder(repo_id=repo, folder_path=folder, delete_patterns="*.txt")
    assert "notes/a.txt" not in api.list_repo_files(repo)
    assert "notes/deep/b.txt" in api.list_repo_files(repo)


def test_delete_file_and_folder(api: HfApi, repo: str, folder: Path) -> None:
    api.upload_folder(repo_id=repo, folder_path=folder)
    api.delete_file("config.json", repo)
    api.delete_folder("notes", repo)
    assert api.list_repo_files(repo) == [".gitattributes", "weights.bin"]
    with pytest.raises(EntryNotFoundError):
        api.delete_file("config.json", repo)


def test_unchanged_files_make_no_commit(api: HfApi, repo: str, folder: Path) -> None:
    first = api.upload_folder(repo_id=repo, folder_path=folder)
    second = api.upload_folder(repo_id=repo, folder_path=folder)
    assert second.oid == first.oid == head(api, repo)
    assert len(api.list_repo_commits(repo)) == 2


@pytest.mark.parametrize("name", ["small.txt", "large.bin"])
def test_a_file_is_copied(api: HfApi, repo: str, name: str) -> None:
    api.upload_file(path_or_fileobj=b"\0content" * 300, path_in_repo=name, repo_id=repo)
    api.create_commit(repo, [CommitOperationCopy(name, f"copies/{name}")], commit_message="copy")
    assert Path(hf_hub_download(repo, f"copies/{name}")).read_bytes() == b"\0content" * 300


def test_a_regular_file_is_copied_between_repositories(api: HfApi, repo: str, org: str) -> None:
    other = api.create_repo(f"{org}/other").repo_id
    api.upload_file(path_or_fileobj=b"text", path_in_repo="a", repo_id=repo)
    copy = CommitOperationCopy("a", "b", src_repo_id=repo, src_repo_type="model")
    api.create_commit(other, [copy], commit_message="copy")
    assert Path(hf_hub_download(other, "b")).read_bytes() == b"text"


def test_the_reply_names_the_commit_that_was_made(api: HfApi, repo: str) -> None:
    api.create_branch(repo, branch="draft")
    write = {"path_or_fileobj": b"1", "path_in_repo": "a", "repo_id": repo}
    main = api.upload_file(**write)
    branch = api.upload_file(**write | {"path_or_fileobj": b"2"}, revision="draft")
    pull = api.upload_file(**write | {"path_or_fileobj": b"3"}, create_pr=True)
    again = api.upload_file(**write | {"path_or_fileobj": b"4"}, revision="refs/pr/1")
    assert main.oid == head(api, repo)
    assert branch.oid == api.model_info(repo, revision="draft").sha
    assert again.oid == api.model_info(repo, revision="refs/pr/1").sha
    assert (
        pull.pr_num == 1
        and pull.oid == api.list_repo_commits(repo, revision="refs/pr/1")[1].commit_id
    )
    assert len({main.oid, branch.oid, pull.oid, again.oid}) == 4


def test_a_stale_parent_is_412_and_changes_nothing(api: HfApi, repo: str) -> None:
    old = head(api, repo)
    new = api.upload_file(
        path_or_fileobj=b"1", path_in_repo="a", repo_id=repo, parent_commit=old
    ).oid
    with pytest.raises(HfHubHTTPError) as stale:
        api.upload_file(path_or_fileobj=b"2", path_in_repo="a", repo_id=repo, parent_commit=old)
    assert stale.value.response.status_code == 412
    assert head(api, repo) == new
    api.upload_file(path_or_fileobj=b"2", path_in_repo="a", repo_id=repo, parent_commit=new[:7])


def test_of_writers_on_one_parent_exactly_one_wins(api: HfApi, repo: str) -> None:
    parent, outcomes = head(api, repo), []

    def write(number: int) -> None:
        try:
            api.upload_file(
                path_or_fileobj=b"%d" % number, path_in_repo="a", repo_id=repo, parent_commit=parent
            )
            outcomes.append(201)
        except HfHubHTTPError as error:
            outcomes.append(error.response.status_code)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(outcomes) == [201, 412, 412, 412]
    assert len(api.list_repo_commits(repo)) == 2


def test_writers_without_parent_all_get_in(api: HfApi, repo: str) -> None:
    def write(number: int) -> None:
        api.upload_file(
            path_or_fileobj=b"\0" * 2000 + b"%d" % number,
            path_in_repo=f"{number}.bin",
            repo_id=repo,
        )

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert api.list_repo_files(repo) == [".gitattributes", "0.bin", "1.bin", "2.bin", "3.bin"]
    assert len(api.list_repo_commits(repo)) == 5


def test_commits_go_to_branches_only(api: HfApi, repo: str) -> None:
    api.create_branch(repo, branch="dev")
    api.upload_file(path_or_fileobj=b"1", path_in_repo="a", repo_id=repo, revision="dev")
    assert not api.file_exists(repo, "a") and api.file_exists(repo, "a", revision="dev")
    with pytest.raises(RevisionNotFoundError):
        api.upload_file(path_or_fileobj=b"1", path_in_repo="a", repo_id=repo, revision="none")
    api.create_tag(repo, tag="v1")
    with pytest.raises(RevisionNotFoundError):
        api.upload_file(path_or_fileobj=b"1", path_in_repo="a", repo_id=repo, revision="v1")


def test_preuploaded_shards_appear_with_the_commit(api: HfApi, repo: str, tmp_path: Path) -> None:
    shard = tmp_path / "model-00001-of-00001.safetensors"
    shard.write_bytes(b"shard" * 1000)
    operation = CommitOperationAdd(shard.name, shard)
    api.preupload_lfs_files(repo, [operation])
    shard.unlink()
    assert api.list_repo_files(repo) == [".gitattributes"]
    api.create_commit(repo, [operation], commit_message="shards")
    assert Path(hf_hub_download(repo, shard.name)).read_bytes() == b"shard" * 1000


def test_a_large_file_that_was_never_uploaded_is_refused(api: HfApi, repo: str) -> None:
    before, sha256 = head(api, repo), hashlib.sha256(b"nowhere").hexdigest()
    assert post(api, repo, HEADER, lfs_line("x.bin", sha256, 7)) == 400
    assert head(api, repo) == before


def test_a_large_file_of_another_size_is_refused(api: HfApi, repo: str) -> None:
    api.upload_file(path_or_fileobj=b"\0" * 99, path_in_repo="x.bin", repo_id=repo)
    before, sha256 = head(api, repo), hashlib.sha256(b"\0" * 99).hexdigest()
    assert post(api, repo, HEADER, lfs_line("y.bin", sha256, 98)) == 400
    assert head(api, repo) == before


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "a//b", ".git/config", "a\\\\b"])
def test_paths_outside_the_repository_are_refused(api: HfApi, repo: str, path: str) -> None:
    before = head(api, repo)
    line = (
        f'{{"key": "file", "value": {{"path": "{path}", "content": "aGk=", "encoding": "base64"}}}}'
    )
    assert post(api, repo, HEADER, line) == 400
    assert head(api, repo) == before


@pytest.mark.parametrize(
    "lines",
    [
        ["not json"],
        ["[1]"],
        ['{"key": "file"}'],
        ['{"key": "file", "value": {"path": "a", "content": "!", "encoding": "base64"}}'],
        ['{"key": "file", "value": {"path": "a"}}'],
        ['{"key": "teleport", "value": {}}'],
        ['{"key": "lfsFile", "value": {"path": "a", "oid": "../../x"}}'],
        [
            '{"key": "file", "value": {"path": "a", "content": ""}}',
            '{"key": "file", "value": {"path": "a/b", "content": ""}}',
        ],
    ],
)
def test_malformed_commits_change_nothing(api: HfApi, repo: str, lines: list[str]) -> None:
    before = head(api, repo)
    assert post(api, repo, HEADER, *lines) == 400
    assert head(api, repo) == before


def test_history_can_be_squashed(api: HfApi, repo: str) -> None:
    api.upload_file(path_or_fileobj=b"1", path_in_repo="a", repo_id=repo)
    api.super_squash_history(repo, commit_message="all in one")
    assert [commit.title for commit in api.list_repo_commits(repo)] == ["all in one"]
    assert api.list_repo_files(repo) == [".gitattributes", "a"]


def test_cards_are_validated_before_the_commit(api: HfApi, repo: str) -> None:
    before = head(api, repo)
    with pytest.raises(ValueError, match="must be a text"):
        ModelCard("---\nlicense: mit\npipeline_tag: [a]\n---\n").validate()
    with pytest.raises(ValueError, match="not valid YAML"):
        api.upload_file(path_or_fileobj=b"---\na: [\n---\n", path_in_repo="README.md", repo_id=repo)
    with pytest.warns(UserWarning, match="empty or missing yaml metadata"):
        api.upload_file(path_or_fileobj=b"# No metadata", path_in_repo="README.md", repo_id=repo)
    assert head(api, repo) != before
    with pytest.raises(BadRequestError):
        api.create_branch(repo, branch="refs/pr/5")
