"""localhub and demo: what becomes of their errors, their folder and what models are asked."""

import io
import json
import os
import signal
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from simmerge_hub.cli import local, show
from simmerge_hub.cli.main import main
from simmerge_hub.cli.zoo import nano_folder
from simmerge_hub.hub.upload.publish import Commit
from simmerge_hub.localhub import Hub, LocalhubError
from simmerge_hub.localhub.store import storage


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the demo sets for this process is as before after the test."""
    names = ("HF_ENDPOINT", "HF_HOME", "HF_TOKEN", "HF_HUB_DISABLE_TELEMETRY")
    for name in (*names, "HF_HUB_DISABLE_PROGRESS_BARS"):
        monkeypatch.setenv(name, os.environ.get(name, ""))


def test_a_folder_that_is_in_use_is_an_error_of_ours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with storage.claim(tmp_path):
        assert main(["localhub", "--dir", str(tmp_path)]) == 1
    seen = capsys.readouterr()
    assert seen.err.startswith("error: ")
    assert str(tmp_path) in seen.err.replace("\n", "")
    assert not seen.out


def test_what_is_asked_of_the_hub_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict] = []
    monkeypatch.setattr("simmerge_hub.localhub.serve", lambda **how: given.append(how))
    assert main(["localhub", "--dir", "hub"]) == 0
    assert main(["localhub", "--dir", "hub", "--port", "8123", "--idle", "1.5"]) == 0
    assert given == [
        {"dir": "hub", "port": 0, "idle": None},
        {"dir": "hub", "port": 8123, "idle": 1.5},
    ]


@pytest.mark.usefixtures("environment")
def test_the_demo_runs_against_a_hub_of_its_own(
    hub: Hub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen: list[tuple[Path, str, bool]] = []

    def chain(folder: Path) -> None:
        seen.append((folder, os.environ["HF_ENDPOINT"], (folder / "hub").is_dir()))

    monkeypatch.setattr(local, "_chain", chain)
    assert main(["demo", "--dir", str(tmp_path)]) == 0
    assert f"simmerge-hub localhub --dir {tmp_path / 'hub'}" in capsys.readouterr().err
    assert main(["demo"]) == 0
    assert "state is kept" not in capsys.readouterr().err
    (kept, one, _), (gone, other, _) = seen
    assert kept == tmp_path
    assert (tmp_path / "hub").is_dir()
    assert not gone.exists()
    assert len({one, other, hub.endpoint}) == 3
    assert all(there for _, _, there in seen)


def test_parents_and_merge_are_asked_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each parent is best at its own task; here another model stands for the merge."""
    written = io.StringIO()
    monkeypatch.setattr(show, "OUT", Console(file=written, width=300))
    folders = tuple(str(nano_folder() / name) for name in local.TASKS)
    assert [name.rpartition("/")[2] for name in local.MODELS] == list(local.TASKS)
    monkeypatch.setattr(local, "MODELS", folders)
    monkeypatch.setattr(local, "MERGED", str(nano_folder() / "instruct"))
    monkeypatch.setattr(local, "QUESTIONS", 4)
    local._ask()
    rows = [line.split("│") for line in written.getvalue().splitlines() if " of 4" in line]
    assert [row[1].strip() for row in rows] == [*folders, local.MERGED]
    first, second, _ = [[int(row[place].split()[0]) for place in (3, 5)] for row in rows]
    assert first[0] > second[0]
    assert second[1] > first[1]


def test_the_demo_merges_the_pair_whose_merge_answers_most() -> None:
    """By the committed numbers of every pair of packaged models: its weaker skill is the best."""
    path = Path(__file__).parents[2] / "benchmarks" / "demo_pairs.json"
    pairs = json.loads(path.read_text("utf-8"))["pairs"]
    assert len(pairs) == 10
    best = max(pairs, key=lambda row: min(row["right"].values()))
    assert [f"nano/{name}" for name in best["pair"]] == list(local.MODELS)
    assert min(best["right_of_10"].values()) > local.QUESTIONS / 2


@pytest.mark.parametrize("command", [["ui"], ["space", "org/name"]])
def test_without_gradio_the_extra_is_named(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(local, "find_spec", lambda name: None)
    assert main(command) == 1
    said = capsys.readouterr().err
    assert "gradio, which is not installed" in said
    assert "pip install 'simmerge-hub[space]'" in said


def test_what_is_asked_of_a_space_is_handed_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[Any] = []

    def publish(repo_id: str, **how: Any) -> Commit:
        given.append((repo_id, how))
        return Commit(repo=repo_id, oid="0" * 40, url="http://hub/spaces/org/name")

    monkeypatch.setattr(local, "find_spec", lambda name: object())
    monkeypatch.setattr("simmerge_hub.space.publish.publish_space", publish)
    assert main(["space", "org/name", "--private", "--json"]) == 0
    assert given == [("org/name", {"private": True, "create_pr": False})]
    assert "http://hub/spaces/org/name" in capsys.readouterr().out


@pytest.mark.parametrize("port", ["http", "0", "65536", "-1"])
def test_a_port_is_a_number(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["ui", "--port", port])
    assert "usage" in capsys.readouterr().err


def test_a_port_in_use_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not in the words of gradio, which speak of its own variables."""

    def refuse(*, port: int | None) -> None:
        raise OSError(f"Cannot find empty port in range: {port}-{port}.")

    for name in ("app", "merges"):
        page = SimpleNamespace(launch=refuse, clear=None)
        monkeypatch.setitem(sys.modules, f"simmerge_hub.space.{name}", page)
    monkeypatch.setattr(local, "find_spec", lambda name: name)
    assert main(["ui", "--port", "8123"]) == 1
    said = capsys.readouterr().err
    assert "error: cannot listen on port 8123: in use, or not for this account" in said
    assert "hint: choose another --port" in said


@pytest.mark.parametrize("command", [["demo"], ["localhub", "--dir", "hub"]], ids=" ".join)
def test_without_the_extra_the_command_says_which(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(local, "find_spec", lambda name: None if name == "uvicorn" else name)
    assert main(command) == 1
    said = capsys.readouterr().err
    assert "error: a Hub on this machine is served with uvicorn, not installed" in said
    assert "hint: pip install 'simmerge-hub[localhub]'" in said


def test_a_demo_s_hub_that_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: Path) -> None:
        raise LocalhubError("localhub did not start: no room")

    monkeypatch.setattr("simmerge_hub.localhub.running", fail)
    assert main(["demo", "--dir", str(tmp_path)]) == 1
    assert "error: localhub did not start: no room" in capsys.readouterr().err


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_a_page_that_is_told_to_end_leaves_nothing_behind(
    by: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from simmerge_hub.space import app, merges

    def launch(**_: Any) -> tuple[Any, str]:
        threading.Timer(0.3, os.kill, (os.getpid(), by)).start()
        return SimpleNamespace(close=lambda verbose: None), "http://127.0.0.1:7860"

    place = merges.make_folder()
    (place / "merged").mkdir()
    monkeypatch.setattr(app, "launch", launch)
    before = signal.getsignal(signal.SIGTERM)
    ignored = signal.signal(signal.SIGINT, signal.default_int_handler)  # in background jobs it is
    try:
        assert main(["ui"]) == 0
    finally:
        signal.signal(signal.SIGINT, ignored)
    assert not place.exists()
    assert signal.getsignal(signal.SIGTERM) == before
    assert "stopped" in capsys.readouterr().err
