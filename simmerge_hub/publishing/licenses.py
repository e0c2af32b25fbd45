"""What licence a merge may carry, given its parents'. A table, not legal advice."""

from collections.abc import Mapping
from dataclasses import dataclass

PERMISSIVE = (
    "unlicense", "cc0-1.0", "isc", "mit", "bsd", "bsd-2-clause", "bsd-3-clause", "afl-3.0",
    "cc-by-2.0", "cc-by-3.0", "cc-by-4.0", "apache-2.0",
)  # fmt: skip
"""Licences that let a merge carry another's, from the least to the most demanding."""
NO_DERIVATIVES = {"cc-by-nd-4.0", "cc-by-nc-nd-4.0", "cc-by-nc-nd-3.0"}
"""Licences under which a changed work must not be shared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Licence:
    """The identifier for the card's front matter, and what a person should know first."""

    identifier: str
    warnings: tuple[str, ...]


def merged_license(parents: Mapping[str, str | None]) -> Licence:
    """The licence of a merge of `parents` (name -> the identifier its card states, or None).

    One common licence is kept; of permissive ones the most demanding listed is named; anything else
    becomes "other", with a warning that says why.
    """
    stated = {licence.lower() for licence in parents.values() if licence}
    warnings = [
        f"{name} states no licence: ask its author before you share the merge"
        for name, licence in parents.items()
        if not licence
    ] + [
        f"{name} is under {licence}, which forbids sharing changed versions"
        for name, licence in parents.items()
        if licence and licence.lower() in NO_DERIVATIVES
    ]
    if len(stated) == 1 and not warnings:
        return Licence(identifier=stated.pop(), warnings=())
    if stated and stated <= set(PERMISSIVE) and not warnings:
        kept = max(stated, key=PERMISSIVE.index)
        return Licence(
            identifier=kept, warnings=(f"the parents' licences differ ({_list(stated)})",)
        )
    if len(stated) > 1:
        warnings.append(f"the parents' licences differ ({_list(stated)}): all of them apply")
    return Licence(identifier="other", warnings=tuple(warnings))


def _list(names: set[str]) -> str:
    return ", ".join(sorted(names))
