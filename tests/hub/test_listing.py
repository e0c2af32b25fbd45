"""What a catalogue lists: models of a collection or an author, with every name checked."""

from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import Collection, HfApi, ModelCard, ModelCardData

from simmerge_hub.errors import HubError, RepoNotFound
from simmerge_hub.hub import listing as candidates
from simmerge_hub.hub.reference import ModelRef
from simmerge_hub.localhub import Hub


@pytest.fixture
def made(hub: Hub, org: str) -> Collection:
    """An empty collection."""
    return HfApi().create_collection("Models", namespace=org)


def models(org: str, *names: str, base: str = "") -> list[str]:
    api, made = HfApi(), []
    for name in names:
        made.append(api.create_repo(f"{org}/{name}").repo_id)
        if base:
            ModelCard(f"---\n{ModelCardData(base_model=base)}\n---\n").push_to_hub(made[-1])
    return made


class TestCollections:
    def test_models_are_listed_and_other_things_are_not(self, made: Collection, org: str) -> None:
        api = HfApi()
        names = models(org, "b", "a")
        data = api.create_repo(f"{org}/data", repo_type="dataset").repo_id
        for name, kind in [*((n, "model") for n in names), (data, "dataset")]:
            api.add_collection_item(made.slug, name, kind)  # type: ignore[arg-type]
        for given in (made.slug, made.url):
            listing = candidates.collection(given)
            assert listing.references == tuple(ModelRef(repo=name) for name in names)
            assert listing.dropped == {f"dataset {data}": "is no model"}
            assert listing.place == f"the collection {made.slug}"

    def test_one_of_another_account(self, org: str, monkeypatch: pytest.MonkeyPatch) -> None:
        hidden = HfApi().create_collection("Hidden", namespace=org, private=True)
        monkeypatch.setenv("HF_TOKEN", "hf_visitor")
        with pytest.raises(RepoNotFound, match="or it is private") as caught:
            candidates.collection(hidden.slug)
        assert "hf auth login" in caught.value.hint

    def test_one_that_is_not_there(self, hub: Hub, org: str) -> None:
        with pytest.raises(RepoNotFound, match=f"there is no such thing as the collection {org}/x"):
            candidates.collection(f"{org}/x-{'0' * 24}")

    @pytest.mark.parametrize("text", ["x", "org/x", "../" + "0" * 24, f"org/x\n{'0' * 24}", ""])
    def test_what_names_none(self, text: str) -> None:
        with pytest.raises(RepoNotFound, match="is not the name of a collection"):
            candidates.collection(text)

    def test_one_without_models(self, made: Collection) -> None:
        with pytest.raises(HubError, match="holds no model: it has nothing"):
            candidates.collection(made.slug)
        HfApi().add_collection_item(made.slug, "2601.09473", "paper")
        with pytest.raises(HubError, match=r"holds no model: it has 1 other item$"):
            candidates.collection(made.slug)

    def test_a_token_that_is_nobodys(
        self, made: Collection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_TOKEN", "hf_nobody")
        with pytest.raises(HubError, match="does not accept the token"):
            candidates.collection(made.slug)

    def test_offline(self, made: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        with pytest.raises(HubError, match=r"offline mode is on, and the collection .* asked for"):
            candidates.collection(made.slug)


class TestAuthors:
    def test_models_whose_cards_name_the_base(self, hub: Hub, org: str) -> None:
        models(org, "base")
        models(org, "a", "b", base=f"{org}/base")
        models(org, "c", base="other/base")
        listing = candidates.models_of(org, f"{org}/base@main")
        assert {str(ref) for ref in listing.references} == {f"{org}/a", f"{org}/b"}
        assert listing.place == f"the models of {org} made from {org}/base"

    def test_none(self, hub: Hub, org: str) -> None:
        with pytest.raises(HubError, match=f"{org} has no model whose card says base_model: o/b"):
            candidates.models_of(org, "o/b")

    def test_what_names_no_author_and_no_base(
        self, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.raises(RepoNotFound, match="is not the name of a user or organisation"):
            candidates.models_of("a b", "o/b")
        (tmp_path / "o" / "b").mkdir(parents=True)
        monkeypatch.chdir(tmp_path)
        with pytest.raises(RepoNotFound, match="o/b is a folder here"):
            candidates.models_of("o", "o/b")


class TestWhatTheHubSends:
    """An answer that is none must not become a path, a crash or an endless list."""

    def answers(self, monkeypatch: pytest.MonkeyPatch, *items: Any) -> None:
        shown = [SimpleNamespace(item_type="model", item_id=item) for item in items]
        client = SimpleNamespace(get_collection=lambda slug: SimpleNamespace(items=shown))
        monkeypatch.setattr(candidates, "api", lambda: client)

    def test_names_that_no_repository_has(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
    ) -> None:
        (tmp_path / "org" / "here").mkdir(parents=True)
        monkeypatch.chdir(tmp_path)
        bad = ["../../etc", "/etc", "a/b/c", "a..b/c", "a b", "x\x1b[2J", "", "~", ".", 3, None]
        self.answers(monkeypatch, "org/here", *bad, "org/here", "gpt2")
        listing = candidates.collection("org/x-" + "0" * 24)
        assert listing.references == (ModelRef(repo="org/here"), ModelRef(repo="gpt2"))
        assert set(listing.dropped.values()) == {"has no name that a repository can have"}
        assert all(name.isprintable() for name in listing.dropped)
        assert len(listing.dropped) == len(bad)

    def test_more_than_anybody_reads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers(
            monkeypatch, *(f"org/m{number}" for number in range(candidates.MOST_MODELS + 3))
        )
        listing = candidates.collection("org/x-" + "0" * 24)
        assert len(listing.references) == candidates.MOST_MODELS
        assert len(listing.dropped) == 3

    @pytest.mark.parametrize("error", [KeyError("slug"), TypeError("x"), ValueError("no JSON")])
    def test_an_answer_that_is_none(
        self, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        def fail(slug: str) -> None:
            raise error

        monkeypatch.setattr(candidates, "api", lambda: SimpleNamespace(get_collection=fail))
        with pytest.raises(HubError, match="cannot be read"):
            candidates.collection("org/x-" + "0" * 24)


class TestSearch:
    def test_models_are_found_by_part_of_their_name(self, org: str) -> None:
        models(org, "code-one", "code-two", "math")
        assert set(candidates.search(f"{org}/CODE")) == {f"{org}/code-one", f"{org}/code-two"}
        assert candidates.search(f"{org}/nothing") == ()

    def test_names_that_no_repository_has_are_left_out(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        names = ["org/good", "../../etc", "<b>/x", None, "org/good"]
        listed: Any = SimpleNamespace(
            list_models=lambda **how: iter([SimpleNamespace(id=name) for name in names])
        )
        monkeypatch.setattr(candidates, "api", lambda: listed)
        assert candidates.search("good") == ("org/good",)


def test_what_is_called_so_and_is_of_another_kind(hub: Hub, org: str) -> None:
    api = HfApi()
    api.create_repo(f"{org}/model")
    api.create_repo(f"{org}/dataset", repo_type="dataset")
    api.create_repo(f"{org}/space", repo_type="space", space_sdk="static")
    assert candidates.other_kind(f"{org}/dataset", "model") == "dataset"
    assert candidates.other_kind(f"{org}/space", "model") == "space"
    assert candidates.other_kind(f"{org}/model", "dataset") == "model"
    assert candidates.other_kind(f"{org}/model", "model") == ""
    assert candidates.other_kind("a/b/c", "model") == ""
