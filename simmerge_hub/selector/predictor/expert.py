"""How probable it is, by the probes, that a model is the expert. Names and scores are better.

A model that was trained to answer a kind of prompt is more certain of how the answer begins, even
on prompts without answers; it need not have the lower loss on the prompts themselves. On the zoo
(1,607 pairs of which one model is the expert) the surer of the two is the expert in 95 % of pairs,
the one with the lower loss in 53 %, the one whose predictions moved farther from the base in 74 %.
All of these models are small, and the probes are of the kind the expert was trained on: on others
the rule is worth nothing, and whether it holds at billions of parameters is not known.
"""

import math

from simmerge_hub.signatures.features.vector import Features

DOUBT = "entropy_difference"
"""Entropy of the first model where answers begin minus the second's, in nats."""
STEEPNESS = 4.0
"""What a nat of less doubt adds to the log of the odds; the zoo's own optimum is 7.8, so a guess is
rather too modest."""
SUREST = 0.99
"""No guess is surer, though on the zoo none of 776 such guesses was wrong."""


def probability(pair: Features) -> float:
    """How probable it is that the first model of a pair is the expert, given that one of them is.

    Args:
        pair: features of the pair (first, second) on the task. The answer for (second, first) is
            one minus this.

    Returns:
        In [0.01, 0.99], or NaN if the models' behaviour on the probes could not be compared.
    """
    share = 1 / (1 + math.exp(STEEPNESS * pair[DOUBT]))
    return share if math.isnan(share) else min(SUREST, max(1 - SUREST, share))
