"""By how much forecasts are wrong: what one report says about other pairs and other arms.

A forecast errs alike wherever the same expert or the same auxiliary takes part, and arms that did
alike offline err alike. So the error of an arm on a pair is the sum of three effects: one of all
pairs, one of the expert, one of the auxiliary; each has a level, that all arms share, and a part
per arm, of which arms that go together have similar ones. All of it is one Bayesian linear
regression (`selector.bandit.posterior`) on contexts that say who takes part. Models that were never
seen have the effects of the prior: none, give or take.

Of an arm that was added nothing was measured before: its forecast is by what it is and does. By how
much it does better or worse than that is an effect of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from simmerge_hub.selector.bandit import posterior
from simmerge_hub.selector.bandit.posterior import Posterior
from simmerge_hub.selector.tables.rows import Floats

NOISE = 0.25
"""Spread of a reward where all effects are known, in shares of the gap."""
LEVEL_SPREADS = {"all": 0.1, "one": 0.13}
"""Spread of the effect that all arms share, in shares of the gap: of all pairs, of one model."""
LEAD_SPREADS = {"all": 0.01, "one": 0.04}
"""Likewise of an arm's own part; larger ones cost more than reports teach (docs/log.md)."""
LEAST_OWN_PART = 0.5
"""At least this much of an added arm's part is its own, and not that of the arms it is like."""
NEW_ARM_SPREAD = 0.15
"""Spread of an unknown arm's gain less its forecast, in shares of the gap; three times that of the
first arms' offline means, with which it would hardly be tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report: by how much the gain of an arm was above its forecast, and how much it counts."""

    arm: str
    expert: str
    auxiliary: str
    error: float
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrections:
    """What is believed about the errors of forecasts.

    Args:
        arms: their labels.
        ties: [arms, k]: arm a's part of an effect is ties[a] times k independent numbers.
        unknown: of how many of the arms, the last ones, nothing was measured offline.
        models: name -> its place among the effects.
        belief: over all effects, in units of their spreads.
    """

    arms: tuple[str, ...]
    ties: Floats
    unknown: int
    models: Mapping[str, int]
    belief: Posterior

    def contexts(self, expert: str, auxiliary: str) -> Floats:
        """[arms, d]: which effects take part; those of other models than these have no place."""
        size = self.ties.shape[1] + 1
        contexts = np.zeros((len(self.arms), size * (1 + 2 * len(self.models)) + self.unknown))
        places = [("all", 0)]
        places += [("one", 1 + 2 * self.models[m]) for m in (expert,) if m in self.models]
        places += [("one", 2 + 2 * self.models[m]) for m in (auxiliary,) if m in self.models]
        for kind, place in places:
            block = contexts[:, size * place : size * (place + 1)]
            block[:, 0] = LEVEL_SPREADS[kind] / NOISE
            block[:, 1:] = LEAD_SPREADS[kind] / NOISE * self.ties
        for last in range(1, self.unknown + 1):
            contexts[-last, -last] = NEW_ARM_SPREAD / NOISE
        return contexts

    def learn(self, context: Floats, error: float) -> "Corrections":
        """After one more reward, in `context` [d], that was `error` above its forecast."""
        return replace(self, belief=posterior.update(self.belief, context, error / NOISE))

    def means(self, contexts: Floats) -> Floats:
        """Errors [arms] as expected, in shares of the gap."""
        return NOISE * (contexts @ self.belief.mean)

    def draws(
        self, contexts: Floats, random: np.random.Generator, *, count: int = 1, explore: float = 1.0
    ) -> Floats:
        """Errors [count, arms] as they might be, in shares of the gap.

        `explore` scales the spread of everything but what unknown arms have of their own: unless it
        is 0, they are explored in full, and never more than that.
        """
        scale = np.full(contexts.shape, explore)
        if self.unknown and 0 < explore < 1:
            scale[:, -self.unknown :] = 1
            own, seen = contexts[-self.unknown :], scale[-self.unknown :]
            full, part = (posterior.widths(self.belief, z) for z in (own, own * seen))
            seen *= np.minimum(1, full / part)[:, None]
        drawn = posterior.draws(self.belief, contexts, random, count=count, explore=scale)
        return NOISE * np.asarray(drawn, np.float64)


def believe(
    arms: Sequence[str],
    ties: Floats,
    models: Sequence[str],
    reports: Sequence[Report],
    *,
    unknown: int = 0,
    trust: float = 1.0,
) -> Corrections:
    """What reports say about these models; costs what their number does, not that of all models.

    Args:
        arms: labels.
        ties: of `ties`, a row per arm.
        models: that are asked about.
        reports: reports about these and other models.
        unknown: of how many of the arms, the last ones, nothing was measured offline.
        trust: in forecasts, in (0, 1]: effects have 1 / trust times their variance.
    """
    size, spread = (ties.shape[1] + 1) * (1 + 2 * len(models)), trust**-0.5
    before = Corrections(
        arms=tuple(arms),
        ties=ties,
        unknown=unknown,
        models={name: i for i, name in enumerate(models)},
        belief=posterior.prior(size + unknown, spread=spread),
    )
    if not reports:
        return before
    places = [before.arms.index(t.arm) for t in reports]
    own = np.eye(len(arms))[places, len(arms) - unknown :]
    belief = posterior.condition(
        before.belief,
        np.array(
            [
                before.contexts(t.expert, t.auxiliary)[a]
                for t, a in zip(reports, places, strict=True)
            ]
        ),
        np.array([t.error for t in reports]) / NOISE,
        weights=np.array([t.weight for t in reports]),
        gram=_prior_covariance(reports, ties[places], own) * (spread / NOISE) ** 2,
    )
    return replace(before, belief=belief)


def _prior_covariance(reports: Sequence[Report], tied: Floats, own: Floats) -> Floats:
    """[n, n]: how errors go together before any is known; `tied` [n, k] are their arms' ties, `own`
    [n, unknown] says which unknown arm each is about."""
    alike = tied @ tied.T
    covariance = (
        LEVEL_SPREADS["all"] ** 2
        + LEAD_SPREADS["all"] ** 2 * alike
        + NEW_ARM_SPREAD**2 * (own @ own.T)
    )
    for names in ([t.expert for t in reports], [t.auxiliary for t in reports]):
        numbers = np.unique(names, return_inverse=True)[1]
        same = numbers[:, None] == numbers
        covariance = covariance + same * (
            LEVEL_SPREADS["one"] ** 2 + LEAD_SPREADS["one"] ** 2 * alike
        )
    return covariance


def ties(gains: Floats) -> Floats:
    """[arms, arms] from offline gains [n, arms]: what leads that go together have in common.

    The symmetric fourth root of the leads' covariance: their correlation, drawn half-way to none,
    because few pairs of models are behind it.
    """
    leads = gains - gains.mean(axis=1, keepdims=True)
    values, vectors = np.linalg.eigh(leads.T @ leads)
    roots = (vectors * np.maximum(values, 0) ** 0.25) @ vectors.T
    size = np.sqrt(np.square(roots).sum(axis=1).mean())
    return roots / size if size > 0 else np.eye(len(roots))


def add_arm(before: Floats, kin: Sequence[int]) -> Floats:
    """Ties with a row for an arm that is like the mean of its kin, and a column that is its own."""
    row = before[list(kin)].mean(axis=0)
    own = max(1 - float(row @ row), LEAST_OWN_PART**2) ** 0.5
    return np.block([[before, np.zeros((len(before), 1))], [row[None], np.array([[own]])]])
