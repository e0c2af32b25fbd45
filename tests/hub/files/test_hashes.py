"""Hashes of files: right, computed once, and computed again when the file changes."""

import hashlib
import os
from pathlib import Path

import pytest
from blake3 import blake3
from huggingface_hub.utils import _cache_assets

from simmerge_hub.hub.files import hashes
from simmerge_hub.hub.files.hashes import hash_path


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file large enough to be remembered, in a cache of its own."""
    monkeypatch.setattr(_cache_assets, "HF_ASSETS_CACHE", str(tmp_path / "assets"))
    monkeypatch.setattr(hashes, "REMEMBERED", 100)
    monkeypatch.setattr(hashes, "BLOCK_BYTES", 64)
    (tmp_path / "model").mkdir()
    path = tmp_path / "model" / "weights"
    path.write_bytes(bytes(range(150)))
    return path


def compute(file: Path, kind: hashes.Kind) -> str:
    """As a new process would: nothing is known but what is on disk."""
    hashes._hash.cache_clear()
    return hash_path(file, kind)


def test_all_kinds_are_those_of_the_content(file: Path) -> None:
    assert compute(file, "sha256") == hashlib.sha256(bytes(range(150))).hexdigest()
    assert compute(file, "blake3") == blake3(bytes(range(150))).hexdigest()
    stored = b"blob 150\0" + bytes(range(150))
    assert compute(file, "git") == hashlib.sha1(stored).hexdigest()


def test_a_large_file_is_read_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = compute(file, "sha256")
    monkeypatch.setattr(hashes, "hash_contents", lambda *_: pytest.fail("read again"))
    assert compute(file, "sha256") == first


def test_a_small_file_is_kept_nowhere(file: Path, tmp_path: Path) -> None:
    file.write_bytes(b"small")
    assert compute(file, "sha256") == hashlib.sha256(b"small").hexdigest()
    assert not (tmp_path / "assets").exists()


def test_a_file_that_changed_is_read_again(file: Path) -> None:
    before = compute(file, "blake3")
    file.write_bytes(bytes(reversed(range(150))))
    os.utime(file, ns=(1, 1))
    assert compute(file, "blake3") == blake3(bytes(reversed(range(150)))).hexdigest() != before


def test_a_damaged_note_is_not_believed(file: Path, tmp_path: Path) -> None:
    first = compute(file, "sha256")
    (note,) = (path for path in (tmp_path / "assets").rglob("sha256") if path.is_file())
    note.write_text("rubbish")
    assert compute(file, "sha256") == first == note.read_text()
