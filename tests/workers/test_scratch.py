"""Folders of workers: nobody else's to read, gone at the end, and gone after kill -9 as well."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from simmerge_hub.errors import OutputError
from simmerge_hub.workers import scratch
from simmerge_hub.workers.scratch import remove_leftovers, scratch_folder, scratch_home

HOLD = """
import sys
from simmerge_hub.workers.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "weights").write_bytes(bytes(10))
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def hold(temporary: Path) -> "tuple[subprocess.Popen[str], Path]":
    """Another process with a folder."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"TMPDIR": str(temporary)},
    )  # fmt: skip
    assert child.stdout is not None
    return child, Path(child.stdout.readline().strip())


def test_a_folder_is_its_owners_and_gone_at_the_end() -> None:
    with scratch_folder() as one, scratch_folder() as other:
        assert one != other
        assert {one.parent, other.parent} == {scratch_home()}
        assert all(f.stat().st_mode & 0o777 == 0o700 for f in (one, other, scratch_home()))
    assert not one.exists() and not other.exists()
    assert remove_leftovers() == 0
    assert [path.name for path in scratch_home().iterdir()] == [scratch.LOCK]


def test_who_tidies_takes_the_common_folder_from_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between any two steps of making a folder, another process of the node may tidy."""
    opened = os.open

    def tidy_and_open(*args: Any, **how: Any) -> int:
        monkeypatch.setattr(os, "open", opened)
        remove_leftovers()
        return opened(*args, **how)

    assert remove_leftovers() == 0 and not scratch_home().exists()
    for _ in range(2):
        monkeypatch.setattr(os, "open", tidy_and_open)
        with scratch_folder() as folder:
            assert folder.is_dir()


def test_what_the_system_says_is_an_error_of_ours(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch_home().write_text("a file")
    with pytest.raises(OutputError, match=r"no temporary folder .*: File exists"), scratch_folder():
        pass
    monkeypatch.setattr(tempfile, "tempdir", str(temporary / "gone"))
    with pytest.raises(OutputError, match="No such file or directory") as caught, scratch_folder():
        pass
    assert "set TMPDIR" in caught.value.hint


def test_what_a_killed_process_left_is_removed_and_nothing_that_is_used(temporary: Path) -> None:
    (alive, used), (dead, left) = hold(temporary), hold(temporary)
    dead.send_signal(signal.SIGKILL)
    dead.communicate()
    assert (left / "weights").exists()
    with scratch_folder():
        assert not left.exists() and (used / "weights").exists()
    assert remove_leftovers() == 0 and used.exists()
    alive.communicate("")
    assert not used.exists()
    assert remove_leftovers() == 0


def test_a_folder_of_somebody_else_is_not_used(temporary: Path) -> None:
    (temporary / "theirs").mkdir(mode=0o755)
    scratch_home().symlink_to(temporary / "theirs")
    with pytest.raises(OutputError, match="was made by somebody else"), scratch_folder():
        pass
    assert remove_leftovers() == 0
    scratch_home().unlink()
    scratch_home().symlink_to(temporary / "nowhere")
    with pytest.raises(OutputError, match="was made by somebody else"), scratch_folder():
        pass
    scratch_home().unlink()
    scratch_home().mkdir(mode=0o777)
    scratch_home().chmod(0o777)
    with pytest.raises(OutputError, match="was made by somebody else"), scratch_folder():
        pass
