"""What a search reaches with how many evaluations: ours, CMA-ES, random, exhaustive.

    python benchmarks/search.py ZOO --seconds 240    # again and again until it says done
    python benchmarks/search.py REAL --part real     # the same on a zoo of Gemma 3 270M
    python benchmarks/search_report.py               # search.json and the picture

Pairs of nano specialists are merged in memory and really evaluated: 64 prompts of both tasks, and
128 others that no search asks. Points are rounded to a lattice, the same for every method, and all
171 points of it are measured: weights in steps of 0.1, three values of every other parameter. Our
search is `learning.searching.loop`, which `simmerge-hub search` runs; it starts at what a predictor
that saw none of these models says, and at the safe arms. The pairs of TUNED were looked at while it
was made; results are of TESTED alone. Of the pairs of LoRA specialists of Gemma 3 270M in
`zoo-real.jsonl.gz` every one is taken that the same rule admits: a search asks 64 of the 96 prompts
of an exam, the other 32 are asked at the end. The lattice has three weights there, 57 points; the
predictor learned from nano models alone.
CMA-ES is the package `cma`, begun as mergekit-evolve begins it (weights 1/n, densities 1, sigma
1/6): on TIES, one operator, as there; and on the whole space, operators by the largest of five
numbers. Random search draws from all of the space, and exhaustive search is the whole lattice.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from search_methods import grid_points, methods
from search_trial import OTHERS, OTHERS_REAL, SHARES, SHARES_REAL, PairTrial
from worlds import by_recipe
from worlds import load as load_worlds

from simmerge_hub.operators import ARMS, FED_ARMS, Arm
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
LATER = ("delta_regmean", "task_arithmetic(weights=")
"""How arms begin that the tables got after pairs were drawn."""
SEEDS, TUNING_SEEDS = 10, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Models of one kind: their table of outcomes, the regimes pairs are taken of, how many prompts
    no search asks, the weights of the lattice, and the files of runs and of predicted arms."""

    table: str
    regimes: tuple[str, ...]
    others: int
    shares: tuple[float, ...]
    runs: str
    starts: str


NANO = World(
    table="zoo-v3", regimes=("half", "skills"), others=OTHERS, shares=SHARES,
    runs="runs.jsonl", starts="starts.json",
)  # fmt: skip
REAL = World(
    table="zoo-real", regimes=("gemma-3-270m",), others=OTHERS_REAL, shares=SHARES_REAL,
    runs="runs-real.jsonl", starts="starts-real.json",
)  # fmt: skip


def choose_pairs(
    outcomes: Outcomes, regimes: tuple[str, ...] = NANO.regimes
) -> list[tuple[str, str]]:
    """At most DRAWN pairs without a model in common: both models expert at another task,
    and the best arm keeps 0.4 to 0.97 of both, so that there is something to search for; of arms
    that were measured when pairs were first drawn, so that they stay the same."""
    by_pair: dict[tuple[str, str], list[float]] = {}
    for row in outcomes.rows:
        if row.gap >= 0.3 and row.regime.endswith(regimes):
            first, second = sorted((row.expert, row.auxiliary))
            known = [u for arm, u in row.utilities.items() if not arm.startswith(LATER)]
            kept = max(known) / row.expert_utility
            by_pair.setdefault((first, second), []).append(kept)
    open_pairs = [p for p, k in by_pair.items() if len(k) == 2 and 0.4 <= sum(k) / 2 <= 0.97]
    order = np.random.default_rng(0).permutation(len(open_pairs))
    pairs: list[tuple[str, str]] = []
    for place in order:
        pair = sorted(open_pairs)[place]
        if not {*pair} & {name for known in pairs for name in known}:
            pairs.append(pair)
    return pairs[:DRAWN]


def predict_starts(
    world: World, pairs: Sequence[tuple[str, str]], outcomes: Outcomes
) -> dict[str, list[Arm]]:
    """Pair -> arms, the best first, predicted by what was fitted on rows of other models alone: of
    a real pair, on all nano rows."""
    if world is REAL:
        (rows, _), (asked, _) = load_worlds([world.table])
        asked = by_recipe(asked)  # under the names that its pairs have
    else:
        features = load_features(TABLES / f"{world.table}-features.jsonl.gz")
        rows = asked = join(outcomes, features, (*ARMS, *FED_ARMS))
    names = {name for pair in pairs for name in pair}
    sides = zip(rows.experts, rows.auxiliaries, strict=True)
    free = np.array([not {*each} & names for each in sides])
    size = mixture.Size(**json.loads((HERE / "selection.json").read_text())["size"])
    fitted = mixture.fit(rows.take(np.flatnonzero(free)), size, seed=0)
    return {" + ".join(pair): _ranking(fitted, asked, pair) for pair in pairs}


def read_starts(
    world: World, pairs: Sequence[tuple[str, str]], outcomes: Outcomes
) -> dict[str, list[Arm]]:
    """As `predict_starts`, kept beside what is measured."""
    path = WORK / world.starts
    if not path.exists():
        predicted = predict_starts(world, pairs, outcomes)
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


def jobs(
    pairs: Sequence[tuple[str, str]], tuned: Sequence[int] = TUNED
) -> Iterator[tuple[tuple[str, str], str, int]]:
    """Pairs, methods and seeds, in the order they are run."""
    for seed in range(SEEDS):
        for place, pair in enumerate(pairs):
            for method in methods(()):
                if not (place in tuned and (seed >= TUNING_SEEDS or method != "ours")):
                    yield pair, method, seed


def measure(zoo: Path, seconds: float, part: str, only: Sequence[str]) -> None:
    """Run what is missing, until the time is over."""
    import torch

    torch.set_num_threads(1)
    WORK.mkdir(parents=True, exist_ok=True)
    until = time.process_time() + seconds
    world = REAL if part == "real" else NANO
    outcomes = load_outcomes(TABLES / f"{world.table}.jsonl.gz")
    pairs = choose_pairs(outcomes, world.regimes)
    parts = {"tuned": [pairs[i] for i in TUNED], "tested": pairs[TESTED], "real": pairs}
    wanted, tuned = parts[part], () if part == "real" else TUNED
    starts, manifest = read_starts(world, pairs, outcomes), load_manifest(zoo)
    trials = {
        p: PairTrial(
            manifest, p, WORK / f"{'+'.join(p)}.jsonl", others=world.others, shares=world.shares
        )
        for p in pairs
    }
    runs = read_runs(world)
    for pair in wanted:
        for point in trials[pair].missing(grid_points(world.shares)):
            if time.process_time() > until:
                print("more is left", flush=True)
                return
            trials[pair].few_and_whole(point)
        print(*pair, "is measured", flush=True)
    for pair, method, seed in jobs(pairs, tuned):
        key = (*pair, method, seed)
        if key in runs or pair not in wanted or (only and method not in only):
            continue
        if time.process_time() > until:
            print("more is left", flush=True)
            return
        curve = methods(starts[" + ".join(pair)])[method](trials[pair], seed)
        steps = [[spent, score, dict(trials[pair].snap(point))] for spent, score, point in curve]
        with (WORK / world.runs).open("a") as file:
            file.write(json.dumps({"key": key, "steps": steps}) + "\n")
        print(*key, round(curve[-1][1], 3), curve[-1][2]["operator"], flush=True)
    for (first, second, *_), run in read_runs(world).items():
        if time.process_time() > until:
            print("more is left", flush=True)
            return
        trials[first, second].other_prompts(run["steps"][-1][2])
    print("done")


def read_runs(world: World) -> dict[tuple[Any, ...], dict[str, Any]]:
    """(first, second, method, seed) -> its steps."""
    path = WORK / world.runs
    if not path.exists():
        return {}
    lines = map(json.loads, path.read_text().splitlines())
    return {tuple(line["key"]): line for line in lines}


def main() -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("zoo", type=Path)
    parser.add_argument("--seconds", type=float, default=240.0, help="of the processor")
    parser.add_argument("--part", choices=["tuned", "tested", "real"], default="tested")
    parser.add_argument("--only", nargs="+", default=[])
    options = parser.parse_args()
    measure(options.zoo, options.seconds, options.part, options.only)


if __name__ == "__main__":
    main()
