"""What is learned from: outcomes joined with features, and splits that keep models apart."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simmerge_hub.errors import PredictorError
from simmerge_hub.operators import Arm
from simmerge_hub.selector.tables.availability import Floats, measured_columns
from simmerge_hub.selector.tables.features import FeatureTable
from simmerge_hub.selector.tables.outcomes import SMALLEST_GAP, Outcome, Outcomes, gap_closed

Places = NDArray[np.intp]
COMMON_FIELDS = {
    "schema": "schema of features",
    "names": "features",
    "effect_names": "effects of arms",
    "arms": "arms",
}
"""What rows that are learned from together have in common: field -> what it is called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Training rows: n ordered pairs with a task, f features, a arms, e effects of each.

    Args:
        experts, auxiliaries, tasks, regimes: n names each.
        names: f feature names.
        schema: of the features.
        arms: the a arms.
        values: [n, f], NaN = missing.
        gains: [n, a], share of the gap closed, in [-1, 1.5].
        halves: [n, a, 2], the same on the even and the odd prompts; NaN where not known.
        base_gains: [n], what the base itself closes.
        effect_names: e names.
        effects: [n, a, e], what each arm does to the pair, NaN = missing.
        weights: [n], how much a row counts in training; 1 as they are read.
    """

    experts: tuple[str, ...]
    auxiliaries: tuple[str, ...]
    tasks: tuple[str, ...]
    regimes: tuple[str, ...]
    names: tuple[str, ...]
    schema: int
    arms: tuple[Arm, ...]
    values: Floats
    gains: Floats
    halves: Floats
    base_gains: Floats
    effect_names: tuple[str, ...]
    effects: Floats
    weights: Floats

    def __len__(self) -> int:
        return len(self.tasks)

    @property
    def models(self) -> tuple[str, ...]:
        """Every model that occurs, sorted."""
        return tuple(sorted({*self.experts, *self.auxiliaries}))

    @property
    def shares(self) -> Floats:
        """[n]: the weights with a mean of 1."""
        return self.weights / self.weights.mean()

    def take(self, places: Places) -> "Rows":
        """The rows at `places`, in that order."""
        return replace(
            self,
            experts=tuple(self.experts[i] for i in places),
            auxiliaries=tuple(self.auxiliaries[i] for i in places),
            tasks=tuple(self.tasks[i] for i in places),
            regimes=tuple(self.regimes[i] for i in places),
            values=self.values[places],
            gains=self.gains[places],
            halves=self.halves[places],
            base_gains=self.base_gains[places],
            effects=self.effects[places],
            weights=self.weights[places],
        )

    def weighed(self, weight: float) -> "Rows":
        """The same rows, each counting `weight` times what it counts here."""
        return replace(self, weights=weight * self.weights)

    def only(self, columns: Sequence[int]) -> "Rows":
        """The same rows with the arms at `columns`."""
        kept = list(columns)
        return replace(
            self,
            arms=tuple(self.arms[i] for i in kept),
            gains=self.gains[:, kept],
            halves=self.halves[:, kept],
            effects=self.effects[:, kept],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Places of rows to train on and to test on; no model occurs on both sides."""

    train: Places
    test: Places


def join(outcomes: Outcomes, features: FeatureTable, arms: Sequence[Arm]) -> Rows:
    """The rows of `outcomes` that can be learned from, with their features.

    Left out are rows where the expert is not at least 0.05 better than the auxiliary: there is no
    gap to close, or the roles are the other way round (the swapped row holds it then). Left out
    are also features of optional families that no row has anything of.

    Raises:
        PredictorError: an arm was not measured, features are missing, or no row is left.
    """
    measured = {a.label for a in outcomes.arms}
    unknown = [a.label for a in arms if a.label not in measured]
    if unknown:
        raise PredictorError(
            f"the outcomes hold no {', '.join(unknown)}", hint=f"they hold {', '.join(measured)}"
        )
    kept = [row for row in outcomes.rows if row.gap >= SMALLEST_GAP]
    if not kept:
        raise PredictorError(f"none of {len(outcomes.rows)} outcomes has a gap to learn from")
    absent = [row.key for row in kept if row.key not in features.rows]
    if absent:
        raise PredictorError(
            f"{len(absent)} outcomes have no features, first {' + '.join(absent[0])}",
            hint="give the table of features that goes with these outcomes, or write it again: "
            "simmerge-hub zoo features DIR OUTCOMES -o FILE",
        )
    kept.sort(key=lambda row: row.key)
    labels = [a.label for a in arms]
    values = np.array([features.rows[row.key] for row in kept])
    measured = measured_columns(values, features.names)
    return Rows(
        experts=tuple(row.expert for row in kept),
        auxiliaries=tuple(row.auxiliary for row in kept),
        tasks=tuple(row.task for row in kept),
        regimes=tuple(row.regime for row in kept),
        names=tuple(name for name, one in zip(features.names, measured, strict=True) if one),
        schema=features.schema,
        arms=tuple(arms),
        values=values[:, measured],
        gains=np.array([[gap_closed(row, row.utilities[la]) for la in labels] for row in kept]),
        halves=np.array([[_halves(row, label) for label in labels] for row in kept]),
        base_gains=np.array([gap_closed(row, row.base_utility) for row in kept]),
        effect_names=features.effect_names,
        effects=np.array([_effects(row, labels, features) for row in kept]),
        weights=np.ones(len(kept)),
    )


def stack(parts: Sequence[Rows]) -> Rows:
    """The rows of all `parts`, which are of the same arms, features and effects.

    Raises:
        PredictorError: they are not of the same, or a pair and task stands in two of them.
    """
    first, seen = parts[0], set[tuple[str, str, str]]()
    for part in parts:
        for field, what in COMMON_FIELDS.items():
            one, other = getattr(first, field), getattr(part, field)
            if one != other:
                raise PredictorError(
                    f"tables that differ in their {what} ({_difference(one, other)}) cannot be "
                    "learned from together",
                    hint="measure them and write their features with one version of simmerge-hub",
                )
        keys = set(zip(part.experts, part.auxiliaries, part.tasks, strict=True))
        if twice := seen & keys:
            raise PredictorError(
                f"two tables hold {' + '.join(min(twice))}", hint="leave it out of one of them"
            )
        seen |= keys
    columns = [each.name for each in fields(Rows) if each.name not in COMMON_FIELDS]
    return replace(first, **{c: _end_to_end([getattr(p, c) for p in parts]) for c in columns})


def splits(rows: Rows, folds: int, *, seed: int, across: bool = True) -> list[Split]:
    """Test every row once, training on rows that share no model with it.

    The models are dealt into `folds`, regime by regime. A row of folds (a, b) is tested by what
    was trained on the rows that lie wholly outside a and b.

    Args:
        rows: the rows to split.
        folds: how many groups of models; at most as many as there are models.
        seed: of the deal.
        across: False leaves rows across two folds untested, which costs fewer splits.
    """
    place = _deal(rows, min(folds, len(rows.models)), seed)
    pairs = np.array(
        [sorted((place[e], place[x])) for e, x in zip(rows.experts, rows.auxiliaries, strict=True)]
    ).reshape(-1, 2)
    return [
        Split(train=train, test=test)
        for a, b in sorted({(int(a), int(b)) for a, b in pairs})
        if (across or a == b)
        and len(test := np.flatnonzero((pairs == (a, b)).all(axis=1)))
        and len(train := np.flatnonzero(~np.isin(pairs, (a, b)).any(axis=1)))
    ]


def leave_pairs_out(rows: Rows) -> Iterator[tuple[Places, NDArray[np.bool_]]]:
    """Per set of rows about the same two models: their places, and which rows share neither."""
    experts, auxiliaries = np.array(rows.experts), np.array(rows.auxiliaries)
    pairs = [frozenset(pair) for pair in zip(rows.experts, rows.auxiliaries, strict=True)]
    for pair in sorted(set(pairs), key=sorted):
        places = np.array([i for i, other in enumerate(pairs) if other == pair])
        models = sorted(pair)
        yield places, ~(np.isin(experts, models) | np.isin(auxiliaries, models))


def _difference(one: Any, other: Any) -> str:
    """Two numbers, or up to three of what stands in one of two lists only."""
    if isinstance(one, int):
        return f"{one} and {other}"
    labels = [{getattr(each, "label", each) for each in side} for side in (one, other)]
    return ", ".join(sorted(labels[0] ^ labels[1])[:3]) or "their order"


def _end_to_end(columns: Sequence[Any]) -> Any:
    """One column of names or numbers after the other."""
    if isinstance(columns[0], tuple):
        return tuple(name for column in columns for name in column)
    return np.concatenate(columns)


def _effects(row: Outcome, labels: Sequence[str], features: FeatureTable) -> list[Floats]:
    by_arm = features.effects.get(row.key, {})
    unknown = np.full(len(features.effect_names), np.nan)
    return [by_arm.get(label, unknown) for label in labels]


def split_half(halves: Floats) -> Floats:
    """What the arm that is best on one half of the prompts is worth on the other, both ways.

    Unlike the best arm in hindsight it does not profit from chance.

    Args:
        halves: [n, arms, 2], values on the even and on the odd prompts; of equal ones the first
            counts as best.

    Returns:
        [n], the mean of both ways.
    """
    rows = np.arange(len(halves))
    even, odd = halves[..., 0], halves[..., 1]
    return (odd[rows, even.argmax(axis=1)] + even[rows, odd.argmax(axis=1)]) / 2


def _halves(row: Outcome, label: str) -> tuple[float, float]:
    if label not in row.halves:
        return (np.nan, np.nan)
    even, odd = row.halves[label]
    return (gap_closed(row, even), gap_closed(row, odd))


def _deal(rows: Rows, folds: int, seed: int) -> dict[str, int]:
    """Model -> fold: shuffled inside each regime, then dealt in turn."""
    homes: dict[str, str] = {}
    for names in (rows.experts, rows.auxiliaries):
        homes.update(zip(names, rows.regimes, strict=True))
    random = np.random.default_rng(seed)
    shuffled = [rows.models[i] for i in random.permutation(len(rows.models))]
    ordered = sorted(shuffled, key=lambda model: homes[model])
    return {model: i % folds for i, model in enumerate(ordered)}
