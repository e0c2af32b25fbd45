"""What is believed about one arm's reward: Bayesian linear regression with unknown noise.

A normal-inverse-gamma distribution over weights β and noise σ² of y = zᵀβ + ε, ε ~ N(0, σ²):
σ² ~ IG(shape, rate) and β ~ N(mean, σ² Λ⁻¹). It is updated one reward at a time by rank-one
changes of Λ's Cholesky factor, and by no inverse (formulas: Riquelme et al. 2018, ICLR). Knows
nothing about arms, features or files.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

SHAPE = RATE = 6.0
"""The prior of the noise where nothing else is known: about 1, so rewards are scaled to that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """A belief over d weights and the noise.

    Args:
        mean: float64 [d].
        root: float64 [d, d], lower triangular with a positive diagonal: Λ = root rootᵀ.
        shape: a of the noise's inverse gamma; likewise `rate`, its b.
    """

    mean: Floats
    root: Floats
    shape: float
    rate: float

    @property
    def precision(self) -> Floats:
        """Λ, float64 [d, d]."""
        return self.root @ self.root.T

    @property
    def noise(self) -> float:
        """The mean of σ²; the mode where the mean does not exist."""
        return self.rate / (self.shape - 1 if self.shape > 1 else self.shape + 1)


def prior(
    mean: Floats, precision: Floats, *, shape: float = SHAPE, rate: float = RATE
) -> Posterior:
    """The belief before any reward.

    Args:
        mean: [d], what the weights are expected to be.
        precision: [d] or [d, d]; how sure that is, in observations of σ² = 1.
        shape: of the noise's inverse gamma; likewise `rate`.
    """
    whole = np.diag(precision) if precision.ndim == 1 else precision
    return Posterior(
        mean=np.array(mean, np.float64), root=np.linalg.cholesky(whole), shape=shape, rate=rate
    )


def update(belief: Posterior, z: Floats, reward: float) -> Posterior:
    """The belief after one more reward for context `z` [d]; the old one is not changed."""
    root = _raised(belief.root, z)
    surprise = reward - z @ belief.mean
    gain = np.linalg.solve(root.T, np.linalg.solve(root, z))
    return Posterior(
        mean=belief.mean + gain * surprise,
        root=root,
        shape=belief.shape + 0.5,
        rate=belief.rate + 0.5 * float(surprise**2 * max(0.0, 1 - z @ gain)),
    )


def condition(
    belief: Posterior, contexts: Floats, rewards: Floats, *, weight: float | Floats = 1.0
) -> Posterior:
    """The belief after many rewards at once, in closed form.

    Args:
        belief: before them.
        contexts: [n, d].
        rewards: [n].
        weight: how much each counts, in (0, 1], or [n]; less than 1 trusts them less (a power
            prior).
    """
    if not len(rewards):
        return belief
    weights = np.broadcast_to(weight, rewards.shape)
    weighted = weights[:, None] * contexts
    root = np.linalg.cholesky(belief.precision + weighted.T @ contexts)
    error = rewards - contexts @ belief.mean
    pull = weighted.T @ error
    moved = np.linalg.solve(root.T, np.linalg.solve(root, pull))
    return Posterior(
        mean=belief.mean + moved,
        root=root,
        shape=belief.shape + 0.5 * float(weights.sum()),
        rate=belief.rate + 0.5 * max(0.0, float(weights @ error**2 - pull @ moved)),
    )


def faded(belief: Posterior, start: Posterior, *, keep: float) -> Posterior:
    """The belief with a share of what was learned since `start` forgotten.

    What counts is the evidence: precision, precision times mean, counts and squares each keep the
    share `keep` in (0, 1] of what they gained. With 1 nothing is forgotten, with 0 everything.
    """
    if keep == 1:
        return belief
    old, new = _evidence(start), _evidence(belief)
    precision, pull, shape, squares = (o + keep * (n - o) for o, n in zip(old, new, strict=True))
    root = np.linalg.cholesky(precision)
    mean = np.linalg.solve(root.T, np.linalg.solve(root, pull))
    rate = 0.5 * float(squares - pull @ mean)
    return Posterior(mean=mean, root=root, shape=float(shape), rate=max(rate, 1e-9))


def draw(belief: Posterior, random: np.random.Generator, *, explore: float = 1.0) -> Floats:
    """Weights [d] as they might be: one draw of σ², then of β.

    `explore` scales the spread around the mean: 1 is Thompson sampling, 0 the mean itself.
    """
    noise = belief.rate / random.gamma(belief.shape)
    spread = np.linalg.solve(belief.root.T, random.standard_normal(len(belief.mean)))
    return belief.mean + explore * np.sqrt(noise) * spread


def width(belief: Posterior, z: Floats) -> float:
    """√(zᵀΛ⁻¹z): the spread of zᵀβ in units of σ."""
    return float(np.linalg.norm(np.linalg.solve(belief.root, z)))


def _raised(root: Floats, z: Floats) -> Floats:
    """The Cholesky factor of root rootᵀ + z zᵀ, by one Givens rotation per column."""
    found, left = root.copy(), np.array(z, np.float64)
    for k in range(len(left)):
        length = np.hypot(found[k, k], left[k])
        cosine, sine = found[k, k] / length, left[k] / length
        column = found[k:, k].copy()
        found[k:, k] = cosine * column + sine * left[k:]
        left[k:] = cosine * left[k:] - sine * column
    return found


def _evidence(belief: Posterior) -> tuple[Floats, Floats, Floats, Floats]:
    """What adds up over rewards: Λ, Λμ, a, and 2b + μᵀΛμ."""
    precision = belief.precision
    pull = precision @ belief.mean
    squares = 2 * belief.rate + belief.mean @ pull
    return precision, pull, np.asarray(belief.shape), np.asarray(squares)
