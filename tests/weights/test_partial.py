"""A folder that appears whole or not at all, and is gone on with after a crash."""

import os
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from simmerge_hub.errors import (
    CheckpointError,
    OperatorError,
    OutputError,
    RecipeError,
    SimmergeError,
)
from simmerge_hub.hub.assets import DISK_RESERVE
from simmerge_hub.weights.writing.partial import JOURNAL, partial_folder


def digest(folder: Path, name: str) -> str:
    """Tensors are files here."""
    path = folder / name
    return sha256(path.read_bytes()).hexdigest() if path.exists() else ""


def fill(output: Path, *names: str, identity: str = "x", **how: Any) -> frozenset[str]:
    """Write these files as finished tensors; what an earlier run had finished."""
    with partial_folder(output, identity=identity, size=1, digest=digest, **how) as part:
        for name in names:
            (part.folder / name).write_text(name)
            part.finish(name)
        return part.done


def cut_off(
    output: Path, *names: str, error: BaseException, identity: str = "x", **how: Any
) -> None:
    with (
        pytest.raises(type(error)),
        partial_folder(output, identity=identity, size=1, digest=digest, **how) as part,
    ):
        for name in names:
            (part.folder / name).write_text(name)
            part.finish(name)
        raise error


def contents(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_it_appears_when_the_block_ends(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with partial_folder(out, identity="x", size=1, digest=digest) as part:
        (part.folder / "a").write_text("a")
        assert not out.exists()
        assert part.done == frozenset()
    assert contents(out) == {"a"}
    assert contents(out.parent) == {"out"}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("disk"), ValueError("bug")])
def test_what_was_cut_off_is_gone_on_with(tmp_path: Path, error: BaseException) -> None:
    out = tmp_path / "out"
    cut_off(out, "a", 'odd "name"\n', error=error)
    assert not out.exists()
    assert fill(out, "b") == {"a", 'odd "name"\n'}
    assert contents(out) == {"a", 'odd "name"\n', "b"}


@pytest.mark.parametrize("kind", [CheckpointError, OperatorError, RecipeError])
def test_what_can_never_be_merged_leaves_nothing(tmp_path: Path, kind: type[SimmergeError]) -> None:
    cut_off(tmp_path / "out", "a", error=kind("NaN", hint="leave it out"))
    assert contents(tmp_path) == set()
    cut_off(tmp_path / "out", "a", error=kind("NaN", hint="leave it out"), shared=True)
    assert fill(tmp_path / "out", "b") == {"a"}


def test_another_plan_starts_anew(tmp_path: Path) -> None:
    out = tmp_path / "out"
    cut_off(out, "a", error=KeyboardInterrupt())
    assert fill(out, "b", identity="y") == frozenset()
    assert contents(out) == {"b"}


@pytest.mark.parametrize("damage", ["a deleted file", "a shorter file", "other bytes"])
def test_what_is_not_there_any_more_is_done_again(tmp_path: Path, damage: str) -> None:
    out, path = tmp_path / "out", tmp_path / "out.partial" / "abc"
    cut_off(out, "abc", "d", error=KeyboardInterrupt())
    path.write_text("ab" if damage == "a shorter file" else "abx")
    if damage == "a deleted file":
        path.unlink()
    assert fill(out, "abc") == {"d"}


@pytest.mark.parametrize(
    "line", ["{}", '["d"]', '["d", 1]', '"d"', "[" * 10**5, '["d", ""]', '["other", "x"]', "\0"]
)
def test_odd_lines_of_a_journal_are_no_tensors(tmp_path: Path, line: str) -> None:
    out = tmp_path / "out"
    cut_off(out, "a", error=KeyboardInterrupt())
    with open(tmp_path / "out.partial" / JOURNAL, "a") as journal:
        journal.write(f"{line}\n")
    assert fill(out, "d") == {"a"}


def test_a_folder_that_is_a_link_is_left_alone(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for name in ("thesis.txt", JOURNAL):
        (theirs / name).write_text("mine")
    (tmp_path / "out.partial").symlink_to(theirs)
    with pytest.raises(OutputError, match="holds something else"):
        fill(tmp_path / "out", "a")
    assert contents(theirs) == {"thesis.txt", JOURNAL}


def test_half_a_line_of_the_journal_is_no_tensor(tmp_path: Path) -> None:
    out = tmp_path / "out"
    cut_off(out, "a", error=KeyboardInterrupt())
    with open(tmp_path / "out.partial" / JOURNAL, "a") as journal:
        journal.write('"b')
    assert fill(out, "c") == {"a"}


def test_what_is_there_already(tmp_path: Path) -> None:
    out = tmp_path / "out"
    fill(out, "a")
    with pytest.raises(OutputError, match="exists already"):
        fill(out, "b")
    fill(out, "b", overwrite=True)
    assert contents(out) == {"b"}
    assert contents(tmp_path) == {"out"}


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds something else"):
        fill(tmp_path / "out", "a")
    assert (tmp_path / "out.partial" / "thesis.txt").read_text() == "mine"


def test_one_process_at_a_time(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with (
        partial_folder(out, identity="x", size=1, digest=digest),
        pytest.raises(OutputError, match="another process is writing"),
    ):
        fill(out, "b")


@pytest.mark.parametrize(("free", "fits"), [(999 + DISK_RESERVE, False), (10**4 + DISK_RESERVE, 1)])
def test_free_disk_is_checked_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, fits: bool
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=free))
    if fits:
        with partial_folder(tmp_path / "out", identity="x", size=1000, digest=digest):
            pass
        return
    with (
        pytest.raises(OutputError, match=r"needs 1\.0 kB"),
        partial_folder(tmp_path / "out", identity="x", size=1000, digest=digest),
    ):
        pytest.fail("nothing may be written")
    assert contents(tmp_path) == set()


def test_files_reach_the_disk_before_the_name_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fsync = os.fsync
    rename = Path.rename
    monkeypatch.setattr(os, "fsync", lambda handle: (calls.append("fsync"), fsync(handle))[1])

    def record(self: Path, target: Path) -> Path:
        calls.append(target.name)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", record)
    fill(tmp_path / "out", "a")
    # a, the journal and the folder; then the folder's own folder, for its new name
    assert calls == [*["fsync"] * 3, ".out.simmerge-journal", "out", "fsync"]
    calls.clear()
    fill(tmp_path / "fast", "a", durable=False)
    assert calls == [".fast.simmerge-journal", "fast"]


def test_a_folder_that_is_not_kept_leaves_nothing(tmp_path: Path) -> None:
    """Where an output would be is somebody's own, and stays."""
    theirs = tmp_path / "out"
    theirs.mkdir()
    (theirs / "thesis.txt").write_text("years of work")
    with partial_folder(
        theirs, identity="x", size=1, digest=lambda *_: "", durable=False, keep=False
    ) as partial:
        (partial.folder / "a").write_text("b")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (theirs / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("name", ["file/deep/out", "n" * 250])
def test_an_output_that_cannot_be_made_says_so(tmp_path: Path, name: str) -> None:
    """Below a file, and with a name too long for what lies beside it meanwhile."""
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written: ") as caught:
        fill(tmp_path / name, "a")
    assert str(caught.value).startswith(str(tmp_path / name))
    assert caught.value.hint == "write to a folder in which you may make files"
    assert contents(tmp_path) == {"file"}


def test_the_journal_goes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed while the rest is removed, the folder is still known for ours."""
    left: list[set[str]] = []

    def killed(folder: Path, *, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            left.append(contents(folder))
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            fill(out, "a", "b", keep=False)
    assert left == [{JOURNAL}]
    fill(out, "c")
    assert contents(out) == {"c"}
