"""evaluate: from the command line to the scores, and to the card on the Hub."""

import argparse
import json
import shutil
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from simmerge_hub.cli.learning.evaluate import add_machine, split_tasks
from simmerge_hub.cli.main import main
from simmerge_hub.cli.zoo import nano_folder
from simmerge_hub.learning.recipe import DTYPES
from simmerge_hub.zoo.publish import publish


def test_tasks_are_named_together_or_one_by_one() -> None:
    assert split_tasks(["a, b", "c", "a,"]) == ["a", "b", "c"]


def test_dtypes_are_those_that_a_recipe_of_learn_may_name() -> None:
    command = argparse.ArgumentParser()
    add_machine(command)
    (dtype,) = (each for each in command._actions if each.dest == "dtype")
    assert tuple(dtype.choices or ()) == DTYPES


def test_scores_are_printed_and_put_on_the_card(
    org: str, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(nano_folder(), org)
    command = ["evaluate", f"{org}/code", "--tasks", "nano_code,nano_math", "--limit", "20"]
    assert main([*command, "--attach"]) == 0
    seen = capsys.readouterr()
    assert "nano_code" in seen.out and "1.000" in seen.out
    assert f"{org}/code" in seen.err
    stated = {r.dataset_name: r for r in ModelCard.load(f"{org}/code").data.eval_results or []}
    assert stated["nano_code"].metric_value == 1.0
    assert stated["nano_code"].metric_args == {"version": "1", "samples": 20, "limit": 20}
    assert stated["code"].metric_value == 0.99  # what its author states stays
    assert main([*command, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [r["metrics"] for r in printed[f"{org}/code"]] == [{"acc": 1.0}, {"acc": 0.0}]


def test_a_folder_has_no_card_to_put_scores_on(capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(nano_folder() / "code")
    assert main(["evaluate", folder, "--tasks", "nano_code", "--attach"]) == 1
    assert "push it first" in capsys.readouterr().err


def test_two_models_of_one_name_are_two_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = []
    for model in ("code", "math"):
        folder = tmp_path / model / "merged"
        shutil.copytree(nano_folder() / model, folder)
        names.append(str(folder))
    command = ["evaluate", *names, "--tasks", "nano_code", "--limit", "10", "--json"]
    assert main(command) == 0
    printed = json.loads(capsys.readouterr().out)
    assert {name: r[0]["metrics"]["acc"] for name, r in printed.items()} == {
        names[0]: 1.0,
        names[1]: 0.0,
    }
