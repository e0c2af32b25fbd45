"""The page of licences: every licence that is known, and combinations as the tests hold them."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from refusals import cell  # noqa: E402

from simmerge_hub.publishing.licenses.terms import NAMES, TERMS  # noqa: E402
from simmerge_hub.publishing.licenses.verdict import Licence, license_of  # noqa: E402
from tests.publishing.combinations import rows  # noqa: E402


def licence_terms() -> str:
    """What each licence asks for, and where that was read."""
    also = {
        each: ", ".join(f"`{name}`" for name, known in NAMES.items() if known == each)
        for each in TERMS
    }
    lines = [
        f"| [`{name}`]({terms.source}){f', also {also[name]}' if also[name] else ''} "
        f"| {terms.kind} | {cell(terms.asks)} |"
        for name, terms in TERMS.items()
    ]
    return "\n".join(["| licence | kind | what it asks |", "|---|---|---|", *lines])


def licence_combinations() -> str:
    """The combinations of the tests, with what the code says of them."""
    lines = [_combination(row.parents, license_of(row.cards)) for row in rows()]
    header = "| parents | licence of the merge | what is said of it | `push` |\n|---|---|---|---|"
    return "\n".join([header, *lines])


def _combination(parents: str, licence: Licence) -> str:
    if licence.conflicts:
        shown, push = "none fits", "stops until `--license`"
    else:
        shown, push = licence.verdict, "goes"
    said = "; ".join(licence.warnings)
    return f"| {cell(parents)} | {cell(shown)} | {cell(said)} | {push} |"
