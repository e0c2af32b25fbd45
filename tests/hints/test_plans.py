"""Refusals of plans: what the models lack, or what is asked, is put right as it is told."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from simmerge_hub.hub.resolve import resolve
from simmerge_hub.planning.ask.objective import Objective
from simmerge_hub.planning.ask.options import Ask, Catalogue, Search, Sources, Tasks
from simmerge_hub.planning.inputs import pin
from simmerge_hub.planning.plan import Plan, plan
from simmerge_hub.publishing.verbs import merge
from simmerge_hub.signatures.signing.signature import sign
from simmerge_hub.weights.alignment.lineage import common_base
from tests import nano
from tests.hints.conftest import Refused
from tests.hints.test_models import configure, own

EXPERTS = {"code": "code", "math": "math"}
ADAPTERS = {"code": "lora", "math": "other"}
WEIGHTS = Sources(signals="structural")
ELSEWHERE = "/data/somebody/llama"


def look(*models: str, experts: dict[str, str] = EXPERTS, **how: Any) -> Plan:
    """A plan from weights alone: the shortest there is."""
    return plan(*models, tasks=Tasks(experts=experts), sources=WEIGHTS, **how)


def named(hint: str) -> str:
    """What a hint says after `--base`."""
    return re.search(r"--base ([^\s,]+)", hint)[1]  # type: ignore[index]


# Which base


@pytest.mark.refusal(
    "the models say they were made from …, which cannot be read: …", "a plan, and its merge"
)
@pytest.mark.parametrize("stated", [ELSEWHERE, "nobody/base-bnb-4bit"])
def test_adapters_of_a_base_elsewhere(stated: str, here: Path, refused: Refused) -> None:
    """A path of another machine, or a copy in four bits: an explicit base is taken."""
    for name in ("lora", "other"):
        configure(own(here, name), "adapter_config.json", base_model_name_or_path=stated)
    assert "--base" in refused(look, "lora", "other", experts=ADAPTERS)
    notes: list[str] = []
    done = look("lora", "other", experts=ADAPTERS, base="base", note=notes.append)
    assert any("is taken as its base" in note for note in notes)
    merge(done, "out", durable=False)
    assert (here / "out/model.safetensors").exists()


@pytest.mark.refusal("the models name different bases (…)", "a plan on the one that is named")
def test_adapters_of_two_names_for_a_base(here: Path, refused: Refused) -> None:
    for name, stated in (("lora", ELSEWHERE), ("other", "nobody/base")):
        configure(own(here, name), "adapter_config.json", base_model_name_or_path=stated)
    refused(look, "lora", "other", experts=ADAPTERS)
    look("lora", "other", experts=ADAPTERS, base="base")


@pytest.mark.refusal(
    "the base is said to be …, but … was trained on …, whose weights differ from it by … of their "
    "norm",
    "a plan on the adapters' own base",
)
def test_another_base_than_an_adapter_has(here: Path, refused: Refused) -> None:
    nano.model(here / "stranger", 9)
    for name in ("lora", "other"):
        configure(own(here, name), "adapter_config.json", base_model_name_or_path="base")
    hint = refused(look, "lora", "other", experts=ADAPTERS, base="stranger")
    look("lora", "other", experts=ADAPTERS, base=named(hint))


@pytest.mark.refusal(
    "… is no fine-tune of …: its weights differ from it by … of their norm", "a plan on their base"
)
def test_a_base_that_is_none(here: Path, refused: Refused) -> None:
    nano.model(here / "stranger", 9)
    refused(look, "code", "math", base="stranger")
    look("code", "math", base="base")


@pytest.mark.refusal("… is an adapter, and its base is not known", "its signature")
def test_an_adapter_alone(here: Path, refused: Refused) -> None:
    refused(sign, resolve("lora"))
    assert sign(resolve("lora"), base=resolve("base"))


@pytest.mark.refusal("… and … are both called …", "a plan")
def test_two_models_of_one_name(here: Path, refused: Refused) -> None:
    shutil.copytree((here / "math").resolve(), here / "run/code")
    tasks = Tasks(experts={"code": "code", "math": "run/code"})
    refused(pin, ["code", "run/code"], "base", tasks)
    (here / "run/code").rename(here / "run/math")
    pin(["code", "run/math"], "base", Tasks(experts=EXPERTS))


@pytest.mark.refusal("… is …: there is nothing to merge", "a plan of two fine-tunes")
def test_a_model_twice(here: Path, refused: Refused) -> None:
    refused(look, "code", "code", base="base")
    look("code", "math", base="base")


# Who is good at what


@pytest.mark.refusal(
    "nobody says which model is good at what: the cards have no telling scores…", "a plan"
)
def test_no_experts(here: Path, refused: Refused) -> None:
    refused(look, "code", "math", experts={}, base="base")
    look("code", "math", base="base")


@pytest.mark.refusal("the expert for … is said to be …, which is …", "a plan")
def test_an_expert_that_is_no_model(here: Path, refused: Refused) -> None:
    hint = refused(look, "code", "math", experts={"code": "cdoe", "math": "math"}, base="base")
    assert "code" in hint
    look("code", "math", base="base")


@pytest.mark.refusal("there are no probes for the task …", "a plan with those probes")
def test_a_task_of_ones_own(here: Path, refused: Refused) -> None:
    experts = {"poems": "code", "math": "math"}
    refused(pin, ["code", "math"], "base", Tasks(experts=experts))
    (here / "poems.txt").write_text("roses are red\nviolets are blue\n")
    pin(["code", "math"], "base", Tasks(experts=experts, probes={"poems": "poems.txt"}))


@pytest.mark.refusal("the expert for … is inferred from probes, and none are run", "a plan")
def test_inferred_without_probes(here: Path, refused: Refused) -> None:
    infer = Tasks(infer=("code",))
    refused(plan, "code", "math", base="base", tasks=infer, sources=WEIGHTS)
    look("code", "math", base="base")


@pytest.mark.refusal("the expert for … is named, and shall be inferred too", "a plan")
def test_named_and_inferred(here: Path, refused: Refused) -> None:
    both = Tasks(experts=EXPERTS, infer=("code",))
    refused(pin, ["code", "math"], "base", both)
    look("code", "math", base="base")


@pytest.mark.refusal("the expert for … cannot be inferred among three or more models", "a plan")
def test_inferred_among_three(refused: Refused) -> None:
    refused(Ask(tasks=Tasks(infer=("code",))).check, 3)
    Ask(tasks=Tasks(experts={"code": "a"})).check(3)


# What is asked


@pytest.mark.refusal("two models make a merge, and … given", "a plan")
def test_one_model(here: Path, refused: Refused) -> None:
    refused(look, "code", base="base")
    look("code", "math", base="base")


@pytest.mark.refusal("both models and a catalogue are given", "a plan of either")
def test_models_and_a_catalogue(refused: Refused) -> None:
    catalogue = Catalogue(author="org")
    refused(Ask(catalogue=catalogue).check, 2)
    Ask(catalogue=catalogue).check(0)
    Ask().check(2)


@pytest.mark.refusal("a merge shall have … to … of … models", "a plan")
def test_more_models_than_there_are(refused: Refused) -> None:
    refused(Ask(search=Search(least=4)).check, 3)
    Ask(search=Search(least=2)).check(3)


@pytest.mark.refusal(
    "a bandit chooses the operator of two models, and others are asked for", "a plan"
)
def test_a_bandit_of_three(refused: Refused) -> None:
    bandit = Sources(bandit="org/bandit")
    refused(Ask(sources=bandit).check, 3)
    Ask(sources=bandit).check(2)
    Ask().check(3)


@pytest.mark.refusal("merges are tried on the tasks' probes, and none are run", "a plan")
def test_tried_without_probes(refused: Refused) -> None:
    refused(Ask(tries=2, sources=WEIGHTS).check, 3)
    Ask(tries=2).check(3)
    Ask(sources=WEIGHTS).check(3)


OBJECTIVES = [
    pytest.param(
        Objective(weights={"maths": 2}), Objective(weights={"math": 2}),
        marks=pytest.mark.refusal(
            "the objective names a task …, which is not one of this plan", "a plan"
        ),
    ),
    pytest.param(
        Objective(worst=True, weights={"math": 2}), Objective(worst=True),
        marks=pytest.mark.refusal(
            "the worst task has no weights, and both are asked for", "a plan"
        ),
    ),
    pytest.param(
        Objective(weights={"math": -1}), Objective(weights={"math": 2}),
        marks=pytest.mark.refusal("the weight of … is …", "a plan"),
    ),
    pytest.param(
        Objective(keep={"math": 80}), Objective(keep={"math": 0.8}),
        marks=pytest.mark.refusal("… of the expert is to be kept on …", "a plan"),
    ),
    pytest.param(
        Objective(weights={"math": 0, "code": 0}), Objective(weights={"math": 0, "code": 1}),
        marks=pytest.mark.refusal("no task has a weight above 0", "a plan"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after"), OBJECTIVES)
def test_an_objective(before: Objective, after: Objective, refused: Refused) -> None:
    refused(before.check, ("code", "math"))
    after.check(("code", "math"))


# The Hub


@pytest.mark.refusal("… has no revision …", "the model at a revision that is there")
def test_a_revision_that_is_not_there(org: str, here: Path, refused: Refused) -> None:
    commit = nano.push((here / "code").resolve(), f"{org}/code")
    refused(resolve, f"{org}/code@v9")
    assert resolve(f"{org}/code@{commit}").commit == resolve(f"{org}/code@main").commit == commit


@pytest.mark.refusal(
    "there is no … …, or it is private and the token does not open it", "the model"
)
def test_a_repository_that_is_not_there(org: str, here: Path, refused: Refused) -> None:
    nano.push((here / "code").resolve(), f"{org}/code")
    refused(resolve, f"{org}/cdoe")
    resolve(f"{org}/code")


@pytest.mark.refusal("… is neither a folder here nor a repository name", "the model")
def test_a_name_that_is_none(here: Path, refused: Refused) -> None:
    refused(resolve, "org/a/b")
    resolve("./code")


@pytest.mark.refusal("… is no name of a revision", "the model")
def test_a_revision_that_is_a_path(org: str, here: Path, refused: Refused) -> None:
    nano.push((here / "code").resolve(), f"{org}/code")
    refused(resolve, f"{org}/code@../../etc")
    resolve(f"{org}/code@main")


@pytest.mark.refusal("… has its weights in .bin files, and no safetensors", "the model, converted")
def test_a_base_of_pickles(here: Path, refused: Refused) -> None:
    import torch
    from safetensors.torch import load_file

    folder = own(here, "code")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    refused(resolve, "code", convert=False)
    assert resolve("code").tensors


@pytest.mark.refusal("… has no recipe on its card", "a plan, and its merge")
def test_a_model_that_was_not_merged(org: str, here: Path, refused: Refused) -> None:
    nano.push((here / "code").resolve(), f"{org}/code")
    refused(merge, f"{org}/code", "out")
    merge(look("code", "math", base="base"), "out", durable=False)


def test_the_copy_in_four_bits_leads_to_its_origin(org: str, here: Path) -> None:
    """What the issue asks for, without a hint: a card of the copy names the original."""
    nano.push((here / "base").resolve(), f"{org}/base")
    copy = shutil.copytree((here / "base").resolve(), here / "base-bnb-4bit")
    configure(copy, quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True})
    (copy / "README.md").write_text(f"---\nbase_model: {org}/base\n---\n")
    nano.push(copy, f"{org}/base-bnb-4bit")
    models = []
    for name in ("lora", "other"):
        folder = own(here, name)
        stated = f"{org}/base-bnb-4bit"
        configure(folder, "adapter_config.json", base_model_name_or_path=stated)
        nano.push(folder, f"{org}/{name}")
        models.append(resolve(f"{org}/{name}"))
    base = common_base(models)
    assert base is not None
    assert base.name == f"{org}/base"
