"""What a merge's card says its parents' licences ask for, for whoever shares the merge."""

import html
import re

HEADING = "\nLicences:\n"
"""Above what licences ask for, on the cards that `merge` writes."""
ITEM = re.compile(r"^- (.*)$", re.MULTILINE)
ESCAPED = re.compile(r"\\([\\\[\]])")


def read_duties(card: str) -> tuple[str, ...]:
    """The sentences on a card about its licences, as plain text; none where there are none."""
    block = card.rpartition(HEADING)[2].strip("\n").partition("\n\n")[0]
    if HEADING not in card:
        return ()
    return tuple(_plain(item) for item in ITEM.findall(block))


def _plain(item: str) -> str:
    """Markdown as `literal` writes it, as the text that it was."""
    text = re.sub(r"\(<(https?://\S+)>\)", r"(\1)", item)
    return html.unescape(ESCAPED.sub(r"\1", text))
