from types import SimpleNamespace
from typing import Any, cast

import pytest

from simmerge_hub.hub.evaluations import card_scores, read_evaluations, unread_evaluations
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


def _stated(dataset: str, metric: str, value: float, name: str = "") -> dict[str, Any]:
    """A result as cards on the Hub have it."""
    metrics = [{"type": metric, "value": value, "name": name or metric}]
    return {"dataset": {"type": dataset, "name": dataset}, "metrics": metrics}


@pytest.mark.parametrize(
    ("dataset", "metric", "value", "task", "score"),
    [
        ("openai_humaneval", "pass@1", 0.61, "code", 0.61),
        ("hendrycks/competition_math", "exact_match", 31.5, "math", 0.315),
        ("HuggingFaceH4/ifeval", "inst_level_strict_acc and more", 70, "instruct", 0.7),
        ("TIGER-Lab/MMLU-Pro", "acc", 30.0, "tiger-lab/mmlu-pro", 0.3),
        ("ai2_arc", "acc_norm", 0.0, "ai2_arc", 0.0),
        ("gsm8k", "acc", 1.3, "math", 0.013),
        ("gsm8k", "acc", 1.0, "math", 1.0),
        ("org/own", "win_rate", 55.0, "org/own", 0.55),
    ],
)  # fmt: skip
def test_cards_in_the_form_of_public_leaderboards(
    dataset: str, metric: str, value: float, task: str, score: float
) -> None:
    (name, stated) = next(
        iter(read_evaluations([_model("m", _stated(dataset, metric, value))]).items())
    )
    assert (name, stated.scores["m"], stated.card) == (task, pytest.approx(score), "m")


@pytest.mark.parametrize("metric", ["perplexity", "loss", "bleu", "rougeL", "wer", "elo"])
def test_a_metric_that_is_no_share_names_its_card(metric: str) -> None:
    models = [_model("org/m", _stated("org/own", metric, 8.5))]
    assert read_evaluations(models) == {}
    said = f"the card of org/m states {metric!r}, which is no share that we know"
    assert unread_evaluations(models) == {"org/own": said}


def test_a_share_beside_another_metric_counts() -> None:
    result = _stated("org/own", "loss", 2.5)
    result["metrics"].append({"type": "accuracy", "value": 0.4})
    models = [_model("m", result), _model("n", _stated("org/own", "loss", 2.0))]
    assert read_evaluations(models)["org/own"].scores == {"m": 0.4}
    assert unread_evaluations(models) == {}


def test_scores_on_different_benchmarks_are_not_compared() -> None:
    hard, easy = _stated("competition_math", "acc", 0.2), _stated("gsm8k", "acc", 0.9)
    models = [_model("a", hard, easy), _model("b", _stated("gsm8k", "acc", 0.7)), _model("c", hard)]
    first = read_evaluations(models)["math"]
    assert (first.dataset, first.scores) == ("competition_math", {"a": 0.2, "c": 0.2})
    assert read_evaluations(models[:2])["math"].scores == {"a": 0.9, "b": 0.7}


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("acc", "accuracy", True),
        ("acc", "exact_match", True),
        ("em", "Exact Match", True),
        ("acc_norm", "normalized accuracy", True),
        ("acc", "acc_norm", False),
        ("pass@1", "pass@10", False),
        ("exact_match", "f1", False),
        ("inst_level_strict_acc", "prompt_level_strict_acc", False),
        ("inst_level_loose_acc", "prompt_level_loose_acc", False),
        ("prompt_level_loose_acc", "acc", False),
        ("mc2", "mc2_targets", True),
        ("mc2_targets", "mc2targets", True),
    ],
)
def test_scores_by_different_metrics_are_not_compared(one: str, other: str, alike: bool) -> None:
    """What passes in one of ten attempts is no better than what passes in one."""
    models = [_model("a", _stated("squad", one, 0.5)), _model("b", _stated("squad", other, 0.8))]
    stated = read_evaluations(models)["rag"]
    assert stated.scores == ({"a": 0.5, "b": 0.8} if alike else {"a": 0.5})
    assert stated.apart is not alike


def test_of_several_metrics_the_one_that_most_cards_state_counts() -> None:
    both, turned = _stated("squad", "exact_match", 0.5), _stated("squad", "f1", 0.9)
    both["metrics"].append({"type": "f1", "value": 0.7})
    turned["metrics"].append({"type": "exact_match", "value": 0.6})
    models = [_model("a", both), _model("b", turned), _model("c", _stated("squad", "f1", 0.8))]
    stated = read_evaluations(models)["rag"]
    assert (stated.scores, stated.apart) == ({"a": 0.7, "b": 0.9, "c": 0.8}, False)
    assert read_evaluations(models[:2])["rag"].scores == {"a": 0.5, "b": 0.6}


def test_a_standard_error_is_no_score() -> None:
    """Cards that copy the harness's table state both: 0.01 is no accuracy."""
    one, other = _stated("squad", "acc", 0.5), _stated("squad", "acc_norm", 0.6)
    for result, metric in ((one, "acc_stderr"), (other, "acc_norm_stderr"), (other, "acc_stderr")):
        result["metrics"].append({"type": metric, "value": 0.01})
    models = [_model("a", one), _model("b", other)]
    assert read_evaluations(models)["rag"].scores == {"a": 0.5}
    assert [each.metric for each in card_scores(models[1].card)] == ["acc_norm acc_norm"]


def test_a_source_writes_shares_or_percent() -> None:
    """A leaderboard's 0.76 % is no 76 %, and what is measured here beside it is a share."""
    board, own = {"source": {"name": "Open LLM Leaderboard"}}, {"source": {"name": "measured by"}}
    model = _model(
        "m",
        {**_stated("TIGER-Lab/MMLU-Pro", "acc", 35.2), **board},
        {**_stated("lighteval/MATH-Hard", "exact_match", 0.76), **board},
        {**_stated("org/own", "acc", 0.5), **own},
        _stated("ai2_arc", "acc", 0.25),
    )
    scores = {name: each.scores["m"] for name, each in read_evaluations([model]).items()}
    wanted = {"tiger-lab/mmlu-pro": 0.352, "lighteval/math-hard": 0.0076, "org/own": 0.5}
    assert scores == pytest.approx(wanted | {"ai2_arc": 0.25})
