"""What a search reaches with how many evaluations: ours, CMA-ES, random, exhaustive.

    python benchmarks/search.py measure ZOO --seconds 240    # again and again until it says done
    python benchmarks/search.py report                       # search.json and the picture

Pairs of nano specialists are merged in memory and really evaluated: 64 prompts of both tasks, and
128 others that no search asks. Our search is `learning.searching.loop`, the same that
`simmerge-hub search` runs; it starts at what a predictor that saw none of these models says, and at
the safe arms. Settings of ours were chosen on the pairs of TUNED, and results are of TESTED alone.
CMA-ES is the package `cma`, begun as mergekit-evolve begins it (weights 1/n, densities 1, sigma
1/6): on TIES, one operator, as there; and on the whole space, operators by the largest of five
numbers. Random search draws 100 of 200 points that all seeds share. Intervals are over seeds.
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
from search_trial import PairTrial, Point

from simmerge_hub.learning.searching.attempts import Attempt
from simmerge_hub.learning.searching.loop import Judge, Quest, run_quest
from simmerge_hub.learning.searching.space import RANGES, WEIGHT, params_of
from simmerge_hub.operators import ARMS, FED_ARMS, Arm, arm
from simmerge_hub.selector.models import mixture
from simmerge_hub.selector.tables.features import load_features
from simmerge_hub.selector.tables.outcomes import Outcomes, load_outcomes
from simmerge_hub.selector.tables.rows import Rows, join
from simmerge_hub.zoo.manifest import load_manifest

HERE = Path(__file__).parent
TABLES = HERE.parent / "recipes" / "outcomes"
WORK = HERE.parent / "build" / "search"
FILE = HERE / "search.json"
TUNED, TESTED = 2, 4
"""Pairs that settings of ours were chosen on, and pairs that are reported."""
SEEDS, TUNING_SEEDS = 10, 3
BUDGET, OURS = 100, 40
"""Evaluations that CMA-ES and random search have, and that ours has."""
POOL = 200
SIGMA = 1 / 6
GRID = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
LEVELS = 3
"""Values of each other parameter in the exhaustive grid."""
SAFE = (arm("regmean", alpha=0.9), arm("linear"))

Curve = list[tuple[float, float, Point]]
"""(evaluations spent, best score so far, its point), a step at a time."""


def choose_pairs(outcomes: Outcomes) -> list[tuple[str, str]]:
    """TUNED + TESTED pairs without a model in common, drawn: both models expert at another task,
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
    return pairs[: TUNED + TESTED]


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

    first = [p for each in starts if (p := params_of(each, 2))]
    quest = Quest(models=2, budget=budget, starts=tuple(first), seed=seed)
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


def random_points() -> list[Point]:
    """POOL points, operators and parameters drawn evenly."""
    random = np.random.default_rng(0)
    points = list[Point]()
    for _ in range(POOL):
        operator = str(random.choice(list(RANGES)))
        point: dict[str, Any] = {"operator": operator}
        point |= {f"weight.{i}": float(random.uniform(*WEIGHT)) for i in range(2)}
        point |= {f"{operator}.{n}": float(random.uniform(*r)) for n, r in RANGES[operator].items()}
        points.append(point)
    return points


def grid_points() -> list[Point]:
    """Every operator at nine weights and three values of each parameter."""
    points = list[Point]()
    for operator, ranges in RANGES.items():
        levels = [np.linspace(*limits, LEVELS) for limits in ranges.values()]
        for share, *values in product(GRID, *levels):
            own = {f"{operator}.{n}": float(v) for n, v in zip(ranges, values, strict=True)}
            weights = {"weight.0": share, "weight.1": 1 - share}
            points.append({"operator": operator, **weights, **own})
    return points


def methods(starts: Sequence[Arm]) -> dict[str, Callable[[PairTrial, int], Curve]]:
    """Name -> how a pair is searched with a seed."""
    pool, grid = random_points(), grid_points()
    numbers = len(RANGES) + 2 + sum(map(len, RANGES.values()))

    def draw(trial: PairTrial, seed: int) -> Curve:
        order = np.random.default_rng(seed).permutation(POOL)[:BUDGET]
        return follow(trial, [pool[i] for i in order])

    return {
        "ours": lambda trial, seed: search_ours(trial, seed, (*starts[:1], *SAFE), OURS),
        "ours, nothing predicted": lambda trial, seed: search_ours(trial, seed, SAFE, OURS),
        "CMA-ES on TIES": lambda trial, seed: search_cma(
            trial, seed, (0.5, 0.5, 1, 1), decode_ties
        ),
        "CMA-ES": lambda trial, seed: search_cma(trial, seed, (0.5,) * numbers, decode_whole),
        "random": draw,
        "exhaustive": lambda trial, seed: follow(trial, grid),
    }


def jobs(pairs: Sequence[tuple[str, str]]) -> Iterator[tuple[tuple[str, str], str, int]]:
    """Pairs, methods and seeds, in the order they are run."""
    for seed in range(SEEDS):
        for place, pair in enumerate(pairs):
            for method in methods(()):
                tuned = place < TUNED
                if not (tuned and seed >= TUNING_SEEDS) and not (method == "exhaustive" and seed):
                    yield pair, method, seed


def measure(zoo: Path, seconds: float, part: str, only: Sequence[str]) -> None:
    """Run what is missing, until the time is over."""
    import torch

    torch.set_num_threads(1)
    WORK.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + seconds
    outcomes = load_outcomes(TABLES / "zoo-v3.jsonl.gz")
    pairs = choose_pairs(outcomes)
    wanted = {"tuned": pairs[:TUNED], "tested": pairs[TUNED:]}[part]
    starts, manifest = predict_starts(pairs, outcomes), load_manifest(zoo)
    trials = {p: PairTrial(manifest, p, WORK / f"{'+'.join(p)}.jsonl") for p in pairs}
    runs = read_runs()
    for pair, method, seed in jobs(pairs):
        key = (*pair, method, seed)
        if key in runs or pair not in wanted or (only and method not in only):
            continue
        if time.monotonic() > until:
            print("more is left", flush=True)
            return
        curve = methods(starts[" + ".join(pair)])[method](trials[pair], seed)
        steps = [[spent, score, trials[pair].other_prompts(point), dict(point)]
                 for spent, score, point in curve]  # fmt: skip
        with (WORK / "runs.jsonl").open("a") as file:
            file.write(json.dumps({"key": key, "steps": steps}) + "\n")
        print(*key, round(curve[-1][1], 3), curve[-1][2]["operator"], flush=True)
    print("done")


def read_runs() -> dict[tuple[Any, ...], list[Any]]:
    """(pair, method, seed) -> its steps."""
    path = WORK / "runs.jsonl"
    if not path.exists():
        return {}
    lines = map(json.loads, path.read_text().splitlines())
    return {tuple(line["key"]): line["steps"] for line in lines}


def main() -> None:
    """Measure, or report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("measure")
    verb.add_argument("zoo", type=Path)
    verb.add_argument("--seconds", type=float, default=240.0)
    verb.add_argument("--part", choices=["tuned", "tested"], default="tested")
    verb.add_argument("--only", nargs="+", default=[])
    verbs.add_parser("report")
    options = parser.parse_args()
    if options.verb == "measure":
        measure(options.zoo, options.seconds, options.part, options.only)


if __name__ == "__main__":
    main()
