"""Merges that are sent while they are made: the same commit, two shards here, none sent twice."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest
from huggingface_hub import HfApi, snapshot_download

from simmerge_hub.errors import HubError, OutputError, PushFailed, RecipeError
from simmerge_hub.hub.upload.outbox import Outbox, Sent
from simmerge_hub.merger.streaming import SENT_FILE
from simmerge_hub.publishing.target import Target
from simmerge_hub.publishing.trust.verify import verify
from simmerge_hub.publishing.verbs import merge, merge_to_hub, push
from tests import nano
from tests.sharded import SHARD, SHARDS, write_recipe

KILLS = int(os.environ.get("STREAM_KILLS", "10"))
"""30 take two minutes."""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return write_recipe(tmp_path)


@contextmanager
def watched(folder: Path) -> Iterator[list[int]]:
    """The bytes of all shards in a folder, again and again; the largest sum of them."""
    most, stop = [0], Event()

    def look() -> None:
        while not stop.wait(0.001):
            most[0] = max(most[0], held(folder))

    thread = Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        stop.set()
        thread.join()


def held(folder: Path) -> int:
    try:
        stats = [path.stat() for path in folder.glob("*.safetensors")]
    except OSError:  # something is deleted just now
        return 0
    return sum(max(each.st_size, each.st_blocks * 512) for each in stats)


@pytest.fixture
def sends(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of shards as they are sent."""
    names: list[str] = []
    send = Outbox.send

    def note(self: Outbox, name: str, path: Path) -> Sent:
        sent = send(self, name, path)
        names.append(name)
        return sent

    monkeypatch.setattr(Outbox, "send", note)
    return names


def test_the_commit_is_that_of_a_push(
    recipe: Path, org: str, tmp_path: Path, sends: list[str]
) -> None:
    merge(recipe, tmp_path / "out")
    push(tmp_path / "out", f"{org}/pushed")
    place = tmp_path / "work"
    with watched(tmp_path / "work.partial") as most:
        report, commit = merge_to_hub(recipe, Target(repo_id=f"{org}/streamed"), folder=place)
    assert SHARD < most[0] <= 2 * (SHARD + 10_000)
    assert len(sends) == len(set(sends)) == SHARDS
    assert not list(tmp_path.glob("work*"))
    assert verify(commit.repo).holds
    assert len(HfApi().list_repo_commits(commit.repo)) == 2, "the first makes the repository"
    one, other = (Path(snapshot_download(f"{org}/{n}")) for n in ("pushed", "streamed"))
    files = {p.relative_to(one).as_posix() for p in one.rglob("*") if p.is_file()}
    assert files == {p.relative_to(other).as_posix() for p in other.rglob("*") if p.is_file()}
    for name in files - {"README.md"}:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    card = (one / "README.md").read_text().replace(f"{org}/pushed", commit.repo)
    assert (other / "README.md").read_text() == card
    assert report.tensors == 40


def test_a_broken_connection_costs_only_what_is_missing(
    recipe: Path, org: str, tmp_path: Path, sends: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    target, send = Target(repo_id=f"{org}/merged"), Outbox.send

    def break_off(self: Outbox, name: str, path: Path) -> Sent:
        if "00003" in name:
            raise HubError("the line is dead")
        return send(self, name, path)

    with monkeypatch.context() as broken:
        broken.setattr(Outbox, "send", break_off)
        with pytest.raises(HubError, match="the line is dead"):
            merge_to_hub(recipe, target, folder=tmp_path / "work")
    assert HfApi().list_repo_files(target.repo_id) == [".gitattributes"]
    assert held(tmp_path / "work.partial") <= 2 * (SHARD + 10_000)
    before = list(sends)
    assert before == [f"model-0000{i}-of-00005.safetensors" for i in (1, 2)]
    sends.clear()
    merge_to_hub(recipe, target, folder=tmp_path / "work")
    assert sends == [f"model-0000{i}-of-00005.safetensors" for i in (3, 4, 5)]
    assert verify(target.repo_id).holds


def test_what_the_store_has_lost_is_made_again(
    recipe: Path, org: str, tmp_path: Path, sends: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = Target(repo_id=f"{org}/merged")

    def refuse(self: Outbox, contents: object, message: str) -> None:
        raise PushFailed("somebody else committed")

    with monkeypatch.context() as broken:
        broken.setattr(Outbox, "commit", refuse)
        with pytest.raises(PushFailed):
            merge_to_hub(recipe, target, folder=tmp_path / "work")
    assert len(sends) == SHARDS
    notes = tmp_path / "work.partial" / SENT_FILE
    lines = notes.read_text().splitlines()
    lost = lines[1].replace(json.loads(lines[1])[1], "0" * 64)
    notes.write_text("\n".join([lines[0], lost, *lines[2:], '["torn', "[1, 2]"]))
    sends.clear()
    merge_to_hub(recipe, target, folder=tmp_path / "work")
    assert sends == [json.loads(lines[1])[0]]
    assert verify(target.repo_id).holds


def test_what_is_refused_is_refused_before_anything_is_sent(
    recipe: Path, org: str, tmp_path: Path, sends: list[str]
) -> None:
    for name, licence in (("a", "gpl-2.0"), ("b", "apache-2.0")):
        (tmp_path / name / "README.md").write_text(f"---\nlicense: {licence}\n---\n")
    target = Target(repo_id=f"{org}/merged")
    with pytest.raises(OutputError, match="no licence fits"):
        merge_to_hub(recipe, target, folder=tmp_path / "work")
    assert not HfApi().repo_exists(target.repo_id)
    assert sends == []
    for name in "ab":
        nano.lora(tmp_path / f"lora-{name}")
    recipe.write_text(
        "simmerge: 1\nmodels: [{folder: lora-a}, {folder: lora-b}]\noutput: adapter\n"
        "steps: [{operator: linear, models: [lora-a, lora-b]}]\n"
    )
    with pytest.raises(RecipeError, match="an adapter is one small file"):
        merge_to_hub(recipe, target)


DRIVER = """
import os, random, signal, sys, time
from pathlib import Path
from simmerge_hub.hub.upload.outbox import Outbox
from simmerge_hub.merger import check
from simmerge_hub.publishing.target import Target
from simmerge_hub.publishing.verbs import merge_to_hub
from simmerge_hub.recipe import load

recipe, repo, folder, kills = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
check(load(recipe)[0])  # imports what a merge does, so that no child is killed while it does so
send, notes = Outbox.send, folder.with_name(folder.name + ".partial") / ".sent"
text = recipe.read_text()

def note(self, name, path):
    assert not notes.exists() or name not in notes.read_text(), f"{name} is sent again"
    return send(self, name, path)

Outbox.send = note

def held():
    try:
        sizes = [p.stat().st_size for p in folder.parent.glob("*.partial/*.safetensors")]
    except FileNotFoundError:
        return 0
    return sum(sizes)

def run(seed, seconds):
    recipe.write_text(text + f"seed: {seed}\\n")
    child = os.fork()
    if not child:
        try:
            merge_to_hub(recipe, Target(repo_id=repo), folder=folder)
        except BaseException as error:
            print(error, file=sys.stderr)
            os._exit(1)
        os._exit(0)
    began, most, killed = time.monotonic(), 0, False
    while True:
        most = max(most, held())
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status), most
        if seconds is not None and not killed and time.monotonic() - began > seconds:
            os.kill(child, signal.SIGKILL)
            killed = True
        time.sleep(0.001)

began = time.monotonic()
print(*run(0, None), flush=True)
whole = time.monotonic() - began
random.seed(0)
killed = number = seed = 0
while killed < kills and number < 5 * kills:
    number += 1
    seed += 1 if number % 3 == 1 else 0  # a new state to reach; two more runs go on with it
    code, most = run(seed, random.uniform(0.1, 1) * whole)
    killed += code == -signal.SIGKILL
    print(code, most, flush=True)
    sys.stdin.readline()
print(*run(seed, None), flush=True)
"""


def test_killed_at_any_moment_the_hub_has_the_old_state_or_the_new(
    recipe: Path, org: str, tmp_path: Path
) -> None:
    repo, states = f"{org}/merged", set[str]()
    command = [sys.executable, "-c", DRIVER, recipe, repo, tmp_path / "work", KILLS]
    with subprocess.Popen(
        [str(each) for each in command],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as driver:  # fmt: skip
        assert driver.stdin and driver.stdout and driver.stderr
        codes: list[str] = []
        for line in driver.stdout:
            code, most = line.split()
            codes.append(code)
            assert int(most) <= 2 * (SHARD + 10_000)
            seen = verify(repo)
            assert seen.holds, seen.explain()
            assert seen.match == SHARDS + 3, "config, index and recipe besides"
            states.add(str(HfApi().model_info(repo).sha))
            if len(codes) > 1:
                driver.stdin.write("\n")
                driver.stdin.flush()
        said = driver.stderr.read()
    assert (codes[0], codes[-1]) == ("0", "0"), said
    assert set(codes) <= {"0", "-9"}, said
    assert codes.count("-9") == KILLS
    assert len(states) > 1
    assert not list(tmp_path.glob("work*"))
