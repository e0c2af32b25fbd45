"""check, merge, push, recipe export, operators: what is printed where, and how they end."""

import json
from pathlib import Path

import pytest
import yaml
from huggingface_hub import HfApi

from simmerge_hub.cli.main import main
from simmerge_hub.operators import OPERATORS
from simmerge_hub.recipe import Recipe, Source, Step, load, mergekit
from tests import nano

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """The mean of two models, as a file."""
    for seed, name in enumerate("ab"):
        nano.save(tmp_path / name, nano.weights(seed))
    mean = Recipe(
        base=None,
        models=tuple(Source(name=name, folder=tmp_path / name) for name in "ab"),
        steps=(Step(operator="linear", models=("a", "b"), parameters={}),),
    )
    path = tmp_path / "recipe.yaml"
    path.write_text(mean.to_yaml())
    return path


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


def test_push_is_one_commit(recipe: Path, org: str, capsys: Captured) -> None:
    output = str(recipe.parent / "merged")
    assert main(["merge", str(recipe), "-o", output]) == 0
    capsys.readouterr()
    assert main(["push", output, f"{org}/merged", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["repo"], said["oid"]) == (f"{org}/merged", HfApi().model_info(f"{org}/merged").sha)
    assert main(["push", output, f"{org}/merged", "--pr"]) == 0
    assert HfApi().model_info(f"{org}/merged").sha == said["oid"]


def test_push_says_what_happened(recipe: Path, org: str, capsys: Captured) -> None:
    output, repo = str(recipe.parent / "merged"), f"{org}/merged"
    assert main(["merge", str(recipe), "-o", output]) == 0
    for options, said in (
        ([], "pushed in one commit, "),
        ([], "nothing to push: all of it is there already, "),
        (["--revision", "next", "--message", "Mine"], "nothing to push: "),
    ):
        capsys.readouterr()
        assert main(["push", output, repo, *options]) == 0
        assert capsys.readouterr().err.startswith(said)
    (recipe.parent / "merged" / "README.md").write_text("---\nlicense: mit\n---\n")
    assert main(["push", output, repo, "--pr"]) == 0
    assert capsys.readouterr().err.startswith("proposed in a pull request, ")


def test_verify_finds_one_flipped_bit(recipe: Path, org: str, capsys: Captured) -> None:
    output, repo = recipe.parent / "merged", f"{org}/merged"
    assert main(["merge", str(recipe), "-o", str(output)]) == 0
    assert main(["push", str(output), repo]) == 0
    capsys.readouterr()
    assert main(["verify", str(output)]) == 0
    seen = capsys.readouterr()
    assert (seen.out, seen.err) == ("", "5 files are what the merge wrote\n")
    weights = output / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert main(["verify", str(output)]) == 1
    seen = capsys.readouterr()
    assert seen.out == "differs model.safetensors\n"
    assert "error: " in seen.err
    assert main(["verify", str(output), "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said == {
        "holds": False, "name": str(output), "match": 4, "differ": ["model.safetensors"],
        "missing": [], "extra": [],
    }  # fmt: skip
    assert main(["push", str(output), repo]) == 1
    assert main(["verify", repo]) == 0
    assert main(["push", str(output), repo, "--force"]) == 0
    assert main(["verify", repo]) == 1


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
