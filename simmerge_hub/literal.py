"""Text of others where it is shown: on a card and on a terminal it is text, and nothing else.

A licence, a config's value or a model's name may hold HTML, links, images, escape sequences and
marks that turn text around. Knows nothing about where the text comes from.
"""

import re

CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff"
    "\ufffe\uffff\U000e0000-\U000e007f]"
)
"""What a terminal or a browser acts on, or that turns or hides text, or that XML may not hold; not
tab and line break."""
CREDENTIALS = re.compile(r"(?<=://)[^/?#\s]+@")
"""`user:password@` of an address."""
ADDRESS = re.compile(r"(?i)(?<=[a-z])://|(?<=www)\.|(?<=mailto):")
"""What makes a browser's link of plain text."""


def printable(text: str) -> str:
    """A text with a replacement character for each that is not shown as itself."""
    return CONTROL.sub("\ufffd", text)


def without_credentials(text: str) -> str:
    """A text whose addresses have no names and passwords."""
    return CREDENTIALS.sub("", text)


def escaped_json(text: str) -> str:
    """JSON whose texts hold no such character: they are written as `\\uXXXX`."""
    return CONTROL.sub(_escape, text)


def literal(text: str) -> str:
    """A text of others as Markdown that shows it as it is: no HTML, link, image or code."""
    line = " ".join(printable(text).split()).replace("\\", "\\\\").replace("`", "'")
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace("[", "\\[").replace("]", "\\]")
    return ADDRESS.sub(lambda match: f"&#{ord(match[0][0])};{match[0][1:]}", line)


def code(text: str) -> str:
    """A text of others as inline code."""
    return f"`{' '.join(printable(text).split()).replace('`', chr(39))}`"


def fence(text: str) -> str:
    """What a block of code that holds this text begins and ends with."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    return "`" * max(3, longest + 1)


def _escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))
