"""Tasks and experts: from the user, else from cards, each drop with its reason."""

from pathlib import Path
from typing import Any

import pytest

from simmerge_hub.errors import ProbeError
from simmerge_hub.hub.evaluations import Evaluation
from simmerge_hub.hub.files.location import Location
from simmerge_hub.hub.resolve import Checkpoint, ModelRef
from simmerge_hub.planning.ask.options import Tasks
from simmerge_hub.planning.ask.tasks import (
    APART,
    Task,
    _default_probes,
    probes_on_cards,
    tasks_of,
)


def model(name: str, **scores: Any) -> Checkpoint:
    """A checkpoint whose card states scores on datasets; `__` in a name is a slash."""
    results = [
        {"dataset": {"type": d.replace("__", "/"), "name": d}, "metrics": [{"value": v}]}
        for d, v in scores.items()
    ]
    return Checkpoint(
        ref=ModelRef(repo=f"org/{name}"),
        location=Location(repo=f"org/{name}", commit="0"),
        commit="0",
        kind="full",
        config={},
        files={},
        tensors={},
        card={"model-index": [{"name": name, "results": results}]} if scores else {},
    )


def task(name: str, expert: str, scores: dict[str, float]) -> Task:
    return Task(name=name, expert=expert, probes=None, scores=scores)


def test_cards_name_the_experts() -> None:
    models = [model("code", humaneval=0.6, gsm8k=0.2), model("math", humaneval=0.3, gsm8k=0.7)]
    tasks, dropped = tasks_of(models)
    assert tasks == (
        Task(
            name="code", expert="org/code", probes=None, scores={"org/code": 0.6, "org/math": 0.3}
        ),
        Task(
            name="math", expert="org/math", probes=None, scores={"org/code": 0.2, "org/math": 0.7}
        ),
    )
    assert dropped == {}


def test_percentages_are_shares() -> None:
    tasks, _ = tasks_of([model("a", gsm8k=61.5), model("b", gsm8k=0.2)])
    assert tasks[0].scores == {"org/a": 0.615, "org/b": 0.2}


def test_tasks_without_probes_are_told_in_the_order_of_the_cards() -> None:
    """A plan made again is the same text."""
    own = [f"own{number}" for number in range(8)]
    models = [model(n, humaneval=s, **dict.fromkeys(own, s)) for n, s in (("a", 0.9), ("b", 0.1))]
    _, dropped = tasks_of(models)
    assert list(dropped) == own


def test_close_scores_name_no_expert() -> None:
    tasks, dropped = tasks_of(
        [model("a", humaneval=0.6, gsm8k=0.50), model("b", humaneval=0.54, gsm8k=0.54)]
    )
    assert [t.name for t in tasks] == ["code"]
    assert dropped == {"math": "the scores 0.54 and 0.50 are too close"}


@pytest.mark.parametrize(
    ("scores", "relative"),
    [
        ({"a": 0.4, "b": 0.2}, {"a": 1.0, "b": 0.5}),
        ({"a": 0.4, "b": 0.8, "c": 0.1}, {"a": 1.0, "c": 0.25}),  # the user knows better
        ({"a": 0.0, "b": 0.2}, {"a": 1.0}),
        ({"b": 0.2}, {"a": 1.0}),
    ],
)
def test_scores_are_seen_beside_the_expert_s(
    scores: dict[str, float], relative: dict[str, float]
) -> None:
    assert task("code", "a", scores).relative == pytest.approx(relative)


def test_one_score_names_no_expert() -> None:
    models = [model("a", humaneval=0.6, gsm8k=0.5), model("b", humaneval=0.3)]
    assert tasks_of(models)[1] == {"math": "only one model states a score"}
    models = [model("a", humaneval=0.6, gsm8k=0.5), model("b", humaneval=0.3, aime=0.1)]
    assert tasks_of(models)[1] == {"math": APART}


def test_nobody_says_anything() -> None:
    with pytest.raises(ProbeError) as caught:
        tasks_of([model("a"), model("b")])
    assert str(caught.value) == (
        "nobody says which model is good at what: the cards have no telling scores"
    )
    assert caught.value.hint == (
        "name the experts: --expert code=org/a --expert math=…; or have them inferred: "
        "--infer-expert code"
    )


def test_who_is_asked_for_experts_sees_the_tasks_of_his_probes() -> None:
    with pytest.raises(ProbeError) as caught:
        tasks_of([model("a"), model("b")], Tasks(probes={"json": "x.jsonl", "dates": "y.jsonl"}))
    assert caught.value.hint == (
        "name the experts: --expert json=org/a --expert dates=…; or have them inferred: "
        "--infer-expert json"
    )


def test_the_reasons_are_in_the_error() -> None:
    with pytest.raises(ProbeError) as caught:
        tasks_of([model("a", gsm8k=0.5, humaneval=0.1), model("b", gsm8k=0.51)])
    assert "(math: the scores 0.51 and 0.50 are too close; code: only one model" in str(
        caught.value
    )


@pytest.mark.parametrize("name", ["org/b", "b"])
def test_the_user_names_the_experts(name: str) -> None:
    models = [model("a", gsm8k=0.9), model("b", gsm8k=0.1)]
    tasks, dropped = tasks_of(models, Tasks(experts={"math": name, "code": "a"}))
    assert [(t.name, t.expert) for t in tasks] == [("math", "org/b"), ("code", "org/a")]
    assert tasks[0].scores == {"org/a": 0.9, "org/b": 0.1}
    assert dropped == {}


def test_an_expert_who_is_not_there() -> None:
    with pytest.raises(ProbeError) as caught:
        tasks_of([model("a"), model("b")], Tasks(experts={"code": "org/c"}))
    assert str(caught.value) == (
        "the expert for code is said to be org/c, which is not among the models"
    )
    assert caught.value.hint == "name one of: org/a, org/b"
    with pytest.raises(ProbeError) as caught:
        tasks_of([model("math"), model("code")], Tasks(experts={"math": "mth"}))
    assert caught.value.hint == "name one of: org/math, org/code; did you mean math?"


def test_a_task_that_is_misspelled() -> None:
    with pytest.raises(ProbeError) as caught:
        tasks_of([model("a"), model("b")], Tasks(experts={"cod": "a"}))
    assert caught.value.hint.endswith("--probes cod=org/dataset; did you mean code?")


def test_probes_of_a_task_of_the_users_own() -> None:
    models = [model("a"), model("b")]
    with pytest.raises(ProbeError) as caught:
        tasks_of(models, Tasks(experts={"poetry": "a"}))
    assert str(caught.value) == "there are no probes for the task 'poetry'"
    assert caught.value.hint == "give a dataset of prompts: --probes poetry=org/dataset"
    tasks, _ = tasks_of(models, Tasks(experts={"poetry": "a"}, probes={"poetry": "org/poems"}))
    assert tasks[0].probes == "org/poems"


def test_a_data_set_on_a_card_gives_the_probes() -> None:
    tasks, _ = tasks_of([model("a", org__riddles=0.9), model("b", org__riddles=0.1)])
    assert tasks == (
        Task(
            name="org__riddles",
            expert="org/a",
            probes="org/riddles",
            scores={"org/a": 0.9, "org/b": 0.1},
        ),
    )


def test_data_sets_of_cards_are_those_that_are_no_benchmark() -> None:
    models = [model("a", org__riddles=0.9, gsm8k=0.5), model("b", org__riddles=0.1)]
    assert probes_on_cards(models) == {"org__riddles": "org/riddles"}


@pytest.mark.parametrize("name", ["/etc/motd.txt", "notes/diary.jsonl", "../x/y", "~/a/b"])
def test_a_card_names_no_file_here(name: str) -> None:
    """A card is a stranger's: what it calls its dataset is looked for on the Hub alone."""
    stated = {"poems": Evaluation(scores={}, dataset=name, benchmark=False, card="org/a")}
    with pytest.raises(ProbeError, match="no probes for the task"):
        _default_probes("poems", stated)


@pytest.mark.parametrize(
    "index",
    [
        None, "text", {}, [None], [{"results": None}], [{"results": ["x"]}], [{"results": [{}]}],
        [{"results": [{"dataset": "gsm8k", "metrics": [{"value": 1}]}]}],
        [{"results": [{"dataset": {"type": "gsm8k"}, "metrics": [{"value": "high"}]}]}],
        [{"results": [{"dataset": {"type": "gsm8k"}, "metrics": [{"value": True}]}]}],
        [{"results": [{"dataset": {"type": "gsm8k"}, "metrics": [{"value": float("nan")}]}]}],
        [{"results": [{"dataset": {"type": None}, "metrics": None}]}],
        [{"results": [{"dataset": {"type": "gsm8k"}, "metrics": [{"value": 10**400}]}]}],
    ],
    ids=range(13),
)  # fmt: skip
def test_odd_cards_are_ignored(index: Any, tmp_path: Path) -> None:
    from dataclasses import replace

    models = [replace(model(n), card={"model-index": index}) for n in ("a", "b")]
    with pytest.raises(ProbeError, match=r"the cards have no telling scores$"):
        tasks_of(models)
