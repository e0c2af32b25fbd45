"""How good the choice of an operator is on models the predictor never saw, and what it rests on.

    python benchmarks/selection.py                          # 20 minutes on two cores
    python benchmarks/selection.py --only main ablations    # the JSON keeps the other parts

Reads the committed outcomes and features of the zoo. Splits keep models apart: no model is on both
sides. In the part `main` everything that is chosen (trees, which model, best fixed operator,
baselines' settings) is chosen on training rows alone. The other parts fit with one size of the
trees for all their splits: the one most folds of `main` chose, so models they test had a say in it.
Intervals resample models. Writes
benchmarks/selection.json, and benchmarks/selection_plots.py draws it.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from simmerge_hub.operators import ARMS, FED_ARMS, PAPER_ARMS
from simmerge_hub.selector.models import mixture
from simmerge_hub.selector.models.conformal import calibrate, choose
from simmerge_hub.selector.models.mixture import Size
from simmerge_hub.selector.models.resampling import resample, spread
from simmerge_hub.selector.predictor.expert import probability
from simmerge_hub.selector.tables.availability import members
from simmerge_hub.selector.tables.features import load_features
from simmerge_hub.selector.tables.outcomes import Outcomes, load_outcomes
from simmerge_hub.selector.tables.rows import Floats, Rows, Split, join, splits
from simmerge_hub.selector.training.baselines import best_fixed
from simmerge_hub.selector.training.objectives import both_tasks, each_task
from simmerge_hub.selector.training.report import judge, report
from simmerge_hub.selector.training.scenarios import leave_domains_out
from simmerge_hub.selector.training.train import FOLDS, hold_out
from simmerge_hub.signatures.features.registry import REGISTRY
from simmerge_hub.signatures.features.vector import Features
from simmerge_hub.signatures.merged.effects import swap_effects

HERE = Path(__file__).parent
TABLES = HERE.parent / "recipes" / "outcomes"
ZOO = "zoo-v3"
SEED = 0
ALPHA = 0.1
EQUAL = tuple(arm for arm in ARMS if arm == arm.swapped())
SETS = {"all": (*ARMS, *FED_ARMS), "weights": ARMS, "balanced": EQUAL, "paper": PAPER_ARMS}
"""Which arms compete: all that a plan chooses between; those that look at weights alone; those of
them that treat both models alike; the paper's three."""
PAPER = (
    "kl_mean", "kl_median", "kl_q90", "hidden_cosine", "attention_cosine", "weight_cosine",
    "weight_distance",
)  # fmt: skip
"""Features of the paper: KL of predictions, cosines of hidden states and attention, weights."""
WITH_EFFECTS = ("everything", "structural, with effects")
"""Ablations that see what arms do to sampled weights; the second is a plan without probes."""
SHARES = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
"""Shares of the training models kept, for the learning curve."""
SPLITS = 24
"""Random splits of the models for coverage."""
TESTED = 0.3
"""Share of the models that are tested in each of them."""


def main() -> None:
    """Run the parts that are asked for, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    options = parser.parse_args()
    file = HERE / "selection.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    outcomes = load_outcomes(TABLES / f"{ZOO}.jsonl.gz")
    rows = join(outcomes, load_features(TABLES / f"{ZOO}-features.jsonl.gz"), SETS["all"])
    for name in options.only:
        size = Size(**found["size"]) if "size" in found else Size()
        found |= PARTS[name](rows, outcomes, size)
        file.write_text(json.dumps(round_all(found), indent=1, sort_keys=True) + "\n")
        print(f"{name} done", flush=True)


def whole(rows: Rows, outcomes: Outcomes, _: Size) -> dict[str, Any]:
    """The report of training: every strategy, pooled and by regime, on both objectives."""
    held = hold_out(rows, seed=SEED)
    sizes = list(held.sizes)
    parts = {"main": report(held, seed=SEED, alpha=ALPHA), "regimes": {}}
    scores = {
        "xgboost": held.predicted[0],
        "best fixed": best_fixed_scores(held.rows, held.splits),
    }
    parts["sets"] = judge_sets(held.rows, scores)
    for regime in sorted(set(held.rows.regimes)):
        inside = np.flatnonzero(np.array(held.rows.regimes) == regime)
        cut = {name: each[inside] for name, each in scores.items()}
        parts["regimes"][regime] = judge_sets(held.rows.take(inside), cut)
    parts["secondary"] = token_accuracy(held.rows, held.predicted[0], held.splits, outcomes)
    most = max(sizes, key=sizes.count)
    parts["size"] = asdict(most)
    return parts


def ablations(rows: Rows, _: Outcomes, size: Size) -> dict[str, Any]:
    """The same contest with some of the evidence only."""
    needs = members(rows.names)
    roots = [name.partition(".")[0] for name in rows.names]
    paper = [r.removesuffix("_expert").removesuffix("_auxiliary") in PAPER for r in roots]
    structural = [REGISTRY[name].family == "structural" for name in rows.names]
    columns = {
        "everything": np.ones(len(rows.names), bool),
        "the paper's": np.array(paper),
        "relative to the base": needs[0],
        "without the base": ~needs[0],
        "structural, with effects": np.array(structural),
        "structural": np.array(structural),
        "functional": ~np.array(structural),
    }
    found = {}
    for name, kept in columns.items():
        places = np.flatnonzero(kept)
        some = replace(
            rows,
            names=tuple(rows.names[i] for i in places),
            values=rows.values[:, places],
            effects=rows.effects if name in WITH_EFFECTS else rows.effects * np.nan,
        )
        found[name] = {"features": len(places)} | try_splits(
            some, splits(some, FOLDS, seed=SEED), size
        )
    blind = replace(rows, effects=rows.effects * np.nan)
    found["everything but effects"] = {"features": len(rows.names)} | try_splits(
        blind, splits(rows, FOLDS, seed=SEED), size
    )
    return {"ablations": found}


def curve(rows: Rows, _: Outcomes, size: Size) -> dict[str, Any]:
    """Fewer training models: the same tests, trained on the rows among a share of them."""
    found = []
    for share in SHARES:
        kept = [fewer(rows, split, share) for split in splits(rows, FOLDS, seed=SEED)]
        sizes = [len(split.train) for split in kept]
        found.append({"share": share, "rows": float(np.mean(sizes))} | try_splits(rows, kept, size))
    return {"learning curve": found}


def fewer(rows: Rows, split: Split, share: float) -> Split:
    """The split with the training rows among a seeded share of its training models."""
    known = rows.take(split.train)
    random = np.random.default_rng(SEED)
    kept = set(random.permutation(known.models)[: max(6, round(share * len(known.models)))])
    inside = [
        e in kept and x in kept for e, x in zip(known.experts, known.auxiliaries, strict=True)
    ]
    return Split(train=split.train[np.array(inside)], test=split.test)


def unseen_size(rows: Rows, _: Outcomes, size: Size) -> dict[str, Any]:
    """Trained on the small bases only, tested on the base of four times their size."""
    large = np.array([regime.endswith("large") for regime in rows.regimes])
    small_only = [Split(train=np.flatnonzero(~large), test=np.flatnonzero(large))]
    seen = []
    for split in splits(rows, FOLDS, seed=SEED):
        test = split.test[large[split.test]]
        if len(test):
            seen.append(Split(train=split.train, test=test))
    return {
        "unseen size": {
            "small bases only": try_splits(rows, small_only, size),
            "all bases": try_splits(rows, seen, size),
        }
    }


def unseen_domain(rows: Rows, _: Outcomes, size: Size) -> dict[str, Any]:
    """The expert's domain never trained on; auxiliaries kept apart by folds."""
    kept = leave_domains_out(rows, FOLDS, seed=SEED)
    found = {domain: try_splits(rows, each, size) for domain, each in kept.items()}
    every = [split for each in kept.values() for split in each]
    return {"unseen domain": found | {"pooled": try_splits(rows, every, size)}}


def coverage(rows: Rows, _: Outcomes, size: Size) -> dict[str, Any]:
    """Intervals calibrated inside the training rows, tried on models nobody has seen."""
    usable = np.ones(len(rows.arms), bool)
    shares = []
    for seed in range(SPLITS):
        random = np.random.default_rng(seed)
        tested = set(random.permutation(rows.models)[: round(TESTED * len(rows.models))])
        of = np.array(
            [[m in tested for m in p] for p in zip(rows.experts, rows.auxiliaries, strict=True)]
        )
        known, test = rows.take(np.flatnonzero(~of.any(1))), rows.take(np.flatnonzero(of.all(1)))
        predicted = np.full(known.gains.shape, np.nan)
        for split in splits(known, 4, seed=seed):
            fitted = mixture.fit(known.take(split.train), size, seed=seed)
            asked = known.take(split.test)
            predicted[split.test] = mixture.predict(fitted, asked.values, asked.effects)
        there = np.isfinite(predicted).all(axis=1)
        radii = calibrate(predicted[there], known.gains[there], usable, ALPHA)
        fitted = mixture.fit(known, size, seed=seed)
        guess = mixture.predict(fitted, test.values, test.effects)
        inside = np.abs(guess - test.gains)
        best = choose(guess, usable)
        of_chosen = np.take_along_axis(inside, best[:, None], axis=1)[:, 0] <= radii.chosen
        weights = resample(test.experts, test.auxiliaries, seed)
        shares.append(
            {
                "rows": len(test),
                "arms": spread((inside <= radii.arms).mean(axis=1), weights),
                "chosen": spread(of_chosen.astype(float), weights),
                "by arm": (inside <= radii.arms).mean(axis=0).tolist(),
                "width of the chosen": 2 * radii.chosen,
                "mean width of an arm": float(2 * np.mean(radii.arms)),
            }
        )
    of_arms = np.array([one["by arm"] for one in shares])
    return {
        "coverage": {
            "splits": shares,
            "arms": over_splits([one["arms"]["mean"] for one in shares]),
            "chosen": over_splits([one["chosen"]["mean"] for one in shares]),
            "by arm": {
                a.label: float(mean)
                for a, mean in zip(rows.arms, of_arms.mean(axis=0), strict=True)
            },
            "width of the chosen": float(np.mean([s["width of the chosen"] for s in shares])),
            "mean width of an arm": float(np.mean([s["mean width of an arm"] for s in shares])),
        }
    }


def infer_experts(rows: Rows, _: Outcomes, size: Size) -> dict[str, Any]:
    """The expert inferred from the probes instead of named: how often right, what it costs."""
    columns = [swap(rows.values[:, i], rows, name) for i, name in enumerate(rows.names)]
    swapped = np.stack(columns, axis=1)
    sure = np.array(
        [probability(Features(names=rows.names, values=v, schema=rows.schema)) for v in rows.values]
    )
    wrong = ~(sure > 0.5)
    order = [[a.label for a in rows.arms].index(a.swapped().label) for a in rows.arms]
    turned = swap_effects(rows.effects[:, order])
    guessed = replace(
        rows,
        values=np.where(wrong[:, None], swapped, rows.values),
        effects=np.where(wrong[:, None, None], turned, rows.effects),
    )
    found = splits(rows, FOLDS, seed=SEED)
    return {
        "inferred experts": {
            "right": float(1 - wrong.mean()),
            "known": try_splits(rows, found, size),
            "inferred": try_splits(rows, found, size, asked=guessed),
        }
    }


def swap(column: Floats, rows: Rows, name: str) -> Floats:
    """The column with expert and auxiliary in each other's place."""
    how = REGISTRY[name].swap
    if how in REGISTRY:
        return rows.values[:, rows.names.index(how)]
    return -column if how == "negated" else column


def try_splits(
    rows: Rows, found: Sequence[Split], size: Size, *, asked: Rows | None = None
) -> dict[str, Any]:
    """Fit on each split's training rows, choose on its test rows; judged by set of arms."""
    scores = {n: np.full(rows.gains.shape, np.nan) for n in ("xgboost", "best fixed")}
    told = asked or rows

    def one(split: Split) -> None:
        known, test = rows.take(split.train), told.take(split.test)
        fitted = mixture.fit(known, size, seed=SEED)
        scores["xgboost"][split.test] = mixture.predict(fitted, test.values, test.effects)
        scores["best fixed"][split.test] = best_fixed(known, test)

    mixture.run_in_parallel(one, found)
    places = np.flatnonzero(np.isfinite(scores["xgboost"]).all(axis=1))
    tested = rows.take(places)
    return judge_sets(tested, {name: each[places] for name, each in scores.items()})


def judge_sets(rows: Rows, scores: dict[str, Floats]) -> dict[str, Any]:
    """Set of arms -> `both` tasks of a pair at once (where rows hold both), and each `task`."""
    judged = {}
    for name, columns in sets(rows).items():
        some, cut = rows.only(columns), {n: each[:, columns] for n, each in scores.items()}
        views = {"both": both_tasks(some, cut), "task": each_task(some, cut)}
        judged[name] = {
            view: slim(judge(cases, some.arms, SEED))
            for view, cases in views.items()
            if cases is not None
        }
    return judged


def best_fixed_scores(rows: Rows, found: Sequence[Split]) -> Floats:
    """Each test row's best fixed arm, as scores."""
    scores = np.empty_like(rows.gains)
    for split in found:
        scores[split.test] = best_fixed(rows.take(split.train), rows.take(split.test))
    return scores


def token_accuracy(
    rows: Rows, predicted: Floats, found: Sequence[Split], outcomes: Outcomes
) -> dict[str, Any]:
    """The same choices judged by token accuracy, on rows where the expert has 0.05 more of it."""
    by_key = {row.key: row for row in outcomes.rows}
    keys = zip(rows.experts, rows.auxiliaries, rows.tasks, strict=True)
    gains = np.full(rows.gains.shape, np.nan)
    for i, key in enumerate(keys):
        row = by_key[key]
        low, high = row.unmerged["auxiliary"], row.unmerged["expert"]
        if high - low >= 0.05:
            gains[i] = [(row.secondary[a.label] - low) / (high - low) for a in rows.arms]
    places = np.flatnonzero(np.isfinite(gains).all(axis=1))
    judged = replace(
        rows.take(places),
        gains=np.clip(gains[places], -1, 1.5),
        halves=np.full((len(places), len(rows.arms), 2), np.nan),
    )
    scores = {"xgboost": predicted[places], "best fixed": best_fixed_scores(rows, found)[places]}
    return judge_sets(judged, scores)


def sets(rows: Rows) -> dict[str, list[int]]:
    """Set of arms -> their columns."""
    labels = [a.label for a in rows.arms]
    return {
        name: [labels.index(a.label) for a in arms if a.label in labels]
        for name, arms in SETS.items()
    }


def slim(table: dict[str, Any]) -> dict[str, Any]:
    """What is compared between runs: the choice, the best fixed arm, what there was to win."""
    strategies = table["strategies"]
    top = "oracle by halves" if "oracle by halves" in strategies else "oracle"
    return {
        "cases": table["cases"],
        "xgboost": strategies["xgboost"],
        "best fixed": strategies["best fixed"],
        "oracle": strategies[top],
        "over best fixed": table["over best fixed"],
        "headroom": table["headroom"],
        "headroom captured": table["headroom captured"],
        "advantage r2": table["advantage r2"],
    }


def over_splits(means: Sequence[float]) -> dict[str, float]:
    """Mean over splits, with 2.5 and 97.5 % points of what single splits gave."""
    low, high = np.quantile(means, (0.025, 0.975))
    return {"mean": float(np.mean(means)), "low": float(low), "high": float(high)}


def round_all(value: Any) -> Any:
    """Every number to four places."""
    if isinstance(value, dict):
        return {key: round_all(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [round_all(inner) for inner in value]
    return round(value, 4) if isinstance(value, float) else value


PARTS: dict[str, Callable[[Rows, Outcomes, Size], dict[str, Any]]] = {
    "main": whole,
    "ablations": ablations,
    "curve": curve,
    "size": unseen_size,
    "domain": unseen_domain,
    "coverage": coverage,
    "inferred": infer_experts,
}

if __name__ == "__main__":
    main()
