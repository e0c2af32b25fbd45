"""What may be named: repository ids, revisions and file paths, checked before they become paths on
disk.

Everything that arrives in a URL or a body and ends up below the storage folder passes through one
of these functions. Knows nothing about HTTP or about what is stored.
"""

import re

from simmerge_hub.localhub.errors import Refused

REPO_KINDS = {"models": "model", "datasets": "dataset", "spaces": "space"}
"""Plural, as in `/api/models`, to singular, as in `"type": "model"`."""

RESERVED = {*REPO_KINDS, "api", "resolve", "xet", "lfs"}
NAME_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}")
REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+/-]{0,254}")
HEX = re.compile(r"[0-9a-f]+")


def kind_of(singular: str | None) -> str:
    """The plural of a repository type; a missing type means a model."""
    for plural, name in REPO_KINDS.items():
        if name == (singular or "model"):
            return plural
    raise Refused(
        f"unknown repository type {singular!r}, expected one of {', '.join(REPO_KINDS.values())}"
    )


def repo_id(namespace: str, name: str) -> str:
    """`namespace/name`, both checked."""
    for segment in (namespace, name):
        if not NAME_PART.fullmatch(segment) or ".." in segment or segment.endswith((".git", ".")):
            raise Refused(f"invalid repository name {namespace}/{name}: {segment!r} is not allowed")
    if namespace in RESERVED:
        raise Refused(f"invalid repository name {namespace}/{name}: {namespace!r} is reserved")
    return f"{namespace}/{name}"


def namespace(text: str) -> str:
    """A user or organization, checked."""
    return repo_id(text, "x").partition("/")[0]


def object_id(text: str) -> str:
    """24 lowercase hex digits, checked."""
    if not is_hex(text, 24):
        raise Refused(f"not an id: {text!r}", status=404)
    return text


def revision(text: str) -> str:
    """A branch, tag, `refs/pr/N` or commit id, checked."""
    parts = text.split("/")
    if (
        not REVISION.fullmatch(text)
        or any(part in ("", ".", "..") for part in parts)
        or ".." in text
    ):
        raise Refused(f"invalid revision {text!r}")
    return text


def branch(text: str) -> str:
    """The name of a new branch or tag: neither a `refs/…` path nor a commit id."""
    if revision(text).startswith("refs/") or is_hex(text, 40):
        raise Refused(f"invalid reference name {text!r}")
    return text


def file_path(text: str) -> str:
    """A relative file or folder path inside a repository, without trailing slash, checked."""
    path = text.rstrip("/")
    parts = path.split("/")
    if any(part in ("", ".", "..", ".git") for part in parts) or len(path) > 1024:
        raise Refused(f"invalid path in repository: {text!r}")
    if not path.isprintable() or "\\" in path or any(len(part.encode()) > 255 for part in parts):
        raise Refused(f"invalid path in repository: {text!r}")
    return path


def sha256(text: str) -> str:
    """A lowercase SHA-256 in hex, checked."""
    if not is_hex(text, 64):
        raise Refused(f"not a SHA-256: {text!r}")
    return text


def is_hex(text: object, length: int) -> bool:
    """Whether `text` is exactly `length` lowercase hexadecimal digits."""
    return isinstance(text, str) and len(text) == length and HEX.fullmatch(text) is not None
