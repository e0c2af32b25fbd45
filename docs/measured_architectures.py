"""Tables of the page on kinds of models, from benchmarks/architectures.json."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import measured
from refusals import cell

FORMS = {
    "whole": "two models, as transformers saves them",
    "other names": "the second under the names of modules",
    "other names first": "the first under the names of modules",
    "adapter": "a model and a LoRA adapter",
}
NEEDS = "requires the "


def architecture_totals() -> str:
    """How many kinds were merged in which form, and what became of it."""
    found = measured.read("architectures")
    outcomes = found["outcomes"]
    rows = [
        (text, *(str(outcomes[form].get(key, 0)) for key in ("exact", "refused", "wrong")))
        for form, text in FORMS.items()
    ]
    return (
        f"transformers {found['transformers']}: {found['kinds']} kinds, of which a small model of "
        f"{found['made']} could be made here.\n\n"
        + measured.table(("merged", "the exact mean", "refused", "wrong"), rows)
    )


def architecture_exceptions() -> str:
    """What is refused, and why."""
    by_kind: dict[str, dict[str, str]] = {}
    for row, form in _not_exact(measured.read("architectures")["rows"]):
        by_kind.setdefault(row["kind"], {})[form] = row[form]["why"]
    rows = [
        (f"`{kind}`", "; ".join(FORMS[form] for form in why), cell(next(iter(why.values()))))
        for kind, why in by_kind.items()
    ]
    return measured.table(("kind", "merged", "what is said, of the first"), rows)


def architecture_kinds() -> str:
    """The kinds whose models are merged to the exact mean, as `model_type` calls them."""
    rows = measured.read("architectures")["rows"]
    exact = [row["kind"] for row in rows if row.get("whole", {}).get("outcome") == "exact"]
    return ", ".join(f"`{kind}`" for kind in exact) + "."


def architecture_not_made() -> str:
    """The kinds of which no small model was made, by what was missing."""
    rows = measured.read("architectures")["rows"]
    kinds = [row["kind"] for row in rows if "whole" not in row and row["kind"]]
    counts = Counter(NEEDS in row.get("made", "") for row in rows if "whole" not in row)
    return (
        f"{counts[True]} need a library that is not installed here; of the others no cut of "
        "transformers' own config gave a model under 30 million parameters that can be saved: "
        + ", ".join(f"`{kind}`" for kind in kinds)
        + "."
    )


def _not_exact(rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], str]]:
    for row in rows:
        for form in FORMS:
            if row.get(form, {}).get("outcome") in ("refused", "wrong"):
                yield row, form
