"""Files become one commit, or nothing becomes visible."""

from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from simmerge_hub import localhub
from simmerge_hub.errors import HubError, PushFailed, RequestError
from simmerge_hub.hub.upload import publish
from simmerge_hub.hub.upload.publish import publish_folder
from tests import nano


@pytest.fixture
def api(hub: localhub.Hub) -> HfApi:
    return HfApi()


@pytest.fixture
def visiting(hub: localhub.Hub, monkeypatch: pytest.MonkeyPatch) -> HfApi:
    """We are somebody who may write nowhere but in `visitor/`."""
    visitor = HfApi(token="hf_visitor")
    monkeypatch.setattr(publish, "api", lambda: visitor)
    return visitor


def commits(api: HfApi, repo: str) -> list[str]:
    return [c.title for c in api.list_repo_commits(repo)]


def test_one_commit_holds_everything(api: HfApi, org: str, tmp_path: Path) -> None:
    folder = nano.model(tmp_path / "model", shards=2)
    (folder / "notes").mkdir()
    (folder / "notes" / "a.txt").write_text("a")
    done = publish_folder(
        folder, f"{org}/model", message="All at once", replace={"config.json": b"{}", "b.txt": b"b"}
    )
    assert done.repo == f"{org}/model"
    assert done.url.endswith(f"/{org}/model")
    assert api.model_info(done.repo).sha == done.oid
    assert commits(api, done.repo)[0] == "All at once"
    assert len(commits(api, done.repo)) == 2
    files = set(api.list_repo_files(done.repo)) - {".gitattributes"}
    assert files == {p.name for p in folder.iterdir() if p.is_file()} | {"notes/a.txt", "b.txt"}
    fetched = Path(api.snapshot_download(done.repo))
    assert (fetched / "config.json").read_bytes() == b"{}"
    for shard in folder.glob("*.safetensors"):
        assert (fetched / shard.name).read_bytes() == shard.read_bytes()


def test_stale_weights_go_in_the_same_commit(api: HfApi, org: str, tmp_path: Path) -> None:
    """PEERS, fault 3: old shards and an old index that would then be preferred."""
    repo = f"{org}/model"
    sharded = nano.model(tmp_path / "sharded", shards=3)
    (sharded / "notes.txt").write_text("kept")
    (sharded / "extra").mkdir()
    (sharded / "extra" / "x.safetensors").write_bytes(b"kept")
    publish_folder(sharded, repo)
    before = len(commits(api, repo))
    publish_folder(nano.model(tmp_path / "single"), repo)
    assert len(commits(api, repo)) == before + 1
    files = set(api.list_repo_files(repo)) - {".gitattributes"}
    assert files == {
        "config.json", "model.safetensors", "notes.txt", "extra/x.safetensors",
        "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip


def test_pictures_of_another_merge_go_unless_the_card_shows_them(
    api: HfApi, org: str, tmp_path: Path
) -> None:
    repo, folder = f"{org}/model", tmp_path / "merge"
    folder.mkdir()
    (folder / "README.md").write_text("---\nlicense: mit\n---\n![old](chart.svg)")
    pictures = {"chart.svg": b"<svg/>", "merge-tree.svg": b"<svg/>", "other.svg": b"<svg/>"}
    publish_folder(folder, repo, replace=pictures)
    publish_folder(folder, repo, replace={"SHA256SUMS": b"1"})
    assert set(pictures) <= set(api.list_repo_files(repo)), "what was no merge is its owner's"
    before = len(commits(api, repo))
    publish_folder(folder, repo, replace={"SHA256SUMS": b"2"})
    assert len(commits(api, repo)) == before + 1
    assert set(pictures) - set(api.list_repo_files(repo)) == {"merge-tree.svg"}
    publish_folder(
        folder, repo, replace={"SHA256SUMS": b"3", "README.md": b"---\nlicense: mit\n---\n"}
    )
    assert set(pictures) & set(api.list_repo_files(repo)) == {"other.svg"}


def test_hidden_files_and_links_stay_here(api: HfApi, org: str, tmp_path: Path) -> None:
    folder = nano.model(tmp_path / "model")
    (folder / ".env").write_text("secret")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("secret")
    (tmp_path / "secret").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret")
    files = api.list_repo_files(publish_folder(folder, f"{org}/model").repo)
    assert not {".env", ".git/config", "link.txt"} & set(files)


def test_somebody_else_commits_meanwhile(
    api: HfApi, org: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = f"{org}/model"
    publish_folder(nano.model(tmp_path / "one"), repo)
    send = HfApi.preupload_lfs_files

    def interrupted(self: HfApi, *args, **how):
        monkeypatch.setattr(HfApi, "preupload_lfs_files", send)
        send(self, *args, **how)
        api.upload_file(path_or_fileobj=b"theirs", path_in_repo="theirs.txt", repo_id=repo)

    monkeypatch.setattr(HfApi, "preupload_lfs_files", interrupted)
    with pytest.raises(PushFailed) as caught:
        publish_folder(nano.model(tmp_path / "two", 1, shards=2), repo)
    assert str(caught.value) == (f"somebody else committed to {repo} meanwhile; no commit was made")
    assert caught.value.hint == "look at their commit, then push again"
    files = set(api.list_repo_files(repo))
    assert "theirs.txt" in files
    assert "model.safetensors" in files
    assert nano.INDEX not in files


@pytest.mark.parametrize("exists", [True, False])
def test_a_token_that_may_not_write_there(
    api: HfApi, visiting: HfApi, org: str, tmp_path: Path, exists: bool
) -> None:
    repo = f"{org}/model"
    if exists:
        nano.push(nano.model(tmp_path / "theirs"), repo)
    with pytest.raises(PushFailed) as caught:
        publish_folder(nano.model(tmp_path / "mine", 1), repo)
    assert str(caught.value) == f"the token may not write to {repo}; no commit was made"
    assert caught.value.hint == (
        "use a token with write access (hf auth login), or, where the command has --pr, open a "
        "pull request"
    )
    assert api.repo_exists(repo) == exists


def test_a_pull_request_needs_no_write_access(
    api: HfApi, visiting: HfApi, org: str, tmp_path: Path
) -> None:
    repo = f"{org}/model"
    before = nano.push(nano.model(tmp_path / "theirs"), repo)
    done = publish_folder(nano.model(tmp_path / "mine", 1, shards=2), repo, create_pr=True)
    assert done.url.endswith(f"/{repo}/discussions/1")
    assert api.model_info(repo).sha == before
    proposed = api.list_repo_files(repo, revision="refs/pr/1")
    assert nano.INDEX in proposed
    assert "model.safetensors" not in proposed


def test_a_private_repository(api: HfApi, org: str, tmp_path: Path) -> None:
    repo = publish_folder(nano.model(tmp_path / "model"), f"{org}/model", private=True).repo
    assert api.model_info(repo).private is True


def test_private_is_never_pushed_to_what_is_public(api: HfApi, org: str, tmp_path: Path) -> None:
    before = nano.push(nano.model(tmp_path / "public"), f"{org}/model")
    with pytest.raises(PushFailed, match="exists already, and is public; nothing was pushed"):
        publish_folder(nano.model(tmp_path / "model", 1), f"{org}/model", private=True)
    assert api.model_info(f"{org}/model").sha == before


def test_a_data_set(api: HfApi, org: str, tmp_path: Path) -> None:
    (tmp_path / "probe.jsonl").write_text('{"prompt": "x"}\n')
    done = publish_folder(tmp_path, f"{org}/probes", repo_type="dataset")
    assert done.url.endswith(f"/datasets/{org}/probes")
    assert "probe.jsonl" in api.list_repo_files(done.repo, repo_type="dataset")


def test_pushing_the_same_twice_makes_no_empty_commit(api: HfApi, org: str, tmp_path: Path) -> None:
    folder = nano.model(tmp_path / "model")
    first = publish_folder(folder, f"{org}/model")
    second = publish_folder(folder, f"{org}/model")
    assert second.oid == first.oid
    assert (first.outcome, second.outcome) == ("commit", "unchanged")


def test_without_a_token(
    hub: localhub.Hub, org: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "api", lambda: HfApi(token=False))
    with pytest.raises(HubError) as caught:
        publish_folder(nano.model(tmp_path / "model"), f"{org}/model")
    assert "log in: hf auth login" in caught.value.hint


@pytest.mark.parametrize("name", ["a/b/c", "org/na me", "-x/y"])
def test_a_name_the_hub_does_not_allow(hub: localhub.Hub, tmp_path: Path, name: str) -> None:
    with pytest.raises(RequestError, match="no repository is called"):
        publish_folder(nano.model(tmp_path / "model"), name)


def test_a_card_the_hub_does_not_accept(
    api: HfApi, org: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What huggingface_hub's create_commit raises when the Hub finds a field invalid."""

    def refuse(self: HfApi, *_, **__):
        raise ValueError('Invalid metadata in README.md.\n- "license" must be one of [mit]')

    monkeypatch.setattr(HfApi, "create_commit", refuse)
    with pytest.raises(PushFailed) as caught:
        publish_folder(nano.model(tmp_path / "model"), f"{org}/model")
    assert str(caught.value) == (
        'the Hub refuses the front matter of README.md ("license" must be one of [mit]); '
        "no commit was made"
    )
    assert "then push again" in caught.value.hint


@pytest.mark.parametrize("status", [400, 413, 422])
def test_any_other_refusal(
    api: HfApi, org: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    def refuse(self: HfApi, *_, **__):
        request = httpx2.Request("POST", "http://hub/api")
        raise HfHubHTTPError(
            "too much of it\nRequest ID: x", response=httpx2.Response(status, request=request)
        )

    monkeypatch.setattr(HfApi, "create_commit", refuse)
    with pytest.raises(PushFailed) as caught:
        publish_folder(nano.model(tmp_path / "model"), f"{org}/model")
    assert str(caught.value) == (
        f"the Hub refused the push to {org}/model: too much of it; no commit was made"
    )


def test_our_own_mistakes_are_not_disguised(
    api: HfApi, org: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: HfApi, *_, **__):
        raise ValueError("a bug")

    monkeypatch.setattr(HfApi, "create_commit", broken)
    with pytest.raises(ValueError, match="a bug"):
        publish_folder(nano.model(tmp_path / "model"), f"{org}/model")


def test_a_folder_that_is_not_there(hub: localhub.Hub, org: str, tmp_path: Path) -> None:
    with pytest.raises(PushFailed) as caught:
        publish_folder(tmp_path / "gone", f"{org}/model")
    assert str(caught.value) == f"{tmp_path}/gone holds no file to push"
    assert not HfApi().repo_exists(f"{org}/model")


def test_a_name_without_an_owner_is_nobodys(api: HfApi, org: str, tmp_path: Path) -> None:
    folder = nano.model(tmp_path / "model")
    for name in ("model", f"{org}/", "/model"):
        with pytest.raises(RequestError, match="whose the repository is"):
            publish_folder(folder, name, message="x")
    for name, said, hint in (
        ("", "no repository is named", "write org/name"),
        (f"{org}/{'n' * 97}", "no repository is called", "96 characters at most"),
        (f"https://huggingface.co/{org}/model", "no repository is called", f"write {org}/model"),
        (f"{org}/model@dev", "no repository is called", f"push DIR {org}/model --revision dev"),
    ):
        with pytest.raises(RequestError, match=said) as caught:
            publish_folder(folder, name, message="x")
        assert hint in caught.value.hint
    assert not list(api.list_models(author=org))


def test_offline_nothing_is_pushed(
    org: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    folder = nano.model(tmp_path / "model")
    with pytest.raises(PushFailed, match="offline mode is on") as caught:
        publish_folder(folder, f"{org}/offline", message="x")
    assert "unset HF_HUB_OFFLINE" in caught.value.hint
    with pytest.raises(PushFailed, match="nothing was pushed"):
        publish.refuse_others(f"{org}/offline", [])


def test_an_answer_that_is_no_listing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A login page, where it is asked what lies in the place of a predictor or a table."""

    def answer(*_: object, **__: object) -> list[str]:
        raise ValueError("Expecting value: line 1 column 1 (char 0)")

    monkeypatch.setattr(publish, "api", lambda: SimpleNamespace(list_repo_files=answer))
    with pytest.raises(HubError, match="says about org/predictor cannot be read"):
        publish.refuse_others("org/predictor", [])
