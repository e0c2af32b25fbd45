"""What is kept of an expert's answers, by hand; answers from which nothing can be learned."""

import math

import numpy as np
import pytest

from simmerge_hub.signatures.merged.kept import summarise, why_worthless
from simmerge_hub.signatures.probing.dosing.response import ANSWER_TOKENS, DOSES, Cross, Response

OWN, BASE = DOSES.index(1.0), DOSES.index(0.0)


def respond(answers: list[list[int]], own: float = -0.1, base_keeps: bool = False) -> Response:
    """Answers of which each token has the log-likelihood `own`, and -2.1 for the base."""
    tokens = [token for answer in answers for token in answer]
    kept = np.zeros((len(DOSES), len(tokens)), np.bool_)
    kept[OWN], kept[BASE] = True, base_keeps
    logliks = np.full((len(DOSES), len(tokens)), -2.1, np.float32)
    logliks[OWN] = own
    return Response(
        probes="p",
        base="b",
        doses=np.array(DOSES, np.float32),
        answers=np.array(tokens, np.int32),
        lengths=np.array([len(answer) for answer in answers], np.int32),
        kept=kept,
        logliks=logliks,
    )


FIVE = [[n, n + 1, 0] for n in range(1, 6)]


def test_by_hand() -> None:
    response = respond([[1, 0], [2, 3, 0], []])
    reading = Cross(
        kept=np.array([True, True, True, False, True]),
        logliks=np.array([-0.1, -0.1, -1.1, -2.1, -1.1], np.float32),
    )
    kept = summarise(response, reading)
    assert kept.answers == pytest.approx(1 / 2)  # the empty one does not count
    assert kept.tokens == pytest.approx(4 / 5)
    assert kept.loglik == pytest.approx(-0.9)
    assert kept.regained == pytest.approx(0.6)
    assert kept.probability == pytest.approx((1 + math.exp(-4 / 3)) / 2)
    assert kept.confidence == pytest.approx(math.exp(-0.1))
    assert kept.base == 0
    assert kept.count == 2


def test_an_answer_counts_by_the_experts_confidence() -> None:
    response = respond([[1, 0], [2, 0]])
    response.logliks[OWN, 2:] = -1.0
    reading = Cross(kept=np.array([True, True, False, False]), logliks=response.logliks[OWN])
    kept = summarise(response, reading)
    assert kept.answers == 0.5
    assert kept.weighted == pytest.approx(math.exp(-0.1) / (math.exp(-0.1) + math.exp(-1)))


def test_the_expert_itself_keeps_all_and_the_base_nothing() -> None:
    response = respond(FIVE)
    own = summarise(response, Cross(kept=response.kept[OWN], logliks=response.logliks[OWN]))
    base = summarise(response, Cross(kept=response.kept[BASE], logliks=response.logliks[BASE]))
    assert (own.answers, own.weighted, own.probability) == pytest.approx((1, 1, 1))
    assert (own.regained, base.regained, base.answers) == pytest.approx((1, 0, 0))


@pytest.mark.parametrize(
    ("response", "why"),
    [
        (respond([[0]] * 10), "are empty"),
        (respond([[], [0], [0], [0]]), "are empty"),
        (respond([[n, *[7, 8] * (ANSWER_TOKENS // 2)][:ANSWER_TOKENS] for n in range(9)]), "never"),
        (respond([[4, 5, 0]] * 6), "the same answer to every prompt"),
        (respond(FIVE, own=-1.5), "sure of hardly any"),
        (respond(FIVE, base_keeps=True), "the base gives the same answers already"),
    ],
)
def test_what_says_nothing_is_named(response: Response, why: str) -> None:
    assert why in why_worthless(response)


@pytest.mark.parametrize(
    "response",
    [
        respond(FIVE),
        respond([[4, 0]] * 3),  # too few to say that all are the same
        respond([[n + k for k in range(ANSWER_TOKENS)] for n in range(5)]),  # long, no repetition
    ],
)
def test_other_answers_say_something(response: Response) -> None:
    assert why_worthless(response) == ""
