"""Models that make no merge, and how they are told apart."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from simmerge_hub.cli.zoo import nano_folder
from simmerge_hub.errors import AlignmentError, ProbeError
from simmerge_hub.hub.resolve import resolve
from simmerge_hub.localhub import Hub
from simmerge_hub.merger import check
from simmerge_hub.planning.ask.options import Tasks
from simmerge_hub.planning.ask.tasks import tasks_of
from simmerge_hub.planning.inputs import pin
from simmerge_hub.recipe import Recipe, Source, Step
from simmerge_hub.zoo.publish import publish
from tests import rankings

CODE, MATH, BASE = (str(nano_folder() / name) for name in ("code", "math", "base"))
EXPERTS = {"code": "code", "math": "math"}


@pytest.mark.parametrize(
    ("models", "base", "message"),
    [
        ((CODE, CODE), None, "given twice: there is nothing to merge"),
        ((CODE, MATH, CODE), BASE, "given twice: there is nothing to merge"),
        ((BASE, CODE), BASE, "the base of the other: there is nothing to merge"),
    ],
)
def test_models_that_make_no_pair(models: tuple[str, ...], base: str | None, message: str) -> None:
    with pytest.raises(AlignmentError, match=message):
        pin(models, base, Tasks(experts=EXPERTS))


def test_two_folders_of_one_name_are_told_apart_in_words(tmp_path: Path) -> None:
    other = tmp_path / "code"
    shutil.copytree(MATH, other)
    with pytest.raises(AlignmentError, match="are both called code"):
        pin([CODE, str(other)], BASE, Tasks(experts=EXPERTS))


@pytest.mark.parametrize("original", [CODE, BASE])
def test_a_copy_under_another_name_makes_no_pair(tmp_path: Path, original: str) -> None:
    """Nor if only its card or its config differs: something would be predicted of the pair."""
    copy = tmp_path / "copy"
    shutil.copytree(original, copy)
    (copy / "README.md").write_text("Mine.")
    said = f"copy has the same weights as {Path(original).name}: merging them changes nothing"
    with pytest.raises(AlignmentError, match=said):
        pin([CODE, str(copy)], BASE, Tasks(experts=EXPERTS))
    with pytest.raises(AlignmentError, match=said):
        pin([CODE, MATH, str(copy)], BASE, Tasks(experts=EXPERTS))


def test_an_expert_may_be_named_as_it_was_given(tmp_path: Path) -> None:
    models = [resolve(CODE), resolve(MATH)]
    tasks, _ = tasks_of(models, Tasks(experts={"code": CODE, "math": "math"}))
    assert {t.name: t.expert for t in tasks} == EXPERTS
    with pytest.raises(ProbeError, match="not among the models"):
        tasks_of(models, Tasks(experts={"code": str(tmp_path)}))


def test_what_is_pinned_has_its_base_its_tasks_and_its_size() -> None:
    inputs = pin([CODE, MATH], BASE, Tasks(experts=EXPERTS))
    assert inputs.names == ["code", "math"]
    assert inputs.base is not None
    assert inputs.parameters == sum(h.entries for h in inputs.base.tensors.values()) > 0
    assert [task.expert for task in inputs.tasks] == ["code", "math"]


def test_what_models_reach_without_any_merge_is_relative_to_the_expert() -> None:
    scores = {"a": {"first": 0.8, "second": 0.2}}
    inputs = rankings.inputs({"a": "first", "b": "second"}, scores)
    assert inputs.known == {"a": {"first": 1.0, "second": 0.25}, "b": {"second": 1.0}}


@pytest.fixture
def with_card(tmp_path: Path) -> Callable[..., str]:
    """Makes a copy of a nano model whose card states scores: dataset -> (metric, value)."""

    def make(model: str, **scores: tuple[str, float]) -> str:
        folder = tmp_path / model
        shutil.copytree(nano_folder() / model, folder)
        results = "".join(
            f"  - dataset: {{type: {d.replace('__', '/')}, name: {d}}}\n"
            f"    metrics: [{{type: {metric}, value: {value}}}]\n"
            for d, (metric, value) in scores.items()
        )
        card = f"---\nmodel-index:\n- name: {model}\n  results:\n{results}---\n"
        (folder / "README.md").write_text(card)
        return str(folder)

    return make


def test_what_a_card_states_and_cannot_be_used_drops_its_task_alone(
    with_card: Callable[..., str],
) -> None:
    models = [
        with_card("code", openai_humaneval=("pass@1", 0.6), no__such_set=("acc", 0.9),
                  hellaswag=("acc_norm", 80.0), wikitext=("perplexity", 8.1)),
        with_card("math", openai_humaneval=("pass@1", 0.2), no__such_set=("acc", 0.1),
                  hellaswag=("acc_norm", 20.0)),
    ]  # fmt: skip
    inputs = pin(models, BASE, Tasks(), probed=True)
    assert [task.name for task in inputs.tasks] == ["code"]
    assert inputs.dropped["no__such_set"].startswith(
        "the card of code names it: there is no dataset no/such_set"
    )
    assert inputs.dropped["hellaswag"].startswith("the card of code names the dataset hellaswag")
    assert inputs.dropped["wikitext"] == (
        "the card of code states 'perplexity', which is no share that we know"
    )
    told = Tasks(probes={"hellaswag": "simmerge-hub:rag"})
    assert len(pin(models, BASE, told, probed=True).tasks) == 2


def test_if_no_task_is_left_the_reasons_are_told(with_card: Callable[..., str]) -> None:
    models = [
        with_card("code", no__such_set=("acc", 0.9)),
        with_card("math", no__such_set=("acc", 0.1)),
    ]
    with pytest.raises(ProbeError, match=r"no task to merge these models for .*no/such_set"):
        pin(models, BASE, Tasks(), probed=True)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"intermediate_size": 40}, "the weights of base do not fit its config.json: "),
        ({"num_hidden_layers": 9}, "base stores no "),
    ],
)
def test_what_a_merge_refuses_is_not_planned(
    config: dict[str, int], said: str, tmp_path: Path
) -> None:
    """From headers alone, and with the same words as `check` and `merge`."""
    shutil.copytree(BASE, tmp_path / "base")
    path = tmp_path / "base/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    with pytest.raises(AlignmentError, match=f"^{said}") as planned:
        pin([CODE, MATH], str(tmp_path / "base"), Tasks(experts=EXPERTS))
    step = Step(operator="linear", models=("code", "math"), parameters={})
    sources = [Source(name=Path(p).name, folder=Path(p)) for p in (tmp_path / "base", CODE, MATH)]
    with pytest.raises(AlignmentError) as checked:
        check(Recipe(base=sources[0], models=tuple(sources[1:]), steps=(step,)))
    assert str(checked.value) == str(planned.value)


def test_layers_of_sentence_transformers_that_differ_are_not_planned(tmp_path: Path) -> None:
    for name, weights in (("code", b"one"), ("math", b"other")):
        folder = tmp_path / name
        shutil.copytree(nano_folder() / name, folder)
        (folder / "2_Dense").mkdir()
        (folder / "modules.json").write_text('[{"idx": 0, "path": "2_Dense", "type": "Dense"}]')
        (folder / "2_Dense/model.safetensors").write_bytes(weights)
    with pytest.raises(AlignmentError, match=r"code and math differ in 2_Dense/model.safetensors"):
        pin([str(tmp_path / "code"), str(tmp_path / "math")], BASE, Tasks(experts=EXPERTS))


def test_experts_cannot_be_inferred_where_no_probe_is_run() -> None:
    with pytest.raises(ProbeError, match="nobody says which model is good") as caught:
        pin([CODE, MATH], BASE, Tasks())
    assert caught.value.hint == "name the experts: --expert code=code --expert math=…"
    with pytest.raises(ProbeError) as probed:
        pin([CODE, MATH], BASE, Tasks(), probed=True)
    assert probed.value.hint.endswith("; or have them inferred: --infer-expert code")


def test_the_base_that_an_adapter_names_is_said_once(hub: Hub, org: str, tmp_path: Path) -> None:
    publish(nano_folder(), org)
    shutil.copytree(nano_folder() / "rag-lora", tmp_path / "lora")
    path = tmp_path / "lora/adapter_config.json"
    stated = json.loads(path.read_text()) | {"base_model_name_or_path": "nobody/nothing"}
    path.write_text(json.dumps(stated))
    asked = Tasks(experts={"rag": "lora", "math": f"{org}/math"})
    inputs = pin([str(tmp_path / "lora"), f"{org}/math"], f"{org}/base", asked)
    assert [note for note in inputs.notes if "nobody/nothing" in note] == [
        f"lora says it was made from nobody/nothing; {org}/base is taken as its base"
    ]
