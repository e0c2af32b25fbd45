"""What is believed about a reward: Bayesian linear regression with unknown noise.

A normal-inverse-gamma distribution over weights β and noise σ² of y = zᵀβ + ε, ε ~ N(0, σ²):
σ² ~ IG(shape, rate) and β ~ N(mean, σ² root rootᵀ). One reward changes the root of the covariance
by one outer product (Potter's square-root filter; Bierman 1977), so it stays positive, and nothing
is solved or inverted. Knows nothing about arms, features or files.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

PRIOR_SHAPE = PRIOR_RATE = 6.0
"""The prior of the noise where nothing else is known: about 1, so rewards are scaled to that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """A belief over d weights and the noise.

    Args:
        mean: float64 [d].
        root: float64 [d, d]: the covariance is σ² root rootᵀ.
        shape: a of the noise's inverse gamma; likewise `rate`, its b.
    """

    mean: Floats
    root: Floats
    shape: float
    rate: float

    @property
    def covariance(self) -> Floats:
        """Of the weights in units of σ², float64 [d, d]."""
        return self.root @ self.root.T


def prior(size: int, *, spread: float = 1.0) -> Posterior:
    """The belief before any reward: every weight is 0, give or take `spread` σ."""
    return Posterior(
        mean=np.zeros(size), root=spread * np.eye(size), shape=PRIOR_SHAPE, rate=PRIOR_RATE
    )


def update(belief: Posterior, z: Floats, reward: float) -> Posterior:
    """The belief after one more reward for context `z` [d]; the old one is not changed."""
    seen = np.flatnonzero(z)
    turned = z[seen] @ belief.root[seen]
    pull = belief.root @ turned
    grown = 1 + float(turned @ turned)
    surprise = reward - float(z @ belief.mean)
    return Posterior(
        mean=belief.mean + pull * (surprise / grown),
        root=belief.root - pull[:, None] * (turned / (grown + np.sqrt(grown))),
        shape=belief.shape + 0.5,
        rate=belief.rate + 0.5 * surprise**2 / grown,
    )


def condition(
    belief: Posterior, contexts: Floats, rewards: Floats, *, weights: Floats, gram: Floats
) -> Posterior:
    """The belief after n rewards at once, in closed form.

    Args:
        belief: before them.
        contexts: [n, d].
        rewards: [n].
        weights: [n] in (0, 1]: how much each counts (a power prior).
        gram: [n, n], the covariance of zᵀβ before them in units of σ²: contexts Σ contextsᵀ, and
            more where rewards depend on weights too that this belief is not about.
    """
    lower = np.linalg.cholesky(gram + np.diag(1 / weights))
    known = np.linalg.solve(lower, contexts @ belief.root)
    error = np.linalg.solve(lower, rewards - contexts @ belief.mean)
    left = np.linalg.cholesky(np.eye(len(belief.mean)) - known.T @ known)
    return Posterior(
        mean=belief.mean + belief.root @ (known.T @ error),
        root=belief.root @ left,
        shape=belief.shape + 0.5 * float(weights.sum()),
        rate=belief.rate + 0.5 * float(error @ error),
    )


def draws(
    belief: Posterior,
    contexts: Floats,
    random: np.random.Generator,
    *,
    count: int = 1,
    explore: float | Floats = 1.0,
) -> Floats:
    """Mean rewards [count, n] of contexts [n, d] as they might be: each a draw of σ², then of β.

    `explore`, one number or [n, d], scales the spread: 1 is Thompson sampling, 0 the mean itself.
    """
    noise = np.sqrt(belief.rate / random.gamma(belief.shape, size=(count, 1)))
    steps = random.standard_normal((count, len(contexts)))
    return contexts @ belief.mean + noise * (steps @ _spread(belief, contexts * explore).T)


def widths(belief: Posterior, contexts: Floats) -> Floats:
    """√(zᵀΣz) of contexts [n, d]: the spread of zᵀβ in units of σ."""
    return np.linalg.norm(_project(belief, contexts), axis=1)


def _spread(belief: Posterior, contexts: Floats) -> Floats:
    """[n, n] s with s sᵀ = contexts Σ contextsᵀ, by which n numbers make a draw instead of d."""
    _, upper = np.linalg.qr(_project(belief, contexts).T)
    return upper.T


def _project(belief: Posterior, contexts: Floats) -> Floats:
    """contexts root, without the columns that no context has."""
    seen = np.flatnonzero(contexts.any(axis=0))
    return contexts[:, seen] @ belief.root[seen]
