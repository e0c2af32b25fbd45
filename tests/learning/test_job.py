"""`learn --hf-jobs`: what is sent, to the request; what cannot go along is refused."""

import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import HfApi
from torch import Tensor

from simmerge_hub.cli.learning import learn as command
from simmerge_hub.cli.main import main, parser
from simmerge_hub.cli.zoo import nano_folder
from simmerge_hub.errors import RecipeError, RequestError
from simmerge_hub.hub.upload import jobs
from simmerge_hub.learning import catalogue, cost, tables
from simmerge_hub.learning.job import learning_script, submit_learning
from simmerge_hub.learning.learn import learn
from simmerge_hub.learning.recipe import load_learn_recipe
from simmerge_hub.operators.registry import OPERATORS, operator
from simmerge_hub.workers.here import Workers

PACKAGE = "simmerge-hub[eval] @ git+https://host/org/repo"
RECIPE = """
models: [{models}]
base: org/base
tasks: {{math: {{evaluate: gsm8k, probes: openai/gsm8k}}}}
arms: [linear]
budget: 2
"""


def _recipe(folder: Path, models: str) -> Path:
    path = folder / "learn.yaml"
    path.write_text(RECIPE.format(models=models))
    return path


def test_the_recipe_goes_along_and_the_token_is_a_secret(tmp_path: Path) -> None:
    path = _recipe(tmp_path, "org/a, org/b")
    sent = submit_learning(
        path, load_learn_recipe(path), "org/our predictor",
        flavor="a10g-small", package=PACKAGE, timeout="3h",
    )  # fmt: skip
    job = HfApi().inspect_job(job_id=sent.id)
    assert sent.url == job.url and job.flavor == "a10g-small"
    assert job.environment is not None and job.command is not None
    assert job.environment["SIMMERGE_RECIPE"] == path.read_text()
    assert job.environment["SIMMERGE_PACKAGE"] == PACKAGE
    assert job.secrets == {"HF_TOKEN": ""} and "HF_TOKEN" not in job.environment
    assert job.command == ["bash", "-c", learning_script("org/our predictor")]
    assert job.command[2].endswith("learn recipe.yaml -o learned --push 'org/our predictor'")


def test_what_lies_on_this_machine_is_refused_by_name(tmp_path: Path) -> None:
    folder = nano_folder() / "code"
    path = _recipe(tmp_path, f"org/a, {folder}")
    with pytest.raises(RequestError) as caught:
        submit_learning(
            path, load_learn_recipe(path), "org/x", flavor="h200", package=PACKAGE, timeout="1h"
        )
    assert str(caught.value) == f"the job's machine has no {folder}"


def test_an_operator_of_one_s_own_goes_to_no_other_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def mine(chunk: Tensor, _: None = None) -> Tensor:
        """The mean."""
        return chunk.mean(0)

    operator(space="weight", paper="ours")(mine)
    try:
        path = _recipe(tmp_path, "org/a, org/b")
        path.write_text(path.read_text().replace("arms: [linear]", "arms: [linear, mine]"))
        words = ["learn", str(path), "-o", str(tmp_path / "learned")]
        for where in (["--ray", "auto"], ["--hf-jobs", "h200", "--push", "org/p"]):
            assert main([*words, *where]) == 1
            said = " ".join(capsys.readouterr().err.split())
            assert "the operator mine is of your own, and other machines do not know it" in said
            assert "leave out --ray and --hf-jobs" in said
        with pytest.raises(RecipeError, match="mine is of your own"):
            learn(load_learn_recipe(path), tmp_path / "learned", workers=Workers(elsewhere=True))
        assert not (tmp_path / "learned").exists()
    finally:
        OPERATORS.pop("mine")


def test_what_cannot_be_pushed_to_is_told_before_anything_is_measured_or_paid_for(
    org: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A job ended with the predictor that it could not push, and nothing of it was left."""
    HfApi().create_repo(f"{org}/model")
    HfApi().upload_file(path_or_fileobj=b"{}", path_in_repo="x.json", repo_id=f"{org}/model")
    words = ["learn", str(_recipe(tmp_path, "org/a, org/b")), "-o", str(tmp_path / "learned")]
    for push, said in (("p", "does not say whose"), (f"{org}/model", "holds something else")):
        assert main([*words, "--push", push]) == 1
        assert said in " ".join(capsys.readouterr().err.split())


def test_a_job_that_would_leave_nothing_is_refused(tmp_path: Path) -> None:
    path = _recipe(tmp_path, "org/a, org/b")
    with pytest.raises(RequestError, match="nothing but what it pushes"):
        command._submit(
            path, load_learn_recipe(path), None, [], flavor="h200", package=PACKAGE, timeout="1h"
        )
    with pytest.raises(RequestError, match="is not released") as caught:
        command._submit(
            path, load_learn_recipe(path), "org/x", [], flavor="h200", package=None, timeout="1h"
        )
    assert "--package" in caught.value.hint


def test_options_of_the_command_go_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing: Any = SimpleNamespace(notes=(), names=())
    monkeypatch.setattr(tables, "load_others", lambda asked, names, fit: [])
    monkeypatch.setattr(catalogue, "open_catalogue", lambda asked: nothing)
    monkeypatch.setattr(command, "_cost", lambda cost: None)
    monkeypatch.setattr(cost, "estimate", lambda asked, inputs: None)
    path = str(_recipe(tmp_path, "org/a, org/b"))
    words = ["learn", path, "-o", "x", "--push", "org/p", "--hf-jobs", "h200", "--package", PACKAGE]
    given = ["--private", "--no-train", "--outcomes", "org/a table", "--batch-size", "4"]
    assert main([*words, *given]) == 0
    url = capsys.readouterr().out.strip()
    sent = HfApi().inspect_job(job_id=url.rpartition("/")[2])
    assert sent.command is not None
    asked = vars(parser().parse_args(shlex.split(sent.command[2].rpartition("simmerge-hub ")[2])))
    told = vars(parser().parse_args([*words, *given]))
    for name in ("push", "private", "fit", "outcomes", "backend", "batch_size", "device"):
        assert asked[name] == told[name], name
    assert asked["private"] is True
    assert main([*words, "--ray", "auto"]) == 1
    assert "--ray names a cluster" in capsys.readouterr().err
    assert main(["learn", path, "-o", "x", "--package", PACKAGE]) == 1
    assert "no job is asked for" in capsys.readouterr().err


def test_without_an_account_no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "get_token", lambda: None)
    with pytest.raises(RequestError, match="nobody is logged in"):
        jobs.submit("python:3.12", ["true"], flavor="cpu-basic", environment={}, timeout="1m")


@pytest.mark.parametrize(
    ("push", "name"), [("org/mine", "org/mine"), (None, "'a b/predictor.json'")]
)
def test_what_comes_next_names_the_predictor(
    push: str | None, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    learned: Any = SimpleNamespace(predictor=object())
    command._say_next(learned, Path("a b"), push)
    said = capsys.readouterr().err
    assert said == f"next: simmerge-hub plan MODEL MODEL --predictor {name}\n"
    command._say_next(SimpleNamespace(predictor=None), Path("a b"), push)  # pyright: ignore[reportArgumentType]
    assert not capsys.readouterr().err
