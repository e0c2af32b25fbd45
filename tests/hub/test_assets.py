"""Derived files are cached whole or not at all."""

from pathlib import Path

import pytest
from huggingface_hub.utils import _cache_assets

from simmerge_hub.hub.assets import assets_folder, write_whole


def test_folders_of_two_kinds_are_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cache_assets, "HF_ASSETS_CACHE", str(tmp_path))
    one, other = assets_folder("weights", "x"), assets_folder("sha256", "x")
    assert one.is_dir() and other.is_dir() and one != other
    assert {one.parts[len(tmp_path.parts)], other.parts[len(tmp_path.parts)]} == {"simmerge-hub"}


def test_a_file_is_not_there_before_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with write_whole(path) as handle:
        handle.write(b"half")
        assert not path.exists()
        handle.write(b" and half")
    assert path.read_bytes() == b"half and half"
    assert list(tmp_path.iterdir()) == [path]


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), write_whole(path) as handle:
        handle.write(b"new")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
