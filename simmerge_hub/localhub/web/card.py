"""A repository's card as HTML: Markdown of anybody, of which nothing runs and nothing is fetched.

HTML in a card is shown as the text it is. Links lead where they say, if that is a page or an
address; pictures are shown only if they are files of the repository.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

from simmerge_hub.documents import split_card
from simmerge_hub.localhub import cards
from simmerge_hub.localhub.web.html import Html

LARGEST_CARD = 500_000
"""Characters of a card that are rendered."""
ELSEWHERE = re.compile(r"https://huggingface\.co/(?P<id>[\w.-]+/[\w.-]+)/?")
"""A model's page on the public Hub, which may be here."""
SCHEMES = ("http", "https", "mailto")
Address = Callable[[str], str | None]
"""A path in the repository -> where it is served; None where there is no such file."""


def render_card(readme: str, *, file: Address, picture: Address, model: Address) -> Html:
    """The body of a card.

    Args:
        readme: the text of README.md; its front matter is left out.
        file: where a link to a file of the repository leads.
        picture: where a picture of the repository is served.
        model: where a model with this id is, if it is here.
    """
    text = split_card(readme)[1][:LARGEST_CARD]
    # commonmark nests at most twenty deep; `html: False` makes text of all HTML
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    tokens = parser.parse(text)
    for token in tokens:
        token.children = _safe(token.children or [], file, picture, model) or None
    return Html(parser.renderer.render(tokens, parser.options, {}))


def _safe(tokens: Sequence[Token], file: Address, picture: Address, model: Address) -> list[Token]:
    """The parts of a line with addresses that may be followed, and no others."""
    safe: list[Token] = []
    for token in tokens:
        if token.type == "link_open":
            token.attrs = {"href": _href(str(token.attrs.get("href", "")), file, model)}
            token.attrs |= {"rel": "noopener noreferrer nofollow"}
        if token.type == "image":
            token = _image(token, picture)
        safe.append(token)
    return safe


def _image(token: Token, picture: Address) -> Token:
    """A picture of the repository, or the words that stand for one from elsewhere."""
    source = picture(_inner_path(str(token.attrs.get("src", ""))))
    if source is None:
        return Token("text", "", 0, content=f"[picture: {token.content}]")
    token.attrs = {"src": source, "alt": ""}  # the renderer fills in the words
    return token


def _href(address: str, file: Address, model: Address) -> str:
    """Where a link may lead: a page elsewhere, a file here, a place on the card; else nowhere."""
    if address.startswith("#"):
        return address
    if known := ELSEWHERE.fullmatch(address):
        return model(known["id"]) or address
    try:
        scheme = urlsplit(address).scheme.lower()
    except ValueError:
        return "#"
    if scheme or address.startswith("//"):
        return address if scheme in SCHEMES else "#"
    return file(_inner_path(address)) or "#"


def _inner_path(address: str) -> str:
    """A path relative to the card; "" for an address of anything else."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    path = unquote(parts.path).removeprefix("./")
    return "" if parts.scheme or parts.netloc or path.startswith("/") else path


def quote_path(path: str) -> str:
    """A path of a repository in an address."""
    return quote(path, safe="/")


def facts(card: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """What a card's front matter says first of a repository."""
    keys = {
        "license": "licence", "base_model": "made from", "datasets": "datasets",
        "library_name": "library", "pipeline_tag": "task", "sdk": "made with", "tags": "tags",
    }  # fmt: skip
    values = ((shown, cards.as_list(card.get(key))) for key, shown in keys.items())
    return [(shown, texts) for shown, texts in values if texts]
