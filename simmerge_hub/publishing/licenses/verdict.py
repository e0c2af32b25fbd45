"""What licence a merge may carry, given its parents'. Read off a table; not legal advice."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from simmerge_hub.names import list_first
from simmerge_hub.publishing.licenses.compatibility import ABSORBED, AGAINST, PERMISSIVE_LICENSES
from simmerge_hub.publishing.licenses.statements import (
    HUB_LICENSES,
    is_gated,
    read_licenses,
    read_link,
)
from simmerge_hub.publishing.licenses.terms import Terms, find_terms

UNNAMED = "other at "
"""How a licence is called here that has a link and no name."""
DISCLAIMER = "This was read off the models' cards and a table; it is not legal advice."


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
        link: where the text of that licence is, if that is known.
        together: whether the parents' licences differ, and all of them apply.
        conflicts: why no licence fits all parents; a push needs one that somebody chose then.
        asks: what each parent asks for; none of public domain.
        silent: parents that state no licence.
    """

    identifier: str
    warnings: tuple[str, ...]
    name: str = ""
    link: str = ""
    together: bool = False
    conflicts: tuple[str, ...] = ()
    asks: tuple[Ask, ...] = ()
    silent: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """The licence in a line: its name, or that there is none."""
        if self.conflicts:
            return f"no licence fits all parents: {'; '.join(self.conflicts)}"
        if self.silent:
            states = "states" if len(self.silent) == 1 else "state"
            return f"not known: {list_first(self.silent)} {states} none"
        shown = self.identifier + (f" ({self.name})" if self.name else "")
        if self.together:
            shown = f"other: {', '.join(sorted({ask.licence for ask in self.asks}))} all apply"
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


def license_of(cards: Mapping[str, Mapping[str, Any]]) -> Licence:
    """The licence of a merge of models with these cards (name -> front matter)."""
    return combine_licenses(
        {name: read_licenses(card) for name, card in cards.items()},
        gated=frozenset(name for name, card in cards.items() if is_gated(card)),
        links={name: link for name, card in cards.items() if (link := read_link(card))},
    )


def combine_licenses(
    parents: Mapping[str, str | Sequence[str] | None],
    *,
    gated: frozenset[str] = frozenset(),
    links: Mapping[str, str] | None = None,
) -> Licence:
    """The licence of a merge.

    Args:
        parents: name -> what its card calls its licence or licences; None or empty if it states
            none. `other` alone says nothing unless there is a link.
        gated: those that ask for something before they are downloaded.
        links: name -> where its card says that the licence's text is.

    One common licence is kept. Of several, the one whose terms all others let in; terms that can
    stand side by side all apply (`other`); terms that exclude each other are a conflict. Of a
    parent with several licences all are taken to apply.
    """
    links = links or {}
    stated = {name: _several(licences) for name, licences in parents.items()}
    silent = tuple(
        n for n, each in stated.items() if not each or ("other" in each and n not in links)
    )
    terms = {
        name: tuple(_find(each, links.get(name, "")) for each in licences if name not in silent)
        for name, licences in stated.items()
    }
    conflicts = (*_no_derivatives(terms), *_clashes(terms), *_strangers(terms))
    chosen, said = _choose({each.identifier for of_one in terms.values() for each in of_one})
    if silent or conflicts:
        chosen, said = "", () if conflicts else said
    together = bool(said and not chosen and not silent)
    identifier, name, more = name_license(chosen) if chosen else ("other", "", ())
    link = _link(chosen, terms, links) if identifier == "other" else ""
    more = tuple(
        f"{each}: {f'its text is at {link}' if link else 'link its text'}" for each in more
    )
    return Licence(
        identifier=identifier,
        name=name,
        link=link,
        warnings=(*map(_warn_of_silence, silent), *conflicts, *said, *more,
                  *_warn_of_several(stated), *_warn_of_gates(parents, gated)),
        together=together,
        conflicts=conflicts,
        asks=tuple(
            Ask(parent=parent, licence=each.identifier, says=each.asks, source=each.source)
            for parent, of_one in terms.items()
            for each in of_one
            if each.kind != "public domain"
        ),
        silent=silent,
    )  # fmt: skip


def _several(licences: str | Sequence[str] | None) -> tuple[str, ...]:
    one = [licences] if isinstance(licences, str) else licences or ()
    return tuple(each for each in one if each)


def _find(stated: str, link: str) -> Terms:
    """What one licence asks for; of one that is not known here, where its card says it is."""
    terms = find_terms(stated)
    if terms.kind != "unlisted" or not link:
        return terms
    name = f"{UNNAMED}{link}" if terms.identifier == "other" else terms.identifier
    return replace(terms, identifier=name, asks=f"read its text, {link}")


def _link(chosen: str, terms: Mapping[str, tuple[Terms, ...]], links: Mapping[str, str]) -> str:
    """The one place where the text of the merge's licence is."""
    sources = {
        links.get(parent, "") if each.kind == "unlisted" else each.source
        for parent, of_one in terms.items()
        for each in of_one
        if each.identifier == chosen
    }
    return sources.pop() if len(sources) == 1 else ""


def _warn_of_silence(name: str) -> str:
    return f"{name} states no licence: ask its author before you share the merge"


def _warn_of_several(stated: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for name, licences in stated.items():
        if len(licences) > 1:
            yield f"{name} states several licences ({_join(licences)}): all were taken to apply"


def _warn_of_gates(parents: Iterable[str], gated: frozenset[str]) -> Iterator[str]:
    for name in parents:
        if name in gated:
            yield (
                f"{name} is gated: whoever downloads it agrees to its terms; the merge is not, "
                "unless you gate it"
            )


def _choose(stated: set[str]) -> tuple[str, tuple[str, ...]]:
    """The licence of the whole, "" if all apply side by side, and what is said of that."""
    if len(stated) < 2:
        return "".join(stated), ()
    differ = f"the parents' licences differ ({_join(stated)})"
    chosen = _most_demanding(stated)
    return (chosen, (differ,)) if chosen else ("", (f"{differ}: all of them apply",))


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


def _no_derivatives(terms: Mapping[str, tuple[Terms, ...]]) -> tuple[str, ...]:
    return tuple(
        f"{name} is under {each.identifier}, which forbids sharing changed versions"
        for name, of_one in terms.items()
        for each in of_one
        if each.kind == "no derivatives"
    )


def _by_licence(terms: Mapping[str, tuple[Terms, ...]]) -> dict[str, str]:
    """The first parent under each licence."""
    pairs = [(each.identifier, name) for name, of_one in terms.items() for each in of_one]
    return dict(reversed(pairs))


def _clashes(terms: Mapping[str, tuple[Terms, ...]]) -> tuple[str, ...]:
    """Parents that want the whole merge under a licence which another's terms do not let in."""
    named = _by_licence(terms)
    stated = {each for each in named if find_terms(each).kind != "no derivatives"}
    own = _own_terms(stated)
    pairs = [
        (one, other)
        for one, others in AGAINST.items()
        if one in own
        for other in sorted(others & stated)
    ]
    if (own and _most_demanding(stated) is None) or pairs:
        wholes = sorted(n for n in own if find_terms(n).kind in ("share-alike", "copyleft"))
        pairs += [(one, other) for one in wholes[:1] for other in sorted(own - {one})]
    return tuple(
        f"{one} ({named[one]}) wants the whole merge under it, which {other} ({named[other]}) "
        f"{'is not known to' if find_terms(other).kind == 'unlisted' else 'does not'} allow"
        for one, other in pairs
    )


def _strangers(terms: Mapping[str, tuple[Terms, ...]]) -> tuple[str, ...]:
    """Parents that must not improve models of another family, beside one of another family."""
    named = {name: find_terms(name) for name in _by_licence(terms)}
    parents = _by_licence(terms)
    return tuple(
        f"{one} ({parents[one]}) must not be used to improve other language models, such as "
        f"{named[other].family} ({parents[other]})"
        for one, closed in sorted(named.items())
        if closed.closed
        for other, each in sorted(named.items())
        if each.family not in ("", closed.family)
    )


def name_license(licence: str) -> tuple[str, str, tuple[str, ...]]:
    """Identifier and name of one licence on the Hub, which lists not all, and what to do then."""
    if licence in HUB_LICENSES:
        return licence, "", ()
    if licence.startswith(UNNAMED):
        return "other", "", ("the parents' licence has no name",)
    name = re.sub(r"[^a-z0-9.]+", "-", licence).strip("-.")[:60]
    said = f"the parents are under {licence}, which the Hub does not list"
    return "other", name, (said,)


def _join(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
