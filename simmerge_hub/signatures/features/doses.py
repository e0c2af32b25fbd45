"""Features of dose and response: what each model keeps of its own answers at parts of its delta.

They are of one model each, and say which merges it can bear: a mean leaves half of a delta, a sum
all of it. `cross` features are of a merge that was run: the mean of the two models. All are
optional: a predictor that was trained without them is not given them.
"""

from simmerge_hub.signatures.features.context import Pair
from simmerge_hub.signatures.features.registry import feature
from simmerge_hub.signatures.measures import retention
from simmerge_hub.signatures.measures.ratios import MISSING, mean
from simmerge_hub.signatures.probing.dosing.response import DOSES

PARTS = {"s03": 0.3, "s05": 0.5, "s07": 0.7, "s15": 1.5}
"""Group -> the dose it stands for."""


@feature("dose", sides=True, groups=tuple(PARTS), optional=True)
def dose_answers(pair: Pair, side: str, part: str) -> float:
    """Share of the model's own answers that base + s·Δ keeps whole."""
    response = pair.response(side)
    return float(retention.answers_kept(response)[_place(part)]) if response else MISSING


@feature("dose", sides=True, groups=tuple(PARTS), optional=True)
def dose_tokens(pair: Pair, side: str, part: str) -> float:
    """Share of the tokens of the model's own answers that base + s·Δ finds likeliest."""
    response = pair.response(side)
    return float(retention.tokens_kept(response)[_place(part)]) if response else MISSING


@feature("dose", sides=True, groups=tuple(PARTS), optional=True)
def dose_loglik(pair: Pair, side: str, part: str) -> float:
    """Log-likelihood per token of the model's own answers at base + s·Δ, in nats."""
    response = pair.response(side)
    return float(retention.logliks(response)[_place(part)]) if response else MISSING


@feature("dose", sides=True, optional=True)
def dose_gain(pair: Pair, side: str) -> float:
    """Log-likelihood per token of the model's own answers, its own minus the base's, in nats."""
    response = pair.response(side)
    if response is None:
        return MISSING
    logliks = retention.logliks(response)
    return float(logliks[DOSES.index(1.0)] - logliks[DOSES.index(0.0)])


@feature("dose", sides=True, optional=True)
def dose_half(pair: Pair, side: str) -> float:
    """The share of the delta at which half of the log-likelihood from base to model is reached."""
    response = pair.response(side)
    return retention.half_dose(response) if response else MISSING


@feature("dose", sides=True, optional=True)
def dose_area(pair: Pair, side: str) -> float:
    """Area under the share of answers kept whole, over shares of the delta from 0 to 1."""
    response = pair.response(side)
    return retention.retention_area(response) if response else MISSING


@feature("cross", sides=True, optional=True)
def cross_answers(pair: Pair, side: str) -> float:
    """Share of the model's own answers that the mean of both models keeps whole."""
    response, cross = pair.response(side), pair.cross.get(side)
    return retention.whole_share(cross.kept, response.lengths) if response and cross else MISSING


@feature("cross", sides=True, optional=True)
def cross_tokens(pair: Pair, side: str) -> float:
    """Share of the tokens of the model's own answers that the mean of both finds likeliest."""
    cross = pair.cross.get(side)
    return mean(cross.kept.astype(float)) if cross else MISSING


@feature("cross", sides=True, optional=True)
def cross_loglik(pair: Pair, side: str) -> float:
    """Log-likelihood per token of the model's own answers by the mean of both, in nats."""
    cross = pair.cross.get(side)
    return mean(cross.logliks.astype(float)) if cross else MISSING


@feature("cross", sides=True, optional=True)
def cross_regained(pair: Pair, side: str) -> float:
    """Where the mean of both lies between base (0) and model (1) by the answers' log-likelihood."""
    response, cross = pair.response(side), pair.cross.get(side)
    if response is None or cross is None:
        return MISSING
    return retention.regained(response, mean(cross.logliks.astype(float)))


def _place(part: str) -> int:
    return DOSES.index(PARTS[part])
