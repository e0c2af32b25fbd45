"""Whether learning from one's own measured merges chooses better than the packaged predictor.

    python benchmarks/learned.py      # some minutes

The catalogue is the zoo `zoo-more`: specialists that the packaged predictor never saw, of the same
three bases, whose merges were measured with 13 arms. Its models are dealt into folds. For each fold
a predictor is trained on measured pairs of the other folds together with the packaged table, by
what `simmerge-hub learn` fits with, and chooses for pairs whose models are both in the fold; so do
the packaged predictor, and one trained on the catalogue alone. All choose between the same arms.
Intervals resample the models.

A second part asks the same where a catalogue is unlike what is known: of one domain at a time, the
packaged table loses all models (`packaged` is fitted without them), the catalogue keeps its own.
Rows of all domains are judged together.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from simmerge_hub.operators import ARMS, BALANCED, Arm
from simmerge_hub.selector.models import mixture
from simmerge_hub.selector.models.resampling import resample, spread
from simmerge_hub.selector.predictor import archive
from simmerge_hub.selector.predictor.origin import packaged_predictor
from simmerge_hub.selector.predictor.scorer import Scorer
from simmerge_hub.selector.tables.features import load_features
from simmerge_hub.selector.tables.outcomes import Outcomes, load_outcomes
from simmerge_hub.selector.tables.rows import Floats, Rows, join, splits, stack
from simmerge_hub.selector.training.objectives import Cases, both_tasks, each_task

HERE = Path(__file__).parent
TABLES = HERE.parent / "recipes" / "outcomes"
FILE = HERE / "learned.json"
FOLDS, SEED = 3, 0


def main() -> None:
    """Both parts, into learned.json."""
    outcomes = {name: load_outcomes(TABLES / f"{name}.jsonl.gz") for name in ("zoo-more", "zoo-v3")}
    arms = [arm for arm in ARMS if all(arm in each.arms for each in outcomes.values())]
    own, packaged = (_rows(name, each, arms) for name, each in outcomes.items())
    size = mixture.Size(**json.loads((HERE / "selection.json").read_text())["size"])
    known = predict_packaged(own)
    result: dict[str, Any] = {
        "size": {name: getattr(size, name) for name in size.__dataclass_fields__},
        "rows": {"catalogue": len(own), "packaged": len(packaged)},
        "models left out": compare_on_folds(own, packaged, known, size),
        "a domain left out": compare_on_domains(own, packaged, size),
    }
    FILE.write_text(json.dumps(_round(result), indent=1, sort_keys=True) + "\n")


def _rows(name: str, outcomes: Outcomes, arms: Sequence[Arm]) -> Rows:
    return join(outcomes, load_features(TABLES / f"{name}-features.jsonl.gz"), arms)


def predict_packaged(rows: Rows) -> Floats:
    """[rows, arms], by the predictor in the package."""
    predictor = archive.load(packaged_predictor(), ours=True)
    scorer = Scorer(
        arms=predictor.arms, line=predictor.line, heads=predictor.heads,
        conditioned=predictor.conditioned,
    )  # fmt: skip
    assert predictor.names == rows.names
    return scorer.gains(rows.values, rows.effects, rows.arms)


def compare_on_folds(own: Rows, packaged: Rows, known: Floats, size: mixture.Size) -> Any:
    """What each chooses on pairs of models that its training left out."""
    tested, scores = (
        list[int](),
        {name: list[Floats]() for name in ("learned", "alone", "packaged")},
    )
    for part in splits(own, FOLDS, seed=SEED, across=False):
        train, test = own.take(part.train), own.take(part.test)
        for name, rows in (("learned", stack([train, packaged])), ("alone", train)):
            fitted = mixture.fit(rows, size, seed=SEED)
            scores[name].append(mixture.predict(fitted, test.values, test.effects))
        scores["packaged"].append(known[part.test])
        tested += list(part.test)
        print(f"{len(tested)} rows tested", flush=True)
    rows = own.take(np.array(tested))
    return judge(rows, {name: np.concatenate(each) for name, each in scores.items()})


def compare_on_domains(own: Rows, packaged: Rows, size: mixture.Size) -> Any:
    """The same where only the catalogue has models of a domain: tested are rows on its tasks."""
    tested, scores = list[int](), {name: list[Floats]() for name in ("learned", "packaged")}
    for domain in sorted({task.partition("/")[0] for task in own.tasks}):
        places, predicted = predict_domain(own, packaged, size, domain)
        tested += places
        for name, each in predicted.items():
            scores[name].append(each)
        print(domain, len(places), flush=True)
    rows = own.take(np.array(tested))
    return judge(rows, {name: np.concatenate(each) for name, each in scores.items()})


def predict_domain(
    own: Rows, packaged: Rows, size: mixture.Size, domain: str
) -> tuple[list[int], dict[str, Floats]]:
    """Places of the catalogue's rows on a domain, and what is predicted of them: with rows of the
    catalogue's other models, and with none of the domain."""
    free = [i for i, r in enumerate(_domains(packaged)) if domain not in r]
    elsewhere = packaged.take(np.array(free))
    before = mixture.fit(elsewhere, size, seed=SEED)
    tested, scores = list[int](), {name: list[Floats]() for name in ("learned", "packaged")}
    for part in splits(own, 2, seed=SEED, across=False):
        places = [i for i in part.test if own.tasks[i].startswith(f"{domain}/")]
        test = own.take(np.array(places))
        after = mixture.fit(stack([own.take(part.train), elsewhere]), size, seed=SEED)
        scores["learned"].append(mixture.predict(after, test.values, test.effects))
        scores["packaged"].append(mixture.predict(before, test.values, test.effects))
        tested += places
    return tested, {name: np.concatenate(each) for name, each in scores.items()}


def _domains(rows: Rows) -> list[set[str]]:
    """The domains of both models of each row: an auxiliary's is in the row where it is the expert,
    and in its name."""
    return [
        {task.partition("/")[0], *auxiliary.split("-")}
        for task, auxiliary in zip(rows.tasks, rows.auxiliaries, strict=True)
    ]


def judge(rows: Rows, scores: dict[str, Floats]) -> dict[str, Any]:
    """Mean share of the gap closed by what each chooses, and the difference from the packaged."""
    labels = {arm.label for arm in BALANCED}
    alike = [i for i, arm in enumerate(rows.arms) if arm.label in labels]
    some = rows.only(alike)
    cases = {
        "expert's task": each_task(rows, scores),
        "both tasks": both_tasks(rows, scores),
        "expert's task, arms that treat both alike": each_task(
            some, {name: each[:, alike] for name, each in scores.items()}
        ),
    }
    return {name: _judge(each) for name, each in cases.items() if each is not None}


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
