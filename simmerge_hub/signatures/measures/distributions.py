"""Next-token distributions of several models on the same tokens, made comparable; KL and JS.

Whole distributions are compared as they are. Of the most likely tokens only, those that all models
kept are compared one by one and the rest as one outcome: by the data-processing inequality the
result is a lower bound, close where the kept tokens hold most of the probability.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np

from simmerge_hub.signatures.measures.memo import memoize
from simmerge_hub.signatures.probing.sketch import LOGPROB_FLOOR, Sketch


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignedDistributions:
    """Distributions over the same outcomes.

    Args:
        logprobs: per model float32 [P, outcomes] in nats; the last outcome is "any other token"
            where `ids` is not empty.
        ids: int32 [P, outcomes − 1], the tokens; −1 where a position has fewer.
    """

    logprobs: tuple[np.ndarray, ...]
    ids: np.ndarray


def align_outcomes(sketches: Sequence[Sketch]) -> AlignedDistributions:
    """The distributions of sketches of the same tokens over outcomes they all know.

    What only some vocabularies have is left out: it is given that the token is one that all have.
    """
    fewest = min(sketch.vocabulary for sketch in sketches)
    sketches = [_narrow(sketch, fewest) for sketch in sketches]
    first = sketches[0]
    if not first.ids.size:
        return AlignedDistributions(logprobs=tuple(s.logprobs for s in sketches), ids=first.ids)
    flat = [_sort_tokens(s) for s in sketches]
    common = reduce(lambda a, b: np.intersect1d(a, b, assume_unique=True), (k for k, _ in flat))
    rows = common // first.vocabulary
    starts = np.searchsorted(rows, np.arange(len(first.ids)))
    columns = np.arange(len(common)) - starts[rows]
    width = int(columns.max(initial=-1)) + 1
    ids = np.full((len(first.ids), width), -1, np.int32)
    ids[rows, columns] = common % first.vocabulary
    return AlignedDistributions(
        logprobs=tuple(
            _densify(sketch, values[np.searchsorted(keys, common)], rows, columns, width)
            for sketch, (keys, values) in zip(sketches, flat, strict=True)
        ),
        ids=ids,
    )


def _narrow(sketch: Sketch, vocabulary: int) -> Sketch:
    """The sketch of the same model if it could say only the first tokens of its vocabulary."""
    if sketch.vocabulary == vocabulary:
        return sketch
    ids = sketch.ids if sketch.ids.size else np.arange(sketch.logprobs.shape[1])
    beyond = np.where(ids < vocabulary, 0.0, np.exp(sketch.logprobs.astype(np.float64))).sum(1)
    left = np.log(np.maximum(1 - beyond, np.exp(LOGPROB_FLOOR))).astype(np.float32)
    scaled = np.where(ids < vocabulary, sketch.logprobs - left[:, None], LOGPROB_FLOOR)
    return replace(
        sketch,
        vocabulary=vocabulary,
        logprobs=scaled if sketch.ids.size else scaled[:, :vocabulary],
        ids=np.where(ids < vocabulary, ids, -1).astype(np.int32) if sketch.ids.size else sketch.ids,
        tail=sketch.tail - left if sketch.tail.size else sketch.tail,
    )


@memoize
def _sort_tokens(sketch: Sketch) -> tuple[np.ndarray, np.ndarray]:
    """Every kept token as (position · vocabulary + id), ascending, and its log-probability."""
    rows = np.arange(len(sketch.ids), dtype=np.int64)[:, None]
    keys = (rows * sketch.vocabulary + sketch.ids)[sketch.ids >= 0]
    order = np.argsort(keys)
    return keys[order], sketch.logprobs[sketch.ids >= 0][order]


def _densify(
    sketch: Sketch, values: np.ndarray, rows: np.ndarray, columns: np.ndarray, width: int
) -> np.ndarray:
    """float32 [P, width + 1]: the common tokens, and last the probability of all others."""
    logprobs = np.full((len(sketch.ids), width + 1), LOGPROB_FLOOR, np.float32)
    logprobs[rows, columns] = values
    own = np.where(sketch.ids >= 0, np.exp(sketch.logprobs.astype(np.float64)), 0).sum(1)
    shared = np.bincount(rows, np.exp(values.astype(np.float64)), minlength=len(own))
    rest = np.exp(sketch.tail.astype(np.float64)) + own - shared
    logprobs[:, -1] = np.log(np.maximum(rest, np.exp(LOGPROB_FLOOR)))
    return logprobs


def kl(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """KL(p‖q) in nats over the last axis, of log-probabilities [..., outcomes]."""
    return np.maximum((np.exp(p) * (p - q)).sum(-1, dtype=np.float64), 0.0)


def divergences(p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """KL(p‖q), KL(q‖p) and their JS as `kl` and `js` give them, each exponential taken once."""
    first, second = np.exp(p), np.exp(q)
    middle = np.log(np.maximum(0.5 * (first + second), np.exp(LOGPROB_FLOOR)))
    forward, backward, one, other = (
        np.maximum(np.einsum("...i,...i->...", weight, ratio, dtype=np.float64), 0.0)
        for weight, ratio in (
            (first, p - q), (second, q - p), (first, p - middle), (second, q - middle)
        )
    )  # fmt: skip
    return forward, backward, 0.5 * (one + other)


def js(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """½KL(p‖m) + ½KL(q‖m) with m = (p + q)/2, in nats, of log-probabilities [..., outcomes]."""
    middle = np.log(np.maximum(0.5 * (np.exp(p) + np.exp(q)), np.exp(LOGPROB_FLOOR)))
    return 0.5 * (kl(p, middle) + kl(q, middle))
