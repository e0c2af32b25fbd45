"""What licence a merge may carry, given its parents'. Read off a table; not legal advice."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from simmerge_hub.documents import read_yaml
from simmerge_hub.errors import OutputError
from simmerge_hub.literal import literal
from simmerge_hub.publishing.licenses.terms import TERMS, Terms, find_terms
from simmerge_hub.recipe import dump_yaml

DISCLAIMER = "This was read off the models' cards and a table; it is not legal advice."
PERMISSIVE_LICENSES = (
    "unlicense", "cc0-1.0", "isc", "mit", "bsd", "bsd-2-clause", "bsd-3-clause", "afl-3.0",
    "cc-by-2.0", "cc-by-3.0", "cc-by-4.0", "apache-2.0",
)  # fmt: skip
"""Licences that let a merge carry another's, from the least to the most demanding."""
NO_DERIVATIVES = {name for name, terms in TERMS.items() if terms.kind == "no derivatives"}
"""Licences under which a changed work must not be shared."""
CONFLICT = "simmerge_license_conflict"
"""Key in a card's front matter: why no licence fits, until somebody chooses one."""
NO_LICENSE = "Licence: none fits all parents"
"""How the line on a card begins that says so."""
ABSORBED: Mapping[str, frozenset[str]] = {
    "cc-by-nc-3.0": frozenset({"cc-by-nc-2.0"}),
    "cc-by-nc-4.0": frozenset({"cc-by-nc-2.0", "cc-by-nc-3.0"}),
    "cc-by-sa-4.0": frozenset({"cc-by-sa-3.0"}),
    "cc-by-nc-sa-3.0": frozenset({"cc-by-nc-sa-2.0", "cc-by-nc-2.0", "cc-by-nc-3.0"}),
    "cc-by-nc-sa-4.0": frozenset(
        {"cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0"}
    ),
    "gpl-2.0": frozenset({"lgpl-2.1"}),
    "gpl-3.0": frozenset({"lgpl-2.1", "lgpl-3.0", "cc-by-sa-4.0"}),
    "agpl-3.0": frozenset({"lgpl-2.1", "lgpl-3.0", "gpl-3.0", "cc-by-sa-4.0"}),
}
"""A licence -> others with terms of their own that a whole under it may hold, by their own texts
(creativecommons.org/compatiblelicenses, gnu.org/licenses/license-list)."""
AGAINST: Mapping[str, frozenset[str]] = {
    "gpl-2.0": frozenset({"apache-2.0", "afl-3.0"}),
    "gpl-3.0": frozenset({"afl-3.0"}),
    "agpl-3.0": frozenset({"afl-3.0"}),
}
"""A licence -> permissive ones whose terms it does not let in (gnu.org/licenses/license-list)."""

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
class Ask:
    """What a parent's licence asks of whoever shares the merge, and where it says so."""

    parent: str
    licence: str
    says: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Licence:
    """The identifier for the card's front matter, and what a person should know first.

    Args:
        identifier: as the Hub lists it.
        warnings: what is to be known, conflicts included.
        name: what the parents call a licence that the Hub does not list, else "".
        conflicts: why no licence fits all parents; a push needs one that somebody chose then.
        asks: what each parent asks for; none of public domain.
        silent: parents that state no licence.
    """

    identifier: str
    warnings: tuple[str, ...]
    name: str = ""
    conflicts: tuple[str, ...] = ()
    asks: tuple[Ask, ...] = ()
    silent: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """The licence in a line: its name, or that there is none."""
        if self.conflicts:
            return f"no licence fits all parents: {'; '.join(self.conflicts)}"
        if self.silent:
            more = f" and {len(self.silent) - 3} more" if len(self.silent) > 3 else ""
            states = "states" if len(self.silent) == 1 else "state"
            return f"not known: {', '.join(self.silent[:3])}{more} {states} none"
        shown = self.identifier + (f" ({self.name})" if self.name else "")
        money = any(find_terms(ask.licence).noncommercial for ask in self.asks)
        return f"{shown}{', no commercial use' if money else ''}"

    @property
    def terms(self) -> tuple[tuple[str, str], ...]:
        """What the parents ask for, each licence once, and where it says so ("": not known)."""
        parents: dict[tuple[str, str, str], list[str]] = {}
        for ask in self.asks:
            parents.setdefault((ask.licence, ask.says, ask.source), []).append(ask.parent)
        return tuple(
            (f"{licence} ({', '.join(names)}): {says}", source)
            for (licence, says, source), names in parents.items()
        )


def stated_license(card: Mapping[str, Any]) -> str | None:
    """What a card's front matter calls its licence; by its name, where that is `other`."""
    stated = card.get("license")
    several = stated if isinstance(stated, list) else [stated]
    names = [name for name in several if isinstance(name, str) and name]
    name = card.get("license_name")
    if names == ["other"] and isinstance(name, str) and name:
        return name
    return ", ".join(names) or None


def is_gated(card: Mapping[str, Any]) -> bool:
    """Whether a card says that whoever downloads the model agrees to something first."""
    return any(str(key).startswith("extra_gated") for key in card)


def license_of(cards: Mapping[str, Mapping[str, Any]]) -> Licence:
    """The licence of a merge of models with these cards (name -> front matter)."""
    gated = frozenset(name for name, card in cards.items() if is_gated(card))
    return combine_licenses({name: stated_license(c) for name, c in cards.items()}, gated=gated)


def combine_licenses(
    parents: Mapping[str, str | None], *, gated: frozenset[str] = frozenset()
) -> Licence:
    """The licence of a merge.

    Args:
        parents: name -> what its card calls its licence, or None.
        gated: those that ask for something before they are downloaded.

    One common licence is kept. Of several, the one whose terms all others let in; terms that can
    stand side by side all apply (`other`); terms that exclude each other are a conflict.
    """
    terms = {name: find_terms(licence) for name, licence in parents.items() if licence}
    conflicts = (*_no_derivatives(parents, terms), *_clashes(terms))
    silent = tuple(
        f"{name} states no licence: ask its author before you share the merge"
        for name, licence in parents.items()
        if not licence
    )
    identifier, name, said = _choose({each.identifier for each in terms.values()})
    if silent or conflicts:
        identifier, name, said = "other", "", () if conflicts else said
    guarded = tuple(
        f"{each} is gated: whoever downloads it agrees to its terms; the merge is not, unless you "
        "gate it"
        for each in parents
        if each in gated
    )
    return Licence(
        identifier=identifier,
        name=name,
        warnings=(*silent, *conflicts, *said, *guarded),
        conflicts=conflicts,
        asks=tuple(
            Ask(parent=each, licence=t.identifier, says=t.asks, source=t.source)
            for each, t in terms.items()
            if t.kind != "public domain"
        ),
        silent=tuple(name for name, licence in parents.items() if not licence),
    )


def _choose(stated: set[str]) -> tuple[str, str, tuple[str, ...]]:
    """Identifier, name and what is said, where nothing stands against it."""
    if not stated:
        return "other", "", ()
    if len(stated) == 1:
        return _name(*stated)
    chosen = _most_demanding(stated)
    if chosen is None:
        return "other", "", (f"the parents' licences differ ({_join(stated)}): all of them apply",)
    identifier, name, said = _name(chosen)
    return identifier, name, (f"the parents' licences differ ({_join(stated)})", *said)


def _most_demanding(stated: set[str]) -> str | None:
    """The licence under which all of these may be; None if there is none."""
    own = _own_terms(stated)
    if not own:
        known = [name for name in PERMISSIVE_LICENSES if name in stated]
        return known[-1] if known and len(known) == len(stated) else None
    if any(find_terms(name).kind == "unlisted" for name in own):
        return None
    whole = (name for name in sorted(own) if own - {name} <= ABSORBED.get(name, frozenset()))
    return next(whole, None)


def _own_terms(stated: set[str]) -> set[str]:
    """Those that go beyond notices: of the whole, of its use, or of its name."""
    plain = {"public domain", "permissive"}
    return {n for n in stated if find_terms(n).kind not in plain or find_terms(n).noncommercial}


def _no_derivatives(
    parents: Mapping[str, str | None], terms: Mapping[str, Terms]
) -> tuple[str, ...]:
    return tuple(
        f"{name} is under {parents[name]}, which forbids sharing changed versions"
        for name, each in terms.items()
        if each.kind == "no derivatives"
    )


def _clashes(terms: Mapping[str, Terms]) -> tuple[str, ...]:
    """Parents that want the whole merge under a licence which another's terms do not let in."""
    stated = {each.identifier for each in terms.values() if each.kind != "no derivatives"}
    named = {each.identifier: name for name, each in reversed(list(terms.items()))}
    own = _own_terms(stated)
    said = [
        (one, other) for one, others in AGAINST.items() if one in own for other in others & stated
    ]
    if (own and _most_demanding(stated) is None) or said:
        wholes = sorted(n for n in own if find_terms(n).kind in ("share-alike", "copyleft"))
        said += [(one, other) for one in wholes[:1] for other in sorted(own - {one})]
    return tuple(
        f"{one} ({named[one]}) wants the whole merge under it, which {other} ({named[other]}) does "
        "not allow"
        for one, other in said
    )


def _name(licence: str) -> tuple[str, str, tuple[str, ...]]:
    """Identifier and name of one licence; the Hub lists not all."""
    if licence in HUB_LICENSES:
        return licence, "", ()
    name = re.sub(r"[^a-z0-9.]+", "-", licence).strip("-.")[:60]
    said = f"the parents are under {licence}, which the Hub does not list: link its text"
    return "other", name, (said,)


def _join(names: set[str]) -> str:
    return ", ".join(sorted(names))


def settle_license(card: str, chosen: str | None) -> str:
    """The text of a card, ready to be published: with the licence that somebody chose, if any.

    Raises:
        OutputError: no licence fits all parents, and none was chosen.
    """
    head, separator, body = card.removeprefix("---\n").partition("\n---\n")
    data = read_yaml(head) if card.startswith("---\n") and separator else {}
    conflicts = data.pop(CONFLICT, None)
    if chosen is None:
        if conflicts:
            raise refuse_conflicts(conflicts)
        return card
    identifier, name, _ = _name(chosen.lower())
    data |= {"license": identifier} | ({"license_name": name} if name else {})
    if not name:
        data.pop("license_name", None)
    note = f"The licence, {literal(chosen)}, was chosen by whoever published this merge."
    line = f"Licence: {literal(chosen)}, chosen by whoever published this merge."
    body = re.sub(r"^Licence: .*$", lambda _: line, body, count=1, flags=re.MULTILINE)
    return f"---\n{dump_yaml(data)}---\n{body.rstrip()}\n\n{note}\n"


def refuse_conflicts(conflicts: Iterable[object]) -> OutputError:
    """What is raised where no licence fits all parents, and none was chosen."""
    return OutputError(
        f"no licence fits all parents of this merge: {'; '.join(map(str, conflicts))}",
        hint="ask the authors, then say which licence it gets: --license IDENTIFIER",
    )
