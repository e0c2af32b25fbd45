"""The licence of a merge: a table of cases."""

import pytest

from simmerge_hub.errors import OutputError
from simmerge_hub.hub.resolve import front_matter
from simmerge_hub.publishing.licenses.terms import NAMES, TERMS, find_terms
from simmerge_hub.publishing.licenses.verdict import (
    HUB_LICENSES,
    NO_DERIVATIVES,
    PERMISSIVE_LICENSES,
    Licence,
    combine_licenses,
    license_of,
    settle_license,
    stated_license,
)

SILENT = "b states no licence: ask its author before you share the merge"


CASES = [
    # alike
    ("mit + mit", "mit"),
    ("Apache-2.0 + apache-2.0", "apache-2.0"),
    ("llama3.1 + llama3.1", "llama3.1"),
    ("gemma + gemma", "gemma"),
    ("cc-by-nc-4.0 + cc-by-nc-4.0", "cc-by-nc-4.0"),
    # notices only
    ("mit + apache-2.0", "apache-2.0"),
    ("cc0-1.0 + mit", "mit"),
    ("isc + cc0-1.0", "isc"),
    ("mit + cc-by-4.0", "cc-by-4.0"),
    ("unlicense + cc0-1.0", "cc0-1.0"),
    # terms of one parent
    ("apache-2.0 + llama3.1", "llama3.1"),
    ("mit + gemma", "gemma"),
    ("apache-2.0 + qwen", "other: qwen"),
    ("apache-2.0 + Tongyi-Qianwen", "other: qwen"),
    ("mit + deepseek", "other: deepseek"),
    ("apache-2.0 + mrl", "other: mrl"),
    ("apache-2.0 + openrail", "openrail"),
    ("mit + cc-by-nc-4.0", "cc-by-nc-4.0"),
    ("mit + cc-by-sa-4.0", "cc-by-sa-4.0"),
    ("apache-2.0 + gpl-3.0", "gpl-3.0"),
    ("mit + agpl-3.0", "agpl-3.0"),
    # one lets the other in
    ("gpl-3.0 + agpl-3.0", "agpl-3.0"),
    ("lgpl-3.0 + gpl-3.0", "gpl-3.0"),
    ("cc-by-sa-4.0 + gpl-3.0", "gpl-3.0"),
    ("cc-by-sa-3.0 + cc-by-sa-4.0", "cc-by-sa-4.0"),
    ("cc-by-nc-4.0 + cc-by-nc-sa-4.0", "cc-by-nc-sa-4.0"),
    # side by side
    ("llama3 + llama3.1", "all"),
    ("llama3.1 + gemma", "all"),
    ("qwen + deepseek", "all"),
    ("llama3.1 + cc-by-nc-4.0", "all"),
    ("mrl + openrail", "all"),
    ("mit + falcon-llm", "all"),
    # against each other
    ("cc-by-nd-4.0 + mit", "conflict"),
    ("CC-BY-NC-ND-4.0 + CC-BY-NC-ND-4.0", "conflict"),
    ("gpl-2.0 + gpl-3.0", "conflict"),
    ("gpl-2.0 + apache-2.0", "conflict"),
    ("gpl-3.0 + llama3.1", "conflict"),
    ("gpl-3.0 + cc-by-nc-4.0", "conflict"),
    ("cc-by-sa-4.0 + cc-by-nc-sa-4.0", "conflict"),
    ("cc-by-sa-4.0 + gemma", "conflict"),
    ("agpl-3.0 + openrail", "conflict"),
    ("cc-by-sa-4.0 + cc-by-nc-4.0", "conflict"),
    # nothing stated
    ("mit + ", "silent"),
    (" + ", "silent"),
]


def of(parents: str) -> Licence:
    return combine_licenses(dict(zip("abcd", parents.split(" + "), strict=False)))


def test_there_are_forty_combinations() -> None:
    assert len({parents for parents, _ in CASES}) >= 40


@pytest.mark.parametrize(("parents", "verdict"), CASES)
def test_combinations(parents: str, verdict: str) -> None:
    licence = of(parents)
    identifier, _, name = verdict.partition(": ")
    if verdict in ("conflict", "all", "silent"):
        assert (licence.identifier, licence.name) == ("other", "")
    else:
        assert (licence.identifier, licence.name) == (identifier, name)
    assert bool(licence.conflicts) == (verdict == "conflict")
    assert set(licence.conflicts) <= set(licence.warnings)
    assert any("all of them apply" in said for said in licence.warnings) == (verdict == "all")
    assert (SILENT in licence.warnings) == (verdict == "silent")
    assert ("no licence fits" in licence.verdict) == (verdict == "conflict")


@pytest.mark.parametrize(("parents", "verdict"), CASES)
def test_the_order_changes_nothing(parents: str, verdict: str) -> None:
    first, second = parents.split(" + ")
    licence, other = of(f"{first} + {second}"), of(f"{second} + {first}")
    assert (licence.identifier, licence.name) == (other.identifier, other.name)
    assert len(licence.conflicts) == len(other.conflicts)


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
    assert set(PERMISSIVE_LICENSES) | NO_DERIVATIVES <= HUB_LICENSES


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
    card = settle_license(CARD, "MIT")
    assert front_matter(card) == {"license": "mit", "tags": ["merge"]}
    assert "The licence, MIT, was chosen by whoever published this merge." in card
    assert "# x" in card


def test_a_chosen_licence_the_hub_does_not_list() -> None:
    data = front_matter(settle_license("---\nlicense: mit\n---\n# x\n", "My Own Licence"))
    assert data == {"license": "other", "license_name": "my-own-licence"}


def test_a_card_without_conflict_stays_as_it_is() -> None:
    for card in ("---\nlicense: mit\n---\n# x\n", "# no front matter\n"):
        assert settle_license(card, None) == card


def test_a_hostile_choice_stays_inside_the_front_matter() -> None:
    card = settle_license("---\nlicense: mit\n---\n# x\n", "a\n---\n<script>alert(1)</script>")
    assert front_matter(card)["license"] == "other"
    assert "<script>" not in card


def test_a_licence_is_said_once_for_all_that_have_it() -> None:
    licence = combine_licenses({"a": "mit", "b": "mit", "c": "gemma"})
    assert [said.partition(":")[0] for said, _ in licence.terms] == ["mit (a, b)", "gemma (c)"]
