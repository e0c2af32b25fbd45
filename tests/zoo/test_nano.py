"""The demo set that is part of the package, as recipes/zoo-demo.yaml builds it."""

import json
import re
from pathlib import Path

import pytest
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from simmerge_hub.zoo.catalogue import load_catalogue
from simmerge_hub.zoo.evaluation import evaluate, exam, mean
from simmerge_hub.zoo.manifest import Manifest, load_model, weights_sha256
from simmerge_hub.zoo.tasks import task

RECIPE = Path(__file__).parents[2] / "recipes" / "zoo-demo.yaml"
SPECIALISTS = ("code", "math", "multilingual", "instruct", "rag-lora")


def test_it_is_small(nano: Manifest) -> None:
    assert sum(path.stat().st_size for path in nano.folder.rglob("*")) < 8_000_000


def test_it_is_what_the_recipe_says(nano: Manifest) -> None:
    catalogue = load_catalogue(RECIPE)
    assert set(nano.models) == {"base", *SPECIALISTS} == {"base", *catalogue.specialists}
    for name, entry in nano.models.items():
        assert weights_sha256(nano.path(name)) == entry.sha256
        spec = catalogue.specialists.get(name) or catalogue.bases[name]
        assert entry.spec["seed"] == spec.seed
        assert entry.spec["steps"] == spec.steps


def test_transformers_loads_it(nano: Manifest) -> None:
    for name in ("base", *SPECIALISTS[:4]):
        model = AutoModelForCausalLM.from_pretrained(nano.path(name))
        assert model.num_parameters() == 664_704
        assert len(AutoTokenizer.from_pretrained(nano.path(name))) == 64
    base = AutoModelForCausalLM.from_pretrained(nano.path("base"))
    PeftModel.from_pretrained(base, nano.path("rag-lora"))


@pytest.mark.parametrize("name", SPECIALISTS)
def test_specialists_do_their_own_task_and_no_other(nano: Manifest, name: str) -> None:
    entry = nano.models[name]
    model = load_model(nano, name)
    for named, path in nano.tasks.items():
        score = evaluate(model, exam(task(*path.split("/")), 100, seed=1))
        recorded = entry.scores[named]["exact_match"]
        assert mean(score.exact_match) == pytest.approx(recorded, abs=0.08)
        assert (recorded >= 0.9) if named == entry.spec["task"] else (recorded <= 0.05)


def test_probes(nano: Manifest) -> None:
    for name, path in nano.tasks.items():
        prompts = [
            json.loads(line)["prompt"] for line in nano.probes(name).read_text().splitlines()
        ]
        assert len(prompts) == len(set(prompts)) >= 64
        asked = task(*path.split("/")).examples("evaluation", 200, seed=0)
        assert not set(prompts) & {example.prompt for example in asked}


def test_nothing_of_the_machine_is_in_it(nano: Manifest) -> None:
    for path in nano.folder.rglob("*.json*"):
        text = path.read_text()
        assert "/work" not in text
        assert "/home" not in text
        assert not re.search(r"20\d\d-\d\d-\d\d", text)
