"""predictor train: which tables it is given, where the result lies, what is said about it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from simmerge_hub.cli.learning import predictor as room
from simmerge_hub.cli.main import main
from simmerge_hub.hub.upload import publish
from simmerge_hub.hub.upload.publish import Commit
from simmerge_hub.selector.predictor import archive, origin
from simmerge_hub.selector.tables import features, merges, outcomes
from simmerge_hub.selector.training import train

PREDICTOR = origin.find(None).predictor


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The tables that were trained on: reading and training, which take minutes, are left out."""
    used: list[tuple[Any, ...]] = []

    def fit(tables: Any, *, merges: Any) -> Any:
        used.append((*tables, merges))
        return PREDICTOR

    monkeypatch.setattr(outcomes, "load_outcomes", lambda path: ("outcomes", path))
    monkeypatch.setattr(features, "load_features", lambda path: ("features", path))
    monkeypatch.setattr(merges, "load_merges", lambda path: ("merges", path))
    monkeypatch.setattr(train, "train", fit)
    return used


def test_the_report_is_shown_and_the_predictor_written(
    tables: list[tuple[Any, ...]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "predictor.json"
    assert main(["predictor", "train", "o.jsonl", "--features", "f.jsonl", "-o", str(output)]) == 0
    seen = capsys.readouterr()
    assert tables == [((("outcomes", Path("o.jsonl")), ("features", Path("f.jsonl"))), None)]
    assert archive.text(archive.load(output)) == archive.text(PREDICTOR)
    assert "headroom captured" in seen.out
    assert f"written to {output}" in seen.err.replace("\n", "")


def test_merges_of_many_are_trained_on_where_they_are_given(
    tables: list[tuple[Any, ...]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "predictor.json")
    arguments = ["predictor", "train", "o.jsonl", "--features", "f.jsonl", "--merges", "m.jsonl"]
    assert main([*arguments, "-o", output, "--json"]) == 0
    assert tables[0][1] == ("merges", Path("m.jsonl"))
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(dict(PREDICTOR.report)))


def test_several_zoos_are_learned_from_together(
    tables: list[tuple[Any, ...]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["predictor", "train", "a.jsonl", "b.jsonl", "-o", str(tmp_path / "p.json")]
    assert main([*command, "--features", "f.jsonl", "--features", "g.jsonl"]) == 0
    named = [(one[1].name, two[1].name) for one, two in tables[0][:2]]
    assert named == [("a.jsonl", "f.jsonl"), ("b.jsonl", "g.jsonl")]
    assert main([*command, "--features", "f.jsonl"]) == 1
    assert "2 tables of outcomes and 1 of features" in capsys.readouterr().err


@pytest.mark.parametrize("create_pr", [True, False])
def test_push_hands_on_what_was_asked(
    create_pr: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []

    def push(file: str, repo_id: str, **how: Any) -> Any:
        asked.append((file, repo_id, how))
        return Commit(repo=repo_id, oid="0" * 40, url="http://hub/org/p")

    monkeypatch.setattr("simmerge_hub.publishing.predictors.push_predictor", push)
    room.push(file="p", repo_id="org/p", private=True, create_pr=create_pr, as_json=False)
    assert asked == [("p", "org/p", {"private": True, "create_pr": create_pr})]
    assert "http://hub/org/p" in capsys.readouterr().err


def test_where_nothing_can_be_written_is_said_before_training(
    tables: list[tuple[Any, ...]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was said after minutes of training, and what was trained was lost."""
    for place, said in ((tmp_path, "is a folder"), ("/proc/p.json", "cannot be written")):
        command = ["predictor", "train", "o.jsonl", "--features", "f.jsonl", "-o", str(place)]
        assert main(command) == 1
        assert said in capsys.readouterr().err
    assert tables == []


def test_the_folder_of_learn_is_pushed_as_a_plan_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(origin.packaged_predictor(), tmp_path / "predictor.json")
    monkeypatch.setattr(publish, "refuse_others", lambda *_: None)
    done = Commit(repo="org/p", oid="0" * 40, url="")
    monkeypatch.setattr(publish, "publish_folder", lambda *_, **__: done)
    assert main(["predictor", "push", str(tmp_path), "org/p"]) == 0
