"""kill -9 at random moments of a sharded merge, then run again: the same bytes, nothing redone."""

import fcntl
import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from simmerge_hub import merger
from simmerge_hub.errors import EndpointDown, OutputError
from simmerge_hub.merger import compute
from simmerge_hub.recipe import load
from tests.sharded import write_recipe

KILLS = 30
DRIVER = """
import os, random, signal, sys, time
from pathlib import Path
from simmerge_hub.merger import check, merge
from simmerge_hub.recipe import load

recipe, folder, kills = load(sys.argv[1])[0], Path(sys.argv[2]), int(sys.argv[3])
check(recipe)  # imports all that a merge does, so that no child is killed while it does so

def started(out):
    child = os.fork()  # no thread has been started yet
    if not child:
        merge(recipe, out)
        os._exit(0)
    return child

def ended(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def after(out):
    return out.exists(), ended(started(out))

began = time.monotonic()
print(ended(started(folder / "whole")), flush=True)
seconds = time.monotonic() - began
random.seed(0)
killed = number = 0
while killed < kills and number < 5 * kills:  # some moments come after the end
    child = started(folder / str(number))
    time.sleep(random.uniform(0, seconds))
    os.kill(child, signal.SIGKILL)
    was = ended(child)
    out, begun = folder / str(number), Path(folder, f"{number}.partial").exists()
    killed += was == -signal.SIGKILL
    number += 1
    print(was, begun, *after(out), flush=True)
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return write_recipe(tmp_path)


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def cut_off(recipe: Path, out: Path, after: int) -> None:
    """A merge that is interrupted when `after` tensors are done."""

    def interrupt(_name: str, done: int, _total: int) -> None:
        if done == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merger.merge(load(recipe)[0], out, progress=interrupt)


def test_killed_merges_end_with_the_same_bytes(recipe: Path, tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-c", DRIVER, str(recipe), str(tmp_path), str(KILLS)],
        capture_output=True,
        text=True,
        check=True,
    )
    first, *rest = [line.split() for line in found.stdout.splitlines()]
    assert first == ["0"]
    killed = [begun for was, begun, _, _ in rest if was == str(-signal.SIGKILL)]
    assert len(killed) == KILLS
    assert killed.count("True") > KILLS // 4, "most were killed before they wrote anything"
    for was, _, appeared, then in rest:
        assert appeared == "True" or was != "0", "a merge that ended left no folder"
        assert then == "0" or appeared == "True", found.stderr  # killed after it had its name
    assert len(list((tmp_path / "whole").glob("*.safetensors"))) > 3
    for number in range(len(rest)):
        assert digests(tmp_path / str(number)) == digests(tmp_path / "whole")


def test_finished_tensors_are_not_done_again(recipe: Path, tmp_path: Path) -> None:
    """An attempt that goes on reports only what was left."""
    cut_off(recipe, tmp_path / "out", 20)
    seen: list[int] = []
    merger.merge(
        load(recipe)[0], tmp_path / "out", progress=lambda _name, done, _all: seen.append(done)
    )
    assert seen == list(range(41 - len(seen), 41))
    assert len(seen) <= 20


def test_another_recipe_starts_anew(recipe: Path, tmp_path: Path) -> None:
    out, fresh = tmp_path / "out", tmp_path / "fresh"
    cut_off(recipe, out, 20)
    recipe.write_text(recipe.read_text().replace("ties", "linear"))
    merger.merge(load(recipe)[0], out)
    merger.merge(load(recipe)[0], fresh)
    assert digests(out) == digests(fresh)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("block", [2**10, 2**18])
def test_bytes_depend_on_the_recipe_alone(
    recipe: Path, tmp_path: Path, threads: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:

    merger.merge(load(recipe)[0], tmp_path / "usual")
    monkeypatch.setattr(compute, "BLOCK_ENTRIES", block)
    merger.merge(load(recipe)[0], tmp_path / "other", threads=threads)
    assert digests(tmp_path / "other") == digests(tmp_path / "usual")


def test_interrupt_keeps_what_is_done(recipe: Path, tmp_path: Path) -> None:
    cut_off(recipe, tmp_path / "out", 10)
    assert (tmp_path / "out.partial").is_dir()
    merger.merge(load(recipe)[0], tmp_path / "out")
    assert not (tmp_path / "out.partial").exists()


def test_two_processes_do_not_write_one_folder(recipe: Path, tmp_path: Path) -> None:
    cut_off(recipe, tmp_path / "out", 10)
    handle = os.open(tmp_path / ".out.simmerge-lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        with pytest.raises(OutputError, match="another process is writing"):
            merger.merge(load(recipe)[0], tmp_path / "out")
        assert (tmp_path / "out.partial").is_dir()
    finally:
        os.close(handle)


def test_a_torn_line_in_the_journal_is_dropped(recipe: Path, tmp_path: Path) -> None:
    for name in ("whole", "torn"):
        cut_off(recipe, tmp_path / name, 10)
    journal = tmp_path / "torn.partial" / ".journal"
    journal.write_bytes(journal.read_bytes()[:-4])
    cut_off(recipe, tmp_path / "torn", 20)
    for name in ("whole", "torn"):
        merger.merge(load(recipe)[0], tmp_path / name)
    assert digests(tmp_path / "torn") == digests(tmp_path / "whole")


def test_a_damaged_journal_starts_anew(recipe: Path, tmp_path: Path) -> None:
    for name in ("whole", "torn"):
        cut_off(recipe, tmp_path / name, 10)
    (tmp_path / "torn.partial" / ".journal").write_bytes(b"\xff\x00\xfe\n")
    for name in ("whole", "torn"):
        merger.merge(load(recipe)[0], tmp_path / name)
    assert digests(tmp_path / "torn") == digests(tmp_path / "whole")


def test_a_folder_of_somebody_else_is_left_alone(recipe: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "out.partial" / "thesis.txt"
    theirs.parent.mkdir()
    theirs.write_text("years of work")
    (tmp_path / "out.replaced").mkdir()
    with pytest.raises(OutputError, match="holds something else"):
        merger.merge(load(recipe)[0], tmp_path / "out")
    assert theirs.read_text() == "years of work"
    assert (tmp_path / "out.replaced").is_dir()


def test_a_broken_connection_loses_nothing(recipe: Path, tmp_path: Path) -> None:
    def vanish(_name: str, done: int, _total: int) -> None:
        if done == 10:
            raise EndpointDown("nothing answers")

    with pytest.raises(EndpointDown):
        merger.merge(load(recipe)[0], tmp_path / "out", progress=vanish)
    assert (tmp_path / "out.partial" / ".journal").is_file()
