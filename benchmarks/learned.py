"""Whether learning from one's own measured merges chooses better than the packaged predictor.

    python benchmarks/learned.py      # some hours of a core; --only PART, the others stay

Four catalogues of one's own, from near to far. Each has its models dealt into folds; for each fold
a predictor is trained, by what `simmerge-hub learn` fits with, on measured pairs of the other folds
together with the packaged table, and chooses for pairs whose models are both in the fold; so does a
predictor that knows the packaged table alone. How much a row of the catalogue counts is settled on
the fold's training rows (`selector.training.weighing`); the predictors' size is that of
`selection.json`, which was chosen on all of `zoo-v3`. All choose between the same arms; intervals
resample the models.

same      The zoo `zoo-more`: specialists the packaged predictor never saw, of the same three bases.
domain    Of one domain at a time, the packaged table loses all models; `zoo-more` keeps its own.
base      Of one base at a time, the packaged table loses all models; they are the catalogue. Pairs
          across two folds are tested too, by what learned outside both; and each pair is planned
          for as `plan` does, with its rule of trust (`learned_plans.py`).
real      The pairs of Gemma 3 270M, beside the packaged predictor as it is.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from learned_plans import Told, judge_plans, tell_both
from worlds import without

from simmerge_hub.operators import ARMS, BALANCED, FED_ARMS, Arm, find
from simmerge_hub.selector.models import mixture
from simmerge_hub.selector.models.mixture import Size
from simmerge_hub.selector.models.resampling import resample, spread
from simmerge_hub.selector.predictor import archive
from simmerge_hub.selector.predictor.origin import packaged_predictor
from simmerge_hub.selector.predictor.scorer import Scorer
from simmerge_hub.selector.tables.features import load_features
from simmerge_hub.selector.tables.outcomes import Outcomes, load_outcomes
from simmerge_hub.selector.tables.rows import (
    Floats,
    Places,
    Rows,
    join,
    leave_pairs_out,
    splits,
)
from simmerge_hub.selector.training import weighing
from simmerge_hub.selector.training.objectives import Cases, both_tasks, each_task
from simmerge_hub.selector.training.scenarios import sizes_of

HERE = Path(__file__).parent
TABLES = HERE.parent / "recipes" / "outcomes"
FILE = HERE / "learned.json"
PACKAGED, MORE, REAL = "zoo-v3", "zoo-more", "zoo-real"
FOLDS, SEED = 3, 0
FOLDS_OF_BASE = 5
"""Where pairs across two folds are tested as well, as in `predictor train`."""
Predictions = dict[str, Floats]
"""Who predicts -> [rows, arms]; NaN where a row was not tested."""


def main() -> None:
    """The parts that are asked for, into learned.json."""
    parts = {
        "same": ("models left out", compare_same),
        "domain": ("a domain left out", compare_domains),
        "base": ("a base left out", compare_bases),
        "real": ("a real language model", compare_real),
    }
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=parts, nargs="+", default=list(parts))
    chosen = parser.parse_args().only
    size = Size(**json.loads((HERE / "selection.json").read_text())["size"])
    result = json.loads(FILE.read_text()) if FILE.exists() else {}
    result["size"] = asdict(size)
    for name in chosen:
        title, compare = parts[name]
        result[title] = _round(compare(size))
        FILE.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n")
        print(title, flush=True)


def compare_same(size: Size) -> Any:
    """What each chooses on pairs of models that its training left out."""
    own, packaged = _load(MORE, PACKAGED)
    known = predict_packaged(own)
    folds = _folds(own)
    return judge(own, learn(own, packaged, folds, size, known) | {"alone": alone(own, folds, size)})


def compare_domains(size: Size) -> Any:
    """The same where only the catalogue has models of a domain: tested are rows on its tasks."""
    own, packaged = _load(MORE, PACKAGED)
    predictions: Predictions = {}
    for domain in sorted({task.partition("/")[0] for task in own.tasks}):
        free = [i for i, some in enumerate(_domains(packaged)) if domain not in some]
        others = packaged.take(np.array(free))
        of = np.array([task.startswith(f"{domain}/") for task in own.tasks])
        folds = [(test[of[test]], train) for test, train in _folds(own, 2)]
        _fill(predictions, learn(own, others, folds, size))
    return judge(own, predictions)


def compare_bases(size: Size) -> Any:
    """The same where only the catalogue has models of a base."""
    (every,) = _load(PACKAGED)
    sizes = sizes_of(every, load_outcomes(TABLES / f"{PACKAGED}.jsonl.gz").provenance)
    bases, predictions = np.array(every.regimes), dict[str, Floats]()
    told: dict[str, list[tuple[Places, Told]]] = {}
    for base in sorted(set(every.regimes)):
        places, far = np.flatnonzero(bases == base), np.flatnonzero(bases != base)
        own, others = every.take(places), every.take(far)
        folds = _folds(own, FOLDS_OF_BASE, across=True)
        part = learn(own, others, folds, size) | {"alone": alone(own, folds, size)}
        spots = {name: np.full(every.gains.shape, np.nan) for name in part}
        for name, each in part.items():
            spots[name][places] = each
        _fill(predictions, spots)
        both = tell_both((own, sizes[places]), (others, sizes[far]), folds, part, size)
        for who, each in both.items():
            told.setdefault(who, []).append((places, each))
    plans = {
        name: judge_plans(every, told, [every.arms[i] for i in columns])
        for name, columns in _arm_sets(every.arms)
    }
    return judge(every, predictions) | {"plans": plans}


def compare_real(size: Size) -> Any:
    """The same for a real language model; each pair is tested without both its models."""
    own, packaged = (without(rows, ("dose",)) for rows in _load(REAL, PACKAGED))
    folds = [(test, np.flatnonzero(free)) for test, free in leave_pairs_out(own)]
    known = predict_packaged(own)
    return judge(own, learn(own, packaged, folds, size, known) | {"alone": alone(own, folds, size)})


Fold = tuple[Places, Places]
"""Rows to test, and rows to train on that share no model with them."""


def learn(
    own: Rows, others: Rows, folds: Sequence[Fold], size: Size, known: Floats | None = None
) -> Predictions:
    """By what learned from the other folds and `others`, and by what knows `others` alone
    (`known`, if that is there already)."""
    if known is None:
        known = _predict(others, own, size)
    learned = np.full(own.gains.shape, np.nan)
    for test, train in folds:
        rows = own.take(train)
        weight = weighing.weigh(rows, others, size=size, seed=SEED)
        both = weighing.combine(rows, [others], weight)
        learned[test] = _predict(both, own.take(test), size)
        print(f"  {len(train)} rows count {weight:g} beside {len(others)}", flush=True)
    tested = np.isfinite(learned)
    return {"learned": learned, "packaged": np.where(tested, known, np.nan)}


def alone(own: Rows, folds: Sequence[Fold], size: Size) -> Floats:
    """By what learned from the other folds and nothing else."""
    predicted = np.full(own.gains.shape, np.nan)
    for test, train in folds:
        predicted[test] = _predict(own.take(train), own.take(test), size)
    return predicted


def predict_packaged(rows: Rows) -> Floats:
    """[rows, arms], by the predictor in the package."""
    predictor = archive.load(packaged_predictor(), ours=True)
    scorer = Scorer(
        arms=predictor.arms, line=predictor.line, heads=predictor.heads,
        conditioned=predictor.conditioned,
    )  # fmt: skip
    assert predictor.names == rows.names
    return scorer.gains(rows.values, rows.effects, rows.arms)


def _load(*names: str) -> list[Rows]:
    """The rows of these tables, with the arms that all of them have."""
    outcomes = [load_outcomes(TABLES / f"{name}.jsonl.gz") for name in names]
    arms = [arm for arm in (*ARMS, *FED_ARMS) if all(arm in each.arms for each in outcomes)]
    return [_rows(name, each, arms) for name, each in zip(names, outcomes, strict=True)]


def _rows(name: str, outcomes: Outcomes, arms: Sequence[Arm]) -> Rows:
    return join(outcomes, load_features(TABLES / f"{name}-features.jsonl.gz"), arms)


def _folds(own: Rows, count: int = FOLDS, *, across: bool = False) -> list[Fold]:
    return [(part.test, part.train) for part in splits(own, count, seed=SEED, across=across)]


def _predict(known: Rows, test: Rows, size: Size) -> Floats:
    return mixture.predict(mixture.fit(known, size, seed=SEED), test.values, test.effects)


def _fill(predictions: Predictions, more: Predictions) -> None:
    """What `more` says of rows of which nothing is said yet."""
    for name, each in more.items():
        before = predictions.setdefault(name, np.full(each.shape, np.nan))
        predictions[name] = np.where(np.isfinite(before), before, each)


def _domains(rows: Rows) -> list[set[str]]:
    """The domains of both models of each row: an auxiliary's is in the row where it is the expert,
    and in its name."""
    return [
        {task.partition("/")[0], *auxiliary.split("-")}
        for task, auxiliary in zip(rows.tasks, rows.auxiliaries, strict=True)
    ]


def judge(rows: Rows, predictions: Predictions) -> dict[str, Any]:
    """Mean share of the gap closed by what each chooses, and the difference from the packaged."""
    tested = np.flatnonzero(np.isfinite(predictions["learned"]).all(axis=1))
    asked = rows.take(tested)
    report: dict[str, Any] = {"rows": len(rows), "tested": len(tested)}
    for name, columns in _arm_sets(rows.arms):
        some = asked.only(columns)
        scores = {who: each[tested][:, columns] for who, each in predictions.items()}
        for what, make in (("both tasks", both_tasks), ("expert's task", each_task)):
            cases = make(some, scores)
            if cases is not None:
                report[f"{what}, {name}"] = _judge(cases)
    return report


def _arm_sets(arms: Sequence[Arm]) -> Iterator[tuple[str, list[int]]]:
    """What is chosen between, as columns; a set that is another over again is left out."""
    blind = [i for i, arm in enumerate(arms) if not find(arm.operator).activations]
    labels = {arm.label for arm in BALANCED}
    yield "all arms", list(range(len(arms)))
    if len(blind) < len(arms):
        yield "without prompts", blind
    yield "without prompts, both alike", [i for i in blind if arms[i].label in labels]


def _judge(cases: Cases) -> dict[str, Any]:
    weights = resample(cases.first, cases.second, SEED)
    lines = np.arange(len(cases.gains))
    gains = {name: cases.gains[lines, s.argmax(axis=1)] for name, s in cases.scores.items()}
    result: dict[str, Any] = {name: spread(each, weights) for name, each in gains.items()}
    return result | {
        "cases": len(lines),
        "models": len({*cases.first, *cases.second}),
        "oracle": spread(cases.gains.max(axis=1), weights),
        "learned over packaged": spread(gains["learned"] - gains["packaged"], weights),
    }


def _round(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _round(each) for name, each in value.items()}
    return round(value, 4) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
