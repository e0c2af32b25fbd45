"""The licence of a merge: a table of cases."""

import pytest

from simmerge_hub.publishing.licenses import (
    HUB_LICENSES,
    NO_DERIVATIVES,
    PERMISSIVE_LICENSES,
    combine_licenses,
)

SILENT = "b states no licence: ask its author before you share the merge"


@pytest.mark.parametrize(
    ("parents", "identifier", "warnings"),
    [
        (("mit", "mit"), "mit", ()),
        (("Apache-2.0", "apache-2.0"), "apache-2.0", ()),
        (("llama3.1", "llama3.1"), "llama3.1", ()),
        (("mit", "apache-2.0"), "apache-2.0", ("the parents' licences differ (apache-2.0, mit)",)),
        (("cc0-1.0", "mit"), "mit", ("the parents' licences differ (cc0-1.0, mit)",)),
        (("isc", "cc0-1.0"), "isc", ("the parents' licences differ (cc0-1.0, isc)",)),
        (("mit", "cc-by-4.0"), "cc-by-4.0", ("the parents' licences differ (cc-by-4.0, mit)",)),
        (
            ("mit", "gpl-3.0"),
            "other",
            ("the parents' licences differ (gpl-3.0, mit): all of them apply",),
        ),
        (
            ("apache-2.0", "openrail"),
            "other",
            ("the parents' licences differ (apache-2.0, openrail): all of them apply",),
        ),
        (
            ("mit", "cc-by-nc-4.0"),
            "other",
            ("the parents' licences differ (cc-by-nc-4.0, mit): all of them apply",),
        ),
        (("mit", None), "other", (SILENT,)),
        (("mit", ""), "other", (SILENT,)),
        (
            (None, None),
            "other",
            ("a states no licence: ask its author before you share the merge", SILENT),
        ),
        (
            ("cc-by-nd-4.0", "cc-by-nd-4.0"),
            "other",
            (
                "a is under cc-by-nd-4.0, which forbids sharing changed versions",
                "b is under cc-by-nd-4.0, which forbids sharing changed versions",
            ),
        ),
        (
            ("mit", "CC-BY-NC-ND-4.0"),
            "other",
            (
                "b is under CC-BY-NC-ND-4.0, which forbids sharing changed versions",
                "the parents' licences differ (cc-by-nc-nd-4.0, mit): all of them apply",
            ),
        ),
    ],
)
def test_cases(
    parents: tuple[str | None, str | None], identifier: str, warnings: tuple[str, ...]
) -> None:
    licence = combine_licenses(dict(zip("ab", parents, strict=True)))
    assert licence.identifier == identifier
    assert licence.warnings == warnings


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


def test_the_order_of_the_parents_does_not_matter() -> None:
    parents = {"a": "mit", "b": "bsd-3-clause", "c": "apache-2.0", "d": "cc0-1.0"}
    assert combine_licenses(parents) == combine_licenses(dict(reversed(parents.items())))
