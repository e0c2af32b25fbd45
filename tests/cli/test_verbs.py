"""check, merge, recipe export, operators: what is printed where, and how they end."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import HfApi

from simmerge_hub.cli.main import main
from simmerge_hub.errors import PushFailed
from simmerge_hub.operators import OPERATORS
from simmerge_hub.publishing import verbs as publishing
from simmerge_hub.recipe import load, mergekit
from simmerge_hub.workers.here import HERE, Workers
from tests import nano

Captured = pytest.CaptureFixture[str]


def test_check_says_what_a_merge_would_cost(recipe: Path, capsys: Captured) -> None:
    assert main(["check", str(recipe), "--threads", "1", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["fits"], said["rejected"], said["threads"]) == (True, [], 1)
    assert said["tensors"] == len(nano.weights())
    assert said["output"] >= sum(t.numel() for t in nano.weights().values()) * 2
    assert said["download"] == 0
    assert {"inputs", "notes", "dtype", "disk", "disk_evicting", "memory", "seconds"} <= said.keys()
    assert main(["check", str(recipe)]) == 0
    assert not (recipe.parent / "merged").exists()


def test_merge_is_split_over_the_nodes_of_a_cluster(
    recipe: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses: list[str | None] = []

    @contextmanager
    def open_two(address: str | None, say: Any) -> Iterator[Workers]:
        addresses.append(address)
        yield Workers(elsewhere=True) if address else HERE

    monkeypatch.setattr(publishing, "open_workers", open_two)
    here, there = recipe.parent / "here", recipe.parent / "there"
    assert main(["merge", str(recipe), "-o", str(here)]) == 0
    assert main(["merge", str(recipe), "-o", str(there), "--ray", "10.0.0.1:6379"]) == 0
    assert addresses == [None, "10.0.0.1:6379"]
    assert "1 part for 1 node\n" in capsys.readouterr().err
    assert (here / "SHA256SUMS").read_bytes() == (there / "SHA256SUMS").read_bytes()
    for option in (["--evict"], ["--threads", "2"], ["--stream", "--push", "org/name"]):
        with pytest.raises(SystemExit):
            main(["merge", str(recipe), "-o", "x", "--ray", "auto", *option])
        assert f"{option[0]} is for a merge on one machine" in capsys.readouterr().err


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_check_of_what_does_not_fit_ends_with_1(
    recipe: Path, options: list[str], capsys: Captured
) -> None:
    weights = nano.weights(1)
    del weights["model.norm.weight"]
    nano.save(recipe.parent / "b", weights)
    assert main(["check", str(recipe), *options]) == 1
    seen = capsys.readouterr()
    assert "error: b does not fit: " in seen.err
    if options:
        said = json.loads(seen.out)
        assert not said["fits"]
        assert {r["model"] for r in said["rejected"]} == {"b"}


def test_merge_says_what_it_made_and_what_is_next(recipe: Path, capsys: Captured) -> None:
    output = recipe.parent / "merged"
    assert main(["merge", str(recipe), "-o", str(output)]) == 0
    seen = capsys.readouterr()
    assert not seen.out
    assert seen.err.endswith(f"next: simmerge-hub push {output} org/name\n")
    assert f"{len(nano.weights())} tensors, " in seen.err
    assert main(["merge", str(recipe), "-o", str(output)]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main(["merge", str(recipe), "-o", str(output), "--overwrite", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["folder"] == str(output)
    assert said["tensors"] == len(nano.weights())
    assert said["bytes"] == sum(file.stat().st_size for file in output.glob("*.safetensors"))
    assert said["versions"].keys() == {"simmerge-hub", "torch", "numpy"}


def test_a_rule_that_decided_something_is_said(recipe: Path, capsys: Captured) -> None:
    weights = nano.weights(2)
    recipe.write_text(recipe.read_text() + "unmatched: drop\n")
    nano.save(recipe.parent / "b", {**weights, "more.weight": weights["lm_head.weight"].clone()})
    assert main(["merge", str(recipe), "-o", str(recipe.parent / "merged")]) == 0
    assert "note: more.weight of b is left out" in capsys.readouterr().err


def test_a_recipe_is_written_in_either_format(recipe: Path, capsys: Captured) -> None:
    assert main(["recipe", "export", str(recipe), "--to", "simmerge"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == yaml.safe_load(recipe.read_text())
    assert main(["recipe", "export", str(recipe), "--to", "mergekit"]) == 0
    said = capsys.readouterr().out
    assert said == mergekit.write(load(str(recipe))[0])
    assert yaml.safe_load(said)["merge_method"] == "linear"


def test_operators_are_listed(capsys: Captured) -> None:
    assert main(["operators", "--json"]) == 0
    said = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert said.keys() == OPERATORS.keys()
    assert said["slerp"]["models"] == [2, 2]
    assert said["ties"]["parameters"]["density"] == OPERATORS["ties"].parameters["density"]
    assert main(["operators"]) == 0
    assert "task_arithmetic" in capsys.readouterr().out


def test_a_redone_merge_is_compared(recipe: Path, org: str, capsys: Captured) -> None:
    folder, repo = recipe.parent / "merged", f"{org}/merged"
    card = "---\nlicense: mit\n---\n"
    for name in "ab":
        (recipe.parent / name / "README.md").write_text(card)
        nano.push(recipe.parent / name, f"{org}/{name}")
        text = recipe.read_text()
        recipe.write_text(text.replace(f"folder: {recipe.parent / name}", f"model: {org}/{name}"))
    assert main(["merge", str(recipe), "-o", str(folder)]) == 0
    assert main(["push", str(folder), repo]) == 0
    capsys.readouterr()
    again = str(recipe.parent / "again")
    assert main(["merge", repo, "-o", again]) == 0
    assert capsys.readouterr().err.endswith(f"same bytes as {repo}: all 5 files\n")
    assert main(["merge", repo, "-o", again, "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["redo"]["same"] is True
    streamed = ["merge", repo, "--push", f"{org}/streamed", "--stream"]
    assert main(streamed) == 0
    assert f"same bytes as {repo}: all 5 files\n" in capsys.readouterr().err
    text = (folder / "SHA256SUMS").read_text()
    (folder / "SHA256SUMS").write_text("0" * 8 + text[8:])
    assert main(["push", str(folder), repo, "--force"]) == 0
    assert main(["merge", repo, "-o", again, "--overwrite"]) == 0
    said = capsys.readouterr().err
    assert f"not the bytes of {repo}: differs: config.json (4 are the same)" in said
    assert "another processor may round otherwise" in said
    assert main(["verify", again, "--against", repo]) == 1
    capsys.readouterr()
    assert main([*streamed, "--json"]) == 0
    redo = json.loads(capsys.readouterr().out)["redo"]
    assert (redo["same"], redo["files"]["differ"]) == (False, ["config.json"])


def test_a_conflict_of_licences_is_in_the_hint(recipe: Path, capsys: Captured) -> None:
    for name, licence in (("a", "gpl-2.0"), ("b", "apache-2.0")):
        (recipe.parent / name / "README.md").write_text(f"---\nlicense: {licence}\n---\n")
    output = recipe.parent / "merged"
    assert main(["merge", str(recipe), "-o", str(output)]) == 0
    hint = f"next: simmerge-hub push {output} org/name --license IDENTIFIER\n"
    assert capsys.readouterr().err.endswith(hint)


def test_merge_and_push_at_once(recipe: Path, org: str, capsys: Captured) -> None:
    output = recipe.parent / "merged"
    assert main(["merge", str(recipe), "-o", str(output), "--push", f"{org}/merged"]) == 0
    assert "pushed in one commit, " in capsys.readouterr().err
    assert main(["merge", str(recipe), "--push", f"{org}/streamed", "--stream", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["commit"]["oid"] == HfApi().model_info(f"{org}/streamed").sha
    assert said["folder"] is None
    sums = [
        Path(HfApi().hf_hub_download(f"{org}/{name}", "SHA256SUMS")).read_text()
        for name in ("merged", "streamed")
    ]
    assert sums[0] == sums[1] == (output / "SHA256SUMS").read_text()


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_who_may_not_push_is_told_where_the_merge_is(
    options: list[str], recipe: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path, repo: str, **how: object) -> None:
        assert f" -> {folder}\n" in capsys.readouterr().err
        raise PushFailed("the Hub refused it")

    monkeypatch.setattr(publishing, "push", refuse)
    monkeypatch.setattr(publishing, "check_push", lambda *_: None)
    output = recipe.parent / "merged"
    words = ["merge", str(recipe), "-o", str(output), "--push", "org/name", *options]
    assert main(words) == 1
    assert capsys.readouterr() == ("", "error: the Hub refused it\n")
    assert (output / "SHA256SUMS").exists()


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--stream"],
        ["-o", "x", "--stream"],
        ["--push", "org/x"],
        ["--push", "org/x", "--stream", "--overwrite"],
        ["-o", "x", "--license", "mit"],
    ],
)
def test_where_a_merge_goes_is_said(options: list[str], recipe: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["merge", str(recipe), *options])
