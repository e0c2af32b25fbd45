"""HTML of text that is escaped, and pages that a browser is told to run nothing on.

Knows nothing about repositories.
"""

import base64
import hashlib
from html import escape

from starlette.responses import HTMLResponse, Response


class Html(str):
    """Text that is HTML already; a plain text never is."""


STYLE = """\
:root { color-scheme: light dark; --dim: light-dark(#57606a, #9aa4ae);
  --line: light-dark(#d0d7de, #3d444d); --soft: light-dark(#f6f8fa, #1c2128); }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 62rem; margin: 0 auto; padding: 1rem; }
h1, h2, h3 { line-height: 1.25; overflow-wrap: anywhere; }
header { border-bottom: 1px solid var(--line); margin-bottom: 1rem; }
header p, footer, .dim { color: var(--dim); }
pre, code { font-family: ui-monospace, monospace; font-size: .9em; background: var(--soft); }
pre { padding: .8rem; overflow-x: auto; border-radius: 6px; }
code { padding: .1em .3em; border-radius: 4px; } pre code { padding: 0; }
table { border-collapse: collapse; display: block; overflow-x: auto; margin: 1rem 0; }
th, td { border: 1px solid var(--line); padding: .3rem .6rem; text-align: left; }
td.number { text-align: right; white-space: nowrap; } img { max-width: 100%; }
blockquote { border-left: 4px solid var(--line); margin-left: 0; padding-left: 1rem; }
nav { margin: .5rem 0; } nav a { margin-right: 1rem; }
.tag { border: 1px solid var(--line); border-radius: 1em; padding: .1em .6em; font-size: .85em;
  margin-right: .3em; display: inline-block; }
"""
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
"""What a browser may do on a page: show it, its own style, and pictures of this server."""
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def element(tag: str, *inside: str, **attributes: str) -> Html:
    """An element; text inside is escaped unless it is Html, attributes always are."""
    given = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for name, value in attributes.items()
    )
    return Html(f"<{tag}{given}>{join(*inside)}</{tag}>")


def join(*parts: str) -> Html:
    """Pieces one after another, escaped unless they are Html."""
    return Html("".join(part if isinstance(part, Html) else escape(part) for part in parts))


def link(text: str, address: str) -> Html:
    """A link inside this server."""
    return element("a", text, href=address)


def table(header: list[str], rows: list[list[Html]]) -> Html:
    """A table with a line of headings."""
    head = element("tr", *(element("th", name) for name in header))
    return element("table", head, *(element("tr", *row) for row in rows))


def page(title: str, *inside: str, status: int = 200) -> Response:
    """A whole page."""
    head = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body>"
    )
    foot = element("footer", element("p", "localhub: a Hub on this machine only."))
    return HTMLResponse(f"{head}{join(*inside)}{foot}</body></html>", status, HEADERS)
