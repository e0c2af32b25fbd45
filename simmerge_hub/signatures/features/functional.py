"""Features of behaviour: of the pair, and of each model against the base (its drift).

Divergences are in nats, averaged over the positions kept of the prompts; `end` means the prompts'
last positions, where an answer would begin.
"""

from collections.abc import Sequence

import numpy as np

from simmerge_hub.signatures.features.context import SIDES, Pair
from simmerge_hub.signatures.features.registry import feature
from simmerge_hub.signatures.measures.blocks import THIRDS
from simmerge_hub.signatures.measures.comparison import drift
from simmerge_hub.signatures.measures.memo import memoize
from simmerge_hub.signatures.measures.ratios import log_ratio, mean
from simmerge_hub.signatures.probing.sketch import Sketch

DEPTHS = ("all", *THIRDS)


@feature("behaviour", sides=True)
def kl_mean(pair: Pair, side: str) -> float:
    """Mean of KL(this model‖the other)."""
    return float(_kl(pair, side).mean())


@feature("behaviour", sides=True)
def kl_median(pair: Pair, side: str) -> float:
    """Median of KL(this model‖the other)."""
    return float(pair.between.medians[SIDES.index(side)])


@feature("behaviour", sides=True)
def kl_q90(pair: Pair, side: str) -> float:
    """The 90 % quantile of KL(this model‖the other)."""
    return float(pair.between.tails[SIDES.index(side)])


@feature("behaviour")
def js_mean(pair: Pair) -> float:
    """Mean Jensen-Shannon divergence of the two models."""
    return float(pair.between.js.mean())


@feature("behaviour")
def js_median(pair: Pair) -> float:
    """Median Jensen-Shannon divergence."""
    return float(pair.between.medians[2])


@feature("behaviour")
def js_q90(pair: Pair) -> float:
    """The 90 % quantile of the Jensen-Shannon divergence."""
    return float(pair.between.tails[2])


@feature("behaviour")
def js_end(pair: Pair) -> float:
    """Mean Jensen-Shannon divergence at the prompts' ends."""
    return float(pair.between.js[_ends(pair)].mean())


@feature("behaviour")
def agreement(pair: Pair) -> float:
    """Share of positions where both find the same token most likely."""
    return float(pair.between.agrees.mean())


@feature("behaviour")
def agreement_end(pair: Pair) -> float:
    """Share of prompts after which both find the same token most likely."""
    return float(pair.between.agrees[_ends(pair)].mean())


@feature("behaviour", groups=DEPTHS)
def hidden_cosine(pair: Pair, depth: str) -> float:
    """Mean cosine of the two models' hidden states."""
    return _at(depth, pair.between.hidden, pair.sketch("expert").depths)


@feature("behaviour", groups=("all", "late"))
def hidden_cka(pair: Pair, depth: str) -> float:
    """Debiased linear CKA of the hidden states at the prompts' ends."""
    return _at(depth, pair.between.cka, pair.sketch("expert").depths)


@feature("behaviour", "attention")
def attention_cosine(pair: Pair) -> float:
    """Mean cosine of attention rows, query 0 left out."""
    return mean(pair.between.attention_cosine)


@feature("behaviour", "attention")
def attention_js(pair: Pair) -> float:
    """Mean Jensen-Shannon divergence of attention rows, query 0 left out."""
    return mean(pair.between.attention_js)


@feature("behaviour", swap="negated")
def loss_difference(pair: Pair) -> float:
    """Loss of the expert on the prompts' text minus the auxiliary's, nats per token."""
    return _loss(pair.sketch("expert")) - _loss(pair.sketch("auxiliary"))


@feature("behaviour", swap="negated")
def entropy_difference(pair: Pair) -> float:
    """Entropy of the expert at the prompts' ends minus the auxiliary's."""
    return _entropy(pair.sketch("expert")) - _entropy(pair.sketch("auxiliary"))


@feature("behaviour", swap="negated")
def confidence_log_ratio(pair: Pair) -> float:
    """Log of the expert's probability of its most likely token at the ends over the auxiliary's."""
    return _confidence(pair.sketch("expert")) - _confidence(pair.sketch("auxiliary"))


@feature("behaviour", "base", sides=True)
def drift_kl(pair: Pair, side: str) -> float:
    """Mean of KL(base‖model)."""
    return float(pair.drift(side).forward.mean())


@feature("behaviour", "base", sides=True)
def drift_kl_q90(pair: Pair, side: str) -> float:
    """The 90 % quantile of KL(base‖model)."""
    return float(pair.drift(side).tails[0])


@feature("behaviour", "base", sides=True)
def drift_kl_end(pair: Pair, side: str) -> float:
    """Mean of KL(base‖model) at the prompts' ends."""
    return float(pair.drift(side).forward[_ends(pair)].mean())


@feature("behaviour", "base", sides=True)
def drift_agreement_end(pair: Pair, side: str) -> float:
    """Share of prompts after which model and base find the same token most likely."""
    return float(pair.drift(side).agrees[_ends(pair)].mean())


@feature("behaviour", "base", sides=True, groups=("all", "late"))
def drift_hidden(pair: Pair, side: str, depth: str) -> float:
    """Distance of the model's hidden states from the base's, over the base's norm."""
    return _at(depth, drift(pair.base_sketch, pair.sketch(side)).share, pair.base_sketch.depths)


@feature("behaviour", "base", sides=True)
def drift_cka(pair: Pair, side: str) -> float:
    """One minus the debiased CKA of model and base at the prompts' ends."""
    return 1 - mean(pair.drift(side).cka)


@feature("behaviour", "base", "attention", sides=True)
def drift_attention(pair: Pair, side: str) -> float:
    """Mean Jensen-Shannon divergence of the model's attention rows from the base's."""
    return mean(pair.drift(side).attention_js)


@feature("behaviour", "base", swap="negated")
def drift_kl_log_ratio(pair: Pair) -> float:
    """Log of the expert's KL from the base over the auxiliary's."""
    return log_ratio(drift_kl(pair, "expert"), drift_kl(pair, "auxiliary"))


@feature("behaviour", "base", swap="negated")
def drift_hidden_log_ratio(pair: Pair) -> float:
    """Log of the expert's hidden-state distance from the base over the auxiliary's."""
    return log_ratio(*(drift_hidden(pair, side, "all") for side in SIDES))


@feature("behaviour", "base", "attention", swap="negated")
def drift_attention_log_ratio(pair: Pair) -> float:
    """Log of the expert's attention divergence from the base over the auxiliary's."""
    return log_ratio(*(drift_attention(pair, side) for side in SIDES))


@feature("behaviour", "base", groups=DEPTHS)
def drift_hidden_cosine(pair: Pair, depth: str) -> float:
    """Cosine of the two models' hidden-state deltas from the base."""
    return _at(depth, pair.drift_cosine, pair.base_sketch.depths)


@feature("behaviour", "base")
def drift_fisher_cosine(pair: Pair) -> float:
    """Cosine of the two models' log-probability deltas, weighted by the base's probabilities."""
    return pair.fisher_cosines[0]


@feature("behaviour", "base")
def drift_fisher_cosine_end(pair: Pair) -> float:
    """The same at the prompts' ends only."""
    return pair.fisher_cosines[1]


@feature("behaviour", "base", sides=True)
def drift_loss(pair: Pair, side: str) -> float:
    """Loss of the model on the prompts' text minus the base's, nats per token."""
    return _loss(pair.sketch(side)) - _loss(pair.base_sketch)


@feature("behaviour", "base", sides=True)
def drift_entropy(pair: Pair, side: str) -> float:
    """Entropy of the model at the prompts' ends minus the base's."""
    return _entropy(pair.sketch(side)) - _entropy(pair.base_sketch)


def _kl(pair: Pair, side: str) -> np.ndarray:
    return pair.between.forward if side == "expert" else pair.between.backward


def _ends(pair: Pair) -> np.ndarray:
    return pair.sketch("expert").ends


def _at(depth: str, values: np.ndarray, depths: Sequence[float] | np.ndarray) -> float:
    """The mean over layers whose middle lies in that third of the model's depth."""
    if depth == "all" or not len(values):
        return mean(values)
    third = np.minimum((3 * np.asarray(depths)).astype(int), 2)
    return mean(values[third == THIRDS.index(depth)])


@memoize
def _loss(sketch: Sketch) -> float:
    return float(sketch.loss.mean(dtype=np.float64))


@memoize
def _entropy(sketch: Sketch) -> float:
    return float(sketch.entropy[sketch.ends].mean(dtype=np.float64))


@memoize
def _confidence(sketch: Sketch) -> float:
    return float(sketch.logprobs[sketch.ends].max(1).mean(dtype=np.float64))
