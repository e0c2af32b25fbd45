"""Collections over HTTP: make, show, list, change, delete, and the items in them.

A private collection is seen by those who may write in its namespace, and to others does not exist.
Of an item, nobody learns more than of its repository: what one may not see is not listed.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from simmerge_hub.localhub import names
from simmerge_hub.localhub.api import access
from simmerge_hub.localhub.api.exchange import path_value, reply_page, rooms, text, with_json
from simmerge_hub.localhub.errors import Refused
from simmerge_hub.localhub.store.accounts import User, check_read, check_write
from simmerge_hub.localhub.store.collections import Collection, Item, new_key
from simmerge_hub.localhub.store.history import now

ITEMS_SHOWN = 4
"""Items that a list of collections shows of each, as on the Hub."""
MOST_CHARACTERS = {"title": 60, "description": 150, "note": 500}
THEMES = ("orange", "blue", "green", "purple", "pink", "indigo")


def create(request: Request, payload: dict) -> Response:
    """POST /api/collections"""
    user = access.member(request)
    owner = names.namespace(text(payload, "namespace", user.name))
    check_write(user, owner)
    moment = now()
    collection = Collection(
        key=new_key(),
        owner=owner,
        title=_title(payload),
        created_at=moment,
        updated_at=moment,
        description=_short(payload, "description"),
        private=_is_private(payload),
    )
    before = rooms(request).collections.create(collection)
    if before is not None:
        # `exists_ok=True` reads the slug from this reply.
        message = f"{owner} already has a collection {collection.title!r}"
        return JSONResponse({"error": message, "slug": before.slug}, 409)
    return JSONResponse(whole(request, collection))


def describe(request: Request) -> Response:
    """GET /api/collections/{slug}"""
    return JSONResponse(whole(request, readable(request)))


def listing(request: Request) -> Response:
    """GET /api/collections, filtered by owner and item, in pages"""
    user, query = access.viewer(request), request.query_params
    owners, items = query.getlist("owner"), {*query.getlist("item")}
    listed = [each for each in rooms(request).collections.every() if _is_visible(user, each)]
    if owners:
        listed = [each for each in listed if each.owner in owners]
    if items:
        listed = [each for each in listed if items & {f"{i.kind}s/{i.id}" for i in each.items}]
    if query.get("sort") == "lastModified":
        listed.sort(key=lambda each: each.updated_at, reverse=True)
    return reply_page(request, listed, lambda each: _brief(request, each))


def update(request: Request, payload: dict) -> Response:
    """PATCH /api/collections/{slug}"""
    fields: dict[str, Any] = {}
    if "title" in payload:
        fields["title"] = _title(payload)
    if "description" in payload:
        fields["description"] = _short(payload, "description")
    if "private" in payload:
        fields["private"] = _is_private(payload)
    if "position" in payload:
        fields["position"] = _place(payload)
    if "theme" in payload:
        fields["theme"] = text(payload, "theme")
        if fields["theme"] not in THEMES:
            raise Refused(f"the theme must be one of {', '.join(THEMES)}")
    after = _change(request, lambda before: replace(before, **fields))
    return JSONResponse({"success": True, "data": whole(request, after)})


def delete(request: Request, payload: dict) -> Response:
    """DELETE /api/collections/{slug}"""
    rooms(request).collections.delete(_writable(request).key)
    return JSONResponse({"success": True})


def add(request: Request, payload: dict) -> Response:
    """POST /api/collections/{slug}/items"""
    given = payload.get("item")
    if not isinstance(given, dict):
        raise Refused("'item' must be an object with an id and a type")
    item = Item(
        key=new_key(),
        id=text(given, "id"),
        kind=text(given, "type"),
        note=_short(payload, "note"),
    )
    _writable(request)
    if _facts(request, item) is None:
        raise Refused(f"no {item.kind} named {item.id}", status=404)
    after = _change(request, lambda before: before.with_item(item))
    return JSONResponse(whole(request, after))


def move(request: Request, payload: dict) -> Response:
    """PATCH /api/collections/{slug}/items/{item}: another place, another note"""
    key = path_value(request, "item")

    def move_item(before: Collection) -> Collection:
        item = before.item(key)
        place = _place(payload) if "position" in payload else before.items.index(item)
        note = _short(payload, "note") if "note" in payload else item.note
        return before.with_item_at(replace(item, note=note), place)

    _change(request, move_item)
    return JSONResponse({"success": True})


def remove(request: Request, payload: dict) -> Response:
    """DELETE /api/collections/{slug}/items/{item}"""
    key = path_value(request, "item")
    _change(request, lambda before: before.without(key))
    return JSONResponse({"success": True})


def readable(request: Request) -> Collection:
    """The collection in the path, if the user may know about it; its title may be an old one."""
    slug = f"{path_value(request, 'namespace')}/{path_value(request, 'name')}"
    missing = Refused(f"no collection {slug}", status=404)
    key = slug[-24:]
    if not names.is_hex(key, 24):
        raise missing
    collection = rooms(request).collections.get(key)
    visible = _is_visible(access.viewer(request), collection)
    if collection.owner != slug.partition("/")[0] or not visible:
        raise missing
    return collection


def _writable(request: Request) -> Collection:
    collection = readable(request)
    check_write(access.viewer(request), collection.owner)
    return collection


def _change(request: Request, how: Callable[[Collection], Collection]) -> Collection:
    return rooms(request).collections.change(
        _writable(request).key, lambda before: replace(how(before), updated_at=now())
    )


def _is_visible(user: User | None, collection: Collection) -> bool:
    return not collection.private or (user is not None and user.may_write(collection.owner))


def whole(request: Request, collection: Collection) -> dict[str, Any]:
    """All that the client is told of a collection, with every item that may be seen."""
    return {**_facts_of(request, collection, None), "position": collection.position}


def _brief(request: Request, collection: Collection) -> dict[str, Any]:
    """As a list shows it: the first items, and no position, which the client counts itself."""
    return _facts_of(request, collection, ITEMS_SHOWN)


def _facts_of(request: Request, collection: Collection, most: int | None) -> dict[str, Any]:
    items = [
        {"_id": item.key, "position": place, **facts, **_note(item)}
        for place, item in enumerate(collection.items)
        if (facts := _facts(request, item)) is not None
    ]
    return {
        "slug": collection.slug,
        "title": collection.title,
        "description": collection.description,
        "owner": {"name": collection.owner, "fullname": collection.owner, "type": "org"},
        "items": items[:most],
        "lastUpdated": collection.updated_at,
        "private": collection.private,
        "gating": False,
        "theme": collection.theme,
        "upvotes": 0,
        "isUpvotedByUser": False,
    }


def _note(item: Item) -> dict[str, Any]:
    return {"note": {"text": item.note, "html": item.note}} if item.note else {}


def _facts(request: Request, item: Item) -> dict[str, Any] | None:
    """What an item says of what it stands for; None if the user sees no such thing."""
    user = access.viewer(request)
    try:
        if item.kind == "paper":  # localhub has no papers, and collections have
            return {"id": item.id, "type": item.kind}
        if item.kind == "collection":
            other = rooms(request).collections.get(item.id[-24:])
            seen = {"id": other.key, "slug": other.slug, "type": item.kind, "title": other.title}
            return seen if _is_visible(user, other) else None
        namespace, _, name = item.id.partition("/")
        kind = names.kind_of(item.kind)
        repository = rooms(request).repositories.get(kind, names.repo_id(namespace, name))
        check_read(user, repository)
    except Refused:
        return None
    return {
        "id": repository.id,
        "type": item.kind,
        "repoType": item.kind,
        "author": repository.namespace,
        "private": repository.private,
        "gated": repository.gated,
        "downloads": 0,
        "likes": 0,
    }


def _title(payload: dict) -> str:
    title = _short(payload, "title")
    if not title.strip():
        raise Refused("a collection needs a title")
    return title


def _short(payload: dict, key: str) -> str:
    value = text(payload, key, "")
    if len(value) > MOST_CHARACTERS[key]:
        raise Refused(f"{key!r} may have {MOST_CHARACTERS[key]} characters, and has {len(value)}")
    return value


def _is_private(payload: dict) -> bool:
    value = payload.get("private", False)
    if not isinstance(value, bool):
        raise Refused("'private' must be true or false")
    return value


def _place(payload: dict) -> int:
    value = payload["position"]
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise Refused("'position' must be a number from 0")
    return value


_SLUG = "/api/collections/{namespace}/{name}"
routes = [
    Route("/api/collections", listing, methods=["GET"]),
    Route("/api/collections", with_json(create), methods=["POST"]),
    Route(_SLUG, describe, methods=["GET"]),
    Route(_SLUG, with_json(update), methods=["PATCH"]),
    Route(_SLUG, with_json(delete), methods=["DELETE"]),
    Route(_SLUG + "/items", with_json(add), methods=["POST"]),
    Route(_SLUG + "/items/{item}", with_json(move), methods=["PATCH"]),
    Route(_SLUG + "/items/{item}", with_json(remove), methods=["DELETE"]),
]
