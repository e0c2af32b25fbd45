"""What a merge that was made keeps of an expert's own answers, in numbers; no label is needed.

An expert's answer counts by how sure the expert itself is of it: where it is not sure, another
answer is no worse a guess. Whether an answer is right is never known.
"""

from dataclasses import dataclass

import numpy as np

from simmerge_hub.signatures.measures.ratios import mean, ratio
from simmerge_hub.signatures.measures.retention import SMALLEST_GAIN, whole_share
from simmerge_hub.signatures.probing.dosing.response import ANSWER_TOKENS, DOSES, Cross, Response

MOSTLY = 0.9
"""A share of answers that is nearly all of them."""
PERIOD = 4
"""Tokens after which an answer that never ends says the same again, at most."""
LEAST_SURE = 0.5
"""Confidence in its own tokens below which an expert's answers are guesses."""
FEWEST_ANSWERS = 4
"""Fewer answers are not said to be all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What another model makes of an expert's answers to one task's probes.

    Args:
        answers: share of the answers that it would give to the last token, in [0, 1].
        tokens: share of the answers' tokens that are its likeliest, each after the expert's own.
        loglik: log-likelihood per token, in nats.
        regained: where that lies between the base's (0) and the expert's (1); not cut off.
        weighted: as `answers`, an answer counting by the expert's confidence in it.
        probability: mean over answers of how probable its tokens are over what they are for the
            expert, geometric means, at most 1 each.
        confidence: the expert's own probability of a token of its answer, geometric mean by
            answer, then their mean.
        base: share of the answers that the base would give.
        count: how many answers there are, of one token at least.
    """

    answers: float
    tokens: float
    loglik: float
    regained: float
    weighted: float
    probability: float
    confidence: float
    base: float
    count: int


def summarise(response: Response, reading: Cross) -> Kept:
    """What `reading` keeps of the answers that `response` holds; there must be one with a token."""
    lengths = response.lengths
    own, base = (DOSES.index(dose) for dose in (1.0, 0.0))
    sure = read_confidence(response)
    tokens = lengths[lengths > 0]
    lost = sum_by_answer(reading.logliks - response.logliks[own], lengths)
    whole = sum_by_answer(~reading.kept, lengths) == 0
    low, high, there = (
        mean(each.astype(np.float64))
        for each in (response.logliks[base], response.logliks[own], reading.logliks)
    )
    return Kept(
        answers=mean(whole.astype(np.float64)),
        tokens=mean(reading.kept.astype(np.float64)),
        loglik=there,
        regained=(there - low) / max(high - low, SMALLEST_GAIN),
        weighted=ratio(float(sure[whole].sum()), float(sure.sum())),
        probability=mean(np.exp(np.minimum(lost / tokens, 0.0))),
        confidence=mean(sure),
        base=whole_share(response.kept[base], lengths),
        count=len(tokens),
    )


def read_confidence(response: Response) -> np.ndarray:
    """float64 [answers with a token]: the expert's probability of its own answer, the geometric
    mean over its tokens, so that long answers count too."""
    lengths = response.lengths
    own = response.logliks[DOSES.index(1.0)]
    return np.exp(sum_by_answer(own, lengths) / lengths[lengths > 0])


def sum_by_answer(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """float64 [answers with a token]: sums of [T] values over each of them."""
    parts = np.split(values.astype(np.float64), np.cumsum(lengths)[:-1])
    return np.array([part.sum() for part in parts if part.size])


def why_worthless(response: Response) -> str:
    """Why nothing can be learned from an expert's answers to a task's probes; "" if it can."""
    answers = response.split_answers()
    share = _share_of_empty(response), _share_of_endless(answers), _share_of_commonest(answers)
    if share[0] >= MOSTLY:
        return "its own answers to the probes are empty"
    if share[1] >= MOSTLY:
        return "its own answers to the probes never end: they say the same again and again"
    if share[2] >= MOSTLY and len(answers) >= FEWEST_ANSWERS:
        return "it gives the same answer to every prompt"
    if mean(read_confidence(response)) < LEAST_SURE:
        return "it is sure of hardly any of its own answers to the probes"
    base = response.kept[DOSES.index(0.0)]
    if whole_share(base, response.lengths) >= MOSTLY:
        return "the base gives the same answers already: there is nothing to keep"
    return ""


def _share_of_empty(response: Response) -> float:
    """Of the answers that end at once; one of a single token is its end token."""
    return mean((response.lengths <= 1).astype(np.float64))


def _share_of_endless(answers: list[np.ndarray]) -> float:
    return mean(np.array([_repeats(answer) for answer in answers], np.float64))


def _repeats(answer: np.ndarray) -> bool:
    """Whether the second half of an answer that was cut off repeats itself."""
    if len(answer) < ANSWER_TOKENS:
        return False
    tail = answer[len(answer) // 2 :]
    return any((tail[step:] == tail[:-step]).all() for step in range(1, PERIOD + 1))


def _share_of_commonest(answers: list[np.ndarray]) -> float:
    texts = [tuple(answer.tolist()) for answer in answers]
    return max((texts.count(text) for text in set(texts)), default=0) / max(1, len(texts))
