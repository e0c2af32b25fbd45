"""Learning which operator to use from the merges that were really made: a contextual bandit.

Neural-linear Thompson sampling (Riquelme et al. 2018): a representation gives a context, every arm
has a Bayesian linear head on it, one draw of each head decides. The heads start from outcomes that
were measured offline; after that an arm learns from its own rewards only. What was suggested and
reported is a `History`: the beliefs are a function of it, whatever order reports came in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from simmerge_hub.errors import BanditError, PredictorError
from simmerge_hub.operators import Arm
from simmerge_hub.selector import posterior, representation
from simmerge_hub.selector.history import History
from simmerge_hub.selector.posterior import Posterior
from simmerge_hub.selector.representation import Representation
from simmerge_hub.selector.rows import Floats, Rows, splits

FOLDS = 5
DRAWS = 2000
"""Draws that the probability of being best is counted in."""
ENOUGH = 40
"""Reports from which on a warm start is given up if it predicts worse than no prediction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a bandit learns.

    Args:
        explore: scales the spread of draws; 1 is Thompson sampling, less trusts the means more.
        trust: how much an offline outcome counts beside a reported one, 0 to 1.
        keep: share of what was learned that survives one further report; 1 forgets nothing.
        strength: of the prior that a head is what the representation predicts, in observations.
        scale: of the noise of a reward; contexts and rewards are divided by it, so that σ² ≈ 1.
        seed: of draws and of training.
    """

    explore: float = 0.3
    trust: float = 1.0
    keep: float = 1.0
    strength: float = 30.0
    scale: float = 0.25
    seed: int = 0

    def __post_init__(self) -> None:
        shares = 0 <= self.trust <= 1 and 0 < self.keep <= 1
        if not (shares and self.explore >= 0 and self.strength > 0 and self.scale > 0):
            raise BanditError(
                f"settings that make no sense: {self}",
                hint="trust and keep are shares; explore, strength and scale are not negative",
            )


@dataclass(frozen=True, kw_only=True)
class Bandit:
    """A bandit before any report.

    Args:
        arms: what it chose between at first; a history may add more.
        names: the features it reads; `schema` is theirs.
        schema: of the features.
        represent: features -> contexts.
        starts: each arm's belief from offline outcomes alone.
        values: offline features [n, f], for retraining; likewise `gains` [n, arms].
        gains: offline shares of the gap closed.
        settings: how it learns.
    """

    arms: tuple[Arm, ...]
    names: tuple[str, ...]
    schema: int
    represent: Representation
    starts: tuple[Posterior, ...]
    values: Floats
    gains: Floats
    settings: Settings

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The arms' names."""
        return tuple(a.label for a in self.arms)

    def all_arms(self, history: History) -> tuple[Arm, ...]:
        """The arms with those that were added."""
        return (*self.arms, *(a for a in history.added if a.label not in self.labels))

    def contexts(self, values: Floats) -> Floats:
        """[n, d] of features [n, f], scaled."""
        return self.represent.encode(values) / self.settings.scale

    def beliefs(self, history: History) -> dict[str, Posterior]:
        """Arm label -> what is believed after the history; the order of reports does not matter."""
        learned = history.learned
        values = np.array([s.values for s, _ in learned], np.float64).reshape(-1, len(self.names))
        contexts = self.contexts(values) if learned else np.zeros((0, self.represent.size))
        rewards = np.array([gain for _, gain in learned]) / self.settings.scale
        weights = self.settings.keep ** np.arange(len(learned))[::-1]
        chosen = np.array([s.arm for s, _ in learned])
        found = {}
        for arm, start in zip(self.all_arms(history), self._starts(history), strict=True):
            own = chosen == arm.label if learned else np.zeros(0, bool)
            found[arm.label] = posterior.condition(
                start, contexts[own], rewards[own], weight=weights[own]
            )
        return found

    def _starts(self, history: History) -> list[Posterior]:
        """The beliefs before reports; an added arm's are taken from what describes it."""
        starts = list(self.starts)
        for arm in self.all_arms(history)[len(self.arms) :]:
            kin = [i for i, a in enumerate(self.arms) if a.operator == arm.operator]
            starts.append(_newcomer([self.starts[i] for i in kin or range(len(self.arms))], self))
        return starts


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """An arm to try: its label, what is expected of it, and every arm's chance to be the best."""

    arm: str
    expected: float
    chance: Mapping[str, float]


def start(rows: Rows, settings: Settings | None = None, *, networks: int = 2) -> Bandit:
    """A bandit that has learned from measured outcomes.

    The heads learn from contexts that were predicted without the models they are about, so they
    know how far a prediction holds for models that are new.

    Args:
        rows: outcomes with features; all arms are known of each.
        settings: the defaults if None.
        networks: of the representation; 0: forests alone.

    Raises:
        PredictorError: too few models to hold any out.
    """
    chosen = settings or Settings()
    found = splits(rows, FOLDS, seed=chosen.seed, across=False)
    if not found:
        raise PredictorError(
            "no model can be held out: every training row shares one with every test row",
            hint="measure outcomes of more pairs of models",
        )
    held = np.full((len(rows), len(rows.arms) + 2), np.nan)
    for split in found:
        known = rows.take(split.train)
        held[split.test] = _represent(known, chosen.seed, min(networks, 1)).encode(
            rows.values[split.test]
        )
    tested = np.isfinite(held).all(axis=1)
    made = Bandit(
        arms=rows.arms,
        names=rows.names,
        schema=rows.schema,
        represent=_represent(rows, chosen.seed, networks),
        starts=(),
        values=rows.values,
        gains=rows.gains,
        settings=chosen,
    )
    contexts, rewards = held[tested] / chosen.scale, rows.gains[tested] / chosen.scale
    return replace(
        made,
        starts=tuple(
            posterior.condition(_identity(made, i), contexts, rewards[:, i], weight=chosen.trust)
            for i in range(len(rows.arms))
        ),
    )


def choose(
    bandit: Bandit, beliefs: Mapping[str, Posterior], values: Floats, *, number: int
) -> Choice:
    """Draw every arm's weights once and take the arm that is best by them.

    Args:
        bandit: whose context and settings.
        beliefs: of `Bandit.beliefs`.
        values: features [n, f] of one pair on n tasks; the mean over tasks decides.
        number: of the suggestion; with the seed it makes the draw.
    """
    context = bandit.contexts(np.atleast_2d(values)).mean(axis=0)
    random = np.random.default_rng([bandit.settings.seed, number])
    scores = {
        label: context @ posterior.draw(belief, random, explore=bandit.settings.explore)
        for label, belief in beliefs.items()
    }
    best = max(scores, key=lambda label: scores[label])
    return Choice(
        arm=best,
        expected=float(context @ beliefs[best].mean) * bandit.settings.scale,
        chance=chances(beliefs, context, random),
    )


def chances(
    beliefs: Mapping[str, Posterior], context: Floats, random: np.random.Generator
) -> dict[str, float]:
    """Arm label -> the probability that its mean reward here is the highest, by counting draws."""
    draws = np.stack(
        [
            context @ b.mean
            + posterior.width(b, context)
            * np.sqrt(b.rate / random.gamma(b.shape, size=DRAWS))
            * random.standard_normal(DRAWS)
            for b in beliefs.values()
        ]
    )
    shares = np.bincount(draws.argmax(axis=0), minlength=len(beliefs)) / DRAWS
    return dict(zip(beliefs, map(float, shares), strict=True))


def retrain(bandit: Bandit, history: History) -> Bandit:
    """Train the networks again on offline outcomes and on everything reported.

    Contexts of the past are computed from features whenever beliefs are, so they follow. Where
    what was expected at the time has a larger error than no expectation at all, the offline
    outcomes are left out from now on: the warm start was wrong.
    """
    learned = [(s, g) for s, g in history.learned if s.arm in bandit.labels]
    if not learned:
        return bandit
    values = np.array([s.values for s, _ in learned], np.float64)
    partial = np.full((len(learned), len(bandit.arms)), np.nan)
    for row, (suggestion, gain) in zip(partial, learned, strict=True):
        row[bandit.labels.index(suggestion.arm)] = gain
    wrong = len(bandit.gains) > 0 and misled(history)
    kept = bandit if not wrong else replace(bandit, values=values[:0], gains=bandit.gains[:0])
    forests = () if wrong else bandit.represent.forests
    made = replace(
        kept,
        represent=representation.fit(
            np.concatenate([kept.values, values]),
            np.concatenate([kept.gains, partial]),
            seed=bandit.settings.seed,
            networks=max(1, len(bandit.represent.networks)),
            forests=forests,
        ),
    )
    if not wrong:
        return made
    return replace(made, starts=tuple(_identity(made, i) for i in range(len(made.arms))))


def misled(history: History) -> bool:
    """Whether expectations were worse than expecting the mean of what was reported before."""
    pairs = [(s.expected, gain) for s, gain in history.learned]
    if len(pairs) < ENOUGH:
        return False
    expected, gains = np.array(pairs).T
    before = np.concatenate([[gains[0]], np.cumsum(gains)[:-1] / np.arange(1, len(gains))])
    return float(np.square(gains - expected).sum()) > float(np.square(gains - before).sum())


def _represent(rows: Rows, seed: int, networks: int) -> Representation:
    forests = representation.fit_forests(rows.values, rows.gains, seed=seed)
    return representation.fit(
        rows.values, rows.gains, seed=seed, networks=networks, forests=forests
    )


def _identity(bandit: Bandit, arm: int) -> Posterior:
    """The prior that a head is what the representation predicts: level plus the arm's lead."""
    mean = np.zeros(bandit.represent.size)
    mean[1] = mean[2 + arm] = 1.0
    return posterior.prior(mean, np.full(len(mean), bandit.settings.strength))


def _newcomer(kin: Sequence[Posterior], bandit: Bandit) -> Posterior:
    """The prior of a new arm: what its kin have in common, as surely as a prior knows anything."""
    mean = np.mean([belief.mean for belief in kin], axis=0)
    return posterior.prior(mean, np.full(len(mean), bandit.settings.strength))
