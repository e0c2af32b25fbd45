"""What the bandit expects of a pair: features, and what an arm is and does -> the arm's gain.

An arm of a pair is a line (`selector.conditioned`): the pair's features, what the arm does to the
pair, what the arm is. Small networks learn from lines, those of one pair together: how well any arm
does is one error, by how much arms differ another. A pair of which one arm is known is a line
alone, so they can be retrained on what a bandit was told, and an arm that was never measured has a
forecast, too. A forest learns from the same lines, and the mean of both is taken. Training needs
torch; forecasting is numpy and XGBoost. Knows nothing about posteriors or files.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np

from simmerge_hub.operators import Arm
from simmerge_hub.selector import conditioned, heads, network
from simmerge_hub.selector.network import Networks, Training
from simmerge_hub.selector.outcomes import HIGHEST, LOWEST
from simmerge_hub.selector.rows import Floats, Places

STEPS, BATCH, DROPOUT = 600, 32, 0.4
"""Of the networks' training: steps, pairs in each, dropout."""
LEADS = 5.0
"""How much errors between the arms of a pair count beside that of their mean."""
NETWORKS = 2
TREES, ETA = 800, 0.02
"""Of the forest: slower than the predictor's, which has more rows to learn from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Representation:
    """How lines become forecasts.

    Args:
        operators: that lines tell by name.
        networks: they have one output; there may be none.
        forest: XGBoost's JSON.
    """

    operators: tuple[str, ...]
    networks: Networks
    forest: str = field(repr=False)

    def forecast(self, values: Floats, effects: Floats, arms: Sequence[Arm]) -> Floats:
        """[n, arms]: gains of any arms, from features [n, f] and effects [n, arms, e]."""
        lines = conditioned.matrix(values, effects, arms, self.operators)
        return self.of_lines(lines).reshape(len(values), len(arms))

    def of_lines(self, lines: Floats) -> Floats:
        """[n]: gains of lines [n, inputs], in [-1, 1.5]."""
        grown = conditioned.of_lines(heads.booster(self.forest), lines)
        if not self.networks.networks:
            return grown
        said = np.clip(self.networks.outputs(lines)[:, 0], LOWEST, HIGHEST)
        return (grown + said) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """What is learned from.

    Args:
        known: [n, inputs].
        gains: [n].
        groups: places of the lines about one pair and task.
    """

    known: Floats
    gains: Floats
    groups: tuple[Places, ...]

    def and_told(self, known: Floats, gains: Floats, about: Sequence[Hashable]) -> "Lines":
        """With more lines [n, inputs]; those `about` the same belong together."""
        places: dict[Hashable, list[int]] = {}
        for place, key in enumerate(about, len(self.gains)):
            places.setdefault(key, []).append(place)
        return Lines(
            known=np.concatenate([self.known, known]),
            gains=np.concatenate([self.gains, gains]),
            groups=(*self.groups, *map(np.array, places.values())),
        )


def lines(
    values: Floats, effects: Floats, gains: Floats, arms: Sequence[Arm], operators: Sequence[str]
) -> Lines:
    """Of features [n, f], effects [n, arms, e] and gains [n, arms], all of which are known."""
    return Lines(
        known=conditioned.matrix(values, effects, arms, operators),
        gains=gains.reshape(-1),
        groups=tuple(np.arange(gains.size).reshape(gains.shape)),
    )


def fit(
    learned: Lines, operators: Sequence[str], *, seed: int, networks: int = NETWORKS
) -> Representation:
    """Train the networks and the forest.

    Args:
        learned: at least one line.
        operators: that lines tell by name.
        seed: of initial weights, dropout, batches and subsampling.
        networks: how many; 0 leaves it to the forest.
    """
    knots = network.quantiles(learned.known)
    ranked = network.ranks(learned.known, knots)
    how = Training(steps=STEPS, batch=BATCH, dropout=DROPOUT, leads=LEADS)
    nets = tuple(
        network.train_on_groups(
            ranked, learned.gains, learned.groups, how, seed=1000 * seed + number
        )
        for number in range(networks)
    )
    return Representation(
        operators=tuple(operators),
        networks=Networks(knots=knots, networks=nets),
        forest=_forest(learned, seed=seed),
    )


def _forest(learned: Lines, *, seed: int) -> str:
    from xgboost import DMatrix, train

    data = DMatrix(learned.known, label=learned.gains, nthread=1)
    return heads.text(
        train(conditioned.SETTINGS | {"eta": ETA, "seed": seed}, data, num_boost_round=TREES)
    )
