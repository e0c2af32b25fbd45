"""The arm-conditioned model: one XGBoost forest for all arms, told what an arm is and does.

Beside the pair's features it reads what the arm's operator is (on deltas or weights, density,
scale, how far its weights lean on the expert, its name among those trained) and what it does to
this pair (`signatures.merged.effects`). So it learns from every arm about each, and can score an
arm that was never measured.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from simmerge_hub.operators import Arm, find
from simmerge_hub.selector.models import heads
from simmerge_hub.selector.tables.availability import Pattern, hide, patterns
from simmerge_hub.selector.tables.outcomes import HIGHEST, LOWEST
from simmerge_hub.selector.tables.rows import Floats, Places, Rows
from simmerge_hub.signatures.merged.effects import EFFECTS

if TYPE_CHECKING:
    from xgboost import Booster

SETTINGS = heads.SETTINGS | {"max_depth": 5, "min_child_weight": 5}
TREE_COUNTS = (100, 200, 300, 400)
"""Numbers of trees that compete inside the training rows."""
STATIC = ("arm_on_deltas", "arm_density", "arm_scale", "arm_lean")


def fit(rows: Rows, *, trees: int, seed: int) -> "Booster":
    """One forest for all arms, trained on `rows` and on copies of them with families hidden."""
    from xgboost import DMatrix, train

    inputs, gains = examples(rows, seed)
    weights = heads.example_weights(
        rows, np.repeat(np.tile(np.arange(len(rows)), 2), len(rows.arms))
    )
    data = DMatrix(inputs, label=gains, weight=weights, nthread=1)
    return train(SETTINGS | {"seed": seed}, data, num_boost_round=trees)


def examples(rows: Rows, seed: int) -> tuple[Floats, Floats]:
    """What a forest learns from: lines of `matrix` and the gains, families hidden in half."""
    values, places, drawn = heads.augment(rows, seed)
    known = patterns(rows.names)
    effects = hide_each_effects(rows.effects[places], rows.effect_names, drawn, known)
    inputs = matrix(values, effects, rows.arms, operators(rows.arms))
    return inputs, rows.gains[places].reshape(-1)


def predict(
    forest: "Booster",
    values: Floats,
    effects: Floats,
    arms: Sequence[Arm],
    trained: Sequence[str],
    *,
    trees: int = 0,
) -> Floats:
    """[rows, arms]: the share of the gap each arm is predicted to close, in [-1, 1.5].

    Args:
        forest: as `fit` or `heads.booster` gives it.
        values: [rows, features].
        effects: [rows, arms, effects].
        arms: what to score; need not have been trained.
        trained: the operators that were, as `operators` names them.
        trees: how many trees to use; 0: all.
    """
    gains = predict_lines(forest, matrix(values, effects, arms, trained), trees=trees)
    return gains.reshape(len(values), len(arms))


def predict_lines(forest: "Booster", lines: Floats, *, trees: int = 0) -> Floats:
    """[n]: the same for lines [n, …] like those the forest learned from."""
    from xgboost import DMatrix

    gains = forest.predict(DMatrix(lines, nthread=1), iteration_range=(0, trees))
    return np.clip(gains.astype(np.float64), LOWEST, HIGHEST)


def matrix(values: Floats, effects: Floats, arms: Sequence[Arm], trained: Sequence[str]) -> Floats:
    """[rows · arms, inputs]: every arm of every row is a line; `effects` [rows, arms, effects]."""
    count = len(values) * len(arms)
    return lines(
        np.repeat(values, len(arms), axis=0),
        effects.reshape(count, effects.shape[-1]),
        [*arms] * len(values),
        trained,
    )


def lines(values: Floats, effects: Floats, arms: Sequence[Arm], trained: Sequence[str]) -> Floats:
    """[n, features + effects + what the arms are]: each line is about an arm of its own.

    Args:
        values: [n, features].
        effects: [n, effects].
        arms: n arms.
        trained: operators that are told by name.
    """
    different = {arm.label: arm for arm in arms}
    told = {label: describe(arm, trained) for label, arm in different.items()}
    known = np.array([told[arm.label] for arm in arms]).reshape(len(arms), size(0, 0, trained))
    return np.concatenate([values, effects, known], axis=1)


def size(features: int, effects: int, trained: Sequence[str]) -> int:
    """How many numbers a line holds."""
    return features + effects + len(STATIC) + len(trained)


def describe(arm: Arm, trained: Sequence[str]) -> list[float]:
    """What the arm is: `STATIC`, then 1 for its operator among those trained."""
    given = {**find(arm.operator).parameters, **arm.parameters}
    density, scale = (_number(given.get(name)) for name in ("density", "scale"))
    return [
        float(find(arm.operator).needs_base),
        density,
        scale,
        _lean(arm),
        *(float(arm.operator == name) for name in trained),
    ]


def operators(arms: Sequence[Arm]) -> tuple[str, ...]:
    """The operators among `arms`, sorted."""
    return tuple(sorted({arm.operator for arm in arms}))


def hide_effects(effects: Floats, names: Sequence[str], pattern: Pattern) -> Floats:
    """A copy of `effects` [..., names] without those that need a family of `pattern`."""
    gone = np.array([EFFECTS[name].base and "base" in pattern for name in names], bool)
    return np.where(gone, np.nan, effects)


def hide_each_effects(
    effects: Floats, names: Sequence[str], drawn: Places, known: Sequence[Pattern]
) -> Floats:
    """A copy of `effects` [n, ..., names], each row without what needs families of its pattern.

    `drawn` [n] has the place of each row's pattern in `known`.
    """
    hidden = effects.copy()
    for number, pattern in enumerate(known):
        hidden[drawn == number] = hide_effects(effects[drawn == number], names, pattern)
    return hidden


def masks(names: Sequence[str], effects: Sequence[str], count: int) -> Floats:
    """[patterns, count]: for each pattern of missing families 0 where a line of so many numbers,
    which starts with these features and effects, has none; 1 elsewhere."""
    rows = np.ones((len(patterns(names)), count))
    for row, pattern in zip(rows, patterns(names), strict=True):
        known = [
            hide(np.ones(len(names)), names, pattern),
            hide_effects(np.ones(len(effects)), effects, pattern),
        ]
        row[: len(names) + len(effects)] = np.isfinite(np.concatenate(known))
    return rows


def _number(value: object) -> float:
    """A parameter as a number; 1 where the operator has none, or one for each model."""
    return float(value) if isinstance(value, int | float) else 1.0


def _lean(arm: Arm) -> float:
    """The first model's share of the weights: ½ where both count alike."""
    if "t" in arm.parameters:
        return 1 - float(arm.parameters["t"])
    weights = arm.parameters.get("weights")
    if not isinstance(weights, Sequence) or not sum(weights):
        return 0.5
    return float(weights[0]) / float(sum(weights))
