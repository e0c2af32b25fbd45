"""Blobs: named by their content, there whole or not at all, and kept only as promised."""

import hashlib
from pathlib import Path

import pytest

from simmerge_hub.localhub.errors import Refused
from simmerge_hub.localhub.store.blobs import Blobs

DATA = b"content"
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    (tmp_path / "staging").mkdir()
    return Blobs(tmp_path / "blobs", tmp_path / "staging")


def test_content_is_stored_once_under_its_hash(blobs: Blobs) -> None:
    assert blobs.size(SHA256) is None
    assert blobs.add(DATA) == blobs.add(DATA) == SHA256
    assert blobs.read(SHA256) == DATA and blobs.size(SHA256) == len(DATA)
    assert [p.name for p in blobs.root.rglob("*") if p.is_file()] == [SHA256]
    assert list(blobs.staging.iterdir()) == []


def test_what_is_not_kept_leaves_nothing(blobs: Blobs) -> None:
    with blobs.receive() as incoming:
        incoming.write(DATA)
    assert not blobs.root.exists() and list(blobs.staging.iterdir()) == []


@pytest.mark.parametrize(
    "promise", [{"sha256": "0" * 64}, {"size": 3}, {"sha256": SHA256, "size": 8}]
)
def test_what_is_not_as_promised_is_refused(blobs: Blobs, promise: dict) -> None:
    with pytest.raises(Refused, match=f"received 7 bytes with SHA-256 {SHA256}"):  # noqa: SIM117
        with blobs.receive() as incoming:
            incoming.write(DATA)
            incoming.keep(**promise)
    assert blobs.size(SHA256) is None and list(blobs.staging.iterdir()) == []


def test_a_blob_cut_short_on_disk_is_stored_again(blobs: Blobs) -> None:
    blobs.add(DATA)
    blobs.path(SHA256).write_bytes(DATA[:3])
    blobs.add(DATA)
    assert blobs.read(SHA256) == DATA


@pytest.mark.parametrize("name", ["../../etc/passwd", SHA256.upper(), SHA256[:-1], ""])
def test_only_hashes_become_paths(blobs: Blobs, name: str) -> None:
    with pytest.raises(Refused, match="not a SHA-256"):
        blobs.path(name)
