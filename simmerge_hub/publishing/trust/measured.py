"""Measured scores on the card of a merge, beside what was predicted of it."""

import re

from simmerge_hub.documents import read_yaml, split_card
from simmerge_hub.errors import HubError, SimmergeError
from simmerge_hub.hub.evaluations import card_scores
from simmerge_hub.hub.resolve import front_matter
from simmerge_hub.hub.upload.results import compose_card
from simmerge_hub.literal import code, literal
from simmerge_hub.publishing.sections.markdown import table
from simmerge_hub.publishing.sections.pictures import update_chart
from simmerge_hub.publishing.sections.summary import UNMEASURED
from simmerge_hub.publishing.trust.record import expert_scores
from simmerge_hub.publishing.trust.results import Kept, compare_results
from simmerge_hub.recipe import Recipe, Why, load
from simmerge_hub.units import spell_percent, spell_shares

CARD = "README.md"
HEADING = "\n## Measured\n"
BEFORE = "\n## Redo it\n"
"""The section that the measured scores stand before."""
INTRO = (
    "Scores that were measured after the merge, from this card's metadata. What is kept is a "
    "share of the score that the expert's own card states on the same dataset by the same metric."
)
BLOCK = re.compile(re.escape(f"{HEADING}\n{INTRO}\n\n") + r"(?:\|.*(?:\n|\Z))+")
"""The section as it is written here; whatever else is called so is its owner's."""


def show_measured(repo: str, text: str) -> dict[str, str]:
    """The files of a merge's page, by name, with the scores in its card's metadata beside what was
    predicted: the card, and the chart on it; of anything else the card as it is.

    Raises:
        HubError: the repository cannot be read.
    """
    try:
        recipe, why = load(repo, to_run=False)
    except HubError:
        raise
    except SimmergeError:  # it has no recipe, or one of another program
        return {CARD: text}
    return add_measured(text, recipe, why)


def add_measured(text: str, recipe: Recipe, why: Why | None) -> dict[str, str]:
    """`show_measured` of a card with this recipe."""
    scores = card_scores(front_matter(text))
    if not scores or BEFORE not in text:
        return {CARD: text}
    results = compare_results(why, scores, expert_scores(recipe, why))
    body, _, rest = text.rpartition(BEFORE)
    body = BLOCK.sub("", f"{body}\n").rstrip("\n")
    body = UNMEASURED.sub(lambda _: _summary(results), body, count=1)
    body, pictures = update_chart(body, results, why.status if why else "")
    return {CARD: f"{body}\n{HEADING}\n{_section(results)}\n{BEFORE}{rest}", **pictures}


def carry_measured(text: str, published: str, recipe: Recipe, why: Why | None) -> dict[str, str]:
    """`show_measured` of a card, with the scores that the published card of the same merge has."""
    measured, (head, rest) = front_matter(published).get("model-index"), split_card(text)
    if not measured or not head or "model-index" in front_matter(text):
        return {CARD: text}
    data = {**read_yaml(head), "model-index": measured}
    return add_measured(compose_card(data, rest), recipe, why)


def _summary(results: tuple[Kept, ...]) -> str:
    """The line of the card that says what to expect of it."""
    parts = []
    for kept in results:
        if kept.score is None:
            continue
        share, dataset = f"{kept.score:.2f}", literal(kept.dataset)
        if kept.measured is not None:
            share = f"{spell_percent(kept.measured)} of the score of {code(kept.expert)}"
        share += f" on {dataset}"
        if kept.predicted and kept.measured is not None:
            share += f" (expected: {spell_percent(kept.predicted[0])})"
        parts.append(share)
    return f"Measured: {'; '.join(parts)}. The section below has all of it."


def _section(results: tuple[Kept, ...]) -> str:
    rows = [
        [
            literal(kept.task),
            "–" if kept.predicted is None else spell_shares(kept.predicted),
            "–" if kept.measured is None else spell_percent(kept.measured),
            "–" if kept.score is None else f"{kept.score:.3f}",
            "–" if kept.expert_score is None else f"{kept.expert_score:.3f}",
            literal(f"{kept.dataset} {kept.metric}".strip()) or "–",
        ]
        for kept in results
    ]
    return f"{INTRO}\n\n" + table(
        ["task", "predicted", "kept", "merge", "expert", "measured on"], rows
    )
