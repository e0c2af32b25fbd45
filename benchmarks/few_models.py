"""What is learned of merges on weights alone from few real language models, and what bounds it.

    python benchmarks/few_models.py       # half an hour on two cores

Two learners: the package's, XGBoost over a line, and a Gaussian process (`gaussian.py`), which was
tried because there are few models. Both learn of the arms on weights alone, from real pairs or from
nano ones as well, with and without doses. They are asked about

- models left out in five folds, as in `worlds.py`, and in ten, where more models are learned from;
- pairs left out whose models are known from other pairs;
- the models of `zoo-smollm-2`, at whose pairs nobody looked before all of this was settled.

Specialists of one name are left out together whatever their base, as are pairs of the same two.
Inside what a split may know, where the Gaussian process settles its setting, two builds of one
specialist count as two models.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gaussian
import numpy as np
from selection import SEED, SETS, TABLES, round_all
from worlds import (
    FOLDS,
    HIDDEN,
    REAL,
    Predict,
    answer,
    by_both,
    by_own,
    by_recipe,
    count,
    load,
    pool,
    without,
)

from simmerge_hub.selector.models.mixture import Size
from simmerge_hub.selector.tables.features import load_features
from simmerge_hub.selector.tables.outcomes import Outcome, load_outcomes
from simmerge_hub.selector.tables.rows import Rows, Split, join, splits

HERE = Path(__file__).parent
NEW = "zoo-smollm-2"
"""Pairs of models that no other table has, measured on weights alone."""
MANY_FOLDS = 10

Learners = dict[str, Predict]
"""What was learned from, and by which learner -> who predicts."""


def main() -> None:
    """Every question to every learner, and write the JSON."""
    size = Size(**json.loads((HERE / "selection.json").read_text())["size"])
    (nano, _), (real, outcomes) = ((on_weights(rows), measured) for rows, measured in load(REAL))
    new, later = load_new(real)
    report: dict[str, Any] = {
        "models": count(real), "new": count(new), "by name": len(by_recipe(real).models),
    }  # fmt: skip
    for name, hidden in HIDDEN.items():
        small, large, fresh = (without(rows, hidden) for rows in (nano, real, new))
        learners = learn(small, large, size)
        named = by_recipe(large)
        questions: dict[str, tuple[Sequence[Split], Learners]] = {
            "models left out, five folds": (splits(named, FOLDS, seed=SEED), learners),
            "models left out, ten folds": (splits(named, MANY_FOLDS, seed=SEED), learners),
            "pairs left out, their models known": (pair_folds(named, MANY_FOLDS), learners),
        }
        report[name] = {}
        for question, (cuts, asked) in questions.items():
            report[name][question] = {"learned from": learned_from(cuts)} | {
                learner: judge(large, outcomes, cuts, predict) for learner, predict in asked.items()
            }
            write(report, name, question)
        both, last = join_new(large, fresh)
        report[name]["new models"] = {"learned from": len(large)} | {
            learner: judge(both, [*outcomes, *later], [last], predict)
            for learner, predict in learn(small, both, size).items()
        }
        write(report, name, "new models")


def learn(small: Rows, large: Rows, size: Size) -> Learners:
    """The learners, of splits of `large`."""
    return {
        "real alone, XGBoost": by_own(large, size),
        "real alone, Gaussian process": partial(by_process, None),
        "nano and real, XGBoost": by_both(small, large, size),
        "nano and real, Gaussian process": partial(by_process, small),
    }


def by_process(other: Rows | None, rows: Rows, split: Split) -> gaussian.Floats:
    """The Gaussian process, trained on rows outside the split and on those of `other`."""
    known, test = rows.take(split.train), rows.take(split.test)
    return gaussian.ask(known, test, other=other, seed=SEED)


def judge(
    rows: Rows, outcomes: Sequence[Outcome], cuts: Sequence[Split], predict: Callable[..., Any]
) -> dict[str, Any]:
    """On both tasks of a pair at once, by exact match and by log-likelihood."""
    found = answer(rows, outcomes, cuts, predict)
    kept: dict[str, Any] = {
        n: found[n]["weights"]["both"] for n in ("exact match", "log-likelihood")
    }
    return kept | {"over best fixed by split": found["over best fixed by split"]}


def on_weights(rows: Rows) -> Rows:
    """The rows with the arms alone that look at weights."""
    return rows.only([i for i, arm in enumerate(rows.arms) if arm in SETS["weights"]])


def load_new(real: Rows) -> tuple[Rows, list[Outcome]]:
    """The rows of the new models with the arms of `real`, and their outcomes."""
    table = load_outcomes(TABLES / f"{NEW}.jsonl.gz")
    told = replace(table, rows=tuple(replace(row, regime=NEW) for row in table.rows))
    features = load_features(TABLES / f"{NEW}-features.jsonl.gz")
    return join(told, features, real.arms), list(told.rows)


def join_new(known: Rows, new: Rows) -> tuple[Rows, Split]:
    """Both as one, split between them."""
    both = pool([known, new])
    return both, Split(train=np.arange(len(known)), test=np.arange(len(known), len(both)))


def pair_folds(rows: Rows, folds: int) -> list[Split]:
    """Pairs dealt into folds; each is tested by what was trained on all other folds."""
    pairs = [tuple(sorted(pair)) for pair in zip(rows.experts, rows.auxiliaries, strict=True)]
    every = sorted(set(pairs))
    dealt = np.random.default_rng(SEED).permutation(len(every)) % folds
    place = dict(zip(every, dealt, strict=True))
    folds_of = np.array([place[pair] for pair in pairs])
    return [
        Split(train=np.flatnonzero(folds_of != fold), test=np.flatnonzero(folds_of == fold))
        for fold in range(folds)
    ]


def learned_from(cuts: Sequence[Split]) -> float:
    """How many real rows were learned from, on average over rows tested."""
    return float(
        np.average([len(cut.train) for cut in cuts], weights=[len(cut.test) for cut in cuts])
    )


def write(report: Mapping[str, Any], *done: str) -> None:
    """The report as far as it is, and what was just finished."""
    (HERE / "few_models.json").write_text(json.dumps(round_all(dict(report)), indent=1) + "\n")
    print(*done, sep=" | ", flush=True)


if __name__ == "__main__":
    main()
