"""What a merge's card says its parents' licences ask for, for whoever shares the merge."""

import html
import re
from collections.abc import Iterable

from simmerge_hub.publishing.licenses.terms import TERMS
from simmerge_hub.publishing.licenses.verdict import Licence

HEADING = "\nLicences:\n"
"""Above what licences ask for, on the cards that `merge` writes."""
ITEM = re.compile(r"^- (.*)$", re.MULTILINE)
ESCAPED = re.compile(r"\\([\\\[\]])")


def list_duties(licence: Licence) -> tuple[str, ...]:
    """The sentences that the card of a merge of this licence has about it, as plain text."""
    asks = (f"{said} ({source})" if source else said for said, source in licence.terms)
    return (*licence.warnings, *asks)


def read_duties(card: str) -> tuple[str, ...]:
    """The sentences on a card about its licences, as plain text; none where there are none."""
    block = card.rpartition(HEADING)[2].strip("\n").partition("\n\n")[0]
    if HEADING not in card:
        return ()
    return tuple(_plain(item) for item in ITEM.findall(block))


def warn_of_name(duties: Iterable[str], repo_id: str) -> str:
    """What is said of a repository that licences want to be called otherwise; "" if none does."""
    stated = {duty.partition(" (")[0] for duty in duties}
    prefixes = {TERMS[each].prefix for each in stated & TERMS.keys()} - {""}
    name = _letters(repo_id.rpartition("/")[2])
    missing = [each for each in sorted(prefixes, key=len) if not name.startswith(_letters(each))]
    if not missing:
        return ""
    return (
        f'its name should begin with "{missing[-1].replace(" ", "-")}", which {repo_id} does not: '
        "push it under another name"
    )


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _plain(item: str) -> str:
    """Markdown as `literal` writes it, as the text that it was."""
    text = re.sub(r"\(<(https?://\S+)>\)", r"(\1)", item)
    return html.unescape(ESCAPED.sub(r"\1", text))
