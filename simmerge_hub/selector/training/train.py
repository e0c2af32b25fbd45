"""Outcomes and features -> a predictor with its intervals and its report.

The predictor is fitted on all rows; everything said about it comes from predictors fitted the same
way without the models they are asked about.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simmerge_hub.errors import PredictorError
from simmerge_hub.operators import Arm
from simmerge_hub.selector.models import conditioned, heads, mixture, multiway
from simmerge_hub.selector.models.conformal import Radii, calibrate, radius, usable_arms
from simmerge_hub.selector.models.linear import Linear
from simmerge_hub.selector.models.mixture import Mixture, Size
from simmerge_hub.selector.predictor import novelty
from simmerge_hub.selector.predictor.measured import pairs
from simmerge_hub.selector.predictor.predictor import Predictor
from simmerge_hub.selector.predictor.scorer import ConditionedForest
from simmerge_hub.selector.predictor.wording import OWN_WEIGHT
from simmerge_hub.selector.tables.availability import hide, missing, patterns, spell
from simmerge_hub.selector.tables.features import FeatureTable
from simmerge_hub.selector.tables.merges import Merges
from simmerge_hub.selector.tables.outcomes import Outcomes
from simmerge_hub.selector.tables.rows import Floats, Places, Rows, Split, join, splits, stack
from simmerge_hub.selector.training import scenarios, weighing
from simmerge_hub.selector.training.report import HeldOut, report
from simmerge_hub.selector.training.scenarios import FEWEST_MODELS

FOLDS = 5
DECIMALS = 9
"""Of the line and of half-widths: what another processor's last bits do not reach."""


Table = tuple[Outcomes, FeatureTable]
"""Measured utilities, and the features of every pair and task in them."""


def train(
    tables: Sequence[Table],
    *,
    others: Sequence[Table] = (),
    merges: Merges | None = None,
    arms: Sequence[Arm] | None = None,
    seed: int = 0,
    alpha: float = 0.1,
) -> Predictor:
    """Fit, calibrate and judge a predictor; the same inputs give the same bytes.

    Args:
        tables: of one zoo or of several, whose models have different names.
        others: tables that are learned from as well. What is predicted for are models like those
            of `tables`: how much their rows count beside these is settled on them (`weighing`), and
            intervals are calibrated on them.
        merges: measured merges of three models and more; without any, such merges are predicted
            as if they were pairs.
        arms: what to choose between; by default all that every table, others' too, has.
        seed: of folds, subsampling and hidden families.
        alpha: intervals are to hold a share of 1 − alpha of outcomes.

    Raises:
        PredictorError: the tables do not fit together, or there are too few models.
    """
    everything = [*tables, *others]
    common = [each for each in tables[0][0].arms if all(each in o.arms for o, _ in everything)]
    parts = [join(outcomes, features, arms or common) for outcomes, features in everything]
    rows, weight = _weigh(parts, len(tables), seed)
    provenances = [outcomes.provenance for outcomes, _ in everything]
    _check(rows, merges)
    held = hold_out(rows, seed=seed)
    own = np.isin(
        held.rows.experts, [name for part in parts[: len(tables)] for name in part.models]
    )
    size = mixture.contest(rows, seed=seed)
    fitted = mixture.fit(rows, size, seed=seed)
    sizes = np.concatenate(
        [scenarios.sizes_of(part, known) for part, known in zip(parts, provenances, strict=True)]
    )
    return Predictor(
        arms=rows.arms,
        names=rows.names,
        features=rows.schema,
        line=_round_line(fitted.line),
        heads=tuple(heads.text(head) for head in fitted.heads),
        conditioned=_conditioned_forest(fitted, rows, _unmeasured_radius(held, own, alpha)),
        alpha=alpha,
        radii=_radii(held.rows.take(np.flatnonzero(own)), held.predicted[:, own], alpha),
        familiar=novelty.survey(rows, parameters=_parameters(provenances)),
        means=tuple(rows.gains.mean(axis=0).tolist()),
        regimes={name: rows.regimes.count(name) for name in sorted(set(rows.regimes))},
        training=digest(rows, merges),
        report=report(held, seed=seed, alpha=alpha) | weight,
        record=scenarios.collect(rows, sizes, held, size, seed=seed),
        beyond=pairs.read(),
        many=multiway.learn(rows, merges, seed=seed, alpha=alpha) if merges else None,
    )


def _weigh(parts: Sequence[Rows], own: int, seed: int) -> tuple[Rows, dict[str, float]]:
    """All rows, and how much one of the first `own` parts counts, if there are others."""
    if own == len(parts):
        return stack(parts), {}
    ours, others = stack(parts[:own]), stack(parts[own:])
    weight = weighing.weigh(ours, others, seed=seed)
    return weighing.combine(ours, [others], weight), {OWN_WEIGHT: weight}


def _check(rows: Rows, merges: Merges | None) -> None:
    """PredictorError unless there are enough models and both tables have the same features."""
    if len(rows.models) < FEWEST_MODELS:
        raise PredictorError(
            f"{len(rows.models)} models are too few: some are held out, and others must remain",
            hint=f"measure outcomes of at least {FEWEST_MODELS} models",
        )
    if merges and (merges.names, merges.effect_names) != (rows.names, rows.effect_names):
        raise PredictorError(
            "the table of merges has other features than that of pairs",
            hint="write both with the same version of simmerge-hub",
        )


def _round_line(line: Linear) -> Linear:
    return Linear(**{name: np.round(numbers, DECIMALS) for name, numbers in asdict(line).items()})


def _conditioned_forest(fitted: Mixture, rows: Rows, unmeasured: float) -> ConditionedForest:
    return ConditionedForest(
        forest=heads.text(fitted.forest),
        effects=rows.effect_names,
        share=fitted.share,
        unmeasured=unmeasured,
    )


def hold_out(rows: Rows, *, seed: int) -> HeldOut:
    """Predict every row from rows that share no model with it, all choices made inside those.

    But for how much a row of one's own counts (`weighing.weigh`): one number of four, settled once
    on all of them, for each split anew would take as long again as all of this.

    Raises:
        PredictorError: no split leaves anything to train on.
    """
    all_splits = splits(rows, FOLDS, seed=seed)
    if not all_splits:
        raise PredictorError(
            "no model can be held out: every training row shares one with every test row",
            hint="measure outcomes of more pairs of models",
        )
    predicted = np.full((len(patterns(rows.names)), *rows.gains.shape), np.nan)
    single = {name: np.full(rows.gains.shape, np.nan) for name in ("heads", "conditioned")}
    shuffled, unmeasured = np.full(rows.gains.shape, np.nan), np.full(rows.gains.shape, np.nan)
    sizes = {}
    mixed = _shuffle_features(rows, seed)
    within = {s.test.tobytes() for s in splits(rows, FOLDS, seed=seed, across=False)}

    def predict_split(split: Split) -> None:
        known, test = rows.take(split.train), rows.take(split.test)
        size = sizes[split.test.tobytes()] = mixture.contest(known, seed=seed)
        fitted = mixture.fit(known, size, seed=seed)
        for i, pattern in enumerate(patterns(rows.names)):
            asked = hide(test.values, rows.names, pattern)
            seen = conditioned.hide_effects(test.effects, rows.effect_names, pattern)
            predicted[i, split.test] = mixture.predict(fitted, asked, seen)
        parts = mixture.parts(fitted, test.values, test.effects)
        for name, part in zip(single, parts, strict=True):
            single[name][split.test] = part
        fooled = mixture.fit(mixed.take(split.train), size, seed=seed)
        asked, seen = mixed.values[split.test], mixed.effects[split.test]
        shuffled[split.test] = mixture.predict(fooled, asked, seen)
        if split.test.tobytes() in within:
            unmeasured[split.test] = _predict_without_operator(known, test, size, seed=seed)

    mixture.run_in_parallel(predict_split, all_splits)
    tested = np.flatnonzero(np.isfinite(predicted[0]).all(axis=1))
    return HeldOut(
        rows=rows.take(tested),
        splits=_renumber(all_splits, tested, len(rows)),
        predicted=predicted[:, tested],
        single={name: part[tested] for name, part in single.items()},
        shuffled=shuffled[tested],
        unmeasured=unmeasured[tested],
        sizes=tuple(sizes[split.test.tobytes()] for split in all_splits),
    )


def digest(rows: Rows, merges: Merges | None = None) -> str:
    """sha256 of what is learned from: keys, names, features, effects and gains, weights that are
    not alike; merges of many."""
    sha = hashlib.sha256()
    keys = zip(rows.experts, rows.auxiliaries, rows.tasks, rows.regimes, strict=True)
    for part in (*keys, rows.names, rows.effect_names, [a.label for a in rows.arms]):
        sha.update("\0".join(part).encode() + b"\n")
    for numbers in (rows.values, rows.effects, rows.gains):
        sha.update(np.ascontiguousarray(numbers, dtype="<f8").tobytes())
    if np.ptp(rows.weights) > 0:
        sha.update(np.ascontiguousarray(rows.weights, dtype="<f8").tobytes())
    if merges is not None:
        for part in (*merges.models, merges.tasks, [a.label for a in merges.arms]):
            sha.update("\0".join(part).encode() + b"\n")
        for numbers in (merges.values, merges.effects, merges.likeness, merges.gains):
            sha.update(np.ascontiguousarray(numbers, dtype="<f8").tobytes())
    return sha.hexdigest()


def _shuffle_features(rows: Rows, seed: int) -> Rows:
    """The rows with another row's features each: what is learned from them is luck."""
    mixed = np.random.default_rng(seed).permutation(len(rows))
    return replace(rows, values=rows.values[mixed], effects=rows.effects[mixed])


def _predict_without_operator(known: Rows, test: Rows, size: Size, *, seed: int) -> Floats:
    """[test rows, arms]: every operator's arms predicted by what never saw that operator."""
    predicted = np.full(test.gains.shape, np.nan)
    for name in conditioned.operators(known.arms):
        places = [i for i, arm in enumerate(known.arms) if arm.operator == name]
        others = [i for i, arm in enumerate(known.arms) if arm.operator != name]
        if others:
            seen = known.only(others)
            forest = conditioned.fit(seen, trees=size.conditioned, seed=seed)
            trained, asked = conditioned.operators(seen.arms), test.only(places)
            predicted[:, places] = conditioned.predict(
                forest, asked.values, asked.effects, asked.arms, trained
            )
    return predicted


def _renumber(parts: Sequence[Split], tested: Places, rows: int) -> tuple[Split, ...]:
    """The splits' places among the rows that were tested."""
    place = np.full(rows, -1)
    place[tested] = np.arange(len(tested))
    return tuple(
        Split(train=place[s.train][place[s.train] >= 0], test=place[s.test]) for s in parts
    )


def _unmeasured_radius(held: HeldOut, own: NDArray[np.bool_], alpha: float) -> float:
    """The half-width for an arm whose operator was never measured, on rows that are one's own."""
    residuals = np.abs(held.unmeasured - held.rows.gains)[own]
    return round(radius(residuals[np.isfinite(residuals)], alpha), DECIMALS)


def _radii(rows: Rows, held: Floats, alpha: float) -> dict[str, Radii]:
    """Intervals for every pattern of missing features that the rows can show.

    Args:
        rows: models like those that are predicted for.
        held: [patterns, rows, arms], predicted without the row's models.
        alpha: the share of outcomes that may fall outside.
    """
    radii = {}
    for pattern, predicted in zip(patterns(rows.names), held, strict=True):
        values = hide(rows.values, rows.names, pattern)
        seen = np.array([missing(row, rows.names) == pattern for row in values])
        usable = usable_arms(rows.arms, pattern)
        if seen.any() and usable.any():
            wide = calibrate(predicted[seen], rows.gains[seen], usable, alpha)
            radii[spell(pattern)] = Radii(
                arms=tuple(round(width, DECIMALS) for width in wide.arms),
                chosen=round(wide.chosen, DECIMALS),
                rows=wide.rows,
            )
    return radii


def _parameters(provenances: Sequence[Mapping[str, Any]]) -> tuple[int, ...] | None:
    """The sizes of the bases, ascending, if the outcomes name them."""
    counts: list[int] = []
    for sizes in (provenance.get("parameters") for provenance in provenances):
        counts += sizes.values() if isinstance(sizes, Mapping) else sizes or ()
    return tuple(sorted({int(count) for count in counts})) or None
