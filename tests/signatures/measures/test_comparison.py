"""Two sketches side by side: which may be compared, and what is empty where they differ."""

from dataclasses import replace

import numpy as np
import pytest

from simmerge_hub.errors import SignatureError
from simmerge_hub.signatures.measures.comparison import comparable, compare, drift
from tests.signatures.by_hand import sketch

ONE = sketch([[0.5, 0.5], [0.25, 0.75]], [[1, 0], [3, 4]])
OTHER = sketch([[0.5, 0.5], [0.75, 0.25]], [[0, 2], [3, 4]])


def test_what_may_be_compared() -> None:
    assert comparable(ONE, OTHER)
    assert not comparable(ONE, replace(OTHER, tokens="others"))
    assert comparable(ONE, replace(OTHER, vocabulary=3))
    few = {"ids": np.zeros((2, 2), np.int32), "tail": np.zeros(2, np.float32)}
    assert not comparable(ONE, replace(OTHER, **few))
    assert not comparable(ONE, replace(OTHER, ends=np.array([True, False])))
    with pytest.raises(SignatureError, match="different probe sets") as caught:
        comparable(ONE, replace(OTHER, probes="others"))
    assert caught.value.hint == "sign both models with the same --probes"


def test_tokens_that_were_kept_agree_by_their_id() -> None:
    ids = {"ids": np.array([[7, 9], [7, 9]], np.int32), "tail": np.full(2, -20, np.float32),
           "vocabulary": 10}  # fmt: skip
    first = replace(ONE, **ids)
    second = replace(OTHER, **{**ids, "ids": np.array([[9, 7], [9, 7]], np.int32)})
    # most likely: 7 (a tie, the first) and 9 of the one; 9 and 9 of the other
    assert compare(first, second).agrees.tolist() == [False, True]


def test_another_width_leaves_hidden_states_out() -> None:
    wide = sketch([[0.5, 0.5], [0.75, 0.25]], [[0, 2, 0], [3, 4, 0]])
    seen = compare(ONE, wide)
    assert seen.hidden.shape == (0,)
    assert seen.js.shape == (2,)
    assert drift(ONE, wide).share.shape == (0,)
    assert drift(ONE, OTHER).cosine(drift(ONE, wide)).shape == (0,)


def test_a_drift_by_hand() -> None:
    moved = drift(ONE, OTHER)
    assert moved.states.tolist() == [[-1, 2, 0, 0]]
    assert moved.squares.tolist() == [5]
    assert moved.share == pytest.approx([np.sqrt(5 / 26)])
    back = drift(OTHER, ONE)
    assert moved.cosine(moved) == pytest.approx([1])
    assert moved.cosine(back) == pytest.approx([-1])


def test_attention_is_compared_as_probabilities() -> None:
    """Rows of float16 need not sum to 1: (0.4, 0.4) is (½, ½)."""
    first, second = (
        replace(ONE, attention=np.array([[[row]]], np.float16)) for row in ([0.4, 0.4], [0.8, 0.0])
    )
    seen = compare(first, second)
    assert seen.attention_cosine == pytest.approx([np.sqrt(0.5)], rel=1e-3)
    middle = (0.75, 0.25)
    wanted = 0.5 * (0.5 * np.log(0.5 / middle[0]) + 0.5 * np.log(0.5 / middle[1]))
    wanted += 0.5 * np.log(1 / middle[0])
    assert seen.attention_js == pytest.approx([wanted], rel=1e-3)
    assert compare(first, ONE).attention_js.shape == (0,)
