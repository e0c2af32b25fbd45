"""Files appear whole or not at all."""

from pathlib import Path

import pytest

from simmerge_hub.localhub.store import durable


def test_a_draft_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), durable.draft(tmp_path) as file:
        file.write(b"half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_landed_draft_replaces_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "deep/er/file"
    for content in (b"old", b"new"):
        durable.write(target, content, staging=tmp_path)
    assert target.read_bytes() == b"new"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [target]


def test_a_draft_is_invisible_until_it_lands(tmp_path: Path) -> None:
    target = tmp_path / "file"
    with durable.draft(tmp_path) as file:
        file.write(b"content")
        assert not target.exists()
        durable.land(file, target)
        assert target.read_bytes() == b"content"
    assert target.exists()


def test_folders_with_content_are_not_overwritten(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    with pytest.raises(OSError):
        durable.move_folder(tmp_path / "a", tmp_path / "b")
    durable.move_folder(tmp_path / "a", tmp_path / "new/place")
    assert (tmp_path / "new/place/file").read_text() == "a"
    durable.remove_folder(tmp_path / "b", staging=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new"]
