"""Merges of three and four held-out models of the zoo: the plan against what needs no predictor.

    python benchmarks/multiway.py measure build/zoo --seconds 150     (repeat until it says done)
    python benchmarks/multiway.py plan build/zoo                      (plans, and measures them)
    python benchmarks/multiway.py report

Models are dealt into folds base by base, and sets are drawn inside a fold; the predictor of a fold
is trained on rows that share no model with it, its size fixed beforehand. Everything is settled by
seeds: sets, plans that are tried, prompts. Utility of a merge: exact match over the expert's, mean
over the set's tasks. `build/multiway*.jsonl` keep what is measured, so that work can be cut.
"""

import argparse
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

from simmerge_hub.hub.resolve import resolve
from simmerge_hub.operators import Place, arm, merge_tensors
from simmerge_hub.planning.forecast import Candidate, Forecast
from simmerge_hub.planning.objective import MEAN
from simmerge_hub.planning.search import search
from simmerge_hub.planning.trees import Tree, every, identity, joined, leaf
from simmerge_hub.selector import heads, mixture, origin
from simmerge_hub.selector.archive import load, save
from simmerge_hub.selector.mixture import Size
from simmerge_hub.selector.outcomes import load_outcomes
from simmerge_hub.selector.predictor import Predictor
from simmerge_hub.selector.rows import join
from simmerge_hub.selector.table import load_features
from simmerge_hub.selector.train import digest
from simmerge_hub.signatures.merging import merged
from simmerge_hub.signatures.probe import ProbeSet, probe_set
from simmerge_hub.signatures.signature import Signature, sign
from simmerge_hub.zoo.evaluation import Exam, evaluate, exam, mean
from simmerge_hub.zoo.manifest import Manifest, load_manifest, load_model
from simmerge_hub.zoo.outcomes import weights_of
from simmerge_hub.zoo.tasks import task

FOLDS = 4
SEED = 6
PROMPTS = 64
SETS = {3: {"skills": 28, "half": 26, "large": 10}, 4: {"skills": 30, "half": 26, "large": 6}}
"""How many sets of a size are drawn from each base's models."""
DRAWN = 100
"""Plans of four models that are drawn to stand for all."""
SMALLEST_GAP = 0.05
CHAINED = ("linear", "ties(density=0.5)", "task_arithmetic(scale=1)")
"""The operators of fixed chains, by label."""
BUILD = Path("build")
OUTCOMES = Path(__file__).parent.parent / "recipes/outcomes/zoo-v2.jsonl"
FEATURES = OUTCOMES.with_name("zoo-v2-features.jsonl")

Weights = dict[str, torch.Tensor]


def folds(manifest: Manifest) -> dict[str, int]:
    """Specialist -> fold, dealt base by base."""
    found: dict[str, int] = {}
    for base in SETS[3]:
        members = sorted(n for n, e in manifest.specialists.items() if e.spec["base"] == base)
        Random(f"{SEED} {base}").shuffle(members)
        found |= {name: place % FOLDS for place, name in enumerate(members)}
    return found


def sets(manifest: Manifest, size: int) -> list[tuple[str, ...]]:
    """The tested sets, bases in turn: models of one fold, each the expert for a task of its own."""
    place = folds(manifest)
    drawn: list[list[tuple[str, ...]]] = []
    for base, count in SETS[size].items():
        members = sorted(n for n in place if manifest.models[n].spec["base"] == base)
        fitting = [
            chosen
            for fold in range(FOLDS)
            for chosen in combinations([n for n in members if place[n] == fold], size)
            if _distinct(manifest, chosen)
        ]
        fitting.sort(key=lambda chosen: _hash("set", *chosen))
        drawn.append(fitting[:count])
    return [each[i] for i in range(max(map(len, drawn))) for each in drawn if i < len(each)]


def tasks_of(manifest: Manifest, models: Sequence[str]) -> dict[str, str]:
    """Task -> its expert."""
    return {manifest.models[name].spec["task"]: name for name in models}


def trees(models: Sequence[str]) -> list[Tree]:
    """The plans that are measured: all of three models; of four, controls and a seeded draw."""
    found = every(models)
    if len(models) < 4:
        return found
    wanted = {identity(tree) for tree in controls(models)}
    kept = [tree for tree in found if tree.shape == "one step" or identity(tree) in wanted]
    others = [tree for tree in found if tree not in kept]
    others.sort(key=lambda tree: _hash("plan", tree.label))
    return kept + others[:DRAWN]


def controls(models: Sequence[str]) -> list[Tree]:
    """Chains of one operator: three seeded orders each, and for Linear every model last."""
    found = [chain(order, label) for order in orders(models) for label in CHAINED]
    for last in models:
        order = sorted((m for m in models if m != last), key=lambda m: _hash("order", m))
        found.append(chain((*order, last), "linear"))
    return found


def orders(models: Sequence[str]) -> list[tuple[str, ...]]:
    """Three seeded orders."""
    random = Random("/".join(models))
    return [tuple(random.sample(list(models), len(models))) for _ in range(3)]


def chain(order: Sequence[str], label: str) -> Tree:
    """One operator at equal weights, model after model."""
    (chosen,) = (a for a in (arm("linear"), arm("ties", density=0.5),
                             arm("task_arithmetic", scale=1.0)) if a.label == label)  # fmt: skip
    tree = leaf(order[0])
    for model in order[1:]:
        tree = joined(chosen, tree, leaf(model))
    return tree


class Bench:
    """The models of one base, loaded once, and how a merge of them is measured."""

    def __init__(self, manifest: Manifest, base: str) -> None:
        self.manifest = manifest
        self.scratch = load_model(manifest, base)
        self.origin = weights_of(self.scratch)
        self.weights: dict[str, Weights] = {}
        self.exams: dict[str, Exam] = {}

    def utilities(self, models: Sequence[str], plans: Sequence[Tree]) -> dict[str, list[float]]:
        """Label of a plan -> utility on every task of the set, in the order of its models."""
        made: dict[str, Weights] = {}
        asked = tasks_of(self.manifest, models)
        best = {t: self._score(self._weights(expert, made), t) for t, expert in asked.items()}
        found = {}
        for tree in plans:
            merged = self._merged(tree, made, models)
            found[tree.label] = [round(self._score(merged, t) / best[t], 4) for t in asked]
        return found

    def _merged(self, tree: Tree, made: dict[str, Weights], models: Sequence[str]) -> Weights:
        if tree.arm is None:
            return self._weights(tree.models[0], made)
        if tree.label in made:
            return made[tree.label]
        parts = [self._merged(part, made, models) for part in tree.parts]
        names = tuple(part.label for part in tree.parts)
        found = {
            name: merge_tensors(
                tree.arm, origin, [part[name] for part in parts],
                Place(tensor=name, models=names, shape=tuple(origin.shape)),
            )
            for name, origin in self.origin.items()
        }  # fmt: skip
        if len(tree.models) < len(models):
            made[tree.label] = found
        return found

    def _weights(self, model: str, made: dict[str, Weights]) -> Weights:
        if model not in made:
            if model not in self.weights:
                self.weights[model] = weights_of(load_model(self.manifest, model))
            made[model] = self.weights[model]
        return made[model]

    def _score(self, weights: Weights, name: str) -> float:
        """Exact match with weights rounded to bfloat16, as saved models are."""
        if name not in self.exams:
            known = task(*self.manifest.tasks[name].split("/"))
            self.exams[name] = exam(known, PROMPTS)
        with torch.no_grad():
            for key, weight in self.scratch.named_parameters():
                weight.copy_(weights[key].to(torch.bfloat16))
        return mean(evaluate(self.scratch, self.exams[name]).exact_match)


def measure(manifest: Manifest, sizes: Sequence[int], seconds: float, shard: int) -> bool:
    """Measure what is not yet measured, for so long; whether everything is."""
    until = time.monotonic() + seconds
    known = {tuple(row["models"]) for row in _read("multiway")}
    benches: dict[str, Bench] = {}
    open_ = [chosen for size in sizes for chosen in sets(manifest, size) if chosen not in known]
    for chosen in open_[shard:]:
        if time.monotonic() > until:
            return False
        if chosen in {tuple(row["models"]) for row in _read("multiway")}:
            continue
        base = manifest.models[chosen[0]].spec["base"]
        bench = benches.setdefault(base, Bench(manifest, base))
        began = time.process_time()
        found = bench.utilities(chosen, trees(chosen))
        cost = round(time.process_time() - began, 2)
        row = {"models": chosen, "base": base, "seconds": cost, "utilities": found}
        _append("multiway", row)
    return True


def trained(manifest: Manifest, fold: int) -> Predictor:
    """The packaged predictor, fitted anew on the rows that share no model with a fold.

    Its size is the default one. The half-widths of its intervals, which only say how cautious a
    plan is, are the packaged ones: they come from pairs and all models.
    """
    path = BUILD / f"multiway-{fold}.json"
    if not path.exists():
        packaged = origin.find(None).predictor
        rows = join(load_outcomes(OUTCOMES), load_features(FEATURES), packaged.arms)
        place = folds(manifest)
        pairs = zip(rows.experts, rows.auxiliaries, strict=True)
        kept = [i for i, pair in enumerate(pairs) if fold not in {place[m] for m in pair}]
        known = rows.take(np.array(kept))
        fitted = mixture.fit(known, Size(), seed=SEED)
        forest = replace(packaged.conditioned, forest=heads.text(fitted.forest), share=fitted.share)
        made = replace(
            packaged,
            line=fitted.line,
            heads=tuple(heads.text(head) for head in fitted.heads),
            conditioned=forest,
            training=digest(known),
        )
        save(made, path)
    return load(path)


def plan(manifest: Manifest, sizes: Sequence[int], way: str, seconds: float, shard: int) -> bool:
    """Search a plan for every measured set in one way, for so long; whether all are done.

    What is chosen and was not among the plans measured is measured too.
    """
    until = time.monotonic() + seconds
    signatures, benches = Signatures(manifest), dict[str, Bench]()
    measured = {tuple(row["models"]): row for row in _read("multiway")}
    wanted = [c for size in sizes for c in sets(manifest, size) if c in measured]
    for chosen in wanted[shard:]:
        if time.monotonic() > until:
            return False
        if (list(chosen), way) in [(r["models"], r["way"]) for r in _read("multiway-plans")]:
            continue
        predictor = trained(manifest, folds(manifest)[chosen[0]])
        began, wall = time.process_time(), time.monotonic()
        forecast = signatures.forecast(chosen, predictor, way)
        found = search(forecast, MEAN, least=len(chosen))
        row = {
            "models": chosen,
            "way": way,
            "seconds": round(time.process_time() - began, 2),
            "wall": round(time.monotonic() - wall, 2),
            "scored": forecast.scored,
            "plans": {c.tree.label: _told(c) for c in found},
        }
        bold = search_again(found)
        new = [c.tree for c in (found[0], bold)
               if c.tree.label not in measured[chosen]["utilities"]]  # fmt: skip
        if new:
            base = measured[chosen]["base"]
            bench = benches.setdefault(base, Bench(manifest, base))
            row["measured"] = bench.utilities(chosen, new)
        _append("multiway-plans", row)
    return True


def search_again(found: Sequence[Candidate]) -> Candidate:
    """The best of the same candidates without caution."""
    return max(found, key=lambda c: sum(b.mean for b in c.beliefs.values()))


class Signatures:
    """Signatures of the zoo's models, and forecasts of their merges in one of several ways."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.probes = {
            t: probe_set(path, str(manifest.probes(t))) for t, path in manifest.tasks.items()
        }

    def forecast(self, models: Sequence[str], predictor: Predictor, way: str) -> Forecast:
        """`merged`: as a plan does it. `structure`: intermediates without behaviour. `leaves`:
        without merging signatures, an intermediate looks like the mean of its models."""
        asked = tasks_of(self.manifest, models)
        base = self.manifest.models[models[0]].spec["base"]
        probes = tuple(self.probes[t] for t in asked)
        made = {name: self._sign(name, base, probes) for name in (base, *models)}
        kind = {"merged": Forecast, "structure": _Structure, "leaves": _Leaves}[way]
        return kind(
            predictor=predictor,
            base=made.pop(base),
            models=made,
            known={
                self.manifest.tasks[t]: {m: self._relative(m, expert, t) for m in models}
                for t, expert in asked.items()
            },
        )

    def _sign(self, name: str, base: str, probes: tuple[ProbeSet, ...]) -> Signature:
        checkpoint = resolve(str(self.manifest.path(name)))
        adapted = resolve(str(self.manifest.path(base))) if checkpoint.kind == "adapter" else None
        return sign(checkpoint, base=adapted, probe_sets=probes)

    def _relative(self, model: str, expert: str, name: str) -> float:
        scores = self.manifest.models
        return (
            scores[model].scores[name]["exact_match"] / scores[expert].scores[name]["exact_match"]
        )


class _Structure(Forecast):
    """Intermediates have merged weights and no behaviour."""

    def signature(self, tree: Tree) -> Signature:
        if tree.arm is not None and tree.label not in self.made:
            parts = [self.signature(part) for part in tree.parts]
            found = merged(tree.arm, self.base, [replace(p, sketches={}) for p in parts])
            self.made[tree.label] = found
        return super().signature(tree)


class _Leaves(Forecast):
    """Whatever the arm, an intermediate looks like the plain mean of its models."""

    def signature(self, tree: Tree) -> Signature:
        if tree.arm is None:
            return self.models[tree.models[0]]
        plain = joined(arm("linear"), *map(leaf, sorted(tree.models)))
        return super().signature(plain)


def _told(candidate: Candidate) -> list[list[float]]:
    """By task: mean and standard deviation."""
    return [[round(b.mean, 4), round(b.variance**0.5, 4)] for b in candidate.beliefs.values()]


def _distinct(manifest: Manifest, models: Sequence[str]) -> bool:
    """Whether every model is better than each other at its own task, and tasks differ."""
    asked = tasks_of(manifest, models)
    scores = {n: manifest.models[n].scores for n in models}
    return len(asked) == len(models) and all(
        scores[expert][t]["exact_match"] - scores[other][t]["exact_match"] >= SMALLEST_GAP
        for t, expert in asked.items()
        for other in models
        if other != expert
    )


def _hash(*parts: str) -> str:
    return hashlib.sha256("/".join((str(SEED), *parts)).encode()).hexdigest()


def _read(name: str) -> Iterator[dict[str, Any]]:
    path = BUILD / f"{name}.jsonl"
    if path.exists():
        for line in path.read_text().splitlines():
            yield json.loads(line)


def _append(name: str, row: Mapping[str, Any]) -> None:
    BUILD.mkdir(exist_ok=True)
    with (BUILD / f"{name}.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["measure", "plan"])
    parser.add_argument("zoo", type=Path)
    parser.add_argument("--seconds", type=float, default=150)
    parser.add_argument("--sizes", type=int, nargs="+", default=[3, 4])
    parser.add_argument("--way", choices=["merged", "structure", "leaves"], default="merged")
    parser.add_argument("--shard", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    manifest = load_manifest(given.zoo)
    limits = (given.seconds, given.shard)
    if given.what == "measure":
        done = measure(manifest, given.sizes, *limits)
    else:
        done = plan(manifest, given.sizes, given.way, *limits)
    print("done" if done else "more")


if __name__ == "__main__":
    main()
