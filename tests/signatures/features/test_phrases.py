"""Every feature can be said in plain words."""

import pytest

from simmerge_hub.signatures.features.phrases import LEVEL_NAMES, PHRASES, phrase, subject
from simmerge_hub.signatures.features.vector import KNOWN


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize(("value", "rank"), [(0.0, 0.0), (-1.25, 0.5), (1e4, 1.0)])
def test_a_feature_is_a_clause(name: str, value: float, rank: float) -> None:
    said = phrase(KNOWN[name].says, value, rank)
    assert not set("{}") & set(said)
    assert said[0].islower()
    assert not said.endswith(".")
    assert any(digit in said for digit in "0123456789")


def test_no_phrase_is_left_over() -> None:
    roots = {name.partition(".")[0] for name in KNOWN}
    roots |= {root.removesuffix(f"_{side}") for root in roots for side in ("expert", "auxiliary")}
    assert roots >= PHRASES.keys()


@pytest.mark.parametrize(("rank", "place"), [(0.0, 0), (0.33, 0), (0.5, 1), (0.67, 2), (1.0, 2)])
def test_the_level_is_the_third_it_lies_in(rank: float, place: int) -> None:
    for word, levels in LEVEL_NAMES.items():
        assert (
            phrase(f"it is {{{word}}} ({{value}})", 0.02, rank) == f"it is {levels[place]} (0.02)"
        )


def test_the_side_the_group_and_the_logarithm() -> None:
    norm = KNOWN["delta_norm_auxiliary.attention"].says
    assert phrase(norm, 0.0213, 0.1) == (
        "the other model's delta in the attention blocks is small (0.021 of the base)"
    )
    ratio = KNOWN["delta_log_ratio.all"].says
    assert phrase(ratio, 0.6931, 0.1) == "the expert's delta is 2 times the other's"


@pytest.mark.parametrize("name", KNOWN)
def test_what_a_feature_is_about_names_neither_value_nor_side_of_training(name: str) -> None:
    about = subject(KNOWN[name].says)
    assert about
    assert "{" not in about
    assert "auxiliary" not in about
    assert "_" not in about
