"""The cache of signatures: where the parts of one lie, and how much room all may take.

It holds what this machine computed and nothing else. What somebody published stays in
huggingface_hub's cache and is checked whenever it is read: anyone can publish beside a copy of a
model, and a copy has the digest of the model.
"""

import contextlib
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from simmerge_hub.errors import SignatureError
from simmerge_hub.hub.assets import assets_folder
from simmerge_hub.signatures.signing import store
from simmerge_hub.signatures.signing.store import FILE_SCHEMA
from simmerge_hub.version import __version__

R = TypeVar("R")
CACHE_KIND = "signatures"
DEFAULT_LIMIT = 10_000_000_000
"""Bytes all cached signatures may take, unless SIMMERGE_CACHE_LIMIT says otherwise."""
LIMIT_VARIABLE = "SIMMERGE_CACHE_LIMIT"
RESPONSE_SCHEMA = 1
"""Raised whenever responses are measured otherwise: other doses, longer answers."""
ABANDONED = 24 * 3600
"""Seconds after which a half-written file belongs to no process any more."""

_in_use: set[Path] = set()
"""What this process read or wrote: a plan never deletes what it stands on."""


def structure_path(identity: str, entries: int) -> Path:
    """Where the weights' part of a model's signature is cached.

    Args:
        identity: the digest of the model's content; of an adapter's and its base's.
        entries: how many are sampled at most.
    """
    return _folder(identity) / f"structure-{entries}-{FILE_SCHEMA}.safetensors"


def sketch_path(identity: str, probes: str, dtype: str) -> Path:
    """Where a model's sketch on the probe set of digest `probes` is cached."""
    return _folder(identity) / f"probes-{probes[:32]}-{dtype}-{FILE_SCHEMA}.safetensors"


def response_path(identity: str, origin: str, probes: str, dtype: str, ends: str) -> Path:
    """Where a model's response on the probe set of digest `probes` is cached.

    Args:
        identity: the digest of the model's content.
        origin: that of the base's, from which its delta counts.
        probes, dtype: as in `sketch_path`.
        ends: what ends its answers, unless its config says it.
    """
    how = f"{dtype}-{_short(ends.encode())}" if ends else dtype
    name = f"dose-{probes[:32]}-{origin[:32]}-{how}-{FILE_SCHEMA}-{RESPONSE_SCHEMA}"
    return _folder(identity) / f"{name}.safetensors"


def cross_path(identity: str, partner: str, probes: str, dtype: str, answers: bytes) -> Path:
    """Where it is cached what the mean with a model of digest `partner` makes of its answers."""
    asked = f"{probes[:32]}-{_short(answers)}"
    name = f"cross-{asked}-{partner[:32]}-{dtype}-{FILE_SCHEMA}-{RESPONSE_SCHEMA}"
    return _folder(identity) / f"{name}.safetensors"


def reading_path(recipe: str, answers: str, dtype: str) -> Path:
    """Where it is cached what the merge of a recipe makes of an expert's answers.

    Args:
        recipe: digest of the recipe and of the code that makes it.
        answers: digest of prompts and answers.
        dtype: what was computed in.
    """
    made_by = f"{__version__}-{FILE_SCHEMA}-{RESPONSE_SCHEMA}"  # another may merge otherwise
    name = f"reading-{answers[:32]}-{dtype}-{made_by}"
    return _folder(f"recipe {recipe}") / f"{name}.safetensors"


def read_if_sound(path: Path, read: Callable[[Path], R]) -> R | None:
    """What is in a cached file; None if it is not there, or must not be believed.

    Raises:
        SignatureError: the limit in the environment is no number of bytes; also where all is there.
    """
    limit()  # a mistake in it is told before the work, and not only where there is any
    if not path.exists():
        return None
    try:
        content = read(path)
    except SignatureError:
        path.unlink(missing_ok=True)
        return None
    use(path)
    return content


def keep(path: Path, header: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Write a part of a signature into the cache, and see to it that all is within the limit."""
    store.write(use(path), header, values)
    trim()


def use(path: Path) -> Path:
    """Note that a cached file is read or written now: it is the last to go, and not before exit."""
    _in_use.add(path)
    with contextlib.suppress(OSError):  # not there yet, or a cache that is not ours to write
        os.utime(path)
    return path


def trim() -> None:
    """Delete what was used longest ago until the cache is within its limit.

    Raises:
        SignatureError: the limit in the environment is no number of bytes.
    """
    left = _list_files(_folder("").parent)
    over = sum(size for _, size, _ in left) - limit()
    for _, size, path in sorted(left):
        if over <= 0:
            return
        if path not in _in_use:
            path.unlink(missing_ok=True)
            over -= size


def limit() -> int:
    """How many bytes all cached signatures may take."""
    stated = os.environ.get(LIMIT_VARIABLE, str(DEFAULT_LIMIT))
    if not stated.isdecimal():
        raise SignatureError(
            f"{LIMIT_VARIABLE} is {stated!r}, which is no number of bytes",
            hint=f"set it to a whole number, like {DEFAULT_LIMIT}, or unset it",
        )
    return int(stated)


def secret() -> bytes:
    """32 random bytes of this machine, the same ones every time; nobody else knows them."""
    path = assets_folder("spot-check", "key") / "key"
    if not path.is_file():
        part = path.with_name(f".{uuid4().hex}")
        part.touch(mode=0o600)
        part.write_bytes(secrets.token_bytes(32))
        part.replace(path)
    return path.read_bytes()


def _folder(identity: str) -> Path:
    return assets_folder(CACHE_KIND, _short(identity.encode()))


def _short(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()[:32]


def _list_files(folder: Path) -> list[tuple[int, int, Path]]:
    """(time of last use in ns, bytes, path) of every file that may be deleted."""
    files = []
    for path in folder.glob("*/*"):
        with contextlib.suppress(FileNotFoundError):  # another process trims as well
            status = path.stat()
            written_now = path.name[0] == "." and time.time() - status.st_mtime < ABANDONED
            if not written_now:
                files.append((status.st_mtime_ns, status.st_size, path))
    return files
