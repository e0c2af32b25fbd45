"""Outcomes and features -> a predictor with its intervals and its report.

The predictor is fitted on all rows; everything said about it comes from predictors fitted the same
way without the models they are asked about.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from simmerge_hub.errors import PredictorError
from simmerge_hub.operators import BALANCED, Arm
from simmerge_hub.selector import heads, novelty
from simmerge_hub.selector.availability import PATTERNS, hide, missing, spell
from simmerge_hub.selector.conformal import Radii, calibrate, usable_arms
from simmerge_hub.selector.outcomes import Outcomes
from simmerge_hub.selector.predictor import Predictor
from simmerge_hub.selector.report import HeldOut, report
from simmerge_hub.selector.rows import Floats, Rows, Split, join, splits
from simmerge_hub.selector.table import FeatureTable

FOLDS = 5
FEWEST_MODELS = 6


def train(
    outcomes: Outcomes,
    features: FeatureTable,
    *,
    arms: Sequence[Arm] = BALANCED,
    seed: int = 0,
    alpha: float = 0.1,
) -> Predictor:
    """Fit, calibrate and judge a predictor; the same inputs give the same bytes.

    Args:
        outcomes: the measured utilities.
        features: the features of every pair and task in them.
        arms: what to choose between; all must have been measured. By default those that treat
            both models alike, which is what a plan for the tasks of both chooses between.
        seed: of folds, subsampling and hidden families.
        alpha: intervals are to hold a share of 1 − alpha of outcomes.

    Raises:
        PredictorError: the tables do not fit together, or there are too few models.
    """
    rows = join(outcomes, features, arms)
    if len(rows.models) < FEWEST_MODELS:
        raise PredictorError(
            f"{len(rows.models)} models are too few: some are held out, and others must remain",
            hint=f"measure outcomes of at least {FEWEST_MODELS} models",
        )
    held = hold_out(rows, seed=seed)
    fitted = heads.fit(rows, trees=heads.best_trees(rows, seed=seed), seed=seed)
    means = rows.gains.mean(axis=0)
    return Predictor(
        arms=rows.arms,
        names=rows.names,
        features=rows.schema,
        heads=tuple(heads.text(head) for head in fitted),
        alpha=alpha,
        radii=_radii(held, alpha),
        familiar=novelty.survey(rows, parameters=_parameters(outcomes.provenance)),
        means=tuple(float(mean) for mean in means),
        safe=safe_arm(rows),
        regimes={name: rows.regimes.count(name) for name in sorted(set(rows.regimes))},
        training=digest(rows),
        report=report(held, seed=seed, alpha=alpha),
    )


def hold_out(rows: Rows, *, seed: int, folds: int = FOLDS) -> HeldOut:
    """Predict every row from rows that share no model with it, trees chosen inside those.

    Raises:
        PredictorError: no split leaves anything to train on.
    """
    found = splits(rows, folds, seed=seed)
    if not found:
        raise PredictorError(
            "no model can be held out: every training row shares one with every test row",
            hint="measure outcomes of more pairs of models",
        )
    mixed = np.random.default_rng(seed).permutation(len(rows))
    predicted = np.full((len(PATTERNS), len(rows), len(rows.arms)), np.nan)
    shuffled = np.full_like(predicted[0], np.nan)
    trees = []
    for split in found:
        known = rows.take(split.train)
        trees.append(heads.best_trees(known, seed=seed))
        fitted = heads.fit(known, trees=trees[-1], seed=seed)
        for i, pattern in enumerate(PATTERNS):
            asked = hide(rows.values[split.test], rows.names, pattern)
            predicted[i, split.test] = heads.predict(fitted, asked)
        shuffled[split.test] = _shuffled(rows, split, mixed, trees=trees[-1], seed=seed)
    return _tested(rows, found, predicted, shuffled, trees)


def safe_arm(rows: Rows) -> int:
    """The arm whose worst regime is best: what to use where nothing is known."""
    regimes = np.array(rows.regimes)
    means = [rows.gains[regimes == name].mean(axis=0) for name in sorted(set(rows.regimes))]
    return int(np.argmax(np.min(means, axis=0)))


def digest(rows: Rows) -> str:
    """sha256 of what is learned from: keys, feature names, values and gains."""
    found = hashlib.sha256()
    keys = zip(rows.experts, rows.auxiliaries, rows.tasks, rows.regimes, strict=True)
    for part in (*keys, rows.names, [a.label for a in rows.arms]):
        found.update("\0".join(part).encode() + b"\n")
    for numbers in (rows.values, rows.gains):
        found.update(np.ascontiguousarray(numbers, dtype="<f8").tobytes())
    return found.hexdigest()


def _shuffled(rows: Rows, split: Split, mixed: np.ndarray, *, trees: int, seed: int) -> Floats:
    """Predictions for the test rows when every row has another row's features."""
    known = replace(rows, values=rows.values[mixed]).take(split.train)
    fitted = heads.fit(known, trees=trees, seed=seed)
    return heads.predict(fitted, rows.values[mixed][split.test])


def _tested(
    rows: Rows, found: list[Split], predicted: Floats, shuffled: Floats, trees: list[int]
) -> HeldOut:
    """Only the rows that were tested, with the splits' places renumbered."""
    tested = np.flatnonzero(np.isfinite(predicted[0]).all(axis=1))
    place = np.full(len(rows), -1)
    place[tested] = np.arange(len(tested))
    parts = [Split(train=place[s.train][place[s.train] >= 0], test=place[s.test]) for s in found]
    return HeldOut(
        rows=rows.take(tested),
        splits=tuple(parts),
        predicted=predicted[:, tested],
        shuffled=shuffled[tested],
        trees=tuple(trees),
    )


def _radii(held: HeldOut, alpha: float) -> dict[str, Radii]:
    """Intervals for every pattern of missing features that the rows can show."""
    rows, found = held.rows, {}
    for pattern, predicted in zip(PATTERNS, held.predicted, strict=True):
        values = hide(rows.values, rows.names, pattern)
        seen = np.array([missing(row, rows.names) == pattern for row in values])
        usable = usable_arms(rows.arms, pattern)
        if seen.any() and usable.any():
            found[spell(pattern)] = calibrate(predicted[seen], rows.gains[seen], usable, alpha)
    return found


def _parameters(provenance: Mapping[str, Any]) -> tuple[int, int] | None:
    """The fewest and most parameters of the bases, if the outcomes name them."""
    sizes = provenance.get("parameters")
    counts = list(sizes.values()) if isinstance(sizes, Mapping) else sizes
    return (int(min(counts)), int(max(counts))) if counts else None
