"""Numbers made from signatures and from those, kept on disk: a plan made again computes none.

A key says all that went in: the content of every signature, the question, and the code that answers
it. What is read is believed only if it is whole and was written for this key. Losing any of it
costs time and nothing else, so errors of the disk are no errors here.
"""

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from simmerge_hub.hub.assets import assets_folder
from simmerge_hub.signatures.measures.memo import memoize
from simmerge_hub.signatures.signing.artifact import Signature, dump_part, pack_samples
from simmerge_hub.version import digest_code

KEPT = 4096
"""Results that are kept, give or take an eighth; each has some kilobytes."""
TRIMMED_EVERY = 32
"""Writes, about, between two looks at how many there are."""
SEAL = 32
"""Bytes in front of the numbers: their digest with the key's."""
SOURCES = ("operators", "signatures/features", "signatures/measures", "signatures/merged",
           "selector/models", "selector/predictor", "planning/trees",
           "weights/shapes.py")  # fmt: skip
"""Rooms whose code makes the numbers."""


def remember(
    what: str,
    of: Sequence[Signature | None],
    details: Sequence[str],
    shape: tuple[int, ...],
    compute: Callable[[], np.ndarray],
) -> np.ndarray:
    """What `compute` returns, float64 of this shape; from the disk if it was computed before.

    Args:
        what: the question, in a word.
        of: the signatures it is asked of, in order.
        details: what else the answer depends on.
        shape: of the answer.
        compute: gives it.
    """
    inputs = ["" if each is None else identify(each) for each in of]
    key = hashlib.sha256(
        "\0".join([what, digest_code(*SOURCES), *inputs, "", *details]).encode()
    ).digest()
    path = _folder() / key.hex()[:40]
    values = _read(path, key, shape)
    if values is None:
        values = np.asarray(compute(), np.float64).reshape(shape)
        _write(path, key, values)
    return values


@memoize
def identify(signature: Signature) -> str:
    """A digest of all that is in a signature, also of its names, which seeds belong to."""
    whole = hashlib.sha256()
    head = (signature.name, signature.digest, signature.kind, signature.settings)
    whole.update(repr((*head, sorted(signature.shapes.items()))).encode())
    for name, sample in sorted(pack_samples(signature).items()):
        _add(whole, (name, sample.kind, sample.shape), sample.raw)
    for kind, parts in (("sketch", signature.sketches), ("response", signature.responses)):
        for task, part in sorted(parts.items()):
            header, arrays = dump_part(part)
            whole.update(repr((kind, task, sorted(header.items()))).encode())
            for name, array in sorted(arrays.items()):
                _add(whole, (name, str(array.dtype), array.shape), array)
    return whole.hexdigest()


def _add(whole: Any, what: tuple[Any, ...], values: np.ndarray) -> None:
    whole.update(repr(what).encode())
    whole.update(np.ascontiguousarray(values).reshape(-1))


def _folder() -> Path:
    return assets_folder("pairs", "numbers")


def _seal(key: bytes, data: bytes) -> bytes:
    return hashlib.sha256(key + data).digest()


def _read(path: Path, key: bytes, shape: tuple[int, ...]) -> np.ndarray | None:
    """The numbers, if they are there, whole, and of this key."""
    wanted = SEAL + 8 * int(np.prod(shape, dtype=np.int64))
    try:
        if path.stat().st_size != wanted:
            return None
        data = path.read_bytes()
    except OSError:
        return None
    if data[:SEAL] != _seal(key, data[SEAL:]):
        return None
    with contextlib.suppress(OSError):
        path.touch()
    return np.frombuffer(data[SEAL:], np.float64).reshape(shape).copy()


def _write(path: Path, key: bytes, values: np.ndarray) -> None:
    """Keep numbers, and forget those that were not used for longest if there are too many."""
    data = np.ascontiguousarray(values).tobytes()
    part = path.with_name(f".{uuid4().hex}")
    with contextlib.suppress(OSError):
        part.write_bytes(_seal(key, data) + data)
        part.replace(path)
        if key[0] < 256 // TRIMMED_EVERY:
            _trim(path.parent)


def _trim(folder: Path) -> None:
    kept = [path for path in folder.iterdir() if not path.name.startswith(".")]
    if len(kept) > KEPT:
        kept.sort(key=lambda path: path.stat().st_mtime_ns)
        for path in kept[: len(kept) - KEPT + KEPT // 8]:
            path.unlink(missing_ok=True)
