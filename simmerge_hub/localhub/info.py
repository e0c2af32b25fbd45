"""The description of a repository that `model_info`, `dataset_info`, `space_info` and lists return.

Puts together settings, one snapshot, the card and the weights' headers. Knows nothing about
requests.
"""

import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from math import prod
from typing import Any

from simmerge_hub.documents import DocumentError, plain, read_json_object
from simmerge_hub.localhub import cards
from simmerge_hub.localhub.store.blobs import Blobs
from simmerge_hub.localhub.store.history import Commit, Entry, Files
from simmerge_hub.localhub.store.repositories import Repository

LARGEST_TEXT_FILE = 2**20
LARGEST_HEADER, LARGEST_INDEX = 4 * 2**20, 32 * 2**20
"""Bytes of a header that is read to count weights; ten times what one of a large model has."""
MOST_DIMENSIONS = 64


def describe(
    repository: Repository, commit: Commit, blobs: Blobs, *, sizes: bool = False
) -> dict[str, Any]:
    """All that is known about a repository at one commit; `sizes` adds them to each file."""
    card = cards.safe_front_matter(_text(commit.files, "README.md", blobs))
    config = _config(commit.files, blobs)
    kind = repository.kind
    facts: dict[str, Any] = {
        "_id": repository.id,
        "id": repository.id,
        "author": repository.namespace,
        "sha": commit.oid,
        "createdAt": repository.created_at,
        "lastModified": commit.date,
        "private": repository.private,
        "gated": repository.gated,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": cards.tags(card, commit.files, config, kind),
        "cardData": card,
        "siblings": [_sibling(path, entry, sizes) for path, entry in sorted(commit.files.items())],
        "usedStorage": sum(entry.size for entry in commit.files.values()),
    }
    if kind == "models":
        return facts | _model_facts(repository, commit, card, config, blobs)
    return facts | (_space_facts(repository, card) if kind == "spaces" else {})


def shard_headers(files: Files, index: str, blobs: Blobs) -> dict[str, Any]:
    """The index of a sharded model without its `weight_map`, and the header of every shard.

    Raises:
        KeyError: there is no such file; ValueError: it, or a shard that it names, is no such file
            as it should be.
    """
    folder = index.rpartition("/")[0]
    if files[index].size > LARGEST_INDEX:
        raise ValueError(f"it has {files[index].size:,} bytes, more than {LARGEST_INDEX:,}")
    known = read_json_object(blobs.read(files[index].sha256))
    named = known.pop("weight_map", None)
    if not isinstance(named, dict) or not all(isinstance(name, str) for name in named.values()):
        raise ValueError(f"{index} has no weight_map")
    headers: dict[str, Any] = {}
    for shard in sorted(set(named.values())):
        path = f"{folder}/{shard}" if folder else shard
        if path not in files:
            raise ValueError(f"{index} names {shard}, which is not there")
        headers[shard] = _header(files[path].sha256, blobs)
    return {"index": known, "headers": headers}


def choose(facts: dict[str, Any], expand: Iterable[str]) -> dict[str, Any]:
    """Only the properties a client has asked for, or all of them when it asked for none."""
    wanted = {"_id", "id", *expand}
    return (
        {key: value for key, value in facts.items() if key in wanted} if len(wanted) > 2 else facts
    )


def brief(facts: dict[str, Any], *, full: bool, card: bool) -> dict[str, Any]:
    """What a list shows of a repository."""
    hidden = set() if full else {"siblings", "usedStorage", "safetensors", "spaces"}
    hidden |= set() if full or card else {"cardData"}
    return {key: value for key, value in facts.items() if key not in hidden}


def _model_facts(
    repository: Repository, commit: Commit, card: Mapping, config: Mapping, blobs: Blobs
) -> dict[str, Any]:
    facts = {
        "modelId": repository.id,
        "library_name": cards.library(card, commit.files, config),
        "pipeline_tag": cards.task(card, config),
        "config": {key: config[key] for key in ("architectures", "model_type") if key in config},
        "spaces": [],
        "safetensors": _parameters(commit.files, blobs),
    }
    return {key: value for key, value in facts.items() if value is not None}


def _space_facts(repository: Repository, card: Mapping) -> dict[str, Any]:
    linked = {
        "models": cards.as_list(card.get("models")),
        "datasets": cards.as_list(card.get("datasets")),
    }
    return {"sdk": card.get("sdk", repository.sdk), "runtime": runtime(), **linked}


def runtime() -> dict[str, Any]:
    """The state of a Space: localhub stores Spaces and never runs them."""
    return {"stage": "STOPPED", "hardware": {"current": None, "requested": None}, "gcTimeout": None}


def _sibling(path: str, entry: Entry, sizes: bool) -> dict[str, Any]:
    if not sizes:
        return {"rfilename": path}
    facts: dict[str, Any] = {"rfilename": path, "size": entry.size, "blobId": entry.oid}
    if entry.lfs:
        facts["lfs"] = {
            "sha256": entry.sha256,
            "size": entry.size,
            "pointerSize": entry.pointer_size,
        }
    return facts


def _text(files: Files, path: str, blobs: Blobs) -> str:
    entry = files.get(path)
    if entry is None or entry.size > LARGEST_TEXT_FILE:
        return ""
    return blobs.read(entry.sha256).decode(errors="replace")


def _config(files: Files, blobs: Blobs) -> dict[str, Any]:
    try:
        return plain(read_json_object(_text(files, "config.json", blobs) or "{}"))
    except DocumentError:
        return {}


def _parameters(files: Files, blobs: Blobs) -> dict[str, Any] | None:
    """How many weights of each dtype the safetensors files at the top hold."""
    weights = [
        entry for path, entry in files.items() if path.endswith(".safetensors") and "/" not in path
    ]
    total: Counter[str] = Counter()
    for entry in weights:
        total.update(dict(_header_counts(entry.sha256, blobs)))
    return {"parameters": dict(total), "total": total.total()} if total else None


@lru_cache(maxsize=1024)
def _header_counts(sha256: str, blobs: Blobs) -> tuple[tuple[str, int], ...]:
    counts: Counter[str] = Counter()
    try:
        header = _header(sha256, blobs)
        for tensor in [header[name] for name in header if name != "__metadata__"]:
            counts[tensor["dtype"]] += _entries(tensor["shape"])
    except (ValueError, KeyError, TypeError):
        return ()
    if not all(isinstance(dtype, str) for dtype in counts):
        return ()
    return tuple(counts.items())


def _header(sha256: str, blobs: Blobs) -> dict[str, Any]:
    """The header of a safetensors file; ValueError if it has none that is small enough."""
    with blobs.path(sha256).open("rb") as file:
        try:
            (length,) = struct.unpack("<Q", file.read(8))
        except struct.error as error:
            raise ValueError("it is too short") from error
        return read_json_object(file.read(min(length, LARGEST_HEADER)))


def _entries(shape: Any) -> int:
    """How many numbers a tensor of a shape holds; ValueError if it is none."""
    whole = isinstance(shape, list) and len(shape) <= MOST_DIMENSIONS
    if not whole or not all(type(n) is int and 0 <= n < 2**63 for n in shape):
        raise ValueError("no shape")
    return prod(shape)
