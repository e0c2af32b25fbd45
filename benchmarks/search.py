"""What a search reaches with how many evaluations: ours, CMA-ES, random, exhaustive.

    python benchmarks/search.py ZOO --seconds 240    # again and again until it says done
    python benchmarks/search_report.py               # search.json and the picture

Pairs of nano specialists are merged in memory and really evaluated: 64 prompts of both tasks, and
128 others that no search asks. Points are rounded to a lattice, the same for every method, and all
171 points of it are measured: weights in steps of 0.1, three values of every other parameter. Our
search is `learning.searching.loop`, which `simmerge-hub search` runs; it starts at what a predictor
that saw none of these models says, and at the safe arms. The pairs of TUNED were looked at while it
was made; results are of TESTED alone.
CMA-ES is the package `cma`, begun as mergekit-evolve begins it (weights 1/n, densities 1, sigma
1/6): on TIES, one operator, as there; and on the whole space, operators by the largest of five
numbers. Random search draws from all of the space, and exhaustive search is the whole lattice.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from search_trial import LEVELS, PairTrial, Point, snap

from simmerge_hub.learning.searching.attempts import Attempt
from simmerge_hub.learning.searching.loop import Judge, Quest, run_quest
from simmerge_hub.learning.searching.search import PREDICTED
from simmerge_hub.learning.searching.space import RANGES, WEIGHT, points_of
from simmerge_hub.operators import ARMS, FED_ARMS, Arm, arm
from simmerge_hub.selector.models import mixture
from simmerge_hub.selector.tables.features import load_features
from simmerge_hub.selector.tables.outcomes import Outcomes, load_outcomes
from simmerge_hub.selector.tables.rows import Rows, join
from simmerge_hub.zoo.manifest import load_manifest

HERE = Path(__file__).parent
TABLES = HERE.parent / "recipes" / "outcomes"
WORK = HERE.parent / "build" / "search"
DRAWN, TESTED = 6, slice(1, 4)
"""Pairs that are drawn; of them those that are reported. Settings of ours were chosen on others."""
TUNED = (0,)
"""Of the pairs, those that settings of ours were chosen on."""
SEEDS, TUNING_SEEDS = 10, 3
BUDGET, OURS = 100, 40
"""Evaluations that CMA-ES and random search have, and that ours has."""
SIGMA = 1 / 6
GRID = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
SAFE = (arm("regmean", alpha=0.9), arm("linear"))

Curve = list[tuple[float, float, Point]]
"""(evaluations spent, best score so far, its point), a step at a time."""


def choose_pairs(outcomes: Outcomes) -> list[tuple[str, str]]:
    """DRAWN pairs without a model in common: both models expert at another task,
    and the best arm keeps 0.4 to 0.97 of both, so that there is something to search for."""
    by_pair: dict[tuple[str, str], list[float]] = {}
    for row in outcomes.rows:
        if row.gap >= 0.3 and row.regime.endswith(("half", "skills")):
            first, second = sorted((row.expert, row.auxiliary))
            kept = max(row.utilities.values()) / row.expert_utility
            by_pair.setdefault((first, second), []).append(kept)
    open_pairs = [p for p, k in by_pair.items() if len(k) == 2 and 0.4 <= sum(k) / 2 <= 0.97]
    order = np.random.default_rng(0).permutation(len(open_pairs))
    pairs: list[tuple[str, str]] = []
    for place in order:
        pair = sorted(open_pairs)[place]
        if not {*pair} & {name for known in pairs for name in known}:
            pairs.append(pair)
    return pairs[:DRAWN]


def predict_starts(pairs: Sequence[tuple[str, str]], outcomes: Outcomes) -> dict[str, list[Arm]]:
    """Pair -> arms, the best first, predicted by what was fitted on rows of other models alone."""
    features = load_features(TABLES / "zoo-v3-features.jsonl.gz")
    rows = join(outcomes, features, (*ARMS, *FED_ARMS))
    asked = {name for pair in pairs for name in pair}
    sides = zip(rows.experts, rows.auxiliaries, strict=True)
    free = np.array([not {*each} & asked for each in sides])
    size = mixture.Size(**json.loads((HERE / "selection.json").read_text())["size"])
    fitted = mixture.fit(rows.take(np.flatnonzero(free)), size, seed=0)
    return {" + ".join(pair): _ranking(fitted, rows, pair) for pair in pairs}


def read_starts(pairs: Sequence[tuple[str, str]], outcomes: Outcomes) -> dict[str, list[Arm]]:
    """As `predict_starts`, kept beside what is measured."""
    path = WORK / "starts.json"
    if not path.exists():
        predicted = predict_starts(pairs, outcomes)
        plain = {pair: [each.label for each in arms] for pair, arms in predicted.items()}
        path.write_text(json.dumps(plain))
    by_label = {each.label: each for each in (*ARMS, *FED_ARMS)}
    known = json.loads(path.read_text())
    return {pair: [by_label[label] for label in labels] for pair, labels in known.items()}


def _ranking(fitted: mixture.Mixture, rows: Rows, pair: tuple[str, str]) -> list[Arm]:
    gains: dict[str, float] = {}
    for place, sides in enumerate(zip(rows.experts, rows.auxiliaries, strict=True)):
        if {*sides} == {*pair}:
            one = rows.take(np.array([place]))
            predicted = mixture.predict(fitted, one.values, one.effects)[0]
            for each, gain in zip(rows.arms, predicted, strict=True):
                turned = each if sides == pair else each.swapped()
                gains[turned.label] = gains.get(turned.label, 0.0) + float(gain)
    return sorted(rows.arms, key=lambda each: -gains[each.label])


def search_ours(trial: PairTrial, seed: int, starts: Sequence[Arm], budget: float) -> Curve:
    """What `simmerge-hub search` does, attempt by attempt."""

    def try_point(point: Point, judge: Judge) -> Attempt:
        few, score = trial.few_and_whole(point)
        if not judge(few):
            return Attempt(params=point, few=few, score=None, cost=0.25)
        return Attempt(params=point, few=few, score=score, cost=1.25)

    quest = Quest(models=2, budget=budget, starts=tuple(points_of(starts, 2)), seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        attempts = run_quest(quest, try_point, Path(folder, "state.jsonl"), "")
    spent, curve = 0.0, Curve()
    for each in attempts:
        spent += each.cost
        if each.score is not None and (not curve or each.score > curve[-1][1]):
            curve.append((spent, each.score, each.params))
    return curve


def search_cma(
    trial: PairTrial, seed: int, begin: Sequence[float], decode: Callable[[Any], Point]
) -> Curve:
    """CMA-ES from `begin`, as mergekit-evolve runs it."""
    import cma

    options = {"seed": seed + 1, "maxfevals": BUDGET, "verbose": -9}
    strategy = cma.CMAEvolutionStrategy(list(begin), SIGMA, options)
    points = list[Point]()
    while len(points) < BUDGET and not strategy.stop():
        asked = strategy.ask()
        some = [decode(each) for each in asked]
        points += some
        strategy.tell(asked, [-trial.few_and_whole(point)[1] for point in some])
    return follow(trial, points[:BUDGET])


def follow(trial: PairTrial, points: Sequence[Point]) -> Curve:
    """The best so far of points that are all evaluated whole."""
    curve = Curve()
    for number, point in enumerate(points, 1):
        score = trial.few_and_whole(point)[1]
        if not curve or score > curve[-1][1]:
            curve.append((float(number), score, point))
    return curve


def decode_ties(numbers: Any) -> Point:
    """Two weights, density, scale; mergekit-evolve takes absolute values and cuts."""
    weights, (density, scale) = np.abs(numbers[:2]), np.abs(numbers[2:])
    limits = RANGES["ties"]
    return {
        "operator": "ties", **{f"weight.{i}": max(float(w), 1e-3) for i, w in enumerate(weights)},
        "ties.density": float(np.clip(density, *limits["density"])),
        "ties.scale": float(np.clip(scale, *limits["scale"])),
    }  # fmt: skip


def decode_whole(numbers: Any) -> Point:
    """All of the space: five numbers of which the largest says the operator, and the rest."""
    numbers, operators = np.clip(numbers, 0.0, 1.0), list(RANGES)
    operator = operators[int(np.argmax(numbers[: len(operators)]))]
    named = [("weight.0", WEIGHT), ("weight.1", WEIGHT)]
    named += [(f"{o}.{n}", limits) for o, known in RANGES.items() for n, limits in known.items()]
    values = {
        name: low + float(x) * (high - low)
        for x, (name, (low, high)) in zip(numbers[len(operators) :], named, strict=True)
    }
    own = {n: v for n, v in values.items() if n.startswith(("weight.", f"{operator}."))}
    return {"operator": operator, **own}


def random_points(seed: int) -> list[Point]:
    """BUDGET points, operators and parameters drawn evenly."""
    random = np.random.default_rng(seed)
    points = list[Point]()
    for _ in range(BUDGET):
        operator = str(random.choice(list(RANGES)))
        point: dict[str, Any] = {"operator": operator}
        point |= {f"weight.{i}": float(random.uniform(*WEIGHT)) for i in range(2)}
        point |= {f"{operator}.{n}": float(random.uniform(*r)) for n, r in RANGES[operator].items()}
        points.append(point)
    return points


def grid_points() -> list[Point]:
    """The lattice: every operator at nine weights and three values of each parameter."""
    points = list[Point]()
    for operator, ranges in RANGES.items():
        levels = [np.linspace(*limits, LEVELS + 1) for limits in ranges.values()]
        for share, *values in product(GRID, *levels):
            own = {f"{operator}.{n}": float(v) for n, v in zip(ranges, values, strict=True)}
            weights = {"weight.0": share, "weight.1": 1 - share}
            points.append({"operator": operator, **weights, **own})
    return points


def methods(starts: Sequence[Arm]) -> dict[str, Callable[[PairTrial, int], Curve]]:
    """Name -> how a pair is searched with a seed."""
    numbers = len(RANGES) + 2 + sum(map(len, RANGES.values()))

    return {
        "ours": lambda trial, seed: search_ours(trial, seed, (*starts[:PREDICTED], *SAFE), OURS),
        "ours, nothing predicted": lambda trial, seed: search_ours(trial, seed, SAFE, OURS),
        "CMA-ES on TIES": lambda trial, seed: search_cma(
            trial, seed, (0.5, 0.5, 1, 1), decode_ties
        ),
        "CMA-ES": lambda trial, seed: search_cma(trial, seed, (0.5,) * numbers, decode_whole),
        "random": lambda trial, seed: follow(trial, random_points(seed)),
    }


def jobs(pairs: Sequence[tuple[str, str]]) -> Iterator[tuple[tuple[str, str], str, int]]:
    """Pairs, methods and seeds, in the order they are run."""
    for seed in range(SEEDS):
        for place, pair in enumerate(pairs):
            for method in methods(()):
                tuned = place in TUNED
                if not (tuned and (seed >= TUNING_SEEDS or method != "ours")):
                    yield pair, method, seed


def measure(zoo: Path, seconds: float, part: str, only: Sequence[str]) -> None:
    """Run what is missing, until the time is over."""
    import torch

    torch.set_num_threads(1)
    WORK.mkdir(parents=True, exist_ok=True)
    until = time.process_time() + seconds
    outcomes = load_outcomes(TABLES / "zoo-v3.jsonl.gz")
    pairs = choose_pairs(outcomes)
    wanted = {"tuned": [pairs[i] for i in TUNED], "tested": pairs[TESTED]}[part]
    starts, manifest = read_starts(pairs, outcomes), load_manifest(zoo)
    trials = {p: PairTrial(manifest, p, WORK / f"{'+'.join(p)}.jsonl") for p in pairs}
    runs = read_runs()
    for pair in wanted:
        for point in trials[pair].missing(grid_points()):
            if time.process_time() > until:
                print("more is left", flush=True)
                return
            trials[pair].few_and_whole(point)
        print(*pair, "is measured", flush=True)
    for pair, method, seed in jobs(pairs):
        key = (*pair, method, seed)
        if key in runs or pair not in wanted or (only and method not in only):
            continue
        if time.process_time() > until:
            print("more is left", flush=True)
            return
        curve = methods(starts[" + ".join(pair)])[method](trials[pair], seed)
        steps = [[spent, score, dict(snap(point))] for spent, score, point in curve]
        others = trials[pair].other_prompts(curve[-1][2])
        with (WORK / "runs.jsonl").open("a") as file:
            file.write(json.dumps({"key": key, "steps": steps, "others": others}) + "\n")
        print(*key, round(curve[-1][1], 3), curve[-1][2]["operator"], flush=True)
    print("done")


def read_runs() -> dict[tuple[Any, ...], dict[str, Any]]:
    """(first, second, method, seed) -> its steps, and what the last keeps on other prompts."""
    path = WORK / "runs.jsonl"
    if not path.exists():
        return {}
    lines = map(json.loads, path.read_text().splitlines())
    return {tuple(line["key"]): line for line in lines}


def main() -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("zoo", type=Path)
    parser.add_argument("--seconds", type=float, default=240.0, help="of the processor")
    parser.add_argument("--part", choices=["tuned", "tested"], default="tested")
    parser.add_argument("--only", nargs="+", default=[])
    options = parser.parse_args()
    measure(options.zoo, options.seconds, options.part, options.only)


if __name__ == "__main__":
    main()
