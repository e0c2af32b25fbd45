"""What a card says that licences ask for, read back for whoever pushes the merge."""

from simmerge_hub.publishing.card import card
from simmerge_hub.publishing.licenses.duties import read_duties
from tests.publishing.test_card import report


def test_what_cards_say_is_read_back() -> None:
    (duty,) = read_duties(card(report(), None))
    assert duty.startswith("mit (org/base, org/code, org/math): ")
    assert duty.endswith("(https://spdx.org/licenses/mit)")
    assert "<" not in duty


def test_marks_of_markdown_are_gone() -> None:
    (warning, *_) = read_duties(card(report(code="[x](http://evil) <b>"), None))
    assert "[x](http://evil) <b>" in warning


def test_a_card_of_somebody_elses() -> None:
    assert read_duties("# Nothing\n\n- a list\n") == ()
