"""`learn --hf-jobs`: what is sent, to the request; what cannot go along is refused."""

from pathlib import Path

import pytest
from huggingface_hub import HfApi

from simmerge_hub.cli.learning import learn as command
from simmerge_hub.cli.zoo import nano_folder
from simmerge_hub.errors import RequestError
from simmerge_hub.hub.upload import jobs
from simmerge_hub.learning.recipe import load_learn_recipe
from simmerge_hub.learning.workers.job import PACKAGE, learning_script, submit_learning

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
    assert job.environment["SIMMERGE_PACKAGE"].startswith("simmerge-hub[eval]==")
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


def test_a_job_that_would_leave_nothing_is_refused(tmp_path: Path) -> None:
    path = _recipe(tmp_path, "org/a, org/b")
    with pytest.raises(RequestError, match="nothing but what it pushes"):
        command._submit(
            path, load_learn_recipe(path), None, flavor="h200", package=None, timeout="1h"
        )


def test_without_an_account_no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "get_token", lambda: None)
    with pytest.raises(RequestError, match="nobody is logged in"):
        jobs.submit("python:3.12", ["true"], flavor="cpu-basic", environment={}, timeout="1m")
