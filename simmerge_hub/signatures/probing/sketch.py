"""What is kept of one forward pass of a model over a probe set: numbers, and no model.

Of every prompt a few positions are kept, always its end (where an answer would begin): the
next-token distribution there, the hidden state after some layers, and for two of them the
attention rows. How they are had is in `forward`.
"""

from dataclasses import dataclass

import numpy as np

TOKENS = 128
"""Prompts are cut after this many tokens."""
POSITIONS = 8
"""Positions kept of each prompt, its end included."""
QUERIES = 2
"""Positions of each prompt whose attention rows are kept, its end included."""
HIDDEN_LAYERS = 8
ATTENTION_LAYERS = 4
"""Layers kept, evenly spread with the last one among them; all of a shallower model."""
SKETCH_WIDTH = 256
"""Wider hidden states are projected to this many numbers, inner products kept on average."""
WHOLE_VOCABULARY = 4096
"""Up to this vocabulary distributions are kept whole; above, the TOP_TOKENS most likely."""
TOP_TOKENS = 256
LOGPROB_FLOOR = -80.0
"""The least log-probability kept: e^-80 is nothing, but not minus infinity."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class Sketch:
    """One model on one probe set. N prompts, P positions kept in all, L and A layers, H heads.

    Args:
        probes: digest of the probe set.
        tokens: digest of the token ids; sketches of different tokens are never compared.
        vocabulary: tokens the model can predict.
        logprobs: float32 [P, V] in nats; [P, 256], falling, for a vocabulary above 4096.
        ids: int32 [P, 256], whose log-probabilities these are; empty if all are kept.
        tail: float32 [P], log of the probability not kept; empty if all are kept.
        entropy: float32 [P] in nats, of the whole distribution.
        loss: float32 [N], mean negative log-likelihood of the prompt's own tokens in nats.
        ends: bool [P], which positions are a prompt's last.
        hidden: float32 [L, P, width], hidden states after L layers.
        depths: float32 [L], depth of those layers: (number + ½) / layers.
        attention: float16 [A, H, Q, keys], rows of Q queries; 0 beyond the query. Empty if the
            model does not let its attention be replaced.
        attention_depths: float32 [A].
    """

    probes: str
    tokens: str
    vocabulary: int
    logprobs: np.ndarray
    ids: np.ndarray
    tail: np.ndarray
    entropy: np.ndarray
    loss: np.ndarray
    ends: np.ndarray
    hidden: np.ndarray
    depths: np.ndarray
    attention: np.ndarray
    attention_depths: np.ndarray
