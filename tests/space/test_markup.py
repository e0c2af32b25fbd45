"""Whatever text stands in an element is text."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simmerge_hub.space.markup import Html, bullets, element, join, table

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "${alert(1)} {{alert(1)}}",
    "</td></tr></table><iframe>",
    "&lt;b&gt; &amp;",
]


class Seen(HTMLParser):
    """The tags, the attributes and the text of HTML, as a browser reads them."""

    def __init__(self, html: Html) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: dict[str, str | None] = {}
        self.words = ""
        self.feed(html.text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= dict(attrs)

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.mark.parametrize("text", HOSTILE)
def test_text_of_others_stays_text_wherever_it_stands(text: str) -> None:
    seen = Seen(element("p", text, title=text))
    assert seen.tags == ["p"]
    assert seen.words == text
    assert seen.attributes == {"title": text}
    assert set(Seen(table([text], [[text]], caption=text)).tags) == {
        "div", "table", "caption", "thead", "tr", "th", "tbody", "td",
    }  # fmt: skip
    assert Seen(bullets([text, text])).tags == ["ul", "li", "li"]


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r"), max_size=40))
def test_no_text_makes_a_tag_or_an_attribute(text: str) -> None:
    seen = Seen(element("span", text, class_=text))
    assert seen.tags == ["span"]
    assert list(seen.attributes) == ["class"]
    assert "{" not in element("span", text).text


def test_what_a_browser_acts_on_is_replaced_and_passwords_are_left_out() -> None:
    assert join(["a\u202eb\x00"]).text == "a\ufffdb\ufffd"
    assert join(["http://name:secret@host/x"]).text == "http://host/x"


def test_elements_nest() -> None:
    html = element("div", element("img", src="a.png"), "1 < 2", class_="x", aria_label="y")
    assert html.text == '<div class="x" aria-label="y"><img src="a.png">1 &lt; 2</div>'
    assert bullets([]).text == ""
