"""What a card says that licences ask for, read back for whoever pushes the merge."""

import pytest

from simmerge_hub.publishing.card import card
from simmerge_hub.publishing.licenses.duties import read_duties, warn_of_name
from tests.publishing.test_card import report


def test_what_cards_say_is_read_back() -> None:
    (duty,) = read_duties(card(report(), None))
    assert duty.startswith("mit (org/base, org/code, org/math): ")
    assert duty.endswith("(https://spdx.org/licenses/MIT.html)")
    assert "<" not in duty


def test_marks_of_markdown_are_gone() -> None:
    (warning, *_) = read_duties(card(report(code="[x](http://evil) <b>"), None))
    assert "[x](http://evil) <b>" in warning


def test_a_card_of_somebody_elses() -> None:
    assert read_duties("# Nothing\n\n- a list\n") == ()


@pytest.mark.parametrize(
    ("licences", "name", "wanted"),
    [
        ({"code": "llama3.1"}, "org/code-math", "Llama"),
        ({"code": "llama3.1"}, "llama/code-math", "Llama"),
        ({"code": "llama3.1"}, "org/Llama-3.1-code-math", ""),
        ({"code": "llama3", "math": "llama3"}, "org/llama-code-math", "Llama-3"),
        ({"code": "llama3", "math": "llama3.1"}, "org/llama_3-code-math", ""),
        ({"code": "llama3", "math": "llama3.1"}, "org/code-math", "Llama-3"),
        ({"code": "gemma"}, "org/code-math", ""),
    ],
)
def test_a_name_that_licences_want(licences: dict[str, str], name: str, wanted: str) -> None:
    said = warn_of_name(read_duties(card(report(**licences), None)), name)
    assert bool(said) == bool(wanted)
    assert not wanted or f'begin with "{wanted}", which {name} does not' in said
