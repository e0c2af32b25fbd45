"""HTML that is made of elements: whatever text stands in one is escaped, from whoever it is.

Every piece of HTML on the page comes from here, so no text of others is ever read as HTML.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from simmerge_hub.literal import printable, without_credentials


@dataclass(frozen=True, slots=True)
class Html:
    """HTML that may be shown as it is."""

    text: str


Part = Html | str
"""What stands in an element: HTML, or a text to be escaped."""
NOTHING = Html("")
VOID = {"img", "input"}
"""Elements that have no end."""


def element(tag: str, *parts: Part, **attributes: str) -> Html:
    """An element; `class_` and `aria_label` are the attributes `class` and `aria-label`."""
    given = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{_escape(value)}"'
        for name, value in attributes.items()
    )
    inner = "" if tag in VOID else f"{join(parts).text}</{tag}>"
    return Html(f"<{tag}{given}>{inner}")


def join(parts: Iterable[Part]) -> Html:
    """Several one after the other."""
    return Html("".join(p.text if isinstance(p, Html) else _escape(p) for p in parts))


def table(header: Iterable[Part], rows: Iterable[Iterable[Part]], caption: str = "") -> Html:
    """A table that scrolls sideways where there is no room."""
    head = element("tr", *(element("th", cell, scope="col") for cell in header))
    body = [element("tr", *(element("td", cell) for cell in row)) for row in rows]
    title = element("caption", caption) if caption else NOTHING
    return element(
        "div",
        element("table", title, element("thead", head), element("tbody", *body)),
        class_="sm-scroll", tabindex="0", role="region", aria_label=caption or "table",
    )  # fmt: skip


def bullets(items: Iterable[Part]) -> Html:
    """A list, or nothing if it is empty."""
    lines = [element("li", item) for item in items]
    return element("ul", *lines) if lines else NOTHING


def _escape(text: str) -> str:
    """A brace is written as a number too: gradio fills in templates that hold some."""
    quoted = escape(without_credentials(printable(text)), quote=True)
    return quoted.replace("{", "&#123;").replace("}", "&#125;")
