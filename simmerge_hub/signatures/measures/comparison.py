"""Two sketches of one probe set side by side: all per position or layer, before averaging."""

from dataclasses import dataclass

import numpy as np

from simmerge_hub.errors import SignatureError
from simmerge_hub.signatures.measures import distributions, geometry
from simmerge_hub.signatures.measures.memo import memoize
from simmerge_hub.signatures.probing.sketch import Sketch

FEWEST_PROMPTS = 4
"""Prompts from which debiased CKA is defined."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """Model y against model x. P positions, L hidden layers, A attention layers (0 if missing).

    Args:
        forward, backward: float64 [P], KL(x‖y) and KL(y‖x) in nats.
        js: float64 [P], in nats.
        medians, tails: of forward, backward and js: the median and the 90 % quantile, float64 [3].
        agrees: bool [P], whether the most likely token is the same.
        hidden: float64 [L], mean over positions of the cosine of hidden states.
        cka: float64 [L], debiased linear CKA of the hidden states at the prompts' ends.
        attention_cosine, attention_js: float64 [A], means over heads and queries.
    """

    forward: np.ndarray
    backward: np.ndarray
    js: np.ndarray
    medians: np.ndarray
    tails: np.ndarray
    agrees: np.ndarray
    hidden: np.ndarray
    cka: np.ndarray
    attention_cosine: np.ndarray
    attention_js: np.ndarray


def comparable(x: Sketch, y: Sketch) -> bool:
    """Whether both saw the same tokens, and kept the same positions (of what others made, that is
    not known). One may know more tokens. SignatureError if they are of different probe sets."""
    if x.probes != y.probes:
        raise SignatureError(
            "two signatures were made with different probe sets for one task",
            hint="sign both models with the same --probes",
        )
    alike = x.tokens == y.tokens and bool(x.ids.size) == bool(y.ids.size)
    return alike and np.array_equal(x.ends, y.ends)


@memoize
def compare(x: Sketch, y: Sketch) -> Comparison:
    """Compare sketches of the same tokens; remembered as long as both live."""
    p, q = distributions.align_outcomes([x, y]).logprobs
    forward, backward, js = distributions.divergences(p, q)
    medians, tails = np.quantile((forward, backward, js), (0.5, 0.9), axis=1)
    same = x.hidden.shape == y.hidden.shape
    nothing = np.empty(0)
    return Comparison(
        forward=forward,
        backward=backward,
        js=js,
        medians=medians,
        tails=tails,
        agrees=_top(x) == _top(y),
        hidden=_hidden_cosine(x, y) if same else nothing,
        cka=_cka(x, y),
        **_attention(x, y),
    )


def _top(sketch: Sketch) -> np.ndarray:
    best = sketch.logprobs.argmax(1)
    return np.take_along_axis(sketch.ids, best[:, None], 1)[:, 0] if sketch.ids.size else best


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class Drift:
    """How a model's hidden states moved from its base's: one vector a layer, over all positions.

    `states` float32 [L, P·width], `squares` float64 [L] of their norms, `share` float64 [L] their
    norms over the base's. Empty if the two are of different width or depth.
    """

    states: np.ndarray
    squares: np.ndarray
    share: np.ndarray

    def cosine(self, other: "Drift") -> np.ndarray:
        """float64 [L], of the two models' drifts; empty if their widths or depths differ."""
        if self.states.shape != other.states.shape:
            return np.empty(0)
        return geometry.cosine_of(
            geometry.dot(self.states, other.states), self.squares, other.squares
        )


@memoize
def drift(base: Sketch, model: Sketch) -> Drift:
    """The drift of a model, remembered as long as both sketches live."""
    if base.hidden.shape != model.hidden.shape:
        return Drift(states=np.empty((0, 0)), squares=np.empty(0), share=np.empty(0))
    states = (model.hidden - base.hidden).reshape(len(base.hidden), -1)
    squares = geometry.dot(states, states)
    whole = base.hidden.reshape(len(base.hidden), -1)
    share = np.sqrt(squares / np.maximum(geometry.dot(whole, whole), 1e-30))
    return Drift(states=states, squares=squares, share=share)


def _hidden_cosine(x: Sketch, y: Sketch) -> np.ndarray:
    dot = geometry.dot(x.hidden, y.hidden)
    return geometry.cosine_of(dot, _squares(x), _squares(y)).mean(1)


@memoize
def _squares(sketch: Sketch) -> np.ndarray:
    return geometry.dot(sketch.hidden, sketch.hidden)


def _cka(x: Sketch, y: Sketch) -> np.ndarray:
    if len(x.depths) != len(y.depths) or x.ends.sum() < FEWEST_PROMPTS:
        return np.full(len(x.depths), np.nan)
    return geometry.cka(_grams(x), _grams(y))


@memoize
def _grams(sketch: Sketch) -> np.ndarray:
    return geometry.centred_gram(sketch.hidden[:, sketch.ends])


def _attention(x: Sketch, y: Sketch) -> dict[str, np.ndarray]:
    if not x.attention.size or x.attention.shape != y.attention.shape:
        return {"attention_cosine": np.empty(0), "attention_js": np.empty(0)}
    (a, log_a), (b, log_b) = _rows(x), _rows(y)
    return {
        "attention_cosine": geometry.cosine(a, b).mean((1, 2)),
        "attention_js": distributions.js(log_a, log_b).mean((1, 2)),
    }


@memoize
def _rows(sketch: Sketch) -> tuple[np.ndarray, np.ndarray]:
    """Attention rows as float32 probabilities that sum to 1, and their logarithms."""
    rows = sketch.attention.astype(np.float32)
    rows /= np.maximum(rows.sum(-1, keepdims=True), 1e-30)
    return rows, np.log(np.maximum(rows, 1e-30))
