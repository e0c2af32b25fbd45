"""What is kept of a model's answers to its probes, read at parts of its delta."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DOSES = (0.0, 0.3, 0.5, 0.7, 1.0, 1.5)
"""Shares of its delta that a model is run at."""
ANSWER_TOKENS = 16
"""Tokens of an answer at most."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class Response:
    """One model's answers to one probe set, and what base + s·Δ makes of them.

    N prompts, T tokens in all answers, S doses.

    Args:
        probes: digest of the probe set.
        base: digest of the base's content.
        doses: float32 [S], the s, ascending.
        answers: int32 [T], the model's greedy answers one after the other, end tokens included.
        lengths: int32 [N], tokens of each answer; 0 where the prompt leaves no room for one.
        kept: bool [S, T], whether the token is the likeliest after the prompt and the answer so
            far.
        logliks: float32 [S, T], log-likelihood of the token there, in nats.
    """

    probes: str
    base: str
    doses: np.ndarray
    answers: np.ndarray
    lengths: np.ndarray
    kept: np.ndarray
    logliks: np.ndarray

    def split_answers(self) -> list[np.ndarray]:
        """N times int32 [tokens]: each prompt's answer by itself."""
        return np.split(self.answers, np.cumsum(self.lengths)[:-1])

    def sequences(self, prompts: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
        """The N prompts' token ids, each followed by those of its answer."""
        answers = self.split_answers()
        return [(*ids, *answer.tolist()) for ids, answer in zip(prompts, answers, strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cross:
    """What another model makes of the answers of one: the mean of two, or a merge that was made.

    Args:
        kept: bool [T], of that model's response, whether the token is the other's likeliest there.
        logliks: float32 [T], log-likelihood of the token there, in nats.
    """

    kept: np.ndarray
    logliks: np.ndarray
