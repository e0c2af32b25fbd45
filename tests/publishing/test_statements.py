"""What a card states of its licence: anything that YAML can hold, read without believing it."""

import pytest

from simmerge_hub.hub.resolve import front_matter
from simmerge_hub.publishing.card import card
from simmerge_hub.publishing.licenses.statements import read_licenses, read_link, stated_license
from tests.publishing.test_card import report


@pytest.mark.parametrize(
    ("written", "licences"),
    [
        ("license: mit", ["mit"]),
        ("license: >\n  mit\n", ["mit"]),
        ("license: [mit, apache-2.0, mit]", ["mit", "apache-2.0"]),
        ("license: other\nlicense_name: Falcon LLM", ["Falcon LLM"]),
        ("license_name: gemma", ["gemma"]),
        ("license: [other, mit]\nlicense_name: qwen", ["qwen", "mit"]),
        ("license: other", ["other"]),
        ("license: mit\nlicense_name: another", ["mit"]),
        # nothing, or nothing that can be read
        ("tags: [x]", []),
        ("license:", []),
        ("license: unknown", []),
        ("license: ''", []),
        ("license: []", []),
        ("license: no", []),
        ("license: 3.1", []),
        ("license: {mit: apache-2.0}", []),
        ("license: [a, {b: c}]", []),
        ("license: [[mit]]", []),
        ("license: &a [*a]", []),
        ("license: mit\nlicense: apache-2.0", []),
        ("license: !!python/name:os.system", []),
        ("<<: {license: mit}", ["mit"]),
        (f"license: {'x' * 97}", []),
        (f"license: [{', '.join(f'l{n}' for n in range(9))}]", []),
        ("license: other\nlicense_name: [mit]", ["other"]),
        ("license: other\nlicense_name: {a: b}", ["other"]),
    ],
)
def test_what_is_stated(written: str, licences: list[str]) -> None:
    data = front_matter(f"---\n{written}\n---\n# x\n")
    assert list(read_licenses(data)) == licences
    assert stated_license(data) == (", ".join(licences) or None)


@pytest.mark.parametrize(
    "link",
    ["javascript:alert(1)", "LICENSE", "http://a.example/L", "https://a b", "https://a/<x>",
     "https://a/)x", "https://me:secret@a/x", "https://a/\n# Owned", "https://a/\u202ex",
     f"https://a/{'x' * 300}", 3, ["https://a/x"], None],
)  # fmt: skip
def test_a_link_is_a_plain_web_address_or_none(link: object) -> None:
    assert read_link({"license_link": link}) == ""
    assert read_link({"license_link": "https://a.example/b/L?x=1#y"}) == (
        "https://a.example/b/L?x=1#y"
    )


def test_a_link_goes_with_the_licence_that_has_no_other_name() -> None:
    def front(**more: str) -> dict:
        made = report()
        for checkpoint in made.checkpoints.values():
            checkpoint.card.update({"license": "other"}, **more)  # pyright: ignore
        return front_matter(card(made, None))

    link = "https://a.example/L"
    assert front(license_name="Falcon LLM", license_link=link)["license_link"] == link
    assert front(license_name="Falcon LLM", license_link=link)["license_name"] == "falcon-llm"
    assert front(license_link=link)["license_link"] == link
    assert "qwen" in front(license_name="qwen", license_link=link)["license_link"].lower()
    assert "license_link" not in front(license_link="javascript:x")
