"""One file beside others: found on main, added in one commit, never where too many may read it."""

from pathlib import Path

import pytest
from huggingface_hub import HfApi

from simmerge_hub import localhub
from simmerge_hub.errors import EndpointDown, GatedRepo, PushFailed, RepoNotFound
from simmerge_hub.hub.upload import attachments
from simmerge_hub.hub.upload.attachments import attach, audience, find
from tests import nano

PATH = "folder/file.safetensors"


@pytest.fixture
def api(hub: localhub.Hub) -> HfApi:
    return HfApi()


@pytest.fixture
def visiting(hub: localhub.Hub, monkeypatch: pytest.MonkeyPatch) -> HfApi:
    """We are somebody who may write nowhere but in `visitor/`."""
    visitor = HfApi(token="hf_visitor")
    monkeypatch.setattr(attachments, "api", lambda: visitor)
    return visitor


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file.safetensors"
    path.write_bytes(b"content")
    return path


@pytest.fixture
def repo(api: HfApi, org: str, tmp_path: Path) -> str:
    nano.push(nano.model(tmp_path / "model"), f"{org}/model")
    return f"{org}/model"


def test_what_is_attached_is_found(api: HfApi, repo: str, file: Path) -> None:
    assert find(repo, PATH) is None
    done = attach(file, repo, PATH, message="Attach it")
    assert (done.repo, done.url.endswith(f"/{repo}")) == (repo, True)
    assert api.list_repo_commits(repo)[0].title == "Attach it"
    attachment = find(repo, PATH)
    assert attachment is not None
    assert (attachment.size, attachment.location.commit) == (7, done.oid)
    assert attachment.fetch().read_bytes() == b"content"


def test_offline_it_is_found_where_it_was_put(
    repo: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import hf_hub_download

    attach(file, repo, PATH, message="Attach it")
    monkeypatch.setattr(attachments, "offline", lambda: True)
    assert find(repo, PATH) is None
    hf_hub_download(repo, PATH)
    attachment = find(repo, PATH)
    assert attachment is not None
    assert attachment.size == 7
    assert attachment.fetch().read_bytes() == b"content"


@pytest.mark.parametrize("kind", ["model", "dataset"])
def test_a_repository_that_is_not_there(api: HfApi, org: str, kind: attachments.RepoType) -> None:
    with pytest.raises(RepoNotFound):
        find(f"{org}/none", PATH, repo_type=kind)


@pytest.mark.parametrize("offline", [False, True])
def test_what_can_be_no_repository(offline: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attachments, "offline", lambda: offline)
    with pytest.raises(RepoNotFound, match="'a/b/c' is neither a folder here nor a repository"):
        find("a/b/c", PATH)


def test_who_may_read(api: HfApi, repo: str) -> None:
    assert audience(repo) == "public"
    api.update_repo_settings(repo, gated="manual")
    assert audience(repo) == "gated"
    api.update_repo_settings(repo, visibility="private")
    assert audience(repo) == "private"


@pytest.mark.parametrize("path", [PATH, "small.txt"])
def test_where_one_may_not_write_it_is_proposed(
    api: HfApi, visiting: HfApi, repo: str, file: Path, path: str
) -> None:
    """Once: be it large, and known to the Hub by its sha256, or small, and kept in git."""
    before = api.model_info(repo).sha
    done = attach(file, repo, path, message="Attach it")
    assert done.url.endswith(f"/{repo}/discussions/1")
    assert api.model_info(repo).sha == before
    assert path in api.list_repo_files(repo, revision="refs/pr/1")
    again = attach(file, repo, path, message="Attach it")
    assert (again.url, again.oid) == (done.url, done.oid)
    file.write_bytes(b"other content")
    assert attach(file, repo, path, message="Attach it").url.endswith("/discussions/2")


def test_a_data_set_is_created_as_private_as_it_must_be(api: HfApi, org: str, file: Path) -> None:
    for name, closed in (("open", ""), ("closed", "the model is private")):
        attach(file, f"{org}/{name}", PATH, repo_type="dataset", closed=closed, message="Attach")
        assert api.dataset_info(f"{org}/{name}").private is bool(closed)


def test_a_model_is_not_created(api: HfApi, org: str, file: Path) -> None:
    with pytest.raises(RepoNotFound):
        attach(file, f"{org}/none", PATH, message="Attach it")
    assert not api.repo_exists(f"{org}/none")


def test_what_is_closed_stays_out_of_what_is_open(api: HfApi, repo: str, file: Path) -> None:
    before = api.model_info(repo).sha
    with pytest.raises(PushFailed) as caught:
        attach(file, repo, PATH, closed="org/base is gated", message="Attach it")
    assert str(caught.value) == f"org/base is gated, and {repo} is not private; nothing was pushed"
    assert caught.value.hint == "push to a private dataset of yours: --to org/name"
    assert api.model_info(repo).sha == before


def test_somebody_else_commits_meanwhile(
    api: HfApi, repo: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = HfApi.create_commit

    def late(self: HfApi, *args, **how):
        monkeypatch.setattr(HfApi, "create_commit", send)
        api.upload_file(path_or_fileobj=b"theirs", path_in_repo="theirs.txt", repo_id=repo)
        return send(self, *args, **how)

    monkeypatch.setattr(HfApi, "create_commit", late)
    with pytest.raises(PushFailed, match="somebody else committed"):
        attach(file, repo, PATH, message="Attach it")
    assert find(repo, PATH) is None


def test_gated_or_down(api: HfApi, repo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    api.update_repo_settings(repo, gated="manual")
    monkeypatch.setenv("HF_TOKEN", "hf_visitor")
    with pytest.raises(GatedRepo):
        find(repo, PATH)

    def down(*_: object, **__: object) -> None:
        raise ConnectionError

    monkeypatch.setattr(attachments, "get_hf_file_metadata", down)
    with pytest.raises(EndpointDown):
        find(repo, PATH)
