"""The licence of a merge: the table of combinations, and what lies behind it."""

from dataclasses import replace

import pytest

from simmerge_hub.errors import OutputError
from simmerge_hub.hub.resolve import front_matter
from simmerge_hub.publishing.card import card
from simmerge_hub.publishing.licenses.choice import settle_license
from simmerge_hub.publishing.licenses.compatibility import PERMISSIVE_LICENSES
from simmerge_hub.publishing.licenses.statements import HUB_LICENSES, stated_license
from simmerge_hub.publishing.licenses.terms import NAMES, TERMS, find_terms
from simmerge_hub.publishing.licenses.verdict import (
    Licence,
    combine_licenses,
    license_of,
)
from tests.publishing.combinations import DUTIES, Combination, rows
from tests.publishing.test_card import report

ROWS = rows()


def of(parents: str) -> Licence:
    return combine_licenses(dict(zip("abcd", parents.split(" + "), strict=False)))


def summary(licence: Licence) -> str:
    """The verdict as the table writes it."""
    if licence.conflicts:
        return "conflict"
    if licence.silent:
        return "not known"
    if licence.together:
        return "all apply"
    return licence.identifier + (f" ({licence.name})" if licence.name else "")


def duties(licence: Licence) -> set[str]:
    """What the parents ask for, in the table's words."""
    said = " / ".join(ask.says for ask in licence.asks)
    return {
        word
        for word, phrases in DUTIES.items()
        if any(phrase in said for phrase in ([phrases] if isinstance(phrases, str) else phrases))
    }


def test_there_are_forty_combinations() -> None:
    assert len({frozenset(row.parents.split(" + ")) for row in ROWS}) >= 40
    assert {word for row in ROWS for word in row.duties} == set(DUTIES)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.parents)
def test_combinations(row: Combination) -> None:
    licence = license_of(row.cards)
    assert summary(licence) == row.licence
    assert duties(licence) == row.duties
    assert bool(licence.conflicts) == row.stops
    assert set(licence.conflicts) <= set(licence.warnings)
    assert ("no licence fits" in licence.verdict) == row.stops
    for name, stated in row.cards.items():
        assert any(said.startswith(f"{name} is gated") for said in licence.warnings) == (
            "extra_gated_prompt" in stated
        )
    backwards = license_of(dict(reversed(row.cards.items())))
    assert (summary(backwards), duties(backwards)) == (row.licence, row.duties)
    assert len(backwards.conflicts) == len(licence.conflicts)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.parents)
def test_what_push_does_with_a_card(row: Combination) -> None:
    cards = [*row.cards.values(), *row.cards.values()][:3]
    made = report()
    named = dict(zip(made.checkpoints, cards, strict=True))
    checkpoints = {name: replace(made.checkpoints[name], card=named[name]) for name in named}
    text = card(replace(made, checkpoints=checkpoints), None)
    if row.stops:
        with pytest.raises(OutputError, match="no licence fits all parents"):
            settle_license(text, None)
        assert front_matter(settle_license(text, "other"))["license"] == "other"
    else:
        assert settle_license(text, None) == text
        assert front_matter(text)["license"] in HUB_LICENSES


@pytest.mark.parametrize(
    ("licence", "said"),
    [
        ("llama3.1", 'begin the model\'s name with "Llama"'),
        ("llama2", "700 million"),
        ("gemma", "prohibited use policy"),
        ("qwen", "Built with Qwen"),
        ("deepseek", "forbidden uses"),
        ("mrl", "no commercial use"),
        ("cc-by-nc-4.0", "no commercial use"),
        ("cc-by-sa-4.0", "the whole merge under the same licence"),
        ("mit", "copyright notice"),
    ],
)
def test_what_a_parent_asks_for(licence: str, said: str) -> None:
    (ask,) = combine_licenses({"org/a": licence, "org/b": "cc0-1.0"}).asks
    assert (ask.parent, ask.licence) == ("org/a", licence)
    assert said in ask.says
    assert ask.source.startswith("https://")


def test_commercial_use_is_in_the_verdict() -> None:
    assert of("mit + cc-by-nc-4.0").verdict == "cc-by-nc-4.0, no commercial use"
    assert of("mit + mit").verdict == "mit"
    assert of("mit + mrl").verdict == "other (mrl), no commercial use"


def test_a_conflict_names_both_parents() -> None:
    (said,) = combine_licenses({"org/a": "gpl-3.0", "org/b": "llama3.1"}).conflicts
    assert said == (
        "gpl-3.0 (org/a) wants the whole merge under it, which llama3.1 (org/b) does not allow"
    )


def test_cards() -> None:
    cards = {
        "a": {"license": "other", "license_name": "tongyi-qianwen"},
        "b": {"license": ["apache-2.0"], "extra_gated_prompt": "Agree?"},
        "c": {"license": 3},
    }
    assert [stated_license(card) for card in cards.values()] == [
        "tongyi-qianwen", "apache-2.0", None,
    ]  # fmt: skip
    licence = license_of(cards)
    assert licence.identifier == "other"
    assert any(said.startswith("b is gated") for said in licence.warnings)
    assert any(said.startswith("c states no licence") for said in licence.warnings)


def test_every_row_says_where_it_was_read() -> None:
    for name, terms in TERMS.items():
        assert terms.identifier == name
        assert terms.source.startswith("https://")
        assert terms.asks
    assert find_terms("Falcon LLM").kind == "unlisted"
    assert set(NAMES.values()) <= set(TERMS)


@pytest.mark.parametrize(
    ("stated", "name"),
    [
        ("Falcon-LLM License", "falcon-llm-license"),
        ("mit, apache-2.0", "mit-apache-2.0"),
        ("mit\n---\n# Owned", "mit-owned"),
        ("---", ""),
    ],
)
def test_a_licence_the_hub_does_not_list_is_other_with_a_name(stated: str, name: str) -> None:
    licence = combine_licenses({"a": stated, "b": stated})
    assert (licence.identifier, licence.name) == ("other", name)
    assert "which the Hub does not list" in licence.warnings[0]


def test_every_licence_we_know_something_about_is_one_of_the_hub_s() -> None:
    no_derivatives = {name for name, terms in TERMS.items() if terms.kind == "no derivatives"}
    assert set(PERMISSIVE_LICENSES) | no_derivatives <= HUB_LICENSES


CARD = """\
---
license: other
simmerge_license_conflict:
- a wants this, b that
tags:
- merge
---
# x
"""


def test_a_conflict_stops_a_push_until_a_licence_is_chosen() -> None:
    with pytest.raises(OutputError, match="a wants this, b that") as refused:
        settle_license(CARD, None)
    assert "--license" in (refused.value.hint or "")
    text = settle_license(CARD, "MIT")
    assert front_matter(text) == {"license": "mit", "tags": ["merge"]}
    assert "The licence, MIT, was chosen by whoever published this merge." in text
    assert "# x" in text


def test_a_chosen_licence_the_hub_does_not_list() -> None:
    data = front_matter(settle_license("---\nlicense: mit\n---\n# x\n", "My Own Licence"))
    assert data == {"license": "other", "license_name": "my-own-licence"}


def test_a_card_without_conflict_stays_as_it_is() -> None:
    for text in ("---\nlicense: mit\n---\n# x\n", "# no front matter\n"):
        assert settle_license(text, None) == text


def test_a_hostile_choice_stays_inside_the_front_matter() -> None:
    text = settle_license("---\nlicense: mit\n---\n# x\n", "a\n---\n<script>alert(1)</script>")
    assert front_matter(text)["license"] == "other"
    assert "<script>" not in text


def test_a_licence_is_said_once_for_all_that_have_it() -> None:
    licence = combine_licenses({"a": "mit", "b": "mit", "c": "gemma"})
    assert [said.partition(":")[0] for said, _ in licence.terms] == ["mit (a, b)", "gemma (c)"]
