"""The content of every file of every repository, stored once under its SHA-256.

A blob is immutable and appears only when it is complete and flushed. Nothing here knows which
repository uses a blob, or how its bytes travelled (base64 in a commit, an LFS upload, or Xet
chunks).
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from simmerge_hub.localhub import names
from simmerge_hub.localhub.errors import Refused
from simmerge_hub.localhub.store import durable


@dataclass(slots=True)
class Incoming:
    """A blob on its way in: hashed and counted while it is written."""

    _file: BinaryIO
    _blobs: "Blobs"
    _hash: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    size: int = 0

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self._file.write(data)
        self._hash.update(data)
        self.size += len(data)

    def keep(self, *, sha256: str | None = None, size: int | None = None) -> str:
        """Store what was written and return its SHA-256; Refused when it is not as promised."""
        actual = self._hash.hexdigest()
        if sha256 not in (None, actual) or size not in (None, self.size):
            raise Refused(
                f"received {self.size} bytes with SHA-256 {actual}, expected {size} with {sha256}"
            )
        if self._blobs.size(actual) != self.size:
            durable.land(self._file, self._blobs.path(actual))
        return actual


@dataclass(frozen=True, slots=True)
class Blobs:
    """A folder of blobs, `ab/abcd…` by SHA-256; `staging` must be on the same file system."""

    root: Path
    staging: Path

    def path(self, sha256: str) -> Path:
        """Where a blob is, or would be."""
        return self.root / names.sha256(sha256)[:2] / sha256

    def size(self, sha256: str) -> int | None:
        """The size of a blob in bytes, None when it is not here."""
        try:
            return self.path(sha256).stat().st_size
        except FileNotFoundError:
            return None

    def read(self, sha256: str) -> bytes:
        """The whole content of a (small) blob."""
        return self.path(sha256).read_bytes()

    def add(self, data: bytes) -> str:
        """Store bytes and return their SHA-256."""
        with self.receive() as incoming:
            incoming.write(data)
            return incoming.keep()

    @contextmanager
    def receive(self) -> Iterator[Incoming]:
        """A blob to write into; dropped at the end of the block unless it was kept."""
        with durable.draft(self.staging) as file:
            yield Incoming(file, self)
