"""Which metric stands for a task, and what is kept under which key."""

from dataclasses import replace

from simmerge_hub.evaluation import results
from simmerge_hub.evaluation.results import Protocol, TaskResult, load_results, save_results

RESULT = TaskResult(
    task="gsm8k",
    version="3",
    dataset="openai/gsm8k",
    metrics={"exact_match,strict-match": 0.25, "exact_match,flexible-extract": 0.5},
    rising=("exact_match",),
    halves=(0.2, 0.3),
    samples=100,
)


def test_the_metric_that_stands_for_a_task() -> None:
    assert (RESULT.primary, RESULT.score) == ("exact_match,strict-match", 0.25)
    mixed = replace(
        RESULT, metrics={"perplexity": 0.5, "f1": 0.3, "acc": 0.4}, rising=("f1", "acc")
    )
    assert mixed.primary == "acc"
    none = replace(RESULT, metrics={"bleu": 31.0, "word_perplexity": 0.5}, rising=("bleu",))
    assert (none.primary, none.score) == ("", None)


def test_results_come_back_and_broken_ones_do_not() -> None:
    key = results.result_key("digest", "gsm8k", Protocol(limit=100), "lm_eval 0")
    assert load_results(key) is None
    save_results(key, (RESULT,), {"model": "org/m"})
    assert load_results(key) == (RESULT,)
    results._path(key).write_text('{"results": [{"task": 1}]}')
    assert load_results(key) is None


def test_every_part_of_a_key_counts() -> None:
    keys = {
        results.result_key(identity, task, protocol, tools)
        for identity in "ab"
        for task in "ab"
        for protocol in (Protocol(), Protocol(seed=1), Protocol(limit=1))
        for tools in "ab"
    }
    assert len(keys) == 24
