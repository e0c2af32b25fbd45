"""The chart of a card: where marks stand, what is written, and the words that say the same."""

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from simmerge_hub.publishing.figures.chart import (
    EXPECTED,
    LEFT,
    SEEN,
    TASKS_DRAWN,
    TRACK,
    draw_chart,
    has_chart,
    tell_chart,
)
from simmerge_hub.publishing.figures.merge_tree import draw_tree
from simmerge_hub.publishing.figures.shapes import Box, Dot, Figure, Text, to_svg
from simmerge_hub.publishing.trust.results import Kept
from simmerge_hub.recipe import Source
from tests.attacks.test_shown import HOSTILE
from tests.publishing.figures.test_merge_tree import RECIPE, WHY

CODE = Kept(task="code", expert="org/code", predicted=(0.55, 0.11, 0.77))
MATH = Kept(task="math", expert="org/math", predicted=(0.5, 0.4, 0.6), score=0.4, expert_score=0.5)
SVG = "{http://www.w3.org/2000/svg}"


def texts(figure: Figure) -> list[str]:
    return [shape.text for shape in figure.shapes if isinstance(shape, Text)]


def share(x: float, scale: float = 1.1) -> float:
    """Where on the scale a mark stands."""
    return (x - LEFT) / TRACK * scale


def test_marks_stand_where_their_values_are() -> None:
    figure = draw_chart([CODE, MATH])
    dots = [d for d in figure.shapes if isinstance(d, Dot) and d.at[0] >= LEFT and d.radius > 5]
    assert [(round(share(d.at[0]), 3), d.fill) for d in dots] == [
        (0.55, EXPECTED), (0.5, EXPECTED), (0.8, SEEN),
    ]  # fmt: skip
    band = next(shape for shape in figure.shapes if isinstance(shape, Box))
    assert share(band.at[0]) == pytest.approx(0.11)
    assert share(band.at[0] + band.size[0]) == pytest.approx(0.77)


def test_numbers_and_words_say_what_the_marks_show() -> None:
    written = texts(draw_chart([CODE, MATH], "calibrated"))
    for said in ("55 % (11–77)", "50 % (40–60)", "80 % measured", "measured", "calibrated"):
        assert said in written
    assert "measured" not in texts(draw_chart([CODE]))
    assert tell_chart([CODE, MATH]).endswith(
        "code: expected 55 %, between 11 % and 77 %; "
        "math: expected 50 %, between 40 % and 60 %, measured 80 %."
    )
    assert draw_chart([CODE, MATH]).words == tell_chart([CODE, MATH])


def test_a_score_without_an_expert_s_is_no_share() -> None:
    assert not has_chart([Kept(task="x", score=0.5)])
    assert not has_chart([])
    assert has_chart([Kept(task="x", score=0.5, expert_score=0.5)])


def test_values_off_the_scale_stand_at_its_end() -> None:
    figure = draw_chart([replace(MATH, score=0.9, expert_score=0.1)])
    seen = next(d for d in figure.shapes if isinstance(d, Dot) and d.fill == SEEN)
    assert seen.at[0] == LEFT + TRACK
    assert "900 % measured" in texts(figure)


def test_many_tasks() -> None:
    figure = draw_chart([replace(CODE, task=f"t{n}") for n in range(40)])
    assert sum(text.startswith("t") for text in texts(figure)) == TASKS_DRAWN
    assert all(t.at[1] < figure.size[1] for t in figure.shapes if isinstance(t, Text))


def hostile_figures() -> list[Figure]:
    task = replace(CODE, task=HOSTILE, expert=f'"><script>{HOSTILE}')
    recipe = replace(
        RECIPE, models=(Source(name=HOSTILE, repo="org/m"), *RECIPE.models[1:]),
        steps=(replace(RECIPE.steps[0], models=(HOSTILE, "b")), *RECIPE.steps[1:]),
    )  # fmt: skip
    tasks = (replace(WHY.tasks[0], task=HOSTILE, expert=HOSTILE),)
    steps = (replace(WHY.steps[0], tasks={HOSTILE: (0.5, 0.2, 0.8)}),)
    return [draw_chart([task]), draw_tree(recipe, replace(WHY, tasks=tasks, steps=steps))]


@pytest.mark.parametrize("figure", hostile_figures(), ids=["chart", "tree"])
def test_names_of_others_are_text_in_a_picture(figure: Figure) -> None:
    svg = to_svg(figure)
    root = ElementTree.fromstring(svg)
    allowed = {f"{SVG}{tag}" for tag in
               ("svg", "title", "rect", "line", "circle", "polygon", "text")}  # fmt: skip
    assert {element.tag for element in root.iter()} <= allowed
    names = {name for element in root.iter() for name in element.attrib}
    assert not {name for name in names if name.startswith("on") or "href" in name}
    assert not set(svg) & set("\x1b\x07\u202e\u202c")
    assert max(len(element.text or "") for element in root.iter(f"{SVG}text")) <= 60


@pytest.mark.parametrize("letter", ["\ufffe", "\uffff", "\ud800", "\0", "\x0b", "\x85"])
def test_what_xml_may_not_hold_is_not_in_a_picture(letter: str) -> None:
    name = f"a{letter}b"
    figure = replace(draw_chart([replace(CODE, task=name)]), words=name)
    root = ElementTree.fromstring(to_svg(figure).encode())
    assert root.findtext(f"{SVG}title") == "a\ufffdb"
    assert "a\ufffdb" in [element.text for element in root.iter(f"{SVG}text")]


def test_the_same_figure_has_the_same_bytes() -> None:
    assert to_svg(draw_chart([CODE, MATH])) == to_svg(draw_chart([CODE, MATH]))
