from types import SimpleNamespace
from typing import Any, cast

import pytest

from simmerge_hub.hub.evaluations import read_evaluations
from simmerge_hub.hub.resolve import Checkpoint


def _model(name: str, *results: dict[str, Any]) -> Checkpoint:
    return cast(
        Checkpoint, SimpleNamespace(name=name, card={"model-index": [{"results": [*results]}]})
    )


def _result(dataset: Any, *values: Any) -> dict[str, Any]:
    return {"dataset": dataset, "metrics": [{"value": value} for value in values]}


def test_a_benchmark_stands_for_its_domain_and_percents_are_shares() -> None:
    one = _model("one", _result({"type": "openai/gsm8k", "name": "GSM8K"}, 41.0))
    other = _model("other", _result({"type": "gsm8k"}, 0.5))
    (task, stated), *rest = read_evaluations([one, other]).items()
    assert (task, stated.scores, stated.benchmark, rest) == (
        "math", {"one": 0.41, "other": 0.5}, True, []
    )  # fmt: skip


def test_another_data_set_is_a_task_of_its_own_name() -> None:
    (name,) = read_evaluations([_model("one", _result({"type": "org/own", "name": "My Set"}, 1))])
    assert name == "my-set"


@pytest.mark.parametrize(
    "result",
    [
        {"metrics": [{"value": 0.5}]},
        _result("gsm8k", 0.5),
        _result({"type": "gsm8k"}),
        _result({"type": "gsm8k"}, True, "0.5", float("nan"), 10**400),
        {"dataset": {"type": "gsm8k"}, "metrics": {"value": 0.5}},
    ],
)
def test_what_is_no_score_is_passed_over(result: dict[str, Any]) -> None:
    assert read_evaluations([_model("one", result)]) == {}


def test_names_cannot_move_a_terminals_cursor() -> None:
    (name,) = read_evaluations([_model("one", _result({"name": "\x1b[31mred\n" + "x" * 200}, 0.5))])
    assert name.isprintable() and len(name) <= 80
