"""Collections as the unmodified client makes, fills, finds and removes them."""

import re
from pathlib import Path

import pytest
from huggingface_hub import Collection, HfApi
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import build_hf_headers, get_session

from simmerge_hub.localhub.store import storage
from simmerge_hub.localhub.store.collections import Collection as Stored


@pytest.fixture
def made(api: HfApi, org: str) -> Collection:
    """An empty collection."""
    return api.create_collection("My Models, 2026!", namespace=org, description="all of them")


def status_of(error: pytest.ExceptionInfo[HfHubHTTPError]) -> int:
    return error.value.response.status_code


def test_create_and_get(api: HfApi, anonymous: HfApi, org: str, made: Collection) -> None:
    assert re.fullmatch(rf"{org}/my-models-2026-[0-9a-f]{{24}}", made.slug)
    collection = anonymous.get_collection(made.slug)
    assert (collection.title, collection.description, collection.private) == (
        "My Models, 2026!", "all of them", False,
    )  # fmt: skip
    assert (collection.items, collection.theme, collection.upvotes) == ([], "orange", 0)
    assert collection.url == f"{api.endpoint}/collections/{made.slug}"


def test_creating_twice_needs_exists_ok(api: HfApi, org: str, made: Collection) -> None:
    with pytest.raises(HfHubHTTPError) as taken:
        api.create_collection(made.title, namespace=org)
    assert status_of(taken) == 409
    assert api.create_collection(made.title, namespace=org, exists_ok=True).slug == made.slug


def test_items_keep_their_order_and_notes(api: HfApi, made: Collection, repo: str) -> None:
    data = api.create_repo(f"{repo}-data", repo_type="dataset").repo_id
    api.add_collection_item(made.slug, repo, "model", note="the first")
    api.add_collection_item(made.slug, "2601.09473", "paper")
    collection = api.add_collection_item(made.slug, data, "dataset")
    assert [(i.item_id, i.item_type, i.position, i.note) for i in collection.items] == [
        (repo, "model", 0, "the first"),
        ("2601.09473", "paper", 1, None),
        (data, "dataset", 2, None),
    ]
    api.update_collection_item(
        made.slug, collection.items[2].item_object_id, position=0, note="data"
    )
    api.delete_collection_item(made.slug, collection.items[1].item_object_id)
    collection = api.get_collection(made.slug)
    assert [(i.item_id, i.note) for i in collection.items] == [(data, "data"), (repo, "the first")]


def test_an_item_is_added_once_and_must_exist(api: HfApi, made: Collection, repo: str) -> None:
    api.add_collection_item(made.slug, repo, "model")
    with pytest.raises(HfHubHTTPError) as twice:
        api.add_collection_item(made.slug, repo, "model")
    assert status_of(twice) == 409
    assert len(api.add_collection_item(made.slug, repo, "model", exists_ok=True).items) == 1
    for kind in ("dataset", "space", "collection", "bucket"):
        with pytest.raises(HfHubHTTPError) as missing:
            api.add_collection_item(made.slug, repo, kind)  # type: ignore[arg-type]
        assert status_of(missing) == 404


def test_a_collection_in_a_collection(api: HfApi, org: str, made: Collection) -> None:
    other = api.create_collection("Other", namespace=org)
    collection = api.add_collection_item(made.slug, other.slug, "collection")
    assert [(i.item_id, i.item_type) for i in collection.items] == [(other.slug, "collection")]


def test_an_item_that_is_not_there(api: HfApi, made: Collection) -> None:
    with pytest.raises(HfHubHTTPError) as missing:
        api.update_collection_item(made.slug, "0" * 24, position=0)
    assert status_of(missing) == 404
    with pytest.raises(HfHubHTTPError):
        api.delete_collection_item(made.slug, "0" * 24)
    api.delete_collection_item(made.slug, "0" * 24, missing_ok=True)


def test_an_old_address_leads_to_a_renamed_collection(api: HfApi, made: Collection) -> None:
    after = api.update_collection_metadata(
        made.slug, title="New", description="d", theme="pink", position=3
    )
    assert after.slug != made.slug
    assert after.slug.rpartition("-")[2] == made.slug.rpartition("-")[2]
    collection = api.get_collection(made.slug)
    assert (collection.slug, collection.title, collection.theme, collection.position) == (
        after.slug,
        "New",
        "pink",
        3,
    )


def test_delete(api: HfApi, made: Collection) -> None:
    api.delete_collection(made.slug)
    with pytest.raises(HfHubHTTPError) as gone:
        api.get_collection(made.slug)
    assert status_of(gone) == 404
    with pytest.raises(HfHubHTTPError):
        api.delete_collection(made.slug)
    api.delete_collection(made.slug, missing_ok=True)


@pytest.mark.parametrize("slug", ["none", "none-0123", f"none-{'0' * 24}", f"none-{'Z' * 24}"])
def test_what_is_no_collection(api: HfApi, org: str, slug: str) -> None:
    with pytest.raises(HfHubHTTPError) as missing:
        api.get_collection(f"{org}/{slug}")
    assert status_of(missing) == 404


def test_the_namespace_is_part_of_the_address(api: HfApi, made: Collection) -> None:
    with pytest.raises(HfHubHTTPError):
        api.get_collection(f"somebody/{made.slug.partition('/')[2]}")


def test_list(api: HfApi, anonymous: HfApi, org: str, made: Collection, repo: str) -> None:
    for number in range(6):
        name = api.create_repo(f"{repo}-{number}").repo_id
        api.add_collection_item(made.slug, name, "model")
    other = api.create_collection("Other", namespace=org, private=True)
    shown = {c.slug: c for c in api.list_collections(owner=org)}
    assert set(shown) == {made.slug, other.slug}
    assert len(shown[made.slug].items) == 4
    assert len(api.get_collection(made.slug).items) == 6
    assert [c.slug for c in anonymous.list_collections(owner=org)] == [made.slug]
    assert [c.slug for c in api.list_collections(item=f"models/{repo}-3")] == [made.slug]
    assert len(list(api.list_collections(owner=[org, "nobody"], limit=1))) == 1
    newest = next(iter(api.list_collections(owner=org, sort="lastModified")))
    assert newest.slug == other.slug


class TestWhoMaySeeAndWrite:
    def test_private_ones_do_not_exist_for_others(
        self, api: HfApi, visitor: HfApi, anonymous: HfApi, org: str
    ) -> None:
        hidden = api.create_collection("Hidden", namespace=org, private=True)
        assert api.get_collection(hidden.slug).private
        for client in (visitor, anonymous):
            with pytest.raises(HfHubHTTPError) as missing:
                client.get_collection(hidden.slug)
            assert status_of(missing) == 404
        api.update_collection_metadata(hidden.slug, private=False)
        assert not anonymous.get_collection(hidden.slug).private

    def test_others_may_not_change_it(
        self, visitor: HfApi, anonymous: HfApi, made: Collection, repo: str
    ) -> None:
        for attempt in (
            lambda: visitor.create_collection("Mine", namespace=repo.partition("/")[0]),
            lambda: visitor.add_collection_item(made.slug, repo, "model"),
            lambda: visitor.update_collection_metadata(made.slug, title="Mine"),
            lambda: visitor.delete_collection(made.slug),
        ):
            with pytest.raises(HfHubHTTPError) as refused:
                attempt()
            assert status_of(refused) == 403
        with pytest.raises(HfHubHTTPError) as refused:
            anonymous.delete_collection(made.slug)
        assert status_of(refused) == 401

    def test_a_private_repository_is_listed_to_its_owner_only(
        self, api: HfApi, anonymous: HfApi, made: Collection, org: str
    ) -> None:
        secret = api.create_repo(f"{org}/secret", private=True).repo_id
        api.add_collection_item(made.slug, secret, "model")
        assert [i.item_id for i in api.get_collection(made.slug).items] == [secret]
        assert anonymous.get_collection(made.slug).items == []

    def test_a_deleted_repository_is_listed_no_more(
        self, api: HfApi, made: Collection, repo: str
    ) -> None:
        api.add_collection_item(made.slug, repo, "model")
        api.delete_repo(repo)
        assert api.get_collection(made.slug).items == []


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"title": ""},
        {"title": 3},
        {"title": "x" * 61},
        {"title": "x", "description": "x" * 151},
        {"title": "x", "private": "yes"},
        {"title": "x", "namespace": "../x"},
    ],
)
def test_requests_that_make_no_sense(api: HfApi, payload: dict) -> None:
    reply = get_session().post(
        f"{api.endpoint}/api/collections", headers=build_hf_headers(), json=payload
    )
    assert reply.status_code == 400


def test_what_is_stored_survives_and_damage_is_found(tmp_path: Path) -> None:
    first = storage.prepare(tmp_path).collections
    made = Stored(key="0" * 24, owner="org", title="T", created_at="t", updated_at="t")
    assert first.create(made) is None
    again = storage.prepare(tmp_path).collections
    assert again.get(made.key) == made
    assert storage.verify(tmp_path) == []
    (tmp_path / "collections" / f"{made.key}.json").write_text("{")
    (damage,) = storage.verify(tmp_path)
    assert damage.startswith("collections/000000000000000000000000.json cannot be read")
