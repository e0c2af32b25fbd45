"""Merges of three and four specialists in one step, with what sees activations and without.

    python benchmarks/at_once.py ZOO              # a built zoo: nano half an hour, real two hours

Sets of models of one base are drawn by a seed, no two experts of the same task. On the task of each
the gain of a merge is its share of the gap between the best model of the set and the mean of the
others, as plans count it. Writes the zoo's part of "at once" in benchmarks/multiway.json, and the
means and the half-widths of 90 % intervals to at_once.json in the package
(`selector/predictor/measured`), which plans of three models and more rest on. What is measured is
kept in build/at-once-NAME.jsonl, a stopped run goes on, and all that is kept counts.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from simmerge_hub.operators import FED_ARMS, arm, find
from simmerge_hub.selector.tables.outcomes import HIGHEST, SMALLEST_GAP
from simmerge_hub.zoo.evaluation import Exam, evaluate, exam, mean
from simmerge_hub.zoo.manifest import Manifest, cast_for_exams, load_manifest, load_model
from simmerge_hub.zoo.measuring.members import (
    Feeding,
    Weights,
    changes,
    feed_own_probes,
    weights_of,
)
from simmerge_hub.zoo.measuring.running import Bench, merge_pair
from simmerge_hub.zoo.real.codec import codec_for
from simmerge_hub.zoo.real.domains import find_task

HERE = Path(__file__).parent
REPORT = HERE / "multiway.json"
WORK = HERE.parent / "build"
PACKAGED = HERE.parent / "simmerge_hub" / "selector" / "predictor" / "measured" / "at_once.json"
SETS = {"zoo-v2": {3: 60, 4: 40}, "zoo-real": {3: 12}}
"""Zoo -> number of models -> how many sets."""
PACKAGED_AS = {
    "zoo-v2": ("near", "sets of nano models"),
    "zoo-real": ("far", "sets of specialists of a 270 M language model"),
}
"""Zoo -> what its part is called in the package, and what was merged, in words."""
SEED = 0
RECENT = 3
"""Models whose weights and inputs are kept in memory."""
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
    parser.add_argument("--report", action="store_true", help="of what is measured, no more")
    options = parser.parse_args()
    manifest = load_manifest(options.zoo)
    torch.set_num_threads(1)
    rows = _read(manifest) if options.report else _measure_all(manifest)
    sizes = {size: [row for row in rows if len(row["models"]) == size] for size in (3, 4)}
    part = {
        "sets": {str(size): len(sets) for size, sets in sizes.items() if sets},
        "arms": {str(size): _by_arm(sets) for size, sets in sizes.items() if sets},
    }
    known = json.loads(REPORT.read_text())
    report = known["at once"] = known.get("at once", {}) | {manifest.name: part}
    REPORT.write_text(json.dumps(known, indent=1) + "\n")
    packaged = {PACKAGED_AS[name][0]: _packaged(name, part) for name, part in report.items()}
    PACKAGED.write_text(json.dumps(packaged, indent=1) + "\n")
    for size, arms in part["arms"].items():
        for label, summary in arms.items():
            print(size, label, summary)


def _packaged(zoo: str, part: Mapping[str, Any]) -> dict[str, Any]:
    """What plans rest on: near training, the gains of arms that are not predicted."""
    where, of = PACKAGED_AS[zoo]
    told = [each for each in ARMS if where == "far" or find(each.operator).activations]
    gains = {
        each.label: {
            size: {key: arms[each.label][key] for key in ("gain", "radius")}
            for size, arms in part["arms"].items()
        }
        for each in told
    }
    return {"of": of, "sets": part["sets"], "gains": gains}


def _journal(manifest: Manifest) -> Path:
    return WORK / f"at-once-{manifest.name}.jsonl"


def _read(manifest: Manifest) -> list[dict[str, Any]]:
    """What is measured."""
    journal = _journal(manifest)
    lines = journal.read_text().splitlines() if journal.is_file() else []
    return [json.loads(line) for line in lines]


def _measure_all(manifest: Manifest) -> list[dict[str, Any]]:
    journal, rows = _journal(manifest), _read(manifest)
    WORK.mkdir(exist_ok=True)
    known = [row["models"] for row in rows]
    wanted = [c for n, count in SETS[manifest.name].items() for c in _draw(manifest, n, count)]
    for base in sorted({manifest.models[chosen[0]].spec["base"] for chosen in wanted}):
        ours = [c for c in wanted if manifest.models[c[0]].spec["base"] == base and c not in known]
        measure = _bench(manifest, base, max(map(len, ours))) if ours else None
        for chosen in ours:
            assert measure
            rows.append({"base": base, "models": chosen, "utilities": measure(chosen)})
            with journal.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
            print(len(rows), chosen, flush=True)
    return rows


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


def _bench(manifest: Manifest, base: str, most: int):
    """What measures a set of at most so many: task -> {"best", "level", each arm: exact match}."""
    codec = codec_for(manifest, base)
    scratch = cast_for_exams(manifest, load_model(manifest, base))
    origin = weights_of(scratch)
    runners = [load_model(manifest, base) for _ in range(most)]
    exams: dict[str, Exam] = {}

    @lru_cache(RECENT)
    def side(name: str) -> tuple[Weights, Feeding]:
        return changes(manifest, name, origin), feed_own_probes(manifest, name, codec)

    def examine(model: PreTrainedModel, task: str) -> float:
        known = exams.setdefault(task, _exam(manifest, task, codec))
        return round(mean(evaluate(model, known).exact_match), 4)

    @cache
    def alone(name: str, task: str) -> float:
        scores = manifest.models[name].scores
        if task in scores:
            return scores[task]["exact_match"]
        bench = Bench(scratch=scratch, base=origin, runners=())
        return examine(merge_pair(bench, arm("linear"), {name: side(name)[0]}, ()), task)

    def measure(chosen: Sequence[str]) -> dict[str, dict[str, float]]:
        sides = {name: side(name) for name in chosen}
        bench = Bench(scratch=scratch, base=origin, runners=runners[: len(chosen)])
        parents = {name: weights for name, (weights, _) in sides.items()}
        tasks = [manifest.models[name].spec["task"] for name in chosen]
        scores = {task: _alone([alone(name, task) for name in chosen]) for task in tasks}
        for each in ARMS:
            merged = merge_pair(bench, each, parents, [feeding for _, feeding in sides.values()])
            for task in tasks:
                scores[task][each.label] = examine(merged, task)
        return scores

    return measure


def _exam(manifest: Manifest, task: str, codec: Any) -> Exam:
    return exam(find_task(manifest.tasks[task]), manifest.evaluation, codec=codec)


def _alone(scores: Sequence[float]) -> dict[str, float]:
    """The best model of a set, and the mean of the others."""
    *others, best = sorted(scores)
    return {"best": best, "level": fmean(others)}


def _by_arm(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Label -> the mean gain, the half-width that holds 90 % of the gains, the share of the best
    models' scores that is kept on average, and that on a set's worst task."""
    sets = [row["utilities"] for row in rows]
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
