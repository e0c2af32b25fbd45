"""What the card of a predictor says of a report that anybody may have written."""

import math
from typing import Any

import pytest

from simmerge_hub.publishing import predictor_card as cards
from simmerge_hub.selector.predictor.wording import OWN_WEIGHT

SPREAD = {"mean": 0.5, "low": 0.25, "high": 0.75}


@pytest.mark.parametrize(
    "value",
    [None, 3, {}, {"mean": 1.0, "low": 0.0}, {**SPREAD, "high": "1"}, {**SPREAD, "low": math.nan}],
)
def test_what_is_no_spread(value: Any) -> None:
    assert not cards._is_spread(value)


def test_a_spread() -> None:
    assert cards._is_spread(SPREAD)
    assert cards._spread(SPREAD) == "0.500 (0.250 – 0.750)"


def test_strategies_stand_best_first_and_ours_bold() -> None:
    one = {
        "strategies": {"fixed": SPREAD, "xgboost": {**SPREAD, "mean": 0.6}, "odd": {"mean": 9}},
        "over best fixed": SPREAD,
        "headroom captured": "much",
    }
    assert cards._strategies(one).splitlines() == [
        "| strategy | gap closed |",
        "| --- | --- |",
        "| **xgboost** | 0.600 (0.250 – 0.750) |",
        "| fixed | 0.500 (0.250 – 0.750) |",
        "",
        "Over best fixed: 0.500 (0.250 – 0.750).",
    ]


@pytest.mark.parametrize("report", [{}, {"sets": []}, {"sets": {"three": {"strategies": "none"}}}])
def test_without_a_report_it_says_so(report: dict[str, Any]) -> None:
    assert list(cards._report(report)) == [
        "## On held-out models\n\nThe file holds no report: how good it is is not known."
    ]


def test_every_set_of_a_report_has_its_table() -> None:
    report = {key: {"eleven": {"strategies": {"fixed": SPREAD}}} for key in ("sets", "pairs")}
    head, *sections = cards._report(report)
    assert head.startswith("## On held-out models\n\nMean share of the gap closed")
    assert [section.partition("\n")[0] for section in sections] == [
        "### eleven operators, the expert's task alone",
        "### eleven operators, both tasks of a pair, one merge for both",
    ]


@pytest.mark.parametrize("weight", [None, 1.0, "64", float("nan"), float("inf")])
def test_rows_that_count_like_others_are_not_spoken_of(weight: Any) -> None:
    assert cards._weighing({OWN_WEIGHT: weight}) == ""


def test_how_much_rows_of_its_own_count() -> None:
    said = "One of its own tables counted 16 times as much as one of others. "
    assert cards._weighing({OWN_WEIGHT: 16.0}) == said


def test_the_scale_it_is_known_for() -> None:
    unknown = cards._beyond(None)
    assert unknown.endswith("none were measured. Evaluate the merge before you rely on it.")
    assert "models that differ more in size from those trained on" in cards._beyond((1_000, 2_000))
