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
is trained on pairs, and on merges of sets of the parts `train` and `across`, that share no model
with it. What had to be chosen was chosen on `train`. Everything is settled by seeds: sets, plans
that are tried, prompts. Utility of a merge: exact match over the expert's, mean over the set's
tasks. `build/multiway*.jsonl` keep what is done, so that work can be cut (`--seconds`) and
continued.
"""

import argparse
import json
import math
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from multiway_bench import Bench, Benches, Signatures, append, plant, read
from multiway_report import (
    CONTROL,
    PLAN,
    PROBED,
    TRIED,
    WAYS,
    average,
    choice,
    choose_alone,
    report,
)
from multiway_sets import (
    BASES,
    SETS,
    chain,
    evenly,
    folds,
    orders,
    parse_label,
    parts,
    seeded_hash,
    sets,
    tasks_of,
    trees,
)
from multiway_train import plant_all, table, train_without_fold, training_merges
from multiway_trial import try_first

from simmerge_hub.operators import arm
from simmerge_hub.planning.ask.objective import MEAN
from simmerge_hub.planning.choice import CAUTION, Choice
from simmerge_hub.planning.tree import Tree, enumerate_trees, join, leaf
from simmerge_hub.planning.trees.search import lean, search
from simmerge_hub.zoo.manifest import Manifest, load_manifest

VERBS = ("measure", "plant", "table", "plan", "harm", "again", "own", "report")
HARM = 40
"""Merges with a harmful model that are drawn to find the best, those in one step among them."""
HARMFUL = {"noise": 2.0, "overtrained": 4.0, "stranger": 1.0, "reversed": -3.0}
"""Kinds of harmful models that are tested, and how strong they are; see `plant`."""
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
        found = bench.utilities(chosen, plans)
        cost = round(time.process_time() - began, 2)
        row = {"models": chosen, "base": base, "seconds": cost, "utilities": found}
        if len(chosen) == 3 and part != "across":
            row["parts"] = bench.utilities(chosen, parts(chosen))
            row["evenly"] = bench.utilities(chosen, evenly(chosen))
        append("multiway", row)
    return True


def plan(
    manifest: Manifest, part: str, sizes: Sequence[int], way: str, seconds: float, shard: int
) -> bool:
    """Search a plan for every measured set in one way, for so long; whether all are done.

    What is chosen and was not among the plans measured is measured too. Ways other than `merged`
    are tried on every other set.
    """
    until = time.monotonic() + seconds
    signatures, benches = Signatures(manifest), Benches(manifest)
    measured = {tuple(row["models"]): row for row in read("multiway")}
    wanted = [c for size in sizes for c in sets(manifest, size, part) if c in measured]
    if way != "merged" and part == "test":
        wanted = sorted(wanted, key=lambda chosen: BASES.index(measured[chosen]["base"]))[::2]
    for chosen in wanted[shard:]:
        if time.monotonic() > until:
            return False
        if (list(chosen), way) in [(r["models"], r["way"]) for r in read("multiway-plans")]:
            continue
        base = measured[chosen]["base"]
        bench = benches[base]
        row, picked = _plan_set(chosen, way, signatures, bench)
        if new := [t for t in picked if t.label not in measured[chosen]["utilities"]]:
            row["measured"] = bench.utilities(chosen, new)
        append("multiway-plans", row)
    return True


def _plan_set(
    chosen: tuple[str, ...], way: str, signatures: Signatures, bench: Bench
) -> tuple[dict[str, Any], list[Tree]]:
    """What is predicted for a set in one way, and the trees picked: cautious, bold, and tried."""
    predictor = train_without_fold(signatures.manifest, folds(signatures.manifest)[chosen[0]])
    forecast = signatures.forecast(chosen, predictor, way)
    began, wall = time.process_time(), time.monotonic()
    found = search(forecast, MEAN, least=len(chosen))
    if way == "weights":
        found = lean(forecast, found, MEAN)
    row = {
        "models": chosen,
        "way": way,
        "seconds": round(time.process_time() - began, 2),
        "wall": round(time.monotonic() - wall, 2),
        "scored": forecast.scored,
        "plans": {c.tree.label: _by_task(c) for c in found},
        "parts": {
            tree.label: _by_task(forecast.latest[tree.label])
            for tree in parts(chosen) if tree.label in forecast.latest
        },
    }  # fmt: skip
    picked = [found[0].tree, max(found, key=_boldly).tree]
    if way in ("merged", "weights"):
        probes = [signatures.probes[t] for t in tasks_of(signatures.manifest, chosen)]
        began = time.process_time()
        again = try_first(forecast, found, MEAN, PROBED, partial(bench.run, probes=probes))
        row["tried"] = {c.tree.label: _by_task(c) for c in again[:PROBED]}
        row["trying"] = round(time.process_time() - began, 2)
        picked.append(again[0].tree)
    return row, picked


def _boldly(choice: Choice) -> float:
    """What a merge is worth without caution."""
    return sum(belief.mean for belief in choice.beliefs.values())


def _by_task(choice: Choice) -> list[list[float]]:
    """By task: mean and standard deviation."""
    return [[round(b.mean, 4), round(b.variance**0.5, 4)] for b in choice.beliefs.values()]


def again(manifest: Manifest, sizes: Sequence[int], seconds: float) -> bool:
    """Measure the oracle, the plans and the strongest two controls on other prompts.

    The best of many on 64 prompts is partly luck; on OTHERS that chose nothing it is not.
    """
    until = time.monotonic() + seconds
    benches = Benches(manifest, other=True)
    measured = {tuple(row["models"]): row for row in read("multiway")}
    planned = {tuple(r["models"]): r for r in read("multiway-plans") if r["way"] == "merged"}
    for chosen in (each for size in sizes for each in sets(manifest, size)):
        if time.monotonic() > until:
            return False
        if chosen not in planned or list(chosen) in [r["models"] for r in read("multiway-again")]:
            continue
        base = measured[chosen]["base"]
        bench = benches[base]
        true = average(measured[chosen]["utilities"])
        if len(chosen) > 3:
            true |= average(planned[chosen].get("measured", {}))
        picked = {
            "oracle": max(true, key=lambda label: true[label]),
            PLAN: choice(planned[chosen]["plans"], 1.0),
            TRIED: choice(planned[chosen]["tried"], 1.0),
        }
        arms = {m.arm.label: m.arm for tree in enumerate_trees(chosen) for m in tree.merges}
        asked = {name: [parse_label(label, arms)] for name, label in picked.items()}
        asked[CONTROL] = [chain(order, "linear") for order in orders(chosen)]
        asked[f"at once: {SUM.label}"] = [join(SUM, *map(leaf, chosen))]
        found = average(bench.utilities(chosen, [t for some in asked.values() for t in some]))
        row = {n: float(np.mean([found[t.label] for t in some])) for n, some in asked.items()}
        append("multiway-again", {"models": chosen, "values": row})
    return True


def measure_own(manifest: Manifest, sizes: Sequence[int], seconds: float) -> bool:
    """Measure another plan for each task, the best for that one alone, where it was not yet; as
    "each task's expert last" is another merge for each task, too."""
    until = time.monotonic() + seconds
    benches = Benches(manifest)
    measured = {tuple(row["models"]): row for row in read("multiway")}
    planned = {tuple(r["models"]): r for r in read("multiway-plans") if r["way"] == "merged"}
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


def harm(manifest: Manifest, part: str, seconds: float, shard: int) -> bool:
    """Plant a harmful model beside the tested sets of three, for so long, and let a plan choose
    which of the four to merge; whether all are done.

    Kinds take turns, base by base. Whether it is harmful is measured: the best merge of all four,
    of HARM drawn, against the best of the three.
    """
    until = time.monotonic() + seconds
    signatures, benches = Signatures(manifest), Benches(manifest)
    measured = {tuple(row["models"]): row for row in read("multiway")}
    wanted = [c for c in sets(manifest, 3, part) if c in measured]
    wanted.sort(key=lambda chosen: BASES.index(measured[chosen]["base"]))
    for number, chosen in list(enumerate(wanted))[shard:]:
        if time.monotonic() > until:
            return False
        if list(chosen) in [row["models"] for row in read("multiway-harm")]:
            continue
        base = measured[chosen]["base"]
        bench = benches[base]
        kind = list(HARMFUL)[number % len(HARMFUL)]
        other = plant(bench, chosen, kind, HARMFUL[kind])
        if other is None:
            continue
        everyone = (*chosen, other)
        drawn = sorted(
            enumerate_trees(everyone),
            key=lambda t: (len(t.parts) < 4, seeded_hash("harm", t.label)),
        )
        best = max(average(bench.utilities(chosen, drawn[:HARM])).values())
        predictor = train_without_fold(manifest, folds(manifest)[chosen[0]])
        forecast = signatures.forecast(chosen, predictor, others=[other])
        probes = [signatures.probes[t] for t in tasks_of(manifest, chosen)]
        found = search(forecast, MEAN)
        again = try_first(forecast, found, MEAN, PROBED, partial(bench.run, probes=probes))
        picked = {"plan": found[0].tree, "tried": again[0].tree}
        worth = {"with": [], "without": []}
        for each in found:
            value = float(MEAN.value(each.spreads(CAUTION))[1])
            worth["with" if other in each.tree.models else "without"].append(value)
        row = {
            "models": chosen,
            "worth": {name: max(values) for name, values in worth.items()},
            "kind": kind,
            "planted": other,
            "without": max(average(measured[chosen]["utilities"]).values()),
            "with": best,
            "picked": {name: tree.models for name, tree in picked.items()},
            "reached": average(bench.utilities(chosen, list(picked.values()))),
        }
        row["reached"] = {name: row["reached"][tree.label] for name, tree in picked.items()}
        append("multiway-harm", row)
    return True


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=VERBS)
    parser.add_argument("zoo", type=Path)
    parser.add_argument("--seconds", type=float, default=math.inf)
    parser.add_argument("--sizes", type=int, nargs="+", default=[3, 4])
    parser.add_argument("--part", choices=list(SETS), default="test")
    parser.add_argument("--way", choices=["merged", *WAYS], default="merged")
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
        file.write_text(json.dumps(known | report(manifest), indent=1) + "\n")
        done = True
    else:
        done = plan(manifest, given.part, given.sizes, given.way, *limits)
    print("done" if done else "more")


if __name__ == "__main__":
    main()
