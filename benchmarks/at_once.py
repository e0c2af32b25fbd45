"""Merges of three and four specialists in one step, with what sees activations and without.

    python benchmarks/at_once.py ZOO              # a built zoo; half an hour

Sets of models of one base are drawn by a seed, no two experts of the same task. On the task of each
the gain of a merge is its share of the gap between the best model of the set and the mean of the
others, as plans count it. Writes benchmarks/at_once.json, and of operators that look at activations
the means and the half-widths of 90 % intervals to at_once.json in the package
(`selector/predictor/measured`), which plans of three models and more rest on. What is measured is
kept in build/at-once.jsonl, and a stopped run goes on.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

import numpy as np
import torch

from simmerge_hub.operators import FED_ARMS, arm, find
from simmerge_hub.selector.tables.outcomes import HIGHEST, SMALLEST_GAP
from simmerge_hub.zoo.evaluation import Exam, evaluate, exam, mean
from simmerge_hub.zoo.manifest import Manifest, load_manifest, load_model
from simmerge_hub.zoo.measuring.members import changes, feed_own_probes, weights_of
from simmerge_hub.zoo.measuring.running import Bench, merge_pair
from simmerge_hub.zoo.real.codec import codec_for
from simmerge_hub.zoo.real.domains import find_task

HERE = Path(__file__).parent
KEPT = HERE.parent / "build" / "at-once.jsonl"
PACKAGED = HERE.parent / "simmerge_hub" / "selector" / "predictor" / "measured" / "at_once.json"
SETS = {3: 60, 4: 40}
SEED = 0
ARMS = (
    arm("linear"),
    arm("ties", density=0.5),
    arm("task_arithmetic", scale=0.7),
    *(each for each in FED_ARMS if "weights" not in each.parameters),
)


def main() -> None:
    """Measure what is missing, write both files, print the means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("zoo", type=Path)
    manifest = load_manifest(parser.parse_args().zoo)
    torch.set_num_threads(1)
    rows = _measure_all(manifest)
    report = {
        "zoo": manifest.name,
        "sets": {str(size): sum(len(row["models"]) == size for row in rows) for size in SETS},
        "arms": {str(size): _by_arm(rows, size) for size in SETS},
    }
    (HERE / "at_once.json").write_text(json.dumps(report, indent=1) + "\n")
    fed = [each.label for each in ARMS if find(each.operator).activations]
    packaged = {
        label: {
            size: {key: arms[label][key] for key in ("gain", "radius")}
            for size, arms in report["arms"].items()
        }
        for label in fed
    }
    entry = {"of": "sets of nano models", "sets": report["sets"], "gains": packaged}
    PACKAGED.write_text(json.dumps(entry, indent=1) + "\n")
    for size, arms in report["arms"].items():
        for label, found in arms.items():
            print(size, label, found)


def _measure_all(manifest: Manifest) -> list[dict[str, Any]]:
    KEPT.parent.mkdir(exist_ok=True)
    lines = KEPT.read_text().splitlines() if KEPT.is_file() else []
    rows = [json.loads(line) for line in lines]
    known = [row["models"] for row in rows]
    wanted = [chosen for size, count in SETS.items() for chosen in _draw(manifest, size, count)]
    for base in sorted({manifest.models[chosen[0]].spec["base"] for chosen in wanted}):
        ours = [c for c in wanted if manifest.models[c[0]].spec["base"] == base and c not in known]
        measure = _bench(manifest, base) if ours else None
        for chosen in ours:
            assert measure
            rows.append({"base": base, "models": chosen, "utilities": measure(chosen)})
            with KEPT.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
            print(len(rows), chosen, flush=True)
    return [row for row in rows if row["models"] in wanted]


def _draw(manifest: Manifest, size: int, count: int) -> list[list[str]]:
    """Sets of models of one base, experts of different tasks."""
    random, names = Random(f"{SEED} {size}"), sorted(manifest.specialists)
    drawn: list[list[str]] = []
    while len(drawn) < count:
        first = manifest.models[random.choice(names)].spec["base"]
        chosen = sorted(random.sample([n for n in names if _base(manifest, n) == first], size))
        if len({manifest.models[n].spec["task"] for n in chosen}) == size and chosen not in drawn:
            drawn.append(chosen)
    return drawn


def _base(manifest: Manifest, name: str) -> str:
    return manifest.models[name].spec["base"]


def _bench(manifest: Manifest, base: str):
    """What measures a set: task -> {"best", "level" and each arm: exact match}."""
    codec, scratch = codec_for(manifest, base), load_model(manifest, base)
    origin = weights_of(scratch)
    runners = [load_model(manifest, base) for _ in range(max(SETS))]
    exams: dict[str, Exam] = {}
    weights, feedings = {}, {}

    def measure(chosen: Sequence[str]) -> dict[str, dict[str, float]]:
        for name in chosen:
            if name not in weights:
                weights[name] = changes(manifest, name, origin)
                feedings[name] = feed_own_probes(manifest, name, codec)
        bench = Bench(scratch=scratch, base=origin, runners=runners[: len(chosen)])
        parents = {name: weights[name] for name in chosen}
        tasks = {manifest.models[name].spec["task"]: name for name in chosen}
        scores = {task: _alone(manifest, chosen, task) for task in tasks}
        for each in ARMS:
            merged = merge_pair(bench, each, parents, [feedings[name] for name in chosen])
            for task in tasks:
                known = exams.setdefault(task, _exam(manifest, task, codec))
                scores[task][each.label] = round(mean(evaluate(merged, known).exact_match), 4)
        return scores

    return measure


def _exam(manifest: Manifest, task: str, codec: Any) -> Exam:
    return exam(find_task(manifest.tasks[task]), manifest.evaluation, codec=codec)


def _alone(manifest: Manifest, chosen: Sequence[str], task: str) -> dict[str, float]:
    """The best model of the set, and the mean of the others."""
    scores = sorted(manifest.models[name].scores[task]["exact_match"] for name in chosen)
    return {"best": scores[-1], "level": fmean(scores[:-1])}


def _by_arm(rows: Sequence[Mapping[str, Any]], size: int) -> dict[str, dict[str, float]]:
    """Label -> the mean gain, the half-width that holds 90 % of the gains, the share of the best
    models' scores that is kept on average, and that on a set's worst task."""
    sets = [row["utilities"] for row in rows if len(row["models"]) == size]
    tasks = [task for each in sets for task in each.values()]
    apart = [task for task in tasks if task["best"] - task["level"] >= SMALLEST_GAP]
    summary = {}
    for label in (each.label for each in ARMS):
        gains = np.array([_gain(task, label) for task in apart])
        summary[label] = {
            "gain": round(float(gains.mean()), 4),
            "radius": round(float(np.quantile(np.abs(gains - gains.mean()), 0.9)), 4),
            "kept": round(fmean(_kept(task, label) for task in tasks), 4),
            "worst": round(fmean(min(_kept(t, label) for t in s.values()) for s in sets), 4),
        }
    return summary


def _gain(task: Mapping[str, float], label: str) -> float:
    gain = (task[label] - task["level"]) / (task["best"] - task["level"])
    return min(HIGHEST, max(-1.0, gain))


def _kept(task: Mapping[str, float], label: str) -> float:
    return task[label] / task["best"] if task["best"] else 1.0


if __name__ == "__main__":
    main()
