"""What is shown of a plan says what the plan says, and nothing in it is read as HTML."""

import base64
import re
from dataclasses import replace
from html import unescape

import pytest

from simmerge_hub.cli.zoo import nano_folder
from simmerge_hub.errors import HubError, SimmergeError
from simmerge_hub.merger import Preflight
from simmerge_hub.planning.verdict import STATUSES
from simmerge_hub.planning.words.names import name_tree, shorten
from simmerge_hub.publishing.preview import preview_card
from simmerge_hub.recipe.why import MEANINGS
from simmerge_hub.signatures.map.similarities import map_models
from simmerge_hub.space import chart, sections
from simmerge_hub.space.answer import Answer, Sight, answer, cost, lacks
from simmerge_hub.space.chart import rows
from simmerge_hub.space.fields import MOST_TASKS, expert_updates
from simmerge_hub.space.markup import Html
from simmerge_hub.space.question import Question
from simmerge_hub.units import Spread, spell_interval
from simmerge_hub.weights.alignment.matching import Rejection

HOSTILE = "<img src=x onerror=alert(1)>"
CODE, MATH, BASE = (str(nano_folder() / name) for name in ("code", "math", "base"))


@pytest.fixture(scope="module")
def made() -> Answer:
    """Of two nano models, from their weights alone."""
    experts = {"code": "code", "math": "math"}
    asked = Question(models=(CODE, MATH), base=BASE, experts=experts, evidence="structural")
    return answer(asked, lambda _: None)


@pytest.fixture(scope="module")
def preflight(made: Answer) -> Preflight:
    checked = cost(made.plan)
    assert isinstance(checked, Preflight)
    return checked


def words(html: Html) -> str:
    return unescape(re.sub(r"<[^>]*>", " ", html.text))


def test_the_chart_has_every_merge_in_the_plans_order_with_its_numbers(made: Answer) -> None:
    merges, plan = rows(made.plan), made.plan
    short = shorten(plan.models)
    labels = [name_tree(choice.tree, short) for choice in plan.choices]
    assert [row.label for row in merges] == labels
    assert len(set(labels)) == len(labels)
    assert [row.chosen for row in merges] == [True, *[False] * (len(merges) - 1)]
    shown = words(sections.decision(made))
    assert plan.decision.advice.headline in shown
    for choice, label in zip(plan.choices, labels, strict=True):
        assert label in shown
        assert spell_interval(plan.verdict.value(choice)) in shown
        assert all(spell_interval(spread) in shown for spread in choice.spreads().values())


@pytest.mark.parametrize("value", [None, (1.2, 0.5, 2.5), (0.1, -0.4, 0.6), (2.2, 2.1, 2.4)])
def test_dots_lie_inside_their_bands_and_all_inside_the_chart(
    made: Answer, value: Spread | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if value:  # one that is off the scale
        merges = tuple(replace(row, value=value) for row in rows(made.plan))
        monkeypatch.setattr(chart, "rows", lambda plan: merges)
    html = sections.decision(made).text
    bands = re.findall(r'sm-band" style="left:([\d.]+)%;width:([\d.]+)%', html)
    dots = re.findall(r'sm-dot" style="left:([\d.]+)%', html)
    assert len(bands) == len(dots) == len(made.plan.choices)
    for (left, width), dot in zip(bands, dots, strict=True):
        assert 0 <= float(left) <= float(dot) + 0.01
        assert float(dot) <= float(left) + float(width) + 0.01 <= 100.02


@pytest.mark.parametrize("status", STATUSES)
def test_how_far_to_believe_it_is_told_in_words_a_sign_and_a_colour(made: Answer, status) -> None:
    told = replace(made.plan, verdict=replace(made.plan.verdict, status=status))
    html = sections.decision(replace(made, plan=told))
    assert f'class="sm-verdict {status}"' in html.text
    assert f"{sections.SIGNS[status]} {status}" in words(html)
    assert MEANINGS[status] in words(html)


def test_reasons_notes_and_errors_of_others_stay_text(made: Answer) -> None:
    verdict = replace(made.plan.verdict, because=(HOSTILE,))
    plan = replace(made.plan, verdict=verdict, left_out={HOSTILE: HOSTILE})
    hostile = replace(made, plan=plan, notes=(HOSTILE,))
    shown = [
        sections.decision(hostile),
        sections.fits(hostile, HubError(HOSTILE, hint=HOSTILE)),
        sections.error_box(SimmergeError(HOSTILE, hint=HOSTILE)),
        sections.status_line(HOSTILE, 1.0),
        sections.sight(Sight(misfits={HOSTILE: HOSTILE})),
        sections.pushed(f"javascript:{HOSTILE}", HOSTILE),
    ]
    for html in shown:
        assert "<img" not in html.text
        assert "&lt;img" in html.text
    assert "href" not in shown[-1].text


def test_options_of_the_command_line_are_called_what_they_are_on_the_page() -> None:
    error = SimmergeError("no common base", hint="name it with --base, or give --probes x=org/y")
    shown = words(sections.error_box(error))
    assert "On this page --base is Base, under More options; " in shown
    assert "--probes is for the command line only." in shown
    assert "On this page" not in words(sections.error_box(SimmergeError("a", hint="a -- b")))


def test_what_fits_and_what_it_takes(made: Answer, preflight: Preflight) -> None:
    shown = words(sections.fits(made, preflight))
    for text in ("✓ code", "✓ math", "base: base", "✗ regmean", "--signals is Evidence, under"):
        assert text in shown
    costs = words(sections.costs(preflight))
    assert f"{len(preflight.layout.entries)} tensors" in costs
    assert "runs on this machine  yes" in costs
    assert not lacks(preflight)
    huge = replace(preflight, output=10**18, memory=10**18)
    assert [text.split()[3] for text in lacks(huge)] == ["1000000.0", "1000000.0"]


def test_licences_are_those_of_the_cards(preflight: Preflight) -> None:
    checkpoints = dict(preflight.layout.checkpoints)
    shown = words(sections.licences(checkpoints))
    assert "for the merge" in shown
    for name, checkpoint in checkpoints.items():
        assert name in shown
        assert (checkpoint.license or "nothing") in shown


def test_licences_that_exclude_each_other_are_said_so(preflight: Preflight) -> None:
    stated = iter(["gpl-2.0", "apache-2.0"])
    checkpoints = {
        name: replace(checkpoint, card={"license": next(stated, "mit")})
        for name, checkpoint in preflight.layout.checkpoints.items()
    }
    shown = words(sections.licences(checkpoints))
    assert "! no licence fits all parents" in shown
    assert "for the merge" not in shown


def test_two_models_have_no_tree_and_three_have_their_picture(made: Answer) -> None:
    assert sections.tree(made.plan).text == ""
    shown = sections.picture(b"<svg/>", "alt", "tree").text
    assert base64.b64encode(b"<svg/>").decode() in shown


def test_the_map_is_that_of_the_library_with_every_pair(made: Answer) -> None:
    html = sections.map_picture(map_models(CODE, MATH, base=BASE))
    svg = re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', html.text)
    assert svg
    assert base64.b64decode(svg[1]).rstrip().endswith(b"</svg>")
    assert "delta cosine" in words(html)
    assert "Every pair, nearest first" in words(html)


def test_pairs_and_misfits_that_are_not_listed_are_counted(
    made: Answer, preflight: Preflight, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sections, "PAIRS_SHOWN", 1)
    model_map = map_models(CODE, MATH, str(nano_folder() / "multilingual"), base=BASE)
    assert "1 of 3 pairs, nearest first" in words(sections.map_picture(model_map))
    misfits = tuple(
        Rejection(name=f"w{number}", model="math", reason="is missing") for number in range(23)
    )
    shown = words(sections.fits(made, replace(preflight, rejected=misfits)))
    assert "w19" in shown
    assert "w20" not in shown
    assert "and 3 more" in shown


def test_the_card_is_that_of_the_merge_before_it_is_made(
    made: Answer, preflight: Preflight
) -> None:
    card = preview_card(preflight, made.plan.why())
    assert card.startswith("---\nlicense:")
    assert "REPO_ID" not in card
    assert f"{len(preflight.layout.entries)} tensors" in card
    assert made.plan.best.label in card


def test_the_recipe_is_saved_as_the_plan_writes_it(made: Answer) -> None:
    html = sections.recipe_link(made.plan.to_yaml(), "?models=a,b").text
    data = re.search(r'href="data:text/yaml;base64,([^"]+)"', html)
    assert data
    assert base64.b64decode(data[1]).decode() == made.plan.to_yaml()
    assert 'href="?models=a,b"' in html


def test_every_task_has_a_row_of_models_and_what_stands_in_it_is_known() -> None:
    updates, filled = expert_updates(["a", "b"], {"sql": "a", "code": "b"}, {"sql": "as you say"})
    assert list(filled) == ["sql", "code", "math", "multilingual", "rag", "instruct"]
    assert [filled["sql"], filled["code"], filled["math"]] == ["a", "b", ""]
    assert len(updates) == MOST_TASKS
    assert [each["visible"] for each in updates] == [True] * 6 + [False] * (MOST_TASKS - 6)
    assert updates[0]["info"] == "as you say"
    assert [value for _, value in updates[0]["choices"]] == ["", "a", "b"]
