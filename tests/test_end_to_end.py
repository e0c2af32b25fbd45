"""The whole chain on the packaged nano zoo: repo IDs in, a merged model with its card out."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import simmerge_hub
from simmerge_hub.cli.main import main
from simmerge_hub.cli.zoo import nano_folder
from simmerge_hub.localhub import Hub
from simmerge_hub.zoo.publish import publish


@pytest.fixture(scope="module")
def nano(hub: Hub) -> str:
    """The packaged zoo on the test Hub."""
    publish(nano_folder(), "nano")
    return "nano"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


LOGITS = """
import hashlib, sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
with torch.no_grad():
    logits = model(**tokenizer("abc:>", return_tensors="pt")).logits
print(hashlib.sha256(logits.numpy().tobytes()).hexdigest())
"""


def logits(model: str, home: Path) -> str:
    """The digest of a model's logits, computed in a fresh process with a cache of its own."""
    environment = {**os.environ, "HF_HOME": str(home)}
    found = subprocess.run(
        [sys.executable, "-c", LOGITS, model],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return found.stdout.strip()


@pytest.mark.parametrize("other", ["math", "rag-lora"])
def test_plan_merge_push_load_and_redo(nano: str, org: str, tmp_path: Path, other: str) -> None:
    plan, merged, again = (tmp_path / name for name in ("plan.yaml", "merged", "again"))
    repo = f"{org}/code-{other}"
    assert main(["plan", f"{nano}/code", f"{nano}/{other}", "-o", str(plan)]) == 0
    assert main(["merge", str(plan), "-o", str(merged)]) == 0
    assert main(["push", str(merged), repo]) == 0

    assert logits(repo, tmp_path / "home") == logits(str(merged), tmp_path / "home")

    assert main(["merge", repo, "-o", str(again)]) == 0
    assert sha256(again / "model.safetensors") == sha256(merged / "model.safetensors")


def test_card_on_the_hub_says_everything(nano: str, org: str, tmp_path: Path) -> None:
    from huggingface_hub import HfApi, ModelCard

    plan = simmerge_hub.plan(f"{nano}/code", f"{nano}/math")
    simmerge_hub.merge(plan, tmp_path / "merged")
    commit = simmerge_hub.push(tmp_path / "merged", f"{org}/both")

    card = ModelCard.load(commit.repo)
    info = HfApi().model_info(commit.repo)
    assert card.data.base_model == [f"{nano}/code", f"{nano}/math"]
    assert card.data.to_dict()["base_model_relation"] == "merge"
    assert {"merge", "simmerge", *plan.recipe.operators} <= set(info.tags or [])
    assert plan.best.label in card.text
    assert str(HfApi().model_info(f"{nano}/code").sha) in card.text
    assert f"{plan.verdict.value(plan.best)[0]:.2f}" in card.text
    assert "REPO_ID" not in card.text
    assert str(tmp_path) not in card.text
    assert len(HfApi().list_repo_commits(commit.repo)) == 2  # the empty one, and ours


def test_plan_edited_by_hand_loses_its_predictions(nano: str, tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    main(["plan", f"{nano}/code", f"{nano}/math", "-o", str(plan)])
    data = yaml.safe_load(plan.read_text())
    data["steps"] = [{"operator": "linear", "models": data["steps"][0]["models"],
                      "parameters": {"weights": [0.9, 0.1]}}]  # fmt: skip
    plan.write_text(yaml.safe_dump(data, sort_keys=False))
    simmerge_hub.merge(plan, tmp_path / "merged")
    assert "Nothing was predicted" in (tmp_path / "merged" / "README.md").read_text()
    assert "why" not in yaml.safe_load((tmp_path / "merged" / "simmerge.yaml").read_text())


def test_plan_of_folders_says_that_others_cannot_redo_it(tmp_path: Path) -> None:
    zoo = nano_folder()
    tasks = simmerge_hub.Tasks(
        experts={"code": "code", "math": "math"},
        probes={t: str(zoo / "probes" / f"{t}.jsonl") for t in ("code", "math")},
    )
    plan = simmerge_hub.plan(
        str(zoo / "code"), str(zoo / "math"), base=str(zoo / "base"), tasks=tasks
    )
    simmerge_hub.merge(plan, tmp_path / "merged")
    card = (tmp_path / "merged" / "README.md").read_text()
    assert "Others cannot redo this merge" in card
    assert str(zoo) not in card


def test_plan_json_is_for_programs(nano: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", f"{nano}/code", f"{nano}/math", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["choice"] == found["predictions"][0]["merge"]
    assert {t["expert"] for t in found["tasks"]} == {f"{nano}/code", f"{nano}/math"}
    for prediction in found["predictions"]:
        middle, low, high = prediction["utility"]
        assert low <= middle <= high


def test_second_plan_starts_no_forward_pass(nano: str) -> None:
    code = """
import sys
import simmerge_hub
simmerge_hub.plan("nano/code", "nano/math")
assert "transformers" not in sys.modules, "a second plan imported transformers"
"""
    simmerge_hub.plan(f"{nano}/code", f"{nano}/math")
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ.copy())
