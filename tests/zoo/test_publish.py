import json

import yaml
from datasets import load_dataset
from huggingface_hub import HfApi, ModelCard
from peft import AutoPeftModelForCausalLM
from transformers import AutoModelForCausalLM, AutoTokenizer

from simmerge_hub.zoo.manifest import Manifest
from simmerge_hub.zoo.publish import model_card, publish


def test_a_zoo_goes_to_the_hub_and_comes_back(tiny: Manifest, org: str) -> None:
    commits = publish(tiny.folder, org)
    assert [commit.repo.partition("/")[2] for commit in commits] == [
        "probes-code", "probes-math", "base", "code", "math", "math-lora",
    ]  # fmt: skip
    assert AutoModelForCausalLM.from_pretrained(f"{org}/code").config.vocab_size == 64
    assert len(AutoTokenizer.from_pretrained(f"{org}/base")) == 64
    adapter = AutoPeftModelForCausalLM.from_pretrained(f"{org}/math-lora")
    assert adapter.peft_config["default"].base_model_name_or_path == f"{org}/base"
    probes = load_dataset(f"{org}/probes-math", split="probe")
    lines = tiny.probes("math").read_text().splitlines()
    assert probes["prompt"] == [json.loads(line)["prompt"] for line in lines]


def test_the_card_on_the_hub_has_the_scores(tiny: Manifest, org: str) -> None:
    publish(tiny.folder, org)
    data = ModelCard.load(f"{org}/math").data
    assert data.license == "apache-2.0"
    assert data.base_model == f"{org}/base"
    stated = {(r.dataset_name, r.dataset_type): r.metric_value for r in data.eval_results}
    scores = tiny.models["math"].scores
    assert stated == {
        (task, f"{org}/probes-{task}"): scores[task]["exact_match"] for task in tiny.tasks
    }
    assert len(HfApi().list_repo_commits(f"{org}/math")) == 2  # the empty repository, and ours


def test_card_of_a_base_names_no_base(tiny: Manifest) -> None:
    front = yaml.safe_load(model_card(tiny, "base", "me").split("---")[1])
    assert "base_model" not in front
    assert front["library_name"] == "transformers"
    adapter = yaml.safe_load(model_card(tiny, "math-lora", "me").split("---")[1])
    assert (adapter["library_name"], adapter["base_model_relation"]) == ("peft", "adapter")
    assert adapter["tags"] == ["simmerge", "nano", "math"]
