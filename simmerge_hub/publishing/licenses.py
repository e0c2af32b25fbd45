"""What licence a merge may carry, given its parents'. A table, not legal advice."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

PERMISSIVE_LICENSES = (
    "unlicense", "cc0-1.0", "isc", "mit", "bsd", "bsd-2-clause", "bsd-3-clause", "afl-3.0",
    "cc-by-2.0", "cc-by-3.0", "cc-by-4.0", "apache-2.0",
)  # fmt: skip
"""Licences that let a merge carry another's, from the least to the most demanding."""
NO_DERIVATIVES = {"cc-by-nd-4.0", "cc-by-nc-nd-4.0", "cc-by-nc-nd-3.0"}
"""Licences under which a changed work must not be shared."""

HUB_LICENSES = frozenset({
    "afl-3.0", "agpl-3.0", "apache-2.0", "apple-amlr", "apple-ascl", "artistic-2.0",
    "bigcode-openrail-m", "bigscience-bloom-rail-1.0", "bigscience-openrail-m", "bsd",
    "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear", "bsl-1.0", "c-uda", "cc", "cc-by-2.0",
    "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0",
    "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0",
    "cc-by-nd-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc0-1.0", "cdla-permissive-1.0",
    "cdla-permissive-2.0", "cdla-sharing-1.0", "creativeml-openrail-m", "deepfloyd-if-license",
    "ecl-2.0", "epl-1.0", "epl-2.0", "etalab-2.0", "eupl-1.1", "eupl-1.2", "gemma", "gfdl", "gpl",
    "gpl-2.0", "gpl-3.0", "h-research", "intel-research", "isc", "lgpl", "lgpl-2.1", "lgpl-3.0",
    "lgpl-lr", "llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", "llama4", "lppl-1.3c",
    "mit", "mpl-2.0", "ms-pl", "ncsa", "odbl", "odc-by", "ofl-1.1", "openrail", "openrail++",
    "osl-3.0", "other", "pddl", "postgresql", "unknown", "unlicense", "wtfpl", "zlib",
})  # fmt: skip
"""Identifiers the Hub accepts (docs/hub/repositories-licenses); a card with another is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Licence:
    """The identifier for the card's front matter, and what a person should know first.

    `name` is what the parents call a licence that the Hub does not list, else "".
    """

    identifier: str
    warnings: tuple[str, ...]
    name: str = ""


def combine_licenses(parents: Mapping[str, str | None]) -> Licence:
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
        return _keep_license(stated.pop())
    if stated and stated <= set(PERMISSIVE_LICENSES) and not warnings:
        kept = max(stated, key=PERMISSIVE_LICENSES.index)
        return Licence(
            identifier=kept, warnings=(f"the parents' licences differ ({_enumerate(stated)})",)
        )
    if len(stated) > 1:
        warnings.append(f"the parents' licences differ ({_enumerate(stated)}): all of them apply")
    return Licence(identifier="other", warnings=tuple(warnings))


def _keep_license(licence: str) -> Licence:
    if licence in HUB_LICENSES:
        return Licence(identifier=licence, warnings=())
    return Licence(
        identifier="other",
        warnings=(f"the parents are under {licence}, which the Hub does not list: link its text",),
        name=re.sub(r"[^a-z0-9.]+", "-", licence).strip("-.")[:60],
    )


def _enumerate(names: set[str]) -> str:
    return ", ".join(sorted(names))
