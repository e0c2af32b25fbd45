"""What a predictor knows of real language models, by where it learned and what signatures hold.

    python benchmarks/worlds.py       # an hour on two cores

Two worlds: the nano zoo, and real language models as far as they are measured: Gemma 3 270M, whose
zoo was built twice, and SmolLM2 135M. Predictors are trained on one world or both, with and without
what models keep of their own answers at parts of their delta (`dose`), and asked about pairs of
models that they have not seen, or about all pairs of a family of which they have seen no model.
Where models are left out, so are all specialists of their names, which were taught the same; where
a family is, those of the other stay. Intervals take the two builds of a specialist for two models.
Every choice is judged on the expert's task and on both tasks of a pair at once, by exact match and
by log-likelihood. All predictors are of one size, the one that won most often on nano models alone
(`selection.json`): the real pairs are too few to choose one by.
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
from simmerge_hub.selector.tables.outcomes import HIGHEST, LOWEST, Outcome, load_outcomes
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
NANO = "zoo-v3"
REAL = ("zoo-real", "zoo-real-2", "zoo-smollm")
"""Tables of real language models; the second is another build of the first."""
FAMILIES_OF = {"Gemma": REAL[:2], "SmolLM2": REAL[2:]}
DOSES = "zoo-v3-doses"
"""The features of doses of the nano models, which the packaged predictor does not read."""
FOLDS = 5
ALPHA = 0.1
HIDDEN = {"no doses": ("dose",), "doses": ()}
"""Signatures -> the families of features they lack."""
SMALLEST_LIKELIHOOD_GAP = 0.05
"""Nats per token; where expert and auxiliary differ by less there is nothing to judge by."""

Predict = Callable[[Rows, Split], Floats]
Question = tuple[Rows, Sequence[Split], Predict]
"""Rows that are asked about, how they are split, and who predicts."""


def main() -> None:
    """Every world and every signature, and write the JSON."""
    size = Size(**json.loads((HERE / "selection.json").read_text())["size"])
    nano, real = load(REAL)
    counted = {NANO: nano[0]} | {zoo: of_tables(real[0], [zoo]) for zoo in REAL}
    report: dict[str, Any] = {"pairs": {zoo: count(rows) for zoo, rows in counted.items()}}
    for name, hidden in HIDDEN.items():
        small, large = (without(rows, hidden) for rows, _ in (nano, real))
        models = splits(by_recipe(large), FOLDS, seed=SEED)
        by = {
            "nano and {}": by_both(small, large, size),
            "nano and {}, both counting the same": by_both(small, large, size, evenly=True),
            "{} alone": by_own(large, size),
        }
        questions: dict[str, Question] = {
            f"real models left out, trained on {known.format('real')}": (large, models, predict)
            for known, predict in by.items()
        }
        for family in FAMILIES_OF:
            cut = [leave_out(large, family)]
            questions |= {
                f"{family}, trained on {known.format('the other family')}": (large, cut, predict)
                for known, predict in by.items()
            }
        alone = by_other(small, size)
        questions["real models, trained on nano alone"] = (large, models, alone)
        questions["nano models left out, trained on nano alone"] = (
            small, splits(small, FOLDS, seed=SEED), by_own(small, size),
        )  # fmt: skip
        report[name] = {"features": len(small.names)}
        for question, (rows, cuts, predict) in questions.items():
            outcomes = real[1] if rows is large else nano[1]
            report[name][question] = answer(rows, outcomes, cuts, predict)
            print(name, "|", question, flush=True)
            (HERE / "worlds.json").write_text(json.dumps(round_all(report), indent=1) + "\n")


def load(zoos: Sequence[str]) -> tuple[tuple[Rows, list[Outcome]], tuple[Rows, list[Outcome]]]:
    """The rows of the nano zoo and of `zoos` with the arms that were measured in all of them, and
    their outcomes. The regime of a real row is its table."""
    nano, *real = (load_outcomes(TABLES / f"{zoo}.jsonl.gz") for zoo in (NANO, *zoos))
    arms = [arm for arm in SETS["all"] if all(arm in each.arms for each in (nano, *real))]
    small = load_features(TABLES / f"{NANO}-features.jsonl.gz")
    doses = load_features(TABLES / f"{DOSES}.jsonl.gz")
    parts, outcomes = [], []
    for zoo, each in zip(zoos, real, strict=True):
        told = replace(each, rows=tuple(replace(row, regime=zoo) for row in each.rows))
        parts.append(join(told, load_features(TABLES / f"{zoo}-features.jsonl.gz"), arms))
        outcomes += told.rows
    both = {key: np.concatenate([small.rows[key], doses.rows[key]]) for key in small.rows}
    names = parts[0].names
    order = [(*small.names, *doses.names).index(name) for name in names]
    small = replace(small, names=names, rows={key: known[order] for key, known in both.items()})
    return (join(nano, small, arms), list(nano.rows)), (pool(parts), outcomes)


def pool(parts: Sequence[Rows]) -> Rows:
    """Rows of several tables as one; each model's name begins with its table's number."""
    return stack([_renamed(rows, lambda name, i=i: f"{i} {name}") for i, rows in enumerate(parts)])


def by_recipe(rows: Rows) -> Rows:
    """The same rows, models of one recipe under one name whatever their table."""
    return _renamed(rows, lambda name: name.rpartition(" ")[2])


def _renamed(rows: Rows, spell: Callable[[str], str]) -> Rows:
    experts, auxiliaries = (tuple(map(spell, each)) for each in (rows.experts, rows.auxiliaries))
    return replace(rows, experts=experts, auxiliaries=auxiliaries)


def of_tables(rows: Rows, zoos: Sequence[str]) -> Rows:
    """The rows of some tables."""
    return rows.take(np.flatnonzero(np.isin(rows.regimes, zoos)))


def leave_out(rows: Rows, family: str) -> Split:
    """All rows of a family to test, all others to train on."""
    inside = np.isin(rows.regimes, FAMILIES_OF[family])
    return Split(train=np.flatnonzero(~inside), test=np.flatnonzero(inside))


def count(rows: Rows) -> dict[str, int]:
    """How much there is to learn from."""
    pairs = {frozenset(pair) for pair in zip(rows.experts, rows.auxiliaries, strict=True)}
    return {"rows": len(rows), "pairs": len(pairs), "models": len(rows.models)}


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


def by_both(other: Rows, rows: Rows, size: Size, *, evenly: bool = False) -> Predict:
    """Trained on all of another zoo, and on rows of the same one without the tested models; each
    row counts the same, or `evenly` each zoo."""

    def predict(asked: Rows, split: Split) -> Floats:
        near = rows.take(split.train)
        known = near.weighed(len(other) / len(near)) if evenly else near
        return ask(stack([other, known]), asked.take(split.test), size)

    return predict


def ask(known: Rows, test: Rows, size: Size) -> Floats:
    """[test rows, arms]: predicted by what was trained on the known rows."""
    fitted = mixture.fit(known, size, seed=SEED)
    return mixture.predict(fitted, test.values, test.effects)


def answer(
    rows: Rows, outcomes: Sequence[Outcome], cuts: Sequence[Split], predict: Predict
) -> dict[str, Any]:
    """What the choices reach on the rows that splits test, each by what the split may know."""
    predicted = np.full(rows.gains.shape, np.nan)
    fixed_scores = np.full(rows.gains.shape, np.nan)
    for split in cuts:
        predicted[split.test] = predict(rows, split)
        fixed_scores[split.test] = best_fixed(rows.take(split.train), rows.take(split.test))
    places = np.flatnonzero(np.isfinite(predicted).all(axis=1))
    tested = rows.take(places)
    scores = {"xgboost": predicted[places], "best fixed": fixed_scores[places]}
    return {
        "over best fixed by split": by_split(rows, cuts, predicted, fixed_scores),
        "exact match": judge_sets(tested, scores),
        "log-likelihood": by_likelihood(tested, outcomes, scores),
        "held": coverage(tested, scores["xgboost"]),
    }


def by_split(
    rows: Rows, cuts: Sequence[Split], predicted: Floats, fixed_scores: Floats
) -> list[float]:
    """Split by split, on both tasks of its pairs: what the choice reaches over the best fixed arm,
    among all arms, both chosen without the tested models."""
    over = []
    for split in cuts:
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


def by_likelihood(
    rows: Rows, outcomes: Sequence[Outcome], scores: dict[str, Floats]
) -> dict[str, Any]:
    """The same choices judged by the share of the gap in log-likelihood that they close."""
    by_key = {(row.regime, *row.key): row for row in outcomes}
    gains = np.full(rows.gains.shape, np.nan)
    named = by_recipe(rows)
    names = named.regimes, named.experts, named.auxiliaries, named.tasks
    for i, key in enumerate(zip(*names, strict=True)):
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
    for places, others in leave_pairs_out(by_recipe(rows)):
        if others.any():
            radii = calibrate(predicted[others], rows.gains[others], usable, ALPHA)
            arms += (residuals[places] <= radii.arms).mean(axis=1).tolist()
            chosen += (residuals[places, best[places]] <= radii.chosen).tolist()
    return {"arms": float(np.mean(arms)), "chosen": float(np.mean(chosen))}


if __name__ == "__main__":
    main()
