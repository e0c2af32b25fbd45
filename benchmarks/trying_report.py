"""What trying is worth, from the tables that `trying.py` measured: choices, correlation, intervals.

A choice is judged on a pair: the mean over both models' tasks of the true gap closed. Every line is
fitted on pairs that share no model with the pair it is asked about. What is chosen by labels is
chosen on one half of the exam and judged on the other, both ways.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from simmerge_hub.selector.models.conformal import radius
from simmerge_hub.selector.models.resampling import resample, spread
from simmerge_hub.selector.predictor.measured.tried import REGAINED
from simmerge_hub.selector.tables.lines import read_lines

HERE = Path(__file__).parent
TABLES = HERE.parent / "recipes" / "outcomes"
PACKAGED = HERE.parent / "simmerge_hub" / "selector" / "predictor" / "measured" / "tried.json"
FOLDS, ALPHA, SEED, DIGITS = 5, 0.1, 0, 4
TRIES = (1, 2, 4, 8)
MEASURES = ("answers", "tokens", "regained", "weighted", "probability")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Measured merges, one a line.

    Args:
        sides: (expert, auxiliary, arm as that expert sees it) of each line.
        pairs: unordered pair, first model first, of each line.
        columns: what was kept, the true gain, and what was predicted (NaN where nothing was).
        halves: [lines, 2], the true gain on either half of the exam.
    """

    sides: Sequence[tuple[str, str, str]]
    pairs: Sequence[tuple[str, str]]
    columns: Mapping[str, np.ndarray]
    halves: np.ndarray


def write() -> None:
    """benchmarks/trying.json and the lines in the package."""
    nano = read_table(TABLES / "kept-nano.jsonl.gz")
    report: dict[str, Any] = {"nano": judge(nano, fold_scores(nano, True))}
    real_path = TABLES / "kept-real.jsonl.gz"
    real = read_table(real_path) if real_path.is_file() else None
    line = package(nano, real)
    if real:
        report["real, lines from nano"] = judge_real(real, line)
        report["real, weights alone"] = judge_real(leave_out(real, "regmean"), line)
    sets = TABLES / "kept-sets.jsonl.gz"
    if sets.is_file():
        rows = [row for _, row in read_lines(sets)]
        for size in sorted({len(row["models"]) for row in rows}):
            some = [row for row in rows if len(row["models"]) == size]
            report[f"{size} nano models at once, lines from pairs"] = judge_sets(some, line)
    (HERE / "trying.json").write_text(json.dumps(report, indent=1) + "\n")
    for zoo, each in report.items():
        print(zoo, json.dumps(each, indent=1))


def read_table(path: Path) -> Table:
    """A table of what is kept."""
    lines = [line for _, line in read_lines(path)]
    names = ("gain", "predicted", "confidence", "base", "count", *MEASURES)
    return Table(
        sides=[(line["expert"], line["auxiliary"], line["arm"]) for line in lines],
        pairs=[_pair(line["expert"], line["auxiliary"]) for line in lines],
        columns={n: np.array([line.get(n, np.nan) for line in lines]) for n in names},
        halves=np.array([line["halves"] for line in lines]),
    )


def inputs(table: Table, *, predicted: bool) -> np.ndarray:
    """[lines, inputs + 1]: what a line reads, and 1."""
    known = table.columns
    columns = [known["weighted"], known["probability"], np.clip(known["regained"], *REGAINED)]
    columns += [known["predicted"]] if predicted else []
    return np.column_stack([*columns, np.ones(len(table.pairs))])


def fit(values: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Least squares."""
    return np.linalg.lstsq(values, gains, rcond=None)[0]


def fold_scores(table: Table, predicted: bool) -> np.ndarray:
    """[lines]: the gain by a line that was fitted without either model of the pair."""
    values, gains = inputs(table, predicted=predicted), table.columns["gain"]
    scores = np.empty(len(gains))
    for tested, known in splits(table):
        scores[tested] = values[tested] @ fit(values[known], gains[known])
    return np.clip(scores, -1, 1.5)


def splits(table: Table) -> list[tuple[np.ndarray, np.ndarray]]:
    """(tested, known) places: models are dealt into folds; a known pair has none of the tested."""
    models = sorted({model for pair in table.pairs for model in pair})
    fold = {model: place % FOLDS for place, model in enumerate(models)}
    folds = np.array([sorted((fold[a], fold[b])) for a, b in table.pairs])
    parts = []
    for a, b in product(range(FOLDS), repeat=2):
        tested = (folds == (a, b)).all(axis=1)
        if tested.any():
            known = ~np.isin(folds, (a, b)).any(axis=1)
            parts.append((np.flatnonzero(tested), np.flatnonzero(known)))
    return parts


def package(table: Table, real: Table | None) -> dict[str, Any]:
    """The lines plans use, with half-widths from models left out.

    What is read where nothing is predicted is for models unlike the nano ones: its interval is no
    narrower than what the line needs on the real pairs, in which it had no part.
    """
    entry: dict[str, Any] = {
        "of": "pairs of nano models", "rows": len(table.pairs), "coverage": 1 - ALPHA,
        "answers": int(np.median(table.columns["count"])),
    }  # fmt: skip
    for name, predicted in (("predicted", True), ("blind", False)):
        weights = fit(inputs(table, predicted=predicted), table.columns["gain"])
        errors = np.abs(fold_scores(table, predicted) - table.columns["gain"])
        entry[name] = {
            "intercept": round(float(weights[-1]), DIGITS),
            "weights": [round(float(w), DIGITS) for w in weights[:-1]],
            "radius": round(radius(errors, ALPHA), DIGITS),
        }
    if real:
        errors = np.abs(blind_scores(real, entry) - real.columns["gain"])
        wide = round(radius(errors, ALPHA), DIGITS)
        entry["blind"]["radius"] = max(entry["blind"]["radius"], wide)
        entry["of"] += f" and {len(set(real.pairs))} of a 270 M language model"
    PACKAGED.write_text(json.dumps(entry, indent=1) + "\n")
    return entry


def blind_scores(table: Table, entry: Mapping[str, Any]) -> np.ndarray:
    """[lines]: the gain by the packaged line that reads no prediction."""
    line = entry["blind"]
    values = inputs(table, predicted=False)
    return np.clip(values @ np.array([*line["weights"], line["intercept"]]), -1, 1.5)


def hold_without(table: Table, errors: np.ndarray) -> float:
    """Share of errors inside the half-width of lines that share no model with theirs."""
    inside = []
    for i, pair in enumerate(table.pairs):
        apart = np.array([not {*pair} & {*other} for other in table.pairs])
        inside.append(errors[i] <= radius(errors[apart], ALPHA))
    return float(np.mean(inside))


def pair_matrix(table: Table, values: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """[pairs, arms]: the mean over a pair's tasks; arms written for the pair's first model."""
    rows = dict(zip(table.sides, values, strict=True))
    matrix = []
    for first, second in dict.fromkeys(table.pairs):
        sides = [(first, second, lambda x: x), (second, first, swap)]
        there = [(e, a, turn) for e, a, turn in sides if (e, a, labels[0]) in rows]
        matrix.append([np.mean([rows[e, a, t(arm)] for e, a, t in there]) for arm in labels])
    return np.array(matrix)


def swap(label: str) -> str:
    """The arm as the other model sees it."""
    name, _, rest = label.partition("(")
    if "weights=" not in rest:
        return label
    before, _, weights = rest.rstrip(")").rpartition("weights=")
    return f"{name}({before}weights={'/'.join(reversed(weights.split('/')))})"


def judge(table: Table, scores: np.ndarray) -> dict[str, Any]:
    """Every way to choose, with 95 % intervals from models drawn anew."""
    labels = list(dict.fromkeys(label for *_, label in table.sides))
    every = dict.fromkeys(table.pairs)
    weights = resample([a for a, _ in every], [b for _, b in every], SEED)
    arms = {name: pair_matrix(table, table.columns[name], labels) for name in table.columns}
    truth, predicted = arms["gain"], arms["predicted"]
    joined = pair_matrix(table, scores, labels)
    halves = [pair_matrix(table, half, labels) for half in table.halves.T]
    fixed = best_fixed(table, truth, labels)
    safe = best_fixed(table, truth, labels, alike=True)
    order = np.argsort(-predicted, axis=1, kind="stable")
    tried = {k: mask(order[:, :k], safe, len(labels)) for k in TRIES}
    gains = {
        "best fixed arm": take(truth, fixed),
        "safe arm: best that treats both alike": take(truth, safe),
        "linear": truth[:, labels.index("linear")],
        "predicted choice": take(truth, predicted.argmax(axis=1)),
    }
    for count, there in tried.items():
        gains[f"{count} tried"] = take(truth, choose(joined, there))
    gains["all tried"] = take(truth, joined.argmax(axis=1))
    for name in MEASURES:
        gains[f"all tried, by {name} alone"] = take(truth, arms[name].argmax(axis=1))
    everything = np.ones_like(truth, dtype=bool)
    for name, there in {"4": tried[4], "all": everything}.items():
        sides = [take(halves[1 - i], choose(halves[i], there)) for i in (0, 1)]
        gains[f"{name} evaluated with labels on 50 prompts"] = np.mean(sides, axis=0)
    gains["best of 4 tried"] = take(truth, choose(truth, tried[4]))
    gains["oracle"] = truth.max(axis=1)
    base = gains["best fixed arm"].mean()
    top = gains["all evaluated with labels on 50 prompts"].mean()
    errors = np.abs(scores - table.columns["gain"])
    return {
        "pairs": len(truth),
        "lines": len(table.pairs),
        "models": len({model for pair in table.pairs for model in pair}),
        "gap closed": {n: rounded(spread(each, weights)) for n, each in gains.items()},
        "share of headroom": {
            n: round(float((each.mean() - base) / (top - base)), DIGITS)
            for n, each in gains.items() if "tried" in n or "predicted" in n
        },
        "correlation with true gain": correlations(table, scores),
        "coverage": coverage(table),
        "mean absolute error": round(float(errors.mean()), DIGITS),
    }  # fmt: skip


def judge_real(table: Table, entry: Mapping[str, Any]) -> dict[str, Any]:
    """The lines from nano on pairs of a real language model, which they never saw."""
    labels = list(dict.fromkeys(label for *_, label in table.sides))
    every = dict.fromkeys(table.pairs)
    truth = pair_matrix(table, table.columns["gain"], labels)
    scores = blind_scores(table, entry)
    joined = pair_matrix(table, scores, labels)
    order = order_elsewhere(table, truth)
    fixed = best_fixed(table, truth, labels)
    safe = best_fixed(table, truth, labels, alike=True)
    weights = resample([a for a, _ in every], [b for _, b in every], SEED)
    gains = {
        "linear": truth[:, labels.index("linear")],
        "safe arm: best that treats both alike": take(truth, safe),
        "best fixed arm": take(truth, fixed),
    }
    for count in TRIES:
        there = mask(order[:, :count], safe, len(labels))
        gains[f"{count} tried"] = take(truth, choose(joined, there))
    gains["all tried"] = take(truth, joined.argmax(axis=1))
    for name in MEASURES:
        own = pair_matrix(table, table.columns[name], labels)
        gains[f"all tried, by {name} alone"] = take(truth, own.argmax(axis=1))
    gains["oracle"] = truth.max(axis=1)
    headroom = float((gains["oracle"] - gains["best fixed arm"]).mean())
    errors = np.abs(scores - table.columns["gain"])
    return {
        "pairs": len(truth),
        "arms": {label: round(float(truth[:, i].mean()), DIGITS) for i, label in enumerate(labels)},
        "gap closed": {n: rounded(spread(each, weights)) for n, each in gains.items()},
        "share of headroom": {
            name: round(float((each - gains["best fixed arm"]).mean() / headroom), DIGITS)
            for name, each in gains.items() if "tried" in name
        },
        "correlation with true gain": correlations(table, scores),
        "correlation inside a pair": inside(table, scores),
        "coverage": round(hold_without(table, errors), DIGITS),
        "mean absolute error": round(float(errors.mean()), DIGITS),
    }  # fmt: skip


def order_elsewhere(table: Table, truth: np.ndarray) -> np.ndarray:
    """[pairs, arms]: arms by what they reach on the pairs that share no model with the pair."""
    pairs = list(dict.fromkeys(table.pairs))
    apart = np.array([[not {*one} & {*other} for other in pairs] for one in pairs])
    means = np.array([truth[others].mean(axis=0) for others in apart])
    return np.argsort(-means, axis=1, kind="stable")


def leave_out(table: Table, operator: str) -> Table:
    """The table without the arms of an operator."""
    kept = np.array([label.partition("(")[0] != operator for *_, label in table.sides])
    return Table(
        sides=[side for side, there in zip(table.sides, kept, strict=True) if there],
        pairs=[pair for pair, there in zip(table.pairs, kept, strict=True) if there],
        columns={name: values[kept] for name, values in table.columns.items()},
        halves=table.halves[kept],
    )


def judge_sets(rows: Sequence[Mapping[str, Any]], entry: Mapping[str, Any]) -> dict[str, Any]:
    """Sets of models, merged in one step; the lines are those of pairs."""
    line, labels = entry["blind"], list(rows[0]["arms"])
    truth, seen, errors, flat = [], [], [], []
    for row in rows:
        gains, scores = [], []
        for label in labels:
            tasks = [each for each in row["arms"][label].values() if each["gain"] is not None]
            values = np.array([[t["weighted"], t["probability"], t["regained"]] for t in tasks])
            values[:, 2] = np.clip(values[:, 2], *REGAINED)
            said = values @ np.array(line["weights"]) + line["intercept"]
            true = np.array([t["gain"] for t in tasks])
            errors.append(np.abs(said - true))
            flat.append(np.stack([said, true]))
            gains.append(true.mean())
            scores.append(said.mean())
        truth.append(gains)
        seen.append(scores)
    truth, seen = np.array(truth), np.array(seen)
    fixed = [np.delete(truth, i, 0).mean(axis=0).argmax() for i in range(len(truth))]
    said, true = np.concatenate(flat, axis=1)
    return {
        "sets": len(truth),
        "arms": {label: round(float(truth[:, i].mean()), DIGITS) for i, label in enumerate(labels)},
        "share of the experts' exact match": {
            label: round(float(np.mean([_utility(row["arms"][label]) for row in rows])), DIGITS)
            for label in labels
        },
        "gap closed": {
            "best fixed arm": round(float(take(truth, np.array(fixed)).mean()), DIGITS),
            "all tried": round(float(take(truth, seen.argmax(axis=1)).mean()), DIGITS),
            "oracle": round(float(truth.max(axis=1).mean()), DIGITS),
        },
        "correlation with true gain": round(float(np.corrcoef(said, true)[0, 1]), DIGITS),
        "coverage": round(float((np.concatenate(errors) <= line["radius"]).mean()), DIGITS),
    }


def _utility(tasks: Mapping[str, Mapping[str, Any]]) -> float:
    return float(np.mean([task["utility"] for task in tasks.values()]))


def best_fixed(
    table: Table, truth: np.ndarray, labels: Sequence[str], *, alike: bool = False
) -> np.ndarray:
    """[pairs]: the arm that is best on pairs that share no model with the pair."""
    pairs = list(dict.fromkeys(table.pairs))
    usable = np.array([not alike or swap(label) == label for label in labels])
    best = []
    for a, b in pairs:
        apart = np.array([not {a, b} & set(pair) for pair in pairs])
        best.append(int(np.where(usable, truth[apart].mean(axis=0), -np.inf).argmax()))
    return np.array(best)


def mask(first: np.ndarray, safe: np.ndarray, arms: int) -> np.ndarray:
    """[pairs, arms]: which arms are tried."""
    there = np.zeros((len(first), arms), dtype=bool)
    np.put_along_axis(there, first, True, axis=1)
    np.put_along_axis(there, safe[:, None], True, axis=1)
    return there


def choose(scores: np.ndarray, there: np.ndarray) -> np.ndarray:
    """[pairs]: the best arm of those that are there."""
    return np.where(there, scores, -np.inf).argmax(axis=1)


def take(values: np.ndarray, arms: np.ndarray) -> np.ndarray:
    """[pairs]: the value of one arm of each."""
    return np.take_along_axis(values, arms[:, None], axis=1)[:, 0]


def correlations(table: Table, scores: np.ndarray) -> dict[str, float]:
    """Over all lines; of what is measured, of what is predicted, and of both joined."""
    gains = table.columns["gain"]
    measured = {name: table.columns[name] for name in (*MEASURES, "predicted")} | {"joined": scores}
    return {
        name: round(float(np.corrcoef(values, gains)[0, 1]), DIGITS)
        for name, values in measured.items()
        if np.isfinite(values).all()
    }


def inside(table: Table, scores: np.ndarray) -> dict[str, float]:
    """The mean over experts and auxiliaries of the correlation over their arms."""
    groups: dict[tuple[str, str], list[int]] = {}
    for place, (expert, auxiliary, _) in enumerate(table.sides):
        groups.setdefault((expert, auxiliary), []).append(place)
    means = {}
    for name, values in {**{n: table.columns[n] for n in MEASURES}, "joined": scores}.items():
        each = [
            np.corrcoef(values[places], table.columns["gain"][places])[0, 1]
            for places in groups.values()
            if np.ptp(values[places]) > 0 and np.ptp(table.columns["gain"][places]) > 0
        ]
        means[name] = round(float(np.mean(each)), DIGITS) if each else float("nan")
    return means


def coverage(table: Table) -> dict[str, float]:
    """The share of outcomes inside 90 % intervals whose half-width comes from other folds."""
    result = {}
    for name, predicted in (("predicted", True), ("blind", False)):
        errors = np.abs(fold_scores(table, predicted) - table.columns["gain"])
        held = [errors[t] <= radius(errors[k], ALPHA) for t, k in splits(table)]
        result[name] = round(float(np.concatenate(held).mean()), DIGITS)
    return result


def rounded(values: Mapping[str, float]) -> dict[str, float]:
    """Four digits after the point."""
    return {name: round(float(value), DIGITS) for name, value in values.items()}


def _pair(one: str, other: str) -> tuple[str, str]:
    return min(one, other), max(one, other)
