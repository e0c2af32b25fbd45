"""What the bandit expects of a pair: features, and what an arm is and does -> the arm's gain.

An arm of a pair is a line (`selector.models.conditioned`): the pair's features, what the arm does
to the pair, what the arm is. One forest learns from lines. A pair of which one arm is known is a
line alone, so the forest can be grown again on what a bandit was told, and an arm that was never
measured has a forecast, too. Knows nothing about posteriors or files.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from simmerge_hub.operators import Arm
from simmerge_hub.selector.models import conditioned, heads
from simmerge_hub.selector.tables.rows import Floats

TREES, ETA = 1200, 0.02
"""Slower than the predictor's forest, and more trees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Representation:
    """How lines become forecasts.

    Args:
        operators: that lines tell by name.
        forest: XGBoost's JSON.
    """

    operators: tuple[str, ...]
    forest: str = field(repr=False)

    def forecast(self, values: Floats, effects: Floats, arms: Sequence[Arm]) -> Floats:
        """[n, arms]: gains of any arms, from features [n, f] and effects [n, arms, e]."""
        lines = conditioned.matrix(values, effects, arms, self.operators)
        return self.forecast_lines(lines).reshape(len(values), len(arms))

    def forecast_lines(self, lines: Floats) -> Floats:
        """[n]: gains of lines [n, inputs], in [-1, 1.5]."""
        return conditioned.predict_lines(heads.booster(self.forest), lines)


def fit(lines: Floats, gains: Floats, operators: Sequence[str], *, seed: int) -> Representation:
    """Grow the forest on one thread.

    Args:
        lines: [n, inputs], at least one.
        gains: [n].
        operators: that lines tell by name.
        seed: of subsampling.
    """
    from xgboost import DMatrix, train

    data = DMatrix(lines, label=gains, nthread=1)
    grown = train(conditioned.SETTINGS | {"eta": ETA, "seed": seed}, data, num_boost_round=TREES)
    return Representation(operators=tuple(operators), forest=heads.text(grown))
