"""Merges of three and four held-out models of the zoo: the plan against what needs no predictor.

    python benchmarks/multiway.py measure build/zoo --seconds 150     (repeat until it says done)
    python benchmarks/multiway.py plan build/zoo                      (plans, and measures them)
    python benchmarks/multiway.py report build/zoo

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


def report(manifest: Manifest) -> dict[str, Any]:
    """All numbers of the page, from what was measured and planned; sets that lack one are left
    out."""
    measured = {tuple(row["models"]): row for row in _read("multiway")}
    planned = {(tuple(row["models"]), row["way"]): row for row in _read("multiway-plans")}
    found: dict[str, Any] = {"prompts": PROMPTS, "folds": FOLDS, "drawn": DRAWN}
    for size in SETS:
        chosen = [m for m in sets(manifest, size) if m in measured and (m, "merged") in planned]
        scores = [_strategies(m, measured[m], planned) for m in chosen]
        found[str(size)] = {
            "wanted": len(sets(manifest, size)),
            "sets": len(chosen),
            "bases": {b: sum(measured[m]["base"] == b for m in chosen) for b in SETS[size]},
            "strategies": {n: _spread(chosen, [s[n] for s in scores]) for n in scores[0]},
            "lead": {
                n: _spread(chosen, [s["plan"] - s[n] for s in scores])
                for n in scores[0]
                if n not in ("plan", "oracle")
            },
            "captured": _captured(chosen, scores),
            "ways": {
                way: _compared([m for m in chosen if (m, way) in planned], way, measured, planned)
                for way in ("structure", "leaves")
                if any((m, way) in planned for m in chosen)
            },
            "orders": _orders(chosen, measured),
            "forecast": _forecast(chosen, measured, planned),
            "cost": _cost(chosen, measured, planned),
        }
    return found


def _strategies(
    models: tuple[str, ...], row: Mapping[str, Any], planned: Mapping[Any, Mapping[str, Any]]
) -> dict[str, float]:
    plan = planned[models, "merged"]
    true = _true(row, plan)
    found = {"plan": true[_choice(plan, 1.0)], "plan without caution": true[_choice(plan, 0.0)]}
    own = {label: sum(v) / len(v) for label, v in row["utilities"].items()}
    shapes = {tree.label: tree.shape for tree in trees(models)}
    fixed = {tree.label for tree in controls(models)}
    once = {label: value for label, value in own.items() if shapes[label] == "one step"}
    drawn = [v for k, v in own.items() if len(models) == 3 or k not in {*once, *fixed}]
    found["a random plan"] = float(np.mean(drawn))
    for label in CHAINED:
        chains = [chain(order, label) for order in orders(models)]
        values = [_same(own, models, tree) for tree in chains]
        found[f"chain of {label}, random order"] = float(np.mean(values))
    found["chain of linear, each task's expert last"] = _expert_last(models, row)
    for label, value in sorted(once.items()):
        found[f"at once: {label.partition('[')[0]}"] = value
    found["oracle"] = max(own.values()) if len(models) == 3 else max(true.values())
    return found


def _true(row: Mapping[str, Any], plan: Mapping[str, Any]) -> dict[str, float]:
    """Label -> measured mean, with the choices measured later."""
    everything = row["utilities"] | plan.get("measured", {})
    return {label: sum(v) / len(v) for label, v in everything.items()}


def _choice(plan: Mapping[str, Any], caution: float) -> str:
    """What the search puts first at this caution."""

    def value(label: str) -> tuple[float, str]:
        beliefs = np.array(plan["plans"][label])
        low = np.maximum(0, beliefs[:, 0] - caution * beliefs[:, 1]).mean()
        return -round(float(low), 9), label

    return min(plan["plans"], key=value)


def _same(own: Mapping[str, float], models: Sequence[str], tree: Tree) -> float:
    """The measured value of a tree, or of the one measured that gives the same merge."""
    if tree.label in own:
        return own[tree.label]
    wanted = identity(tree)
    return own[next(t.label for t in trees(models) if identity(t) == wanted)]


def _expert_last(models: tuple[str, ...], row: Mapping[str, Any]) -> float:
    """Another merge for each task: that in which its expert comes last, and has half the weight."""
    own = []
    for place, last in enumerate(models):
        order = sorted((m for m in models if m != last), key=lambda m: _hash("order", m))
        by_task = {label: values[place] for label, values in row["utilities"].items()}
        own.append(_same(by_task, models, chain((*order, last), "linear")))
    return float(np.mean(own))


def _resampled(chosen: Sequence[tuple[str, ...]]) -> np.ndarray:
    """[2000, sets]: how often each set is drawn when models are drawn, with their sets."""
    random, names = np.random.default_rng(SEED), sorted({m for models in chosen for m in models})
    places = np.array([[names.index(m) for m in models] for models in chosen])
    drawn = random.integers(len(names), size=(2000, len(names)))
    counts = np.stack([np.bincount(row, minlength=len(names)) for row in drawn])
    return counts[:, places].prod(axis=-1)


def _spread(chosen: Sequence[tuple[str, ...]], values: Sequence[float]) -> dict[str, float]:
    """Mean with a 95 % interval from drawing models anew."""
    weights = _resampled(chosen)
    weights = weights[weights.sum(axis=1) > 0]
    means = weights @ np.array(values) / weights.sum(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return {"mean": _rounded(np.mean(values)), "low": _rounded(low), "high": _rounded(high)}


def _captured(
    chosen: Sequence[tuple[str, ...]], scores: Sequence[Mapping[str, float]]
) -> dict[str, Any]:
    """Share of the way from the best control (in hindsight) to the oracle."""
    single = [n for n in scores[0] if n.startswith(("chain", "at once")) and "expert" not in n]
    best = max(single, key=lambda n: np.mean([s[n] for s in scores]))
    plan, control, oracle = (np.array([s[n] for s in scores]) for n in ("plan", best, "oracle"))
    weights = _resampled(chosen)
    weights = weights[weights.sum(axis=1) > 0]
    shares = (weights @ (plan - control)) / (weights @ (oracle - control))
    low, high = np.quantile(shares, (0.025, 0.975))
    share = (plan - control).sum() / (oracle - control).sum()
    return {"control": best, "mean": _rounded(share), "low": _rounded(low), "high": _rounded(high)}


def _compared(
    chosen: Sequence[tuple[str, ...]],
    way: str,
    measured: Mapping[Any, Mapping[str, Any]],
    planned: Mapping[Any, Mapping[str, Any]],
) -> dict[str, Any]:
    """How a poorer way of seeing intermediates does on the same sets."""
    values = [
        [_true(measured[m], planned[m, w])[_choice(planned[m, w], 1.0)] for m in chosen]
        for w in ("merged", way)
    ]
    lead = [full - poor for full, poor in zip(*values, strict=True)]
    return {
        "sets": len(chosen),
        "merged": _spread(chosen, values[0]),
        way: _spread(chosen, values[1]),
        "lead": _spread(chosen, lead),
    }


def _orders(
    chosen: Sequence[tuple[str, ...]], measured: Mapping[Any, Mapping[str, Any]]
) -> dict[str, Any]:
    """Best minus worst of the orders measured, one operator at every step."""
    found = {}
    for label in CHAINED[:2]:
        gaps = []
        for models in chosen:
            utilities = measured[models]["utilities"]
            own = {k: sum(v) / len(v) for k, v in utilities.items()}
            tried = {chain(order, label) .label: chain(order, label) for order in (
                orders(models) if len(models) > 3 else [(*(m for m in models if m != last), last)
                                                        for last in models])}  # fmt: skip
            values = [_same(own, models, tree) for tree in tried.values()]
            gaps.append(max(values) - min(values))
        found[label] = _spread(chosen, gaps)
    return found


def _forecast(
    chosen: Sequence[tuple[str, ...]],
    measured: Mapping[Any, Mapping[str, Any]],
    planned: Mapping[Any, Mapping[str, Any]],
) -> dict[str, Any]:
    """Predicted against measured utility: of tasks, and of plans inside their set."""
    tasks, inside, held = [], [], []
    for models in chosen:
        plans = planned[models, "merged"]["plans"]
        both = [label for label in measured[models]["utilities"] if label in plans]
        expected = np.array([plans[label] for label in both])
        true = np.array([measured[models]["utilities"][label] for label in both])
        tasks.append(np.stack([expected[..., 0].ravel(), true.ravel()]))
        held.append(np.abs(expected[..., 0] - true) <= 1.645 * expected[..., 1])
        if true.mean(axis=1).std() > 0:
            pair = np.corrcoef(expected[..., 0].mean(axis=1), true.mean(axis=1))
            inside.append(float(pair[0, 1]))
    pooled = np.concatenate(tasks, axis=1)
    bins = [pooled[:, (pooled[0] >= low) & (pooled[0] < low + 0.2)] for low in np.arange(0, 1, 0.2)]
    return {
        "plans": int(pooled.shape[1]),
        "correlation": _rounded(np.corrcoef(pooled)[0, 1]),
        "inside": _rounded(np.nanmean(inside)),
        "coverage": _rounded(np.concatenate([h.ravel() for h in held]).mean()),
        "bins": [
            {"count": int(b.shape[1]), "predicted": _rounded(b[0].mean()),
             "measured": _rounded(b[1].mean())}
            for b in bins if b.shape[1]
        ],
    }  # fmt: skip


def _cost(
    chosen: Sequence[tuple[str, ...]],
    measured: Mapping[Any, Mapping[str, Any]],
    planned: Mapping[Any, Mapping[str, Any]],
) -> dict[str, float]:
    """Processor seconds of one core: to plan, and to merge and evaluate as many plans."""
    rows = [planned[m, "merged"] for m in chosen]
    seconds = sum(r["seconds"] for r in rows)
    each = sum(measured[m]["seconds"] / len(measured[m]["utilities"]) for m in chosen)
    scored = sum(r["scored"] for r in rows)
    whole = sum(
        measured[m]["seconds"] / len(measured[m]["utilities"]) * r["scored"]
        for m, r in zip(chosen, rows, strict=True)
    )
    return {
        "scored_per_second": _rounded(scored / seconds),
        "seconds_a_set": _rounded(seconds / len(rows)),
        "seconds_a_measured_plan": _rounded(each / len(rows)),
        "ratio": _rounded(seconds / whole),
    }


def _rounded(value: float) -> float:
    return round(float(value), 4)


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
    parser.add_argument("what", choices=["measure", "plan", "report"])
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
    elif given.what == "report":
        text = json.dumps(report(manifest), indent=1) + "\n"
        Path(__file__).with_suffix(".json").write_text(text)
        done = True
    else:
        done = plan(manifest, given.sizes, given.way, *limits)
    print("done" if done else "more")


if __name__ == "__main__":
    main()
