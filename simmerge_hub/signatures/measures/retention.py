"""What a response curve says: shares of answers kept, log-likelihood, and where half of it lies."""

import numpy as np

from simmerge_hub.signatures.measures.memo import memoize
from simmerge_hub.signatures.measures.ratios import MISSING, mean, ratio
from simmerge_hub.signatures.probing.dosing.response import Response

SMALLEST_GAIN = 0.05
"""Nats per token between base and model below which shares of it say nothing."""


@memoize
def answers_kept(response: Response) -> np.ndarray:
    """float64 [S]: the share of answers of which every token is the likeliest in its place."""
    return np.array([whole_share(kept, response.lengths) for kept in response.kept])


@memoize
def tokens_kept(response: Response) -> np.ndarray:
    """float64 [S]: the share of answer tokens that are the likeliest in their place."""
    return np.array([mean(kept.astype(np.float64)) for kept in response.kept])


@memoize
def logliks(response: Response) -> np.ndarray:
    """float64 [S]: mean log-likelihood per answer token, in nats."""
    return np.array([mean(each.astype(np.float64)) for each in response.logliks])


def whole_share(kept: np.ndarray, lengths: np.ndarray) -> float:
    """The share of answers, of those with a token at all, that are kept whole.

    Args:
        kept: bool [T], whether each token of all answers is.
        lengths: int [N], tokens of each answer.
    """
    answers = [part for part in np.split(kept, np.cumsum(lengths)[:-1]) if part.size]
    return mean(np.array([part.all() for part in answers], np.float64))


def regained(response: Response, loglik: float) -> float:
    """Where a log-likelihood per token lies between the base's (0) and the model's own (1)."""
    own, base = (float(logliks(response)[response.doses == dose][0]) for dose in (1, 0))
    return ratio(loglik - base, own - base if own - base >= SMALLEST_GAIN else 0.0)


def half_dose(response: Response) -> float:
    """The least dose at which half of the log-likelihood between base and model is regained.

    Linear between the doses measured; missing where the model's is hardly above the base's.
    """
    shares = np.array([regained(response, float(each)) for each in logliks(response)])
    doses = response.doses.astype(np.float64)
    for i in range(1, len(doses)):
        if shares[i] >= 0.5:
            step = (0.5 - shares[i - 1]) / (shares[i] - shares[i - 1])
            return float(doses[i - 1] + step * (doses[i] - doses[i - 1]))
    return MISSING


def retention_area(response: Response) -> float:
    """The area under the share of answers kept over doses from 0 to 1: at most 1."""
    inside = response.doses <= 1
    kept, doses = answers_kept(response)[inside], response.doses[inside].astype(np.float64)
    return float(((kept[1:] + kept[:-1]) / 2 * np.diff(doses)).sum())
