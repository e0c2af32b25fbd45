"""The pictures on a merge's card: the files beside it, and the lines of the card that show them.

The words that stand for a picture say the same as the picture.
"""

import re
from collections.abc import Sequence

from simmerge_hub.hub.files.checksums import PICTURES
from simmerge_hub.literal import literal
from simmerge_hub.publishing.figures.chart import draw_chart, has_chart, tell_chart
from simmerge_hub.publishing.figures.merge_tree import can_draw, draw_tree, tell_tree
from simmerge_hub.publishing.figures.shapes import to_svg
from simmerge_hub.publishing.trust.results import Kept, compare_results
from simmerge_hub.recipe import Recipe, Why

CHART, TREE = PICTURES
CHART_LINE = re.compile(rf"^!\[.*\]\({re.escape(CHART)}\)$", re.MULTILINE)
"""The line of a card that shows the chart."""


def draw_pictures(recipe: Recipe, why: Why | None) -> dict[str, str]:
    """The pictures of a merge that nothing was measured of, as texts of SVG files by their name."""
    results = compare_results(why, [], {})
    pictures = {}
    if has_chart(results):
        pictures[CHART] = to_svg(draw_chart(results, why.status if why else ""))
    if can_draw(recipe):
        pictures[TREE] = to_svg(draw_tree(recipe, why))
    return pictures


def embed_chart(why: Why | None) -> str:
    """The line that shows the chart, if there is one."""
    results = compare_results(why, [], {})
    return _embed(tell_chart(results), CHART) if has_chart(results) else ""


def embed_tree(recipe: Recipe, why: Why | None) -> str:
    """The line that shows the merge tree, if there is one."""
    return _embed(tell_tree(recipe, why), TREE) if can_draw(recipe) else ""


def update_chart(
    text: str, results: Sequence[Kept], status: str = ""
) -> tuple[str, dict[str, str]]:
    """A card whose chart shows what was measured, and that chart; a card without one stays so."""
    if not has_chart(results) or not CHART_LINE.search(text):
        return text, {}
    line = _embed(tell_chart(results), CHART)
    text = CHART_LINE.sub(lambda _: line, text, count=1)
    return text, {CHART: to_svg(draw_chart(results, status))}


def _embed(words: str, name: str) -> str:
    return f"![{literal(words)}]({name})"
