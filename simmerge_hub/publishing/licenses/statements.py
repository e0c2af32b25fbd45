"""What a model's card states of its licence. Written by others: any value may stand anywhere."""

import re
from collections.abc import Mapping
from typing import Any

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
UNSAID = frozenset({"", "unknown"})
"""What cards write that says nothing."""
LONGEST_NAME = 96
"""Letters of a licence's name; what is longer is no name."""
LICENSES_READ = 8
"""Licences on one card; a longer list is not read."""
LINK = re.compile(r"https://[\w.-]+(/[\w.~%/#?=&+-]*)?", re.ASCII)
LONGEST_LINK = 300


def read_licenses(card: Mapping[str, Any]) -> tuple[str, ...]:
    """What a card's front matter calls its licences, each by its name where that is `other`;
    nothing where it states none, or something else than names."""
    stated = card.get("license")
    several = stated if isinstance(stated, list) else [] if stated is None else [stated]
    name = card.get("license_name")
    named = name if isinstance(name, str) and name.strip() else "other"
    if not several and named != "other":
        several = [named]
    if len(several) > LICENSES_READ or not all(isinstance(each, str) for each in several):
        return ()
    plain = (each.strip() for each in several)
    names = [" ".join((named if each.lower() == "other" else each).split()) for each in plain]
    if any(len(each) > LONGEST_NAME or each.lower() in UNSAID for each in names):
        return ()
    return tuple(dict.fromkeys(names))


def stated_license(card: Mapping[str, Any]) -> str | None:
    """The same as a line; None where it states none."""
    return ", ".join(read_licenses(card)) or None


def read_link(card: Mapping[str, Any]) -> str:
    """Where a card says that its licence's text is; "" unless that is a plain web address."""
    link = card.get("license_link")
    fits = isinstance(link, str) and len(link) <= LONGEST_LINK and LINK.fullmatch(link)
    return str(link) if fits else ""


def is_gated(card: Mapping[str, Any]) -> bool:
    """Whether a card says that whoever downloads the model agrees to something first."""
    return any(str(key).startswith("extra_gated") for key in card)
