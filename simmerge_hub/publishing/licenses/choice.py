"""The licence of a merge as somebody chose it, on the card that is published."""

import re
from collections.abc import Iterable

from simmerge_hub.documents import read_yaml, split_card
from simmerge_hub.errors import OutputError
from simmerge_hub.literal import literal
from simmerge_hub.publishing.licenses.verdict import name_license
from simmerge_hub.recipe import dump_yaml

CONFLICT = "simmerge_license_conflict"
"""Key in a card's front matter: why no licence fits, until somebody chooses one."""
NO_LICENSE = "Licence: none fits all parents"
"""How the line on a card begins that says so."""


def settle_license(card: str, chosen: str | None) -> str:
    """The text of a card, ready to be published: with the licence that somebody chose, if any.

    Raises:
        OutputError: no licence fits all parents, and none was chosen.
    """
    head, body = split_card(card)
    data = read_yaml(head) or {}
    conflicts = data.pop(CONFLICT, None)
    if chosen is None:
        if conflicts:
            raise refuse_conflicts(conflicts)
        return card
    identifier, name, _ = name_license(chosen.lower())
    data |= {"license": identifier} | ({"license_name": name} if name else {})
    data.pop("license_link", None)
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
