"""Derived files are cached whole or not at all."""

import errno
import os
from pathlib import Path

import pytest
from huggingface_hub.utils import _cache_assets

from simmerge_hub.errors import OutputError
from simmerge_hub.hub.assets import (
    assets_folder,
    closed_cache,
    refuse_unwritable,
    replace_file,
    write_whole,
    writing,
)


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


def test_a_device_or_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    """By whom it may be: as root, /dev/null would be a file from then on."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match=r"pipe is a device or a pipe, and a file would take"):
        replace_file(tmp_path / "pipe", b"plan")
    assert (tmp_path / "pipe").is_fifo()


def test_a_link_leads_to_what_was_written(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for text in (b"one", b"two"):
        replace_file(tmp_path / "link", text)
        assert (tmp_path / "file").read_bytes() == text
    assert (tmp_path / "link").is_symlink()


def test_the_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """Not the one beside it that becomes it."""
    with pytest.raises(OutputError) as caught:
        replace_file(tmp_path / "none/plan.yaml", b"plan")
    where = tmp_path / "none/plan.yaml"
    assert str(caught.value) == f"{where} cannot be written: No such file or directory"
    assert caught.value.hint == "write to a folder in which you may make files"


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no folder that nobody may write to")
def test_a_folder_in_which_no_file_can_be_made_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"^/proc/plan\.yaml cannot be written: ") as caught:
        refuse_unwritable(Path("/proc/plan.yaml"))
    assert caught.value.hint == "write to a folder in which you may make files"
    refuse_unwritable(tmp_path / "plan.yaml")
    assert list(tmp_path.iterdir()) == []


def test_what_the_system_refuses_in_a_cache_is_moved_by_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_ASSETS_CACHE", str(home / "assets"))
    assert closed_cache(home / "hub" / "models--org--a" / "refs") == "HF_HOME"
    assert closed_cache(home / "assets" / "simmerge-hub") == "HF_ASSETS_CACHE"
    assert closed_cache(home) == "HF_HOME"  # which is not there yet, and cannot be made
    assert closed_cache(tmp_path) == closed_cache(tmp_path / "plan.yaml") == ""
    assert closed_cache(None) == ""
    monkeypatch.setattr("os.access", lambda *_: False)
    assert closed_cache(None) == "HF_HOME"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_where_there_is_no_room_the_hint_is_to_make_some(tmp_path: Path, number: int) -> None:
    with pytest.raises(OutputError) as caught, writing(tmp_path / "out"):
        raise OSError(number, os.strerror(number))
    assert str(caught.value) == f"{tmp_path / 'out'} cannot be written: {os.strerror(number)}"
    assert caught.value.hint == "free some space, or write to another disk"
