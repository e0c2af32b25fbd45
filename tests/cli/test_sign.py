"""sign: what is said, written and pushed."""

import json
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from huggingface_hub.utils import _cache_assets

from simmerge_hub.cli.main import main
from simmerge_hub.signatures.signing.signature import load
from tests import nano


@pytest.fixture
def repo(org: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model on the Hub that was never signed."""
    monkeypatch.setattr(_cache_assets, "HF_ASSETS_CACHE", str(tmp_path / "assets"))
    nano.push(nano.model(tmp_path / "model"), f"{org}/model")
    return f"{org}/model"


def test_where_each_part_came_from(repo: str, capsys: pytest.CaptureFixture[str]) -> None:
    for origin in ("computed", "from the cache"):
        assert main(["sign", repo, "--signals", "structural"]) == 0
        (line,) = capsys.readouterr().out.splitlines()
        assert line.startswith(f"{repo}: ")
        assert " kB in " in line
        assert line.endswith(f"; weights {origin}")


def test_written_and_pushed(repo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "model.signature"
    options = ["--signals", "structural", "-o", str(file), "--push", "--json"]
    assert main(["sign", repo, *options]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert load(file).digest == row["digest"]
    assert (row["model"], row["parts"]) == (repo, {"weights": "computed"})
    assert row["pushed"]["oid"] == HfApi().model_info(repo).sha
    assert main(["sign", repo, *options]) == 0
    assert json.loads(capsys.readouterr().out)[0]["pushed"] is None
    assert main(["sign", repo, "--signals", "structural", "--push"]) == 0
    assert "published there already: nothing was pushed" in capsys.readouterr().err


def test_a_pull_request_is_called_one(
    repo: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_visitor")
    for _ in range(2):  # the second finds the first
        assert main(["sign", repo, "--signals", "structural", "--push"]) == 0
        said = capsys.readouterr().err
        assert "proposed in a pull request" in said and "pushed" not in said


def test_a_data_set_implies_pushing(
    repo: str, org: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sign", repo, "--signals", "structural", "--to", f"{org}/mine"]) == 0
    assert "pushed in one commit" in capsys.readouterr().err
    assert len(HfApi().list_repo_files(f"{org}/mine", repo_type="dataset")) == 2


def test_probes_are_run_for_the_tasks_that_are_named(
    repo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "words.txt").write_text("w1 w2 w3\nw4 w5 w6 w7\n")
    for origin in ("computed", "cache"):
        assert main(["sign", repo, "--probes", f"words={tmp_path / 'words.txt'}", "--json"]) == 0
        seen = capsys.readouterr()
        (row,) = json.loads(seen.out)
        assert row["parts"] == dict.fromkeys(("weights", "words"), origin)
        assert ("B are downloaded to run its probes" in seen.err) == (origin == "computed")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["a", "b", "-o", "x"], "x is one file, and 2 models are to be signed"),
        (["a", "-o", "gone/x"], "there is no folder gone to write the signature in"),
        (
            ["a", "--push", "--signatures", "org/b"],
            "what others published is not ours to publish: --push and --signatures exclude each "
            "other",
        ),
    ],
)
def test_what_cannot_be_done(
    arguments: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sign", *arguments]) == 1
    assert capsys.readouterr().err.splitlines()[0] == f"error: {error}"


def test_probes_that_would_not_be_run_are_refused(
    repo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--signals", "structural", "--probes", f"words={tmp_path / 'words.txt'}"]
    assert main(["sign", repo, *options]) == 1
    assert "--signals structural runs none" in capsys.readouterr().err


def test_a_model_is_read_at_parts_of_its_delta(
    org: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_cache_assets, "HF_ASSETS_CACHE", str(tmp_path / "assets"))
    (tmp_path / "words.txt").write_text("w1 w2 w3\nw4 w5 w6 w7\n")
    weights = nano.weights()
    base = nano.save(tmp_path / "base", weights)
    model = nano.save(tmp_path / "model", nano.tuned(weights, 1, size=0.02))
    command = ["sign", str(model), "--probes", f"words={tmp_path / 'words.txt'}"]
    assert main([*command, "--no-dose"]) == 0
    seen = capsys.readouterr()
    assert "delta" not in seen.err
    assert seen.out.rstrip().endswith(" tokens of probes a second")
    assert main(command) == 0
    seen = capsys.readouterr()
    assert "model: no part of its delta is run: its base is not known" in seen.err
    assert seen.out.rstrip().endswith("; weights, words from the cache")
    assert main([*command, "--base", str(base)]) == 0
    assert "; weights, words from the cache; dose of words computed" in capsys.readouterr().out
    assert main([*command, "--base", str(base), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["parts"] == dict.fromkeys(("weights", "words", "dose of words"), "cache")
    assert row["tokens_per_second"] is None
