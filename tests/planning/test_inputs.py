"""Models that make no merge, and how they are told apart."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from simmerge_hub.cli.zoo import nano_folder
from simmerge_hub.errors import AlignmentError, ProbeError
from simmerge_hub.hub.resolve import resolve
from simmerge_hub.planning.ask.options import Tasks
from simmerge_hub.planning.ask.tasks import tasks_of
from simmerge_hub.planning.inputs import pin
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
    """Makes a copy of a nano model whose card states scores: data set -> (metric, value)."""

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
        "the card of code names it: there is no repository no/such_set"
    )
    assert inputs.dropped["hellaswag"].startswith("the card of code names the data set hellaswag")
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
