"""Learning which operator to use from the merges that were really made: a contextual bandit.

Thompson sampling after the neural-linear bandit (Riquelme et al. 2018), with a forest for the
network and residuals for rewards: what was trained offline forecasts every arm's gain, a Bayesian
linear regression learns by how much forecasts are wrong (`selector.bandit.corrections`), and one
draw of it decides. Before any report it is the offline forecast; after that it learns from the arms
that were tried only. What was suggested and reported is a `History`: the beliefs are a function of
it, whatever order reports came in.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from simmerge_hub.errors import BanditError
from simmerge_hub.operators import Arm
from simmerge_hub.selector.bandit import corrections, representation
from simmerge_hub.selector.bandit.corrections import Corrections, Report
from simmerge_hub.selector.bandit.history import History
from simmerge_hub.selector.bandit.representation import Representation
from simmerge_hub.selector.models import conditioned
from simmerge_hub.selector.tables.rows import Floats, Rows

DRAWS = 2000
"""Draws that the probability of being best is counted in."""
ENOUGH_REPORTS = 40
"""Reports from which on a warm start is given up if it predicts worse than no prediction."""

ROUNDING = 1e-9
"""A share by which sums of squares differ though they are the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a bandit learns.

    Args:
        explore: scales the spread of draws; 1 is Thompson sampling, less trusts the means more.
        trust: in the offline forecast, above 0, at most 1; less lets reports correct it faster.
        keep: share of what was learned that survives one further report; 1 forgets nothing.
        seed: of draws and of training.
    """

    explore: float = 0.05
    trust: float = 1.0
    keep: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        shares = 0 < self.trust <= 1 and 0 < self.keep <= 1
        if not (
            shares and 0 <= self.explore < np.inf and type(self.seed) is int and self.seed >= 0
        ):
            raise BanditError(
                f"a bandit cannot learn with explore {self.explore:g}, trust {self.trust:g}, "
                f"keep {self.keep:g} and seed {self.seed}",
                hint="trust and keep are above 0 and at most 1; explore is not negative; seed is "
                "a whole number from 0",
            )


@dataclass(frozen=True, kw_only=True)
class Bandit:
    """A bandit before any report.

    Args:
        arms: what it chose between at first; a history may add more.
        names: the features it reads; `schema` is theirs.
        schema: of the features.
        effect_names: what it reads of an arm on a pair (`signatures.merged.effects`).
        represent: features and effects -> forecasts.
        ties: of `corrections.ties`: which arms' errors go together.
        values: offline features [n, f], for retraining.
        effects: likewise [n, arms, e].
        gains: likewise [n, arms], shares of the gap closed.
        settings: how it learns.
    """

    arms: tuple[Arm, ...]
    names: tuple[str, ...]
    schema: int
    effect_names: tuple[str, ...]
    represent: Representation
    ties: Floats
    values: Floats
    effects: Floats
    gains: Floats
    settings: Settings

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The arms' names."""
        return tuple(a.label for a in self.arms)

    def all_arms(self, history: History) -> tuple[Arm, ...]:
        """The arms with those that were added."""
        return (*self.arms, *(a for a in history.added if a.label not in self.labels))

    def forecasts(self, values: Floats, effects: Floats, history: History) -> Floats:
        """[n, arms] gains of features [n, f] and effects [n, arms, e]; arms that were added are the
        last."""
        return self.represent.forecast(values, effects, self.all_arms(history))

    def beliefs(self, history: History, models: Sequence[str]) -> Corrections:
        """What the history says about these models; the order of reports does not matter."""
        arms, ties = self.all_arms(history), self.ties
        for arm in arms[len(self.arms) :]:
            ties = corrections.add_arm(ties, self._kin(arm))
        labels = [a.label for a in arms]
        reports = self._error_reports(history)
        count = len(arms) - len(self.arms)
        return corrections.believe(
            labels, ties, models, reports, unknown=count, trust=self.settings.trust
        )

    def _error_reports(self, history: History) -> list[Report]:
        """Reports as errors of today's forecasts; older ones count less if `keep` is below 1."""
        learned = history.reports
        if not learned:
            return []
        forecasts = self.represent.forecast_lines(self.lines(history, self.represent.operators))
        return [
            Report(
                arm=s.arm,
                expert=s.expert,
                auxiliary=s.auxiliary,
                error=gain - float(forecasts[i]),
                weight=self.settings.keep ** (len(learned) - 1 - i),
            )
            for i, (s, gain) in enumerate(learned)
        ]

    def lines(self, history: History, operators: Sequence[str]) -> Floats:
        """[n, inputs]: what was known of every arm that was reported, in the order of
        `History.reports`; these operators are told by name."""
        arms = {a.label: a for a in self.all_arms(history)}
        suggestions = [s for s, _ in history.reports]
        return conditioned.lines(
            np.array([s.values for s in suggestions], np.float64),
            np.array([s.effects for s in suggestions], np.float64),
            [arms[s.arm] for s in suggestions],
            operators,
        )

    def _kin(self, arm: Arm) -> list[int]:
        """The first arms of the same operator, else all of them."""
        kin = [i for i, a in enumerate(self.arms) if a.operator == arm.operator]
        return kin or list(range(len(self.arms)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """An arm to try: its label, and every arm's chance to be the best."""

    arm: str
    chance: Mapping[str, float]


def start(rows: Rows, settings: Settings | None = None) -> Bandit:
    """A bandit that has learned from measured outcomes.

    Args:
        rows: outcomes with features; all arms are known of each.
        settings: the defaults if None.
    """
    chosen = settings or Settings()
    operators = conditioned.operators(rows.arms)
    lines = conditioned.matrix(rows.values, rows.effects, rows.arms, operators)
    return Bandit(
        arms=rows.arms,
        names=rows.names,
        schema=rows.schema,
        effect_names=rows.effect_names,
        represent=representation.fit(lines, rows.gains.reshape(-1), operators, seed=chosen.seed),
        ties=corrections.ties(rows.gains),
        values=rows.values,
        effects=rows.effects,
        gains=rows.gains,
        settings=chosen,
    )


def choose(
    bandit: Bandit,
    beliefs: Corrections,
    forecasts: Floats,
    contexts: Floats,
    *,
    number: int,
    among: Collection[str] | None = None,
) -> Choice:
    """Draw the errors of forecasts once and take the arm that is best by them.

    Args:
        bandit: whose settings.
        beliefs: of `Bandit.beliefs`.
        forecasts: [arms] of a pair; the mean where it is asked about on several tasks.
        contexts: [arms, d] of `Corrections.contexts`, likewise.
        number: of the suggestion; with the seed it makes the draw.
        among: the labels of the arms that may be chosen; all if None.
    """
    allowed = [among is None or label in among for label in beliefs.arms]
    forecasts = np.where(allowed, forecasts, -np.inf)
    random = np.random.default_rng([bandit.settings.seed, number])
    drawn = beliefs.draws(contexts, random, explore=bandit.settings.explore)[0]
    best = int(np.argmax(forecasts + drawn))
    likely = (forecasts + beliefs.draws(contexts, random, count=DRAWS)).argmax(axis=1)
    shares = np.bincount(likely, minlength=len(beliefs.arms)) / DRAWS
    return Choice(
        arm=beliefs.arms[best],
        chance=dict(zip(beliefs.arms, map(float, shares), strict=True)),
    )


def retrain(bandit: Bandit, history: History) -> Bandit:
    """Train the representation again on offline outcomes and on all reports, of added arms too.

    Forecasts of the past are computed from what was known whenever beliefs are, so they follow.
    Where what was forecast at the time says less than nothing (`is_misled`), the offline outcomes
    are left out from now on: the warm start was wrong.
    """
    if not history.gains:
        return bandit
    kept = _drop_outcomes(bandit) if len(bandit.gains) and is_misled(bandit, history) else bandit
    operators = conditioned.operators(bandit.all_arms(history))
    offline = conditioned.matrix(kept.values, kept.effects, kept.arms, operators)
    gains = np.array([gain for _, gain in history.reports])
    represent = representation.fit(
        np.concatenate([offline, bandit.lines(history, operators)]),
        np.concatenate([kept.gains.reshape(-1), gains]),
        operators,
        seed=bandit.settings.seed,
    )
    return replace(kept, represent=represent)


def _drop_outcomes(bandit: Bandit) -> Bandit:
    return replace(
        bandit,
        ties=np.eye(len(bandit.arms)),
        values=bandit.values[:0],
        effects=bandit.effects[:0],
        gains=bandit.gains[:0],
    )


def is_misled(bandit: Bandit, history: History) -> bool:
    """Whether gains are told better by the mean of those before than by what was forecast.

    By how much forecasts are too high or low on the whole does not count: that is corrected. Nor do
    arms that were added: the offline outcomes know nothing of them.
    """
    known = [(s.forecast, gain) for s, gain in history.reports if s.arm in bandit.labels]
    if len(known) < ENOUGH_REPORTS:
        return False
    forecasts, gains = np.array(known).T
    return _squared_surprise(gains - forecasts) > (1 + ROUNDING) * _squared_surprise(gains)


def _squared_surprise(values: Floats) -> float:
    """The sum of squared distances [n] to the mean of the values before."""
    before = np.cumsum(values)[:-1] / np.arange(1, len(values))
    return float(np.square(values[1:] - before).sum())
