"""Merges of three and four held-out models of the zoo: the plan against what needs no predictor.

    python benchmarks/multiway.py measure build/zoo --part train      (merge and evaluate)
    python benchmarks/multiway.py measure build/zoo --part across     (two folds; to learn from)
    python benchmarks/multiway.py plant build/zoo                     (also with a harmful model)
    python benchmarks/multiway.py table build/zoo                     (what training reads of that)
    python benchmarks/multiway.py measure build/zoo
    python benchmarks/multiway.py plan build/zoo                      (plans, and measures them)
    python benchmarks/multiway.py harm build/zoo                      (one model is harmful)
    python benchmarks/multiway.py again build/zoo                     (other prompts for the oracle)
    python benchmarks/multiway.py own build/zoo                       (a plan for each task)
    python benchmarks/multiway.py report build/zoo

Models are dealt into folds base by base, and sets are drawn inside a fold; the predictor of a fold
is trained on pairs and merges of many that share no model with it (`multiway_train.py`), and what
it expects of merges by what layers are fed comes from the other folds (`multiway_fed.py`). What had
to be chosen was chosen on sets of the part `train`. Everything is settled by seeds: sets, plans
that are measured, prompts. Utility of a merge: exact match over the expert's, mean over the set's
tasks. `build/multiway*.jsonl` keep what is done, so that work can be cut (`--seconds`) and
continued.
"""

import argparse
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from multiway_bench import Benches, Signatures, append, read
from multiway_harm import harm
from multiway_report import BARE, CONTROL, ORACLES, best, choose, choose_alone, report
from multiway_sets import CHAINED, SETS, average, chain, folds, orders, parse_label, sets, trees
from multiway_train import plant_all, table, train_without_fold, training_merges

from simmerge_hub.operators import arm
from simmerge_hub.planning.ask.objective import MEAN
from simmerge_hub.planning.choice import Choice
from simmerge_hub.planning.tree import Tree, enumerate_trees, join, leaf
from simmerge_hub.planning.trees.search import search
from simmerge_hub.zoo.manifest import Manifest, load_manifest

VERBS = ("measure", "plant", "table", "plan", "harm", "again", "own", "report")
ELSEWHERE = ("at once", "second build")
"""Keys of the JSON that are not written here: by `at_once.py`, and by this script on a
former build."""
SUM = arm("task_arithmetic", scale=0.7)
"""What is the best control of all merges in one step."""


def measure(
    manifest: Manifest, part: str, sizes: Sequence[int], seconds: float, shard: int
) -> bool:
    """Measure what is not yet measured, for so long; whether everything is."""
    until = time.monotonic() + seconds
    known = {tuple(row["models"]) for row in read("multiway")}
    benches = Benches(manifest)
    wanted = [chosen for size in sizes for chosen in sets(manifest, size, part)]
    open_ = [chosen for chosen in wanted if chosen not in known]
    for chosen in open_[shard:]:
        if time.monotonic() > until:
            return False
        if chosen in {tuple(row["models"]) for row in read("multiway")}:
            continue
        base = manifest.models[chosen[0]].spec["base"]
        bench = benches[base]
        began = time.process_time()
        plans = training_merges(trees(chosen)) if part == "across" else trees(chosen)
        utilities = bench.utilities(chosen, plans)
        cost = round(time.process_time() - began, 2)
        row = {"models": chosen, "base": base, "seconds": cost, "utilities": utilities}
        if part == "test":
            began = time.process_time()
            row["fed"] = bench.fed_utilities(chosen)
            row["fed_seconds"] = round(time.process_time() - began, 2)
        append("multiway", row)
    return True


def plan(manifest: Manifest, part: str, sizes: Sequence[int], seconds: float, shard: int) -> bool:
    """Search a plan for every measured set, for so long; whether all are done.

    What is chosen and was not among the plans measured is measured too. Merges by what layers are
    fed are not in it: nothing is built upon them, and what is expected of them is no forecast but
    comes from measured sets (`multiway_fed.py`), so that they are ranked among the others later.
    """
    until = time.monotonic() + seconds
    signatures, benches = Signatures(manifest), Benches(manifest)
    measured = {tuple(row["models"]): row for row in read("multiway")}
    wanted = [c for size in sizes for c in sets(manifest, size, part) if c in measured]
    for chosen in wanted[shard:]:
        if time.monotonic() > until:
            return False
        if list(chosen) in [row["models"] for row in read("multiway-plans")]:
            continue
        row, picked = _plan_set(chosen, signatures)
        if new := [t for t in picked if t.label not in measured[chosen]["utilities"]]:
            row["measured"] = benches[measured[chosen]["base"]].utilities(chosen, new)
        append("multiway-plans", row)
    return True


def _plan_set(chosen: tuple[str, ...], signatures: Signatures) -> tuple[dict[str, Any], list[Tree]]:
    """What is predicted for a set, and the trees picked: cautious and bold."""
    predictor = train_without_fold(signatures.manifest, folds(signatures.manifest)[chosen[0]])
    forecast = signatures.forecast(chosen, predictor)
    began, wall = time.process_time(), time.monotonic()
    ranked = search(forecast, MEAN, least=len(chosen))
    row = {
        "models": chosen,
        "seconds": round(time.process_time() - began, 2),
        "wall": round(time.monotonic() - wall, 2),
        "scored": forecast.scored,
        "plans": {c.tree.label: _by_task(c) for c in ranked},
    }
    return row, [ranked[0].tree, max(ranked, key=_boldly).tree]


def _boldly(choice: Choice) -> float:
    """What a merge is worth without caution."""
    return sum(belief.mean for belief in choice.beliefs.values())


def _by_task(choice: Choice) -> list[list[float]]:
    """By task: mean and standard deviation."""
    return [[round(b.mean, 4), round(b.variance**0.5, 4)] for b in choice.beliefs.values()]


def again(manifest: Manifest, sizes: Sequence[int], seconds: float) -> bool:
    """Measure the oracle, the plan and the strongest controls on other prompts, each on weights
    alone, and the merges by what layers are fed, which may be oracle and plan.

    The best of many on 64 prompts is partly luck; on OTHERS that chose nothing it is not.
    """
    until = time.monotonic() + seconds
    benches = Benches(manifest, other=True)
    measured, planned = (
        {tuple(row["models"]): row for row in read(name)} for name in ("multiway", "multiway-plans")
    )
    for chosen in (each for size in sizes for each in sets(manifest, size)):
        if time.monotonic() > until:
            return False
        if chosen not in planned or list(chosen) in [r["models"] for r in read("multiway-again")]:
            continue
        picked = {
            ORACLES[BARE]: best(measured[chosen], planned[chosen], fed=False),
            BARE: choose(planned[chosen]["plans"]),
        }
        arms = {m.arm.label: m.arm for tree in enumerate_trees(chosen) for m in tree.merges}
        asked = {name: [parse_label(label, arms)] for name, label in picked.items()}
        asked[CONTROL] = [chain(order, CHAINED[0]) for order in orders(chosen)]
        asked[f"at once: {SUM.label}"] = [join(SUM, *map(leaf, chosen))]
        bench = benches[measured[chosen]["base"]]
        values = average(bench.utilities(chosen, [t for some in asked.values() for t in some]))
        row = {n: float(np.mean([values[t.label] for t in some])) for n, some in asked.items()}
        row |= average(bench.fed_utilities(chosen))
        append("multiway-again", {"models": chosen, "values": row})
    return True


def measure_own(manifest: Manifest, sizes: Sequence[int], seconds: float) -> bool:
    """Measure another plan on weights alone for each task, the best for that one alone, where it
    was not yet; as "each task's expert last" is another merge for each task, too."""
    until = time.monotonic() + seconds
    benches = Benches(manifest)
    measured, planned = (
        {tuple(row["models"]): row for row in read(name)} for name in ("multiway", "multiway-plans")
    )
    for chosen in (each for size in sizes for each in sets(manifest, size)):
        if time.monotonic() > until:
            return False
        if chosen not in planned or list(chosen) in [r["models"] for r in read("multiway-own")]:
            continue
        known = measured[chosen]["utilities"] | planned[chosen].get("measured", {})
        picked = [choose_alone(planned[chosen]["plans"], place) for place in range(len(chosen))]
        if new := sorted(set(picked) - set(known)):
            arms = {m.arm.label: m.arm for tree in enumerate_trees(chosen) for m in tree.merges}
            bench = benches[measured[chosen]["base"]]
            known |= bench.utilities(chosen, [parse_label(label, arms) for label in new])
        values = [known[label][place] for place, label in enumerate(picked)]
        append("multiway-own", {"models": chosen, "picked": picked, "values": values})
    return True


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=VERBS)
    parser.add_argument("zoo", type=Path)
    parser.add_argument("--seconds", type=float, default=math.inf)
    parser.add_argument("--sizes", type=int, nargs="+", default=[3, 4])
    parser.add_argument("--part", choices=list(SETS), default="test")
    parser.add_argument("--shard", type=int, default=0)
    given = parser.parse_args()
    if given.part == "across" and given.what != "measure":
        parser.error("sets across folds are only learned from: no fold's predictor knows neither")
    torch.set_num_threads(1)
    manifest = load_manifest(given.zoo)
    limits = (given.seconds, given.shard)
    if given.what == "measure":
        done = measure(manifest, given.part, given.sizes, *limits)
    elif given.what == "plant":
        done = plant_all(manifest, *limits)
    elif given.what == "table":
        done = table(manifest, *limits)
    elif given.what == "harm":
        done = harm(manifest, given.part, *limits)
    elif given.what == "again":
        done = again(manifest, given.sizes, given.seconds)
    elif given.what == "own":
        done = measure_own(manifest, given.sizes, given.seconds)
    elif given.what == "report":
        file = Path(__file__).with_suffix(".json")
        known = json.loads(file.read_text()) if file.exists() else {}
        kept = {key: known[key] for key in ELSEWHERE if key in known}
        file.write_text(json.dumps(report(manifest) | kept, indent=1) + "\n")
        done = True
    else:
        done = plan(manifest, given.part, given.sizes, *limits)
    print("done" if done else "more")


if __name__ == "__main__":
    main()
