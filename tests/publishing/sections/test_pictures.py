"""Pictures on a card: the lines that show them, and what becomes of the chart once measured."""

import re
from dataclasses import replace

from simmerge_hub.hub.files.checksums import UNLISTED
from simmerge_hub.publishing.card import card
from simmerge_hub.publishing.sections.pictures import CHART, TREE, draw_pictures, update_chart
from simmerge_hub.publishing.trust.results import compare_results
from simmerge_hub.recipe import Slice
from tests.attacks.test_shown import HOSTILE, active, body
from tests.publishing.test_card import RECIPE, WHY, report
from tests.publishing.trust.test_record import score

SHOWN = re.compile(r"^!\[(.*)\]\(([\w.-]+)\)$", re.MULTILINE)


def test_a_card_shows_the_files_beside_it() -> None:
    text = card(report(), WHY, pictures=True)
    assert (
        [name for _, name in SHOWN.findall(text)] == [CHART, TREE] == [*draw_pictures(RECIPE, WHY)]
    )
    words = {name: alt for alt, name in SHOWN.findall(text)}
    assert "code: expected 40 %, between 10 % and 70 %; math: expected 60 %" in words[CHART]
    assert "TIES (density 0.2) of code and math gives the merge" in words[TREE]
    assert not SHOWN.findall(card(report(), WHY))


def test_without_predictions_there_is_a_tree_and_without_a_tree_nothing() -> None:
    assert [*draw_pictures(RECIPE, None)] == [TREE]
    assert TREE in card(report(), None, pictures=True)
    sliced = replace(RECIPE, slices=(Slice(layers={"org/code": (0, 1)}, steps=()),))
    assert not draw_pictures(sliced, None)


def test_words_of_others_stay_words() -> None:
    task = replace(WHY.tasks[0], task=HOSTILE, expert=HOSTILE)
    merge = replace(WHY.predictions[0], tasks={HOSTILE: (0.4, 0.1, 0.7)})
    text = card(report(), replace(WHY, tasks=(task,), predictions=(merge,)), pictures=True)
    assert len(SHOWN.findall(text)) == 2
    links = {each for each in active(body(text)) if "evil" in each and not each.startswith("image")}
    assert not links
    assert sum(each.startswith("image") for each in active(body(text))) == 2


def test_what_was_measured_stands_in_the_chart() -> None:
    text = card(report(), WHY, pictures=True)
    results = compare_results(WHY, [score("x", 0.4)], {"org/code": [score("x", 0.5)]})
    updated, files = update_chart(text, results, "calibrated")
    assert "code: expected 40 %, between 10 % and 70 %, measured 80 %" in updated
    assert [*files] == [CHART]
    assert "80 % measured" in files[CHART]
    assert files[CHART] != draw_pictures(RECIPE, WHY)[CHART]
    plain = card(report(), WHY)
    assert update_chart(plain, results) == (plain, {}), "a card without a chart stays so"


def test_pictures_are_no_part_of_a_merge_s_digests() -> None:
    assert {CHART, TREE, "README.md"} <= set(UNLISTED)
