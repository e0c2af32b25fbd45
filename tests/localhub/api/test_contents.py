"""Trees, paths, history and bytes, as the client reads them."""

import hashlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from huggingface_hub import (
    CommitOperationAdd,
    HfApi,
    HfFileSystem,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    snapshot_download,
)
from huggingface_hub.errors import (
    BadRequestError,
    EntryNotFoundError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile, RepoFolder
from huggingface_hub.utils import build_hf_headers, get_session
from safetensors.numpy import save

from simmerge_hub.localhub import info

DATA = bytes(range(256)) * 400


@pytest.fixture
def filled(api: HfApi, repo: str, folder: Path) -> str:
    api.upload_folder(repo_id=repo, folder_path=folder)
    return repo


def get(api: HfApi, repo: str, path: str, **headers: str):
    return get_session().get(
        f"{api.endpoint}/{repo}/resolve/main/{path}", headers={**build_hf_headers(), **headers}
    )


def test_the_top_of_a_tree(api: HfApi, filled: str) -> None:
    top = list(api.list_repo_tree(filled))
    assert [item.path for item in top] == [".gitattributes", "config.json", "notes", "weights.bin"]
    assert [item.path for item in top if isinstance(item, RepoFolder)] == ["notes"]


def test_a_folder_of_a_tree(api: HfApi, filled: str) -> None:
    assert [item.path for item in api.list_repo_tree(filled, "notes")] == [
        "notes/a.txt",
        "notes/deep",
    ]
    deep = api.list_repo_tree(filled, "notes", recursive=True)
    assert [item.path for item in deep] == ["notes/a.txt", "notes/deep", "notes/deep/b.txt"]
    assert [item.path for item in api.list_repo_tree(filled, "notes/deep")] == ["notes/deep/b.txt"]
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree(filled, "nowhere"))


def test_a_tree_remembers_the_last_commit_of_each_path(api: HfApi, filled: str) -> None:
    commit = api.upload_file(path_or_fileobj=b"new", path_in_repo="notes/a.txt", repo_id=filled)
    rows = {item.path: item for item in api.list_repo_tree(filled, recursive=True, expand=True)}
    last = {path: item.last_commit.oid for path, item in rows.items() if item.last_commit}
    assert last["notes/a.txt"] == last["notes"] == commit.oid
    assert last["config.json"] == last["notes/deep"] != commit.oid
    assert rows[".gitattributes"].last_commit.title == "initial commit"  # type: ignore[union-attr]


def test_long_trees_come_in_pages(api: HfApi, repo: str) -> None:
    operations = [CommitOperationAdd(f"many/{number:04}.txt", b"same") for number in range(1100)]
    api.create_commit(repo, operations, commit_message="many")
    files = api.list_repo_tree(repo, "many")
    assert [file.path for file in files] == [f"many/{number:04}.txt" for number in range(1100)]


def test_paths_info(api: HfApi, filled: str) -> None:
    file, folder = api.get_paths_info(filled, ["weights.bin", "notes", "missing"], expand=True)
    assert isinstance(file, RepoFile) and file.lfs is not None
    assert file.lfs.sha256 == hashlib.sha256(bytes(range(256)) * 1000).hexdigest()
    assert file.last_commit is not None
    assert isinstance(folder, RepoFolder) and folder.path == "notes"


def test_commits_are_listed_newest_first(api: HfApi, repo: str) -> None:
    for number in range(3):
        api.upload_file(
            path_or_fileobj=b"%d" % number,
            path_in_repo="n",
            repo_id=repo,
            commit_message=f"n={number}",
        )
    commits = api.list_repo_commits(repo)
    assert [commit.title for commit in commits] == ["n=2", "n=1", "n=0", "initial commit"]
    assert commits[0].authors == ["nano"]
    older = api.list_repo_commits(repo, revision=commits[2].commit_id)
    assert [commit.title for commit in older] == ["n=0", "initial commit"]


def test_metadata_of_a_large_and_a_regular_file(api: HfApi, filled: str) -> None:
    sha = api.model_info(filled).sha
    large = get_hf_file_metadata(hf_hub_url(filled, "weights.bin"))
    assert (large.commit_hash, large.size) == (sha, 256_000)
    assert large.etag == hashlib.sha256(bytes(range(256)) * 1000).hexdigest()
    regular = get_hf_file_metadata(hf_hub_url(filled, "config.json"))
    assert (regular.commit_hash, regular.size, len(regular.etag or "")) == (sha, 2, 40)


def test_download_uses_the_cache(api: HfApi, filled: str) -> None:
    first = Path(hf_hub_download(filled, "weights.bin"))
    stamp = first.stat().st_mtime_ns
    assert Path(hf_hub_download(filled, "weights.bin")).stat().st_mtime_ns == stamp
    assert hf_hub_download(filled, "weights.bin", local_files_only=True) == str(first)


def test_download_pins_a_revision(api: HfApi, repo: str) -> None:
    old = api.upload_file(path_or_fileobj=b"old", path_in_repo="x", repo_id=repo).oid
    api.upload_file(path_or_fileobj=b"new", path_in_repo="x", repo_id=repo)
    assert Path(hf_hub_download(repo, "x")).read_bytes() == b"new"
    assert Path(hf_hub_download(repo, "x", revision=old)).read_bytes() == b"old"


def test_revisions_are_resolved_to_commits(api: HfApi, repo: str) -> None:
    assert api.resolve_revision(repo).resolved == api.model_info(repo).sha


def test_snapshot_download(api: HfApi, filled: str, folder: Path) -> None:
    path = Path(snapshot_download(filled))
    for file in (file for file in folder.rglob("*") if file.is_file()):
        assert (path / file.relative_to(folder)).read_bytes() == file.read_bytes()
    only = Path(
        snapshot_download(filled, allow_patterns="notes/*", local_dir=folder.parent / "only")
    )
    assert sorted(file.name for file in only.rglob("*.*") if ".cache" not in file.parts) == [
        "a.txt",
        "b.txt",
    ]


def test_a_broken_download_is_resumed_with_a_range(api: HfApi, repo: str, tmp_path: Path) -> None:
    api.upload_file(path_or_fileobj=DATA, path_in_repo="w.bin", repo_id=repo)
    etag = get_hf_file_metadata(hf_hub_url(repo, "w.bin")).etag
    blobs = tmp_path / f"models--{repo.replace('/', '--')}" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{etag}.incomplete").write_bytes(b"#" * 1000)
    downloaded = Path(hf_hub_download(repo, "w.bin", cache_dir=tmp_path)).read_bytes()
    assert len(downloaded) == len(DATA)
    assert downloaded in (b"#" * 1000 + DATA[1000:], DATA)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [("bytes=0-9", slice(0, 10)), ("bytes=100-", slice(100, None)), ("bytes=-7", slice(-7, None))],
)
def test_ranges(api: HfApi, repo: str, asked: str, expected: slice) -> None:
    api.upload_file(path_or_fileobj=DATA, path_in_repo="w.bin", repo_id=repo)
    answer = get(api, repo, "w.bin", Range=asked)
    assert answer.status_code == 206
    assert answer.content == DATA[expected]
    assert answer.headers["content-range"].endswith(f"/{len(DATA)}")
    assert answer.headers["x-linked-size"] == str(len(DATA))


def test_a_range_beyond_the_end_is_416(api: HfApi, repo: str) -> None:
    api.upload_file(path_or_fileobj=DATA, path_in_repo="w.bin", repo_id=repo)
    answer = get(api, repo, "w.bin", Range=f"bytes={len(DATA)}-")
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(DATA)}"


def test_head_promises_what_get_delivers(api: HfApi, repo: str) -> None:
    api.upload_file(path_or_fileobj=DATA, path_in_repo="w.bin", repo_id=repo)
    head = get_session().head(
        f"{api.endpoint}/{repo}/resolve/main/w.bin", headers=build_hf_headers()
    )
    body = get(api, repo, "w.bin")
    assert head.content == b"" and body.content == DATA
    for name in (
        "etag",
        "x-repo-commit",
        "x-linked-etag",
        "x-linked-size",
        "content-length",
        "accept-ranges",
    ):
        assert head.headers[name] == body.headers[name]


def test_an_empty_file(api: HfApi, repo: str) -> None:
    api.upload_file(path_or_fileobj=b"", path_in_repo="empty.bin", repo_id=repo)
    assert Path(hf_hub_download(repo, "empty.bin")).read_bytes() == b""


def test_the_three_kinds_of_missing(api: HfApi, repo: str) -> None:
    with pytest.raises(RepositoryNotFoundError):
        hf_hub_download(f"{repo}-none", "x")
    with pytest.raises(RevisionNotFoundError):
        hf_hub_download(repo, "x", revision="none")
    with pytest.raises(EntryNotFoundError) as missing:
        hf_hub_download(repo, "x")
    assert not isinstance(missing.value, LocalEntryNotFoundError)
    with pytest.raises(RepositoryNotFoundError):
        hf_hub_download("gpt2", "config.json")
    with pytest.raises(RepositoryNotFoundError):
        HfApi().model_info("gpt2")
    with pytest.raises(RepositoryNotFoundError):
        list(HfApi().list_repo_tree("gpt2"))


def test_file_system_lists_and_globs(filled: str) -> None:
    files = HfFileSystem(skip_instance_cache=True)
    assert files.ls(f"{filled}/notes", detail=False) == [
        f"{filled}/notes/a.txt",
        f"{filled}/notes/deep",
    ]
    assert files.glob(f"{filled}/**/*.txt") == [
        f"{filled}/notes/a.txt",
        f"{filled}/notes/deep/b.txt",
    ]
    assert files.isdir(f"{filled}/notes") and files.isfile(f"{filled}/notes/a.txt")
    assert files.info(f"{filled}/weights.bin")["size"] == 256_000


def test_file_system_reads_ranges(api: HfApi, repo: str) -> None:
    api.upload_file(path_or_fileobj=DATA, path_in_repo="w.bin", repo_id=repo)
    files = HfFileSystem(skip_instance_cache=True)
    assert files.cat_file(f"{repo}/w.bin", start=1000, end=1234) == DATA[1000:1234]
    with files.open(f"{repo}/w.bin") as file:
        file.seek(500)
        assert file.read(10) == DATA[500:510]


def test_file_system_writes_and_removes(api: HfApi, repo: str) -> None:
    files = HfFileSystem(skip_instance_cache=True)
    with files.open(f"{repo}/new/x.txt", "w") as file:
        file.write("written")
    assert files.read_text(f"{repo}/new/x.txt") == "written"
    files.rm(f"{repo}/new/x.txt")
    assert not api.file_exists(repo, "new/x.txt")


def test_safetensors_metadata_is_read_by_ranges(api: HfApi, repo: str) -> None:
    tensors = {"a": np.zeros((2, 3), np.float32), "b": np.ones(5, np.float16)}
    api.upload_file(
        path_or_fileobj=save(tensors, {"format": "pt"}),
        path_in_repo="model.safetensors",
        repo_id=repo,
    )
    metadata = api.get_safetensors_metadata(repo)
    assert metadata.weight_map == {"a": "model.safetensors", "b": "model.safetensors"}
    one = api.parse_safetensors_file_metadata(repo, "model.safetensors")
    assert one.metadata == {"format": "pt"}
    assert one.tensors["a"].shape == [2, 3] and one.tensors["b"].dtype == "F16"


@pytest.mark.parametrize(
    ("index", "said"),
    [(b"{}", "weight_map"), (b"[", "no index"), (b'{"weight_map": {"a": 3}}', "weight_map"),
     (b'{"weight_map": {"a": "../../x"}}', "not there"), (b'{"weight_map": {"a": "b"}}', "short")],
)  # fmt: skip
def test_what_is_no_index_of_shards_is_refused(
    api: HfApi, repo: str, index: bytes, said: str
) -> None:
    for path, data in (("i.json", index), ("b", b"short")):
        api.upload_file(path_or_fileobj=data, path_in_repo=path, repo_id=repo)
    with pytest.raises(BadRequestError, match=said):
        api.get_sharded_safetensors_metadata(repo, filename="i.json")
    with pytest.raises(EntryNotFoundError):
        api.get_sharded_safetensors_metadata(repo, filename="other.json")


def test_a_file_of_weights_is_not_read_as_an_index() -> None:
    """Not a byte of it: there are no blobs."""
    large = SimpleNamespace(size=info.LARGEST_INDEX + 1, sha256="")
    with pytest.raises(ValueError, match="it has 33,554,433 bytes, more than 33,554,432"):
        info.shard_headers({"x": large}, "x", None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "path",
    ["..%2F..%2Fetc%2Fpasswd", "%2e%2e/%2e%2e/x", "%2Fetc%2Fpasswd", "a%00b", "%5C..", "%FF"],
)
def test_paths_cannot_leave_the_repository(api: HfApi, repo: str, path: str) -> None:
    assert get(api, repo, path).status_code in (400, 404)


@pytest.mark.parametrize(
    "revision", ["..%2F..", "%2e%2e", "main%2F..%2Fmain", "%2Fmain", "main%00"]
)
def test_revisions_cannot_leave_the_repository(api: HfApi, repo: str, revision: str) -> None:
    url = f"{api.endpoint}/{repo}/resolve/{revision}/.gitattributes"
    assert get_session().get(url, headers=build_hf_headers()).status_code in (400, 404)
