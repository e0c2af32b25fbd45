"""Collections on disk: read as written, in their order, and never two of one title."""

from dataclasses import replace
from pathlib import Path

import pytest

from simmerge_hub.localhub.errors import AlreadyExists, Refused
from simmerge_hub.localhub.store import durable
from simmerge_hub.localhub.store.collections import Collection, Collections, Item, new_key

ITEMS = tuple(Item(key=new_key(), id=f"org/{n}", kind="model", note=n) for n in "abc")


@pytest.fixture
def collections(tmp_path: Path) -> Collections:
    durable.make_folder(tmp_path / "staging")
    return Collections(tmp_path / "collections", tmp_path / "staging")


def made(title: str = "Good models", **fields: object) -> Collection:
    given = {"key": new_key(), "owner": "org", "title": title, "updated_at": "t", "created_at": "t"}
    return Collection(**{**given, **fields})  # type: ignore[arg-type]


def ids(collection: Collection) -> list[str]:
    return [item.id for item in collection.items]


def test_every_field_is_read_as_it_was_written(collections: Collections) -> None:
    whole = made(description="d", private=True, theme="blue", position=3, items=ITEMS)
    assert collections.create(whole) is None
    assert collections.get(whole.key) == whole


@pytest.mark.parametrize(
    ("title", "slug"),
    [("Good models", "good-models-"), ("  Ünï! ", "n-"), ("!", ""), ("a" * 80, "a" * 60 + "-")],
)
def test_slugs(title: str, slug: str) -> None:
    collection = made(title)
    assert collection.slug == f"org/{slug}{collection.key}"


def test_items_keep_their_order() -> None:
    collection = made(items=ITEMS)
    assert ids(collection.with_item_at(ITEMS[0], 2)) == ["org/b", "org/c", "org/a"]
    renoted = replace(ITEMS[2], note="new")
    assert collection.with_item_at(renoted, 0).items == (renoted, *ITEMS[:2])
    assert ids(collection.without(ITEMS[1].key)) == ["org/a", "org/c"]
    with pytest.raises(Refused, match="no item"):
        collection.without(new_key())


def test_an_item_is_there_once_but_two_kinds_may_share_a_name() -> None:
    collection = made(items=ITEMS)
    again = Item(key=new_key(), id="org/a", kind="model")
    with pytest.raises(AlreadyExists, match="org/a is in"):
        collection.with_item(again)
    assert ids(collection.with_item(replace(again, kind="dataset")))[-1] == "org/a"


def test_one_owner_has_a_title_once(collections: Collections) -> None:
    first = made()
    assert collections.create(first) is None
    assert collections.create(made()) == first
    assert collections.create(made(owner="other")) is None
    assert len(list(collections.every())) == 2


def test_a_failed_change_changes_nothing_and_a_deleted_one_is_gone(
    collections: Collections,
) -> None:
    first = made(items=ITEMS)
    collections.create(first)
    with pytest.raises(Refused):
        collections.change(first.key, lambda before: before.without("nothing"))
    assert collections.get(first.key) == first
    collections.delete(first.key)
    with pytest.raises(Refused, match="no collection"):
        collections.delete(first.key)


@pytest.mark.parametrize("key", ["../../x", "A" * 24, "", "a" * 23])
def test_only_keys_become_paths(collections: Collections, key: str) -> None:
    with pytest.raises(Refused, match="not an id"):
        collections.get(key)


def test_damaged_files_are_named(collections: Collections, tmp_path: Path) -> None:
    first = made()
    collections.create(first)
    assert collections.find_damaged() == []
    path = tmp_path / "collections" / f"{first.key}.json"
    for data in (b"{", b"[]", b"{}", b'{"items": [3]}'):
        path.write_bytes(data)
        (problem,) = collections.find_damaged()
        assert problem.startswith(f"collections/{first.key}.json cannot be read")
