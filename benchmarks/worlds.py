"""What a predictor knows of a real language model, by where it learned and what signatures hold.

    python benchmarks/worlds.py       # half an hour on two cores

Two worlds: the nano zoo, and the zoo of Gemma 3 270M as far as it is measured. Predictors are
trained on one or both, with and without what models keep of their own answers at parts of their
delta (`dose`), and asked about pairs of models that they have not seen. Every choice is judged on
the expert's task and on both tasks of a pair at once, by exact match and by log-likelihood. All
predictors are of one size, the one that won most often on nano models alone (`selection.json`): the
real pairs are too few to choose one by.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from selection import SEED, SETS, TABLES, judge_sets, round_all

from simmerge_hub.selector.models import mixture
from simmerge_hub.selector.models.conformal import calibrate, choose
from simmerge_hub.selector.models.mixture import Size
from simmerge_hub.selector.tables.availability import FAMILIES, members
from simmerge_hub.selector.tables.features import load_features
from simmerge_hub.selector.tables.outcomes import HIGHEST, LOWEST, Outcomes, load_outcomes
from simmerge_hub.selector.tables.rows import (
    Floats,
    Rows,
    Split,
    join,
    leave_pairs_out,
    splits,
    stack,
)
from simmerge_hub.selector.training.baselines import best_fixed
from simmerge_hub.selector.training.objectives import both_tasks

HERE = Path(__file__).parent
NANO, REAL = "zoo-v3", "zoo-real"
DOSES = "zoo-v3-doses"
"""The features of doses of the nano models, which the packaged predictor does not read."""
FOLDS = 5
ALPHA = 0.1
HIDDEN = {"no doses": ("dose",), "doses": ()}
"""Signatures -> the families of features they lack."""
SMALLEST_LIKELIHOOD_GAP = 0.05
"""Nats per token; where expert and auxiliary differ by less there is nothing to judge by."""

Predict = Callable[[Rows, Split], Floats]


def main() -> None:
    """Every world and every signature, and write the JSON."""
    size = Size(**json.loads((HERE / "selection.json").read_text())["size"])
    nano, real = load()
    report: dict[str, Any] = {"pairs": {NANO: count(nano[0]), REAL: count(real[0])}}
    report["fixed arms on real pairs"] = fixed(real[0])
    for name, hidden in HIDDEN.items():
        small, large = (without(rows, hidden) for rows, _ in (nano, real))
        questions = {
            "real models left out, trained on nano and real": (large, by_both(small, large, size)),
            "real models, trained on nano alone": (large, by_other(small, size)),
            "real models left out, trained on real alone": (large, by_own(large, size)),
            "nano models left out, trained on nano alone": (small, by_own(small, size)),
        }
        report[name] = {"features": len(small.names)}
        for question, (rows, predict) in questions.items():
            outcomes = real[1] if rows is large else nano[1]
            report[name][question] = answer(rows, outcomes, predict)
            print(name, "|", question, flush=True)
            (HERE / "worlds.json").write_text(json.dumps(round_all(report), indent=1) + "\n")


def load() -> tuple[tuple[Rows, Outcomes], tuple[Rows, Outcomes]]:
    """The rows of both zoos with the arms that were measured in both, and their outcomes."""
    nano, real = (load_outcomes(TABLES / f"{zoo}.jsonl.gz") for zoo in (NANO, REAL))
    arms = [arm for arm in SETS["all"] if arm in nano.arms and arm in real.arms]
    small = load_features(TABLES / f"{NANO}-features.jsonl.gz")
    doses = load_features(TABLES / f"{DOSES}.jsonl.gz")
    large = load_features(TABLES / f"{REAL}-features.jsonl.gz")
    both = {key: np.concatenate([small.rows[key], doses.rows[key]]) for key in small.rows}
    order = [(*small.names, *doses.names).index(name) for name in large.names]
    small = replace(
        small, names=large.names, rows={key: values[order] for key, values in both.items()}
    )
    return (join(nano, small, arms), nano), (join(real, large, arms), real)


def count(rows: Rows) -> dict[str, int]:
    """How much there is to learn from."""
    pairs = {frozenset(pair) for pair in zip(rows.experts, rows.auxiliaries, strict=True)}
    return {"rows": len(rows), "pairs": len(pairs), "models": len(rows.models)}


def fixed(rows: Rows) -> dict[str, float]:
    """Arm -> mean share of the gap it closes when it is always used, each task by itself."""
    means = rows.gains.mean(axis=0)
    return {arm.label: float(mean) for arm, mean in zip(rows.arms, means, strict=True)}


def without(rows: Rows, hidden: Sequence[str]) -> Rows:
    """The rows without the features of some families."""
    gone = members(rows.names)[np.isin(FAMILIES, hidden)].any(axis=0)
    kept = np.flatnonzero(~np.asarray(gone))
    names = tuple(rows.names[i] for i in kept)
    return replace(rows, names=names, values=rows.values[:, kept])


def by_own(rows: Rows, size: Size) -> Predict:
    """Trained on the rows of the same zoo that share no model with the tested ones."""
    return lambda asked, split: ask(rows.take(split.train), asked.take(split.test), size)


def by_other(rows: Rows, size: Size) -> Predict:
    """Trained on another zoo alone, once."""
    fitted = mixture.fit(rows, size, seed=SEED)

    def predict(asked: Rows, split: Split) -> Floats:
        test = asked.take(split.test)
        return mixture.predict(fitted, test.values, test.effects)

    return predict


def by_both(other: Rows, rows: Rows, size: Size) -> Predict:
    """Trained on all of another zoo, and on rows of the same one without the tested models."""
    return lambda asked, split: ask(
        stack([other, rows.take(split.train)]), asked.take(split.test), size
    )


def ask(known: Rows, test: Rows, size: Size) -> Floats:
    """[test rows, arms]: predicted by what was trained on the known rows."""
    fitted = mixture.fit(known, size, seed=SEED)
    return mixture.predict(fitted, test.values, test.effects)


def answer(rows: Rows, outcomes: Outcomes, predict: Predict) -> dict[str, Any]:
    """What the choices reach on rows tested by splits that keep models apart."""
    predicted = np.full(rows.gains.shape, np.nan)
    fixed_scores = np.full(rows.gains.shape, np.nan)
    for split in splits(rows, FOLDS, seed=SEED):
        predicted[split.test] = predict(rows, split)
        fixed_scores[split.test] = best_fixed(rows.take(split.train), rows.take(split.test))
    places = np.flatnonzero(np.isfinite(predicted).all(axis=1))
    tested = rows.take(places)
    scores = {"xgboost": predicted[places], "best fixed": fixed_scores[places]}
    return {
        "over best fixed by split": by_split(rows, predicted, fixed_scores),
        "exact match": judge_sets(tested, scores),
        "log-likelihood": by_likelihood(tested, outcomes, scores),
        "held": coverage(tested, scores["xgboost"]),
    }


def by_split(rows: Rows, predicted: Floats, fixed_scores: Floats) -> list[float]:
    """Split by split, on both tasks of its pairs: what the choice reaches over the best fixed arm,
    among all arms, both chosen without the tested models."""
    over = []
    for split in splits(rows, FOLDS, seed=SEED):
        test = split.test[np.isfinite(predicted[split.test]).all(axis=1)]
        ranked = {"choice": predicted[test], "fixed": fixed_scores[test]}
        cases = both_tasks(rows.take(test), ranked) if len(test) else None
        if cases:
            one, other = (
                np.take_along_axis(cases.gains, cases.scores[n].argmax(axis=1)[:, None], axis=1)
                for n in ranked
            )
            over.append(float((one - other).mean()))
    return over


def by_likelihood(rows: Rows, outcomes: Outcomes, scores: dict[str, Floats]) -> dict[str, Any]:
    """The same choices judged by the share of the gap in log-likelihood that they close."""
    by_key = {row.key: row for row in outcomes.rows}
    gains = np.full(rows.gains.shape, np.nan)
    for i, key in enumerate(zip(rows.experts, rows.auxiliaries, rows.tasks, strict=True)):
        row = by_key[key]
        low = row.unmerged_log_likelihood.get("auxiliary", np.nan)
        gap = row.unmerged_log_likelihood.get("expert", np.nan) - low
        if gap >= SMALLEST_LIKELIHOOD_GAP:
            gains[i] = [(np.mean(row.log_likelihood[a.label]) - low) / gap for a in rows.arms]
    places = np.flatnonzero(np.isfinite(gains).all(axis=1))
    judged = replace(
        rows.take(places),
        gains=np.clip(gains[places], LOWEST, HIGHEST),
        halves=np.full((len(places), len(rows.arms), 2), np.nan),
    )
    return judge_sets(judged, {name: each[places] for name, each in scores.items()})


def coverage(rows: Rows, predicted: Floats) -> dict[str, float]:
    """Share of outcomes inside 90 % intervals that were calibrated without their models."""
    usable = np.ones(len(rows.arms), bool)
    best, residuals = choose(predicted, usable), np.abs(predicted - rows.gains)
    arms, chosen = [], []
    for places, others in leave_pairs_out(rows):
        if others.any():
            radii = calibrate(predicted[others], rows.gains[others], usable, ALPHA)
            arms += (residuals[places] <= radii.arms).mean(axis=1).tolist()
            chosen += (residuals[places, best[places]] <= radii.chosen).tolist()
    return {"arms": float(np.mean(arms)), "chosen": float(np.mean(chosen))}


if __name__ == "__main__":
    main()
