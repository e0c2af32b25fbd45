"""Whether searching the coefficients of a merge finds more than the arms that were measured.

    python benchmarks/coefficients.py --zoo FOLDER  # a built zoo-v3; an hour of a core

The arm-conditioned forest scores arms nobody measured, from what they do to the sampled weights.
Here it searches a scale for each model (task arithmetic), first by steps of 0.3, then of 0.1
around the best three points, for pairs whose models had no part in its training. What it chooses is
merged and examined as the table's arms were, and stands beside the choice among the table's arms
that look at weights alone. It does so twice: as it learned from the table, and as it learned from
four scales besides that are drawn for each pair and measured. Both tasks of a pair at once; with
all features, and without prompts. A
searched merge is taken where the forest promises more of it than of that choice, by a lead of 0 or
of those in LEADS. The size of the trees is the one that selection.json names. Writes
benchmarks/coefficients.json; `--resume` keeps what was measured.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import product
from math import log, sqrt
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from selection import FOLDS, SEED, TABLES, ZOO, round_all
from xgboost import DMatrix, train

from simmerge_hub.operators import ARMS, FED_ARMS, Arm, arm
from simmerge_hub.selector.models import conditioned, mixture
from simmerge_hub.selector.models.mixture import Mixture, Size
from simmerge_hub.selector.models.resampling import resample, spread
from simmerge_hub.selector.tables.features import load_features
from simmerge_hub.selector.tables.outcomes import Outcome, gap_closed, load_outcomes
from simmerge_hub.selector.tables.rows import Floats, Rows, join, splits
from simmerge_hub.signatures.features.registry import REGISTRY
from simmerge_hub.zoo.evaluation import evaluate, exam, mean
from simmerge_hub.zoo.manifest import cast_for_exams, load_manifest, load_model
from simmerge_hub.zoo.measuring.members import changes, weights_of
from simmerge_hub.zoo.measuring.running import Bench, merge_pair
from simmerge_hub.zoo.real.codec import codec_for
from simmerge_hub.zoo.real.domains import find_task

HERE = Path(__file__).parent
LOW, HIGH, COARSE, FINE = 0.3, 1.2, 0.3, 0.1
POINTS = 3
"""Coarse points around which is searched finely."""
DRAWN = 4
"""Scales that are measured of every pair to learn from."""
LEADS = (0.0, 0.02, 0.05)
Scales = tuple[float, float]
Pair = tuple[str, str]
Key = tuple[Pair, Scales]
Gains = tuple[float, float]
"""On the first model's task, and on the second's."""
Chosen = dict[str, Any]


def main() -> None:
    """Choose, measure what was chosen, and write the JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--zoo", type=Path, required=True, help="folder that `zoo build` wrote")
    parser.add_argument("--resume", type=Path, default=Path("coefficients.partial.jsonl"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    outcomes = load_outcomes(TABLES / f"{ZOO}.jsonl.gz")
    features = load_features(TABLES / f"{ZOO}-features.jsonl.gz")
    rows = join(outcomes, features, (*ARMS, *FED_ARMS))
    by_key = {(row.expert, row.auxiliary): row for row in outcomes.rows}
    size = Size(**json.loads((HERE / "selection.json").read_text())["size"])
    designed = [(pair, scales) for pair in whole_pairs(rows) for scales in draw(pair)]
    gains = measure(options.zoo, designed, by_key, options.resume)
    report: dict[str, Any] = {"pairs": len(whole_pairs(rows)), "drawn": len(designed)}
    for name, some in views(rows).items():
        for known, more in (("the table", {}), ("the table and drawn scales", gains)):
            choices = choose(some, size, more)
            wanted = sorted((pair, choice["scales"]) for pair, choice in choices.items())
            reached = measure(options.zoo, wanted, by_key, options.resume)
            report.setdefault(name, {})[known] = judge(choices, reached)
            text = json.dumps(round_all(report), indent=1)
            (HERE / "coefficients.json").write_text(text + "\n")


def whole_pairs(rows: Rows) -> list[Pair]:
    """The pairs of which both roles are among the rows, in one order."""
    roles = set(zip(rows.experts, rows.auxiliaries, strict=True))
    return sorted((a, b) for a, b in roles if a < b and (b, a) in roles)


def draw(pair: Pair) -> list[Scales]:
    """The scales that are measured of a pair to learn from: the same ones every time."""
    random = Random("/".join(pair))
    return [
        (round(random.uniform(LOW, HIGH), 2), round(random.uniform(LOW, HIGH), 2))
        for _ in range(DRAWN)
    ]


def views(rows: Rows) -> dict[str, Rows]:
    """What a choice may rest on: all features; what weights show, without a prompt."""
    places = [i for i, name in enumerate(rows.names) if REGISTRY[name].family == "structural"]
    names = tuple(rows.names[i] for i in places)
    return {
        "all features": rows,
        "without prompts": replace(rows, names=names, values=rows.values[:, places]),
    }


def choose(rows: Rows, size: Size, more: Mapping[Key, Gains]) -> dict[Pair, Chosen]:
    """Each pair's choice among the table's arms on weights, and by search; models left out.

    `more` is what drawn scales reached: the forest learns from those of its training pairs too.
    """
    chosen: dict[Pair, Chosen] = {}

    def one(split: Any) -> None:
        known = rows.take(split.train)
        fitted = mixture.fit(known, size, seed=SEED)
        if more:
            fitted = replace(fitted, forest=fit_forest(known, more, size))
        chosen.update(choose_in_fold(fitted, rows.take(split.test)))

    mixture.run_in_parallel(one, splits(rows, FOLDS, seed=SEED))
    return dict(sorted(chosen.items()))


def fit_forest(rows: Rows, more: Mapping[Key, Gains], size: Size) -> Any:
    """The arm-conditioned forest on the table's arms and on the scales that were drawn."""
    trained = conditioned.operators(rows.arms)
    places = {pair: i for i, pair in enumerate(zip(rows.experts, rows.auxiliaries, strict=True))}
    lines = [
        (places[roles], scales if roles == pair else (scales[1], scales[0]), gain)
        for (pair, scales), both in more.items()
        for roles, gain in zip((pair, (pair[1], pair[0])), both, strict=True)
        if roles in places
    ]
    inputs, gains = conditioned.examples(rows, SEED)
    fresh = conditioned.lines(
        rows.values[[place for place, _, _ in lines]],
        np.array([effects_of(rows, place, scales) for place, scales, _ in lines]),
        [as_arm(scales) for _, scales, _ in lines],
        trained,
    )
    label = np.concatenate([gains, [gain for _, _, gain in lines]])
    data = DMatrix(np.concatenate([inputs, fresh]), label=label, nthread=1)
    return train(conditioned.SETTINGS | {"seed": SEED}, data, num_boost_round=size.conditioned)


def choose_in_fold(fitted: Mixture, rows: Rows) -> Iterator[tuple[Pair, Chosen]]:
    """Choices for the pairs of which both roles are among the rows."""
    labels = [a.label for a in rows.arms]
    columns = [labels.index(a.label) for a in ARMS]
    turned = [labels.index(a.swapped().label) for a in ARMS]
    mixed = mixture.predict(fitted, rows.values, rows.effects)
    forest = mixture.parts(fitted, rows.values, rows.effects)[1]
    roles = list(zip(rows.experts, rows.auxiliaries, strict=True))
    for i, (first, second) in enumerate(roles):
        if first > second or (second, first) not in roles:
            continue
        j = roles.index((second, first))
        own = (mixed[i, columns] + mixed[j, turned]) / 2
        best = int(np.argmax(own))
        promised = float(forest[i, columns[best]] + forest[j, turned[best]]) / 2
        scales, value = search(fitted, rows, i, j)
        yield (
            (first, second),
            {
                "designed": ARMS[best].label,
                "gain": float(rows.gains[i, columns[best]] + rows.gains[j, turned[best]]) / 2,
                "oracle": float(np.max(rows.gains[i, columns] + rows.gains[j, turned])) / 2,
                "promised": promised,
                "scales": scales,
                "promised by search": value,
            },
        )


def search(fitted: Mixture, rows: Rows, i: int, j: int) -> tuple[Scales, float]:
    """The scales of the pair in rows i and j that the forest promises most of, and how much."""
    grid = np.arange(LOW, HIGH + 1e-9, COARSE)
    scores = score(fitted, rows, i, j, [(float(a), float(b)) for a, b in product(grid, grid)])
    steps = (-2 * FINE, -FINE, 0.0, FINE, 2 * FINE)
    for point in sorted(scores, key=lambda s: -scores[s])[:POINTS]:
        near = [(round(point[0] + a, 2), round(point[1] + b, 2)) for a, b in product(steps, steps)]
        inside = [s for s in near if all(LOW <= each <= HIGH for each in s)]
        scores |= score(fitted, rows, i, j, inside)
    best = max(scores, key=lambda s: (scores[s], s))
    return best, scores[best]


def score(
    fitted: Mixture, rows: Rows, i: int, j: int, points: Sequence[Scales]
) -> dict[Scales, float]:
    """Scales -> what the forest promises, mean over both tasks."""
    total = np.zeros(len(points))
    for place, flip in ((i, False), (j, True)):
        seen = [(b, a) if flip else (a, b) for a, b in points]
        effects = np.array([effects_of(rows, place, scales) for scales in seen])
        arms = [as_arm(scales) for scales in seen]
        values = rows.values[place : place + 1]
        total += mixture.predict_arms(fitted, values, effects[None], arms)[0]
    return {
        (round(a, 2), round(b, 2)): float(t / 2) for (a, b), t in zip(points, total, strict=True)
    }


def as_arm(scales: Scales) -> Arm:
    """Task arithmetic with a scale for each model."""
    a, b = (round(each, 2) for each in scales)
    return arm("task_arithmetic", scale=a) if a == b else arm("task_arithmetic", weights=(a, b))


def effects_of(rows: Rows, place: int, scales: Scales) -> list[float]:
    """What a sum of both deltas does to a row's pair, from what their mean does to it.

    With the expert's delta as the unit of length; in the order of EFFECT_NAMES.
    """
    mean_arm = [a.label for a in rows.arms].index("linear")
    known = dict(zip(rows.effect_names, rows.effects[place, mean_arm], strict=True))
    norm = np.exp(known["merge_norm_expert"])
    other = np.exp(known["merge_norm_expert"] - known["merge_norm_auxiliary"])
    between = 2 * norm * known["merge_cosine_expert"] - 1
    a, b = scales
    merge = sqrt(a * a + b * b * other**2 + 2 * a * b * between)
    apart = sqrt(1 + other**2 - 2 * between)
    with_expert, with_other = a + b * between, a * between + b * other**2
    away = [sqrt(max(merge**2 + 1 - 2 * with_expert, 0)) / apart]
    away.append(sqrt(max(merge**2 + other**2 - 2 * with_other, 0)) / apart)
    values = [log(merge), log(merge / other), with_expert / merge, with_other / (merge * other)]
    return [*values, a, b, 0.0, *away]


def measure(
    folder: Path,
    wanted: Sequence[Key],
    rows: Mapping[Pair, Outcome],
    resume: Path,
) -> dict[Key, Gains]:
    """The share of the gap that each merge closes on its two tasks."""
    manifest = load_manifest(folder)
    lines = resume.read_text().splitlines() if resume.exists() else []
    known = {(tuple(p), tuple(s)): tuple(g) for p, s, g in map(json.loads, lines)}

    @lru_cache(1)
    def bench(base: str) -> Bench:
        scratch = cast_for_exams(manifest, load_model(manifest, base))
        return Bench(scratch=scratch, base=weights_of(scratch))

    @lru_cache(1)
    def origin(base: str) -> Mapping[str, torch.Tensor]:
        return {name: weight.clone() for name, weight in bench(base).base.items()}

    @lru_cache(4)
    def moved(name: str) -> Any:
        return changes(manifest, name, origin(manifest.models[name].spec["base"]))

    @lru_cache(None)
    def examine(task: str, base: str) -> Any:
        return exam(
            find_task(manifest.tasks[task]), manifest.evaluation, codec=codec_for(manifest, base)
        )

    with resume.open("a") as journal:
        for pair, scales in wanted:
            if (pair, scales) in known:
                continue
            base = manifest.models[pair[0]].spec["base"]
            parents = {name: moved(name) for name in pair}
            merged = merge_pair(bench(base), as_arm(scales), parents, ())
            gains = []
            for expert, other in (pair, (pair[1], pair[0])):
                task = manifest.models[expert].spec["task"]
                got = mean(evaluate(merged, examine(task, base)).exact_match)
                gains.append(gap_closed(rows[expert, other], got))
            known[pair, scales] = (gains[0], gains[1])
            journal.write(json.dumps([pair, scales, known[pair, scales]]) + "\n")
            journal.flush()
    return {key: known[key] for key in wanted}


def judge(choices: Mapping[Pair, Chosen], gains: Mapping[Key, Gains]) -> dict[str, Any]:
    """Means with intervals by resampling models, and how lucky the best of a search looks."""
    weights = resample([p[0] for p in choices], [p[1] for p in choices], SEED)
    designed = column(choices, "gain")
    searched = np.array([np.mean(gains[p, each["scales"]]) for p, each in choices.items()])
    lead = column(choices, "promised by search") - column(choices, "promised")
    found: dict[str, Any] = {
        "table's arms": spread(designed, weights),
        "oracle of the table": spread(column(choices, "oracle"), weights),
        "searched": {},
        "promised minus reached": {
            "table's arms": float(np.mean(column(choices, "promised") - designed)),
            "searched": float(np.mean(column(choices, "promised by search") - searched)),
        },
    }
    for least in LEADS:
        taken = lead > least
        value = np.where(taken, searched, designed)
        found["searched"][f"lead {least:g}"] = {
            "taken": float(taken.mean()),
            "gap closed": spread(value, weights),
            "over the table's arms": spread(value - designed, weights),
        }
    best = np.maximum(designed, searched)
    return found | {"better of both": spread(best, weights)}


def column(choices: Mapping[Pair, Chosen], name: str) -> Floats:
    """One number of each pair."""
    return np.array([each[name] for each in choices.values()])


if __name__ == "__main__":
    main()
