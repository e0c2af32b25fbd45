"""Collections on disk: lists of repositories with a title, one file each, replaced whole.

    collections/<24 hex digits>.json     owner, title, items in order

Knows nothing about HTTP, or about what may be seen and whether it exists.
"""

import json
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Self

from simmerge_hub.localhub import names
from simmerge_hub.localhub.errors import AlreadyExists, Refused
from simmerge_hub.localhub.store import durable

SLUG_CHARACTERS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One entry: `key` is its own id in the collection, `id` and `kind` what it stands for."""

    key: str
    id: str
    kind: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """What one file holds. Changes are made with `dataclasses.replace`."""

    key: str
    owner: str
    title: str
    updated_at: str
    created_at: str
    description: str = ""
    private: bool = False
    theme: str = "orange"
    position: int = 0
    items: tuple[Item, ...] = ()

    @property
    def slug(self) -> str:
        """`owner/title-key`, as the Hub's addresses have it; only the key tells them apart."""
        title = re.sub(r"[^a-z0-9]+", "-", self.title.lower())[:SLUG_CHARACTERS].strip("-")
        return f"{self.owner}/{'-'.join(filter(None, (title, self.key)))}"

    @classmethod
    def decode(cls, key: str, data: bytes) -> Self:
        """Read what `encode` wrote; the key is the file's name, not in it."""
        fields = json.loads(data)
        items = tuple(Item(**item) for item in fields.pop("items"))
        return cls(key=key, items=items, **fields)

    def encode(self) -> bytes:
        """One JSON document."""
        fields = asdict(self)
        del fields["key"]
        return json.dumps(fields, indent=1).encode()

    def item(self, key: str) -> Item:
        """An entry by its own id."""
        item = next((item for item in self.items if item.key == key), None)
        if item is None:
            raise Refused(f"no item {key} in {self.slug}", status=404)
        return item

    def with_item(self, item: Item) -> "Collection":
        """The collection with one more item at its end."""
        if any((item.id, item.kind) == (other.id, other.kind) for other in self.items):
            raise AlreadyExists(f"{item.id} is in {self.slug} already")
        return replace(self, items=(*self.items, item))

    def with_item_at(self, item: Item, position: int) -> "Collection":
        """The collection with one of its items replaced, at another place."""
        others = [other for other in self.items if other.key != item.key]
        return replace(self, items=(*others[:position], item, *others[position:]))

    def without(self, key: str) -> "Collection":
        """The collection with one item less."""
        gone = self.item(key)
        return replace(self, items=tuple(item for item in self.items if item is not gone))


class Collections:
    """All collections in one folder; changes are made one after the other."""

    def __init__(self, root: Path, staging: Path):
        self._root = root
        self._staging = staging
        self._alone = Lock()

    def get(self, key: str) -> Collection:
        """One collection as it is now."""
        try:
            return Collection.decode(key, self._path(key).read_bytes())
        except FileNotFoundError:
            raise Refused(f"no collection {key}", status=404) from None

    def every(self) -> Iterator[Collection]:
        """All collections, by key."""
        for path in sorted(self._root.glob("*.json")):
            with suppress(Refused):  # deleted while we were listing
                yield self.get(path.stem)

    def create(self, collection: Collection) -> Collection | None:
        """Add a collection; the one of this owner and title instead, if there is one."""
        with self._alone:
            wanted = (collection.owner, collection.title)
            for other in self.every():
                if (other.owner, other.title) == wanted:
                    return other
            self._write(collection)
        return None

    def change(self, key: str, how: Callable[[Collection], Collection]) -> Collection:
        """Replace a collection by `how(collection)`; an exception in `how` changes nothing."""
        with self._alone:
            after = how(self.get(key))
            self._write(after)
        return after

    def delete(self, key: str) -> None:
        """Remove a collection; what it lists stays."""
        with self._alone:
            self.get(key)
            self._path(key).unlink()
            durable.flush_folder(self._root)

    def find_damaged(self) -> list[str]:
        """The files that cannot be read, a line for each."""
        problems = []
        for path in sorted(self._root.glob("*.json")):
            try:
                Collection.decode(path.stem, path.read_bytes())
            except (OSError, ValueError, KeyError, TypeError) as error:
                problems.append(f"collections/{path.name} cannot be read: {error!r}")
        return problems

    def _write(self, collection: Collection) -> None:
        durable.write(self._path(collection.key), collection.encode(), staging=self._staging)

    def _path(self, key: str) -> Path:
        return self._root / f"{names.object_id(key)}.json"


def new_key() -> str:
    """24 hex digits nobody else has: what the Hub names collections and their items by."""
    return secrets.token_hex(12)
