"""Merges of three and four held-out models of the zoo: the plan against what needs no predictor.

    python benchmarks/multiway.py measure build/zoo --part train      (merge and evaluate)
    python benchmarks/multiway.py table build/zoo                     (what training reads of that)
    python benchmarks/multiway.py measure build/zoo
    python benchmarks/multiway.py plan build/zoo                      (plans, and measures them)
    python benchmarks/multiway.py harm build/zoo                      (one model is harmful)
    python benchmarks/multiway.py again build/zoo                     (other prompts for the oracle)
    python benchmarks/multiway.py report build/zoo

Models are dealt into folds base by base, and sets are drawn inside a fold; the predictor of a fold
is trained on pairs, and on sets of the part `train`, that share no model with it; no set of that
part is tested. Everything is settled by seeds: sets, plans that are tried, prompts. Utility of a
merge: exact match over the expert's, mean over the set's tasks. `build/multiway*.jsonl` keep what
is done, so that work can be cut (`--seconds`) and continued.
"""

import argparse
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer

from simmerge_hub.hub.resolve import resolve
from simmerge_hub.operators import Place, arm, merge_tensors
from simmerge_hub.planning.forecast import Candidate, Forecast
from simmerge_hub.planning.objective import MEAN
from simmerge_hub.planning.search import leaned, search
from simmerge_hub.planning.trees import Tree, every, identity, joined, leaf
from simmerge_hub.planning.trial import tried
from simmerge_hub.selector import heads, many, mixture, origin
from simmerge_hub.selector.archive import load, save
from simmerge_hub.selector.many import load_merges
from simmerge_hub.selector.mixture import Size
from simmerge_hub.selector.outcomes import load_outcomes
from simmerge_hub.selector.predictor import Predictor
from simmerge_hub.selector.rows import join
from simmerge_hub.selector.table import load_features
from simmerge_hub.selector.train import digest
from simmerge_hub.signatures.effects import NAMES as EFFECTS
from simmerge_hub.signatures.features import NAMES
from simmerge_hub.signatures.probe import ProbeSet, probe_set
from simmerge_hub.signatures.signature import Signature, sign
from simmerge_hub.signatures.sketch import Sketch, sketch
from simmerge_hub.zoo.evaluation import Exam, evaluate, exam, mean
from simmerge_hub.zoo.manifest import Manifest, load_manifest, load_model
from simmerge_hub.zoo.outcomes import weights_of
from simmerge_hub.zoo.tasks import Task, task

FOLDS = 4
SEED = 6
PROMPTS = 64
SETS = {
    "train": {
        3: {"skills": 28, "half": 26, "large": 10},
        4: {"skills": 25, "half": 17, "large": 2},
    },
    "test": {3: {"skills": 30, "half": 26, "large": 10}, 4: {"skills": 36, "half": 19, "large": 7}},
}
"""How many sets of a size are drawn from each base's models, those to train on first."""
BASES = ("skills", "half", "large")
DRAWN = 100
"""Plans of four models that are drawn to stand for all."""
SMALLEST_GAP = 0.05
CHAINED = ("linear", "ties(density=0.5)", "task_arithmetic(scale=1)")
"""The operators of fixed chains, by label."""
BUILD = Path("build")
PROBED = 4
"""Merges that are really run on the probes where a plan may do that."""
EVENLY = "ties(density=0.5), all at the same weight"
PLAN, TRIED = "plan", f"plan, {PROBED} merges tried on the probes"
HARM = 40
"""Merges with a harmful model that are drawn to find the best, those in one step among them."""
WAYS = ("structure", "leaves", "weights")
KINDS = ("noise", "overtrained", "stranger")
KEPT = 36
"""Merges of a set that training reads: all of three models, a seeded draw of four."""
OTHERS = 192
"""Prompts beside those that the oracle was chosen on."""
CONTROL = "chain of linear, random order"
OUTCOMES = Path(__file__).parent.parent / "recipes/outcomes/zoo-v2.jsonl"
FEATURES = OUTCOMES.with_name("zoo-v2-features.jsonl")
MERGES = OUTCOMES.with_name("zoo-v2-merges.jsonl")

Weights = dict[str, torch.Tensor]


def folds(manifest: Manifest) -> dict[str, int]:
    """Specialist -> fold, dealt base by base."""
    found: dict[str, int] = {}
    for base in BASES:
        members = sorted(n for n, e in manifest.specialists.items() if e.spec["base"] == base)
        Random(f"{SEED} {base}").shuffle(members)
        found |= {name: place % FOLDS for place, name in enumerate(members)}
    return found


def sets(manifest: Manifest, size: int, part: str = "test") -> list[tuple[str, ...]]:
    """The sets of a part, bases in turn: models of one fold, each the expert for its own task."""
    place = folds(manifest)
    drawn: list[list[tuple[str, ...]]] = []
    for base, count in SETS[part][size].items():
        members = sorted(n for n in place if manifest.models[n].spec["base"] == base)
        fitting = [
            chosen
            for fold in range(FOLDS)
            for chosen in combinations([n for n in members if place[n] == fold], size)
            if _distinct(manifest, chosen)
        ]
        fitting.sort(key=lambda chosen: _hash("set", *chosen))
        first = SETS["train"][size][base] if part == "test" else 0
        drawn.append(fitting[first : first + count])
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


def parts(models: Sequence[str]) -> list[Tree]:
    """The models of a set and the intermediates of its plans that are merges of two."""
    pairs = combinations(sorted(models), 2)
    return [*map(leaf, models), *(t for pair in pairs for t in every(pair))]


def evenly(models: Sequence[str]) -> list[Tree]:
    """Chains of TIES in which all of three models have the same weight in the end; every order."""
    half, third = arm("ties", density=0.5), arm("ties", density=0.5, weights=(2 / 3, 1 / 3))
    return [
        joined(third, joined(half, *map(leaf, sorted(set(models) - {last}))), leaf(last))
        for last in models
    ]


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

    def __init__(self, manifest: Manifest, base: str, *, other: bool = False) -> None:
        self.manifest, self.base, self.other = manifest, base, other
        self.scratch = load_model(manifest, base)
        self.origin = weights_of(self.scratch)
        self.weights: dict[str, Weights] = {}
        self.exams: dict[str, Exam] = {}
        self.tokenizer = AutoTokenizer.from_pretrained(manifest.path(base))

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

    def run(self, tree: Tree, probes: Sequence[ProbeSet]) -> dict[str, Sketch]:
        """What a tree's merge does on probes; merges inside it are made anew every time."""
        self._load(self._merged(tree, {}, tree.models))
        return {
            p.task: sketch(self.scratch, self.tokenizer, p.prompts, probes=p.digest) for p in probes
        }

    def _load(self, weights: Weights) -> None:
        """Rounded to bfloat16, as saved models are."""
        with torch.no_grad():
            for key, weight in self.scratch.named_parameters():
                weight.copy_(weights[key].to(torch.bfloat16))

    def _score(self, weights: Weights, name: str) -> float:
        if name not in self.exams:
            known = task(*self.manifest.tasks[name].split("/"))
            self.exams[name] = _others(known) if self.other else exam(known, PROMPTS)
        self._load(weights)
        return mean(evaluate(self.scratch, self.exams[name]).exact_match)


def measure(
    manifest: Manifest, part: str, sizes: Sequence[int], seconds: float, shard: int
) -> bool:
    """Measure what is not yet measured, for so long; whether everything is."""
    until = time.monotonic() + seconds
    known = {tuple(row["models"]) for row in _read("multiway")}
    benches: dict[str, Bench] = {}
    wanted = [chosen for size in sizes for chosen in sets(manifest, size, part)]
    open_ = [chosen for chosen in wanted if chosen not in known]
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
        if len(chosen) == 3:
            row["parts"] = bench.utilities(chosen, parts(chosen))
            row["evenly"] = bench.utilities(chosen, evenly(chosen))
        _append("multiway", row)
    return True


def table(manifest: Manifest, sizes: Sequence[int], seconds: float) -> bool:
    """Describe the measured merges of the part `train` as training reads them, for so long; write
    the table once all are. Whether that is done."""
    until = time.monotonic() + seconds
    signatures, benches = Signatures(manifest), dict[str, Bench]()
    measured = {tuple(row["models"]): row for row in _read("multiway")}
    wanted = [c for size in sizes for c in sets(manifest, size, "train") if c in measured]
    done = {tuple(row["models"]) for row in _read("multiway-table")}
    for chosen in wanted:
        if time.monotonic() > until:
            return False
        if chosen not in done:
            base = measured[chosen]["base"]
            bench = benches.setdefault(base, Bench(manifest, base))
            lines = _described(measured[chosen], signatures, bench)
            _append("multiway-table", {"models": chosen, "lines": lines})
    rows = {tuple(row["models"]): row["lines"] for row in _read("multiway-table")}
    header = many.header(NAMES, EFFECTS)
    lines = [header, *(line for chosen in sorted(wanted) for line in rows[chosen])]
    MERGES.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return True


def _described(row: Mapping[str, Any], signatures: "Signatures", bench: Bench) -> list[Any]:
    """A set's lines of the table of merges, one for a task."""
    models = tuple(row["models"])
    forecast = signatures.forecast(models, origin.find(None).predictor)
    known = {tree.label: tree for tree in trees(models)}
    labels = sorted(row["utilities"], key=lambda label: _hash("table", label))[:KEPT]
    probes = [signatures.probes[t] for t in tasks_of(signatures.manifest, models)]
    for label in labels:
        forecast.ran[label] = bench.run(known[label], probes)
    return [
        many.line(
            models,
            view.task,
            view.level,
            view.values,
            [
                many.entry(
                    known[label].arm, row["utilities"][label][place],
                    forecast.effects(known[label], [view])[0],
                    forecast.likeness(known[label], view),
                )
                for label in labels
            ],
        )
        for place, view in enumerate(forecast.view(models))
    ]  # fmt: skip


def trained(manifest: Manifest, fold: int) -> Predictor:
    """The packaged predictor, fitted anew on pairs and merges that share no model with a fold.

    The heads' sizes are the default ones. Half-widths of pairs' intervals, which only say how
    cautious a plan is, are the packaged ones; those of merges of many come from the same rows.
    """
    path = BUILD / f"multiway-{fold}.json"
    if not path.exists():
        packaged = origin.find(None).predictor
        rows = join(load_outcomes(OUTCOMES), load_features(FEATURES), packaged.arms)
        place = folds(manifest)
        pairs = zip(rows.experts, rows.auxiliaries, strict=True)
        known = rows.take(
            np.array([i for i, pair in enumerate(pairs) if fold not in {place[m] for m in pair}])
        )
        merges = load_merges(MERGES)
        others = [i for i, m in enumerate(merges.models) if fold not in {place[n] for n in m}]
        fitted = mixture.fit(known, Size(), seed=SEED)
        forest = replace(packaged.conditioned, forest=heads.text(fitted.forest), share=fitted.share)
        made = replace(
            packaged,
            line=fitted.line,
            heads=tuple(heads.text(head) for head in fitted.heads),
            conditioned=forest,
            training=digest(known),
            many=many.learn(known, merges.take(np.array(others)), seed=SEED, alpha=packaged.alpha),
        )
        save(made, path)
    return load(path)


def plan(manifest: Manifest, sizes: Sequence[int], way: str, seconds: float, shard: int) -> bool:
    """Search a plan for every measured set in one way, for so long; whether all are done.

    What is chosen and was not among the plans measured is measured too. Ways other than `merged`
    are tried on every other set.
    """
    until = time.monotonic() + seconds
    signatures, benches = Signatures(manifest), dict[str, Bench]()
    measured = {tuple(row["models"]): row for row in _read("multiway")}
    wanted = [c for size in sizes for c in sets(manifest, size) if c in measured]
    for chosen in wanted[shard :: 1 if way == "merged" else 2]:
        if time.monotonic() > until:
            return False
        if (list(chosen), way) in [(r["models"], r["way"]) for r in _read("multiway-plans")]:
            continue
        base = measured[chosen]["base"]
        bench = benches.setdefault(base, Bench(manifest, base))
        row, picked = _planned(chosen, way, signatures, bench)
        if new := [t for t in picked if t.label not in measured[chosen]["utilities"]]:
            row["measured"] = bench.utilities(chosen, new)
        _append("multiway-plans", row)
    return True


def _planned(
    chosen: tuple[str, ...], way: str, signatures: "Signatures", bench: Bench
) -> tuple[dict[str, Any], list[Tree]]:
    """What is predicted for a set in one way, and the trees picked: cautious, bold, and tried."""
    predictor = trained(signatures.manifest, folds(signatures.manifest)[chosen[0]])
    forecast = signatures.forecast(chosen, predictor, way)
    began, wall = time.process_time(), time.monotonic()
    found = search(forecast, MEAN, least=len(chosen))
    if way == "weights":
        found = leaned(forecast, found, MEAN)
    row = {
        "models": chosen,
        "way": way,
        "seconds": round(time.process_time() - began, 2),
        "wall": round(time.monotonic() - wall, 2),
        "scored": forecast.scored,
        "plans": {c.tree.label: _told(c) for c in found},
        "parts": {
            tree.label: _told(forecast.seen[tree.label])
            for tree in parts(chosen) if tree.label in forecast.seen
        },
    }  # fmt: skip
    picked = [found[0].tree, max(found, key=_boldly).tree]
    if way == "merged":
        probes = [signatures.probes[t] for t in tasks_of(signatures.manifest, chosen)]
        began = time.process_time()
        again = tried(forecast, found, MEAN, PROBED, partial(bench.run, probes=probes))
        row["tried"] = {c.tree.label: _told(c) for c in again[:PROBED]}
        row["trying"] = round(time.process_time() - began, 2)
        picked.append(again[0].tree)
    return row, picked


def _boldly(candidate: Candidate) -> float:
    """What a candidate is worth without caution."""
    return sum(belief.mean for belief in candidate.beliefs.values())


def again(manifest: Manifest, seconds: float) -> bool:
    """Measure the oracle of sets of three, the plans and the strongest control on other prompts.

    The best of many on 64 prompts is partly luck; on OTHERS that chose nothing it is not.
    """
    until = time.monotonic() + seconds
    benches = dict[str, Bench]()
    measured = {tuple(row["models"]): row for row in _read("multiway")}
    planned = {tuple(r["models"]): r for r in _read("multiway-plans") if r["way"] == "merged"}
    for chosen in sets(manifest, 3):
        if time.monotonic() > until:
            return False
        if chosen not in planned or list(chosen) in [r["models"] for r in _read("multiway-again")]:
            continue
        base = measured[chosen]["base"]
        bench = benches.setdefault(base, Bench(manifest, base, other=True))
        true = _values(measured[chosen]["utilities"])
        picked = {
            "oracle": max(true, key=lambda label: true[label]),
            PLAN: _choice(planned[chosen]["plans"], 1.0),
            TRIED: _choice(planned[chosen]["tried"], 1.0),
        }
        known = {tree.label: tree for tree in every(chosen)}
        asked = {name: [known[label]] for name, label in picked.items()}
        asked[CONTROL] = [chain(order, "linear") for order in orders(chosen)]
        found = _values(bench.utilities(chosen, [t for some in asked.values() for t in some]))
        row = {n: float(np.mean([found[t.label] for t in some])) for n, some in asked.items()}
        _append("multiway-again", {"models": chosen, "values": row})
    return True


def harm(manifest: Manifest, seconds: float, shard: int) -> bool:
    """Plant a harmful model beside the tested sets of three, for so long, and let a plan choose
    which of the four to merge; whether all are done.

    In turn: noise as large as the set's deltas, a model that learned too much (another one's delta
    four times over), and another specialist, good at something that is not asked for. Whether it is
    harmful is measured: the best merge of all four, of HARM drawn, against the best of the three.
    """
    until = time.monotonic() + seconds
    signatures, benches = Signatures(manifest), dict[str, Bench]()
    measured = {tuple(row["models"]): row for row in _read("multiway")}
    wanted = [c for c in sets(manifest, 3) if c in measured]
    for number, chosen in list(enumerate(wanted))[shard:]:
        if time.monotonic() > until:
            return False
        if list(chosen) in [row["models"] for row in _read("multiway-harm")]:
            continue
        base = measured[chosen]["base"]
        bench = benches.setdefault(base, Bench(manifest, base))
        kind = KINDS[number % len(KINDS)]
        planted = _plant(bench, chosen, kind)
        if planted is None:
            continue
        everyone = (*chosen, planted)
        drawn = sorted(every(everyone), key=lambda t: (len(t.parts) < 4, _hash("harm", t.label)))
        best = max(_values(bench.utilities(chosen, drawn[:HARM])).values())
        predictor = trained(manifest, folds(manifest)[chosen[0]])
        forecast = signatures.forecast(chosen, predictor, others=[planted])
        probes = [signatures.probes[t] for t in tasks_of(manifest, chosen)]
        found = search(forecast, MEAN)
        again = tried(forecast, found, MEAN, PROBED, partial(bench.run, probes=probes))
        row = {
            "models": chosen,
            "kind": kind,
            "planted": planted,
            "without": max(_values(measured[chosen]["utilities"]).values()),
            "with": best,
            "plan": found[0].tree.models,
            "tried": again[0].tree.models,
        }
        _append("multiway-harm", row)
    return True


def _plant(bench: Bench, chosen: Sequence[str], kind: str) -> str | None:
    """The name of a harmful model, made where it is not the zoo's; None: nothing to make it of."""
    manifest = bench.manifest
    place, asked = folds(manifest), tasks_of(manifest, chosen)
    others = [
        name
        for name, fold in place.items()
        if fold == place[chosen[0]] and manifest.models[name].spec["base"] == bench.base
        and name not in chosen and manifest.models[name].spec["task"] not in asked
    ]  # fmt: skip
    if not others:
        return None
    other = min(others, key=lambda name: _hash("plant", *chosen, name))
    if kind == "stranger":
        return other
    name = f"{kind}-{_hash(*chosen)[:8]}"
    theirs = bench._weights(other, {})
    random = torch.Generator().manual_seed(int(_hash(name)[:8], 16))
    made = {}
    for key, origin_ in bench.origin.items():
        delta = theirs[key] - origin_
        if kind == "noise":
            noise = torch.randn(delta.shape, generator=random)
            delta = noise * delta.norm() / noise.norm()
        made[key] = origin_ + (4 * delta if kind == "overtrained" else 2 * delta)
    bench.weights[name] = made
    folder = BUILD / "multiway-harm" / name
    bench._load(made)
    bench.scratch.save_pretrained(folder)
    bench.tokenizer.save_pretrained(folder)
    return name


def _others(known: Task) -> Exam:
    """OTHERS prompts of a task that follow the first PROMPTS."""
    whole = exam(known, PROMPTS + OTHERS)
    return Exam(ids=whole.ids[PROMPTS:], labels=whole.labels[PROMPTS:])


def _values(utilities: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Label -> mean over tasks."""
    return {label: sum(values) / len(values) for label, values in utilities.items()}


class Signatures:
    """Signatures of the zoo's models, and forecasts of their merges in one of several ways."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.probes = {
            t: probe_set(path, str(manifest.probes(t))) for t, path in manifest.tasks.items()
        }

    def forecast(
        self,
        models: Sequence[str],
        predictor: Predictor,
        way: str = "merged",
        others: Sequence[str] = (),
    ) -> Forecast:
        """`merged`: as a plan does it; `weights`: with predicted step weights too. `structure`:
        without any behaviour of merges. `leaves`: without merging signatures, a tree looks like
        the plain mean of its models.

        `others` are models without a task of their own.
        """
        asked = tasks_of(self.manifest, models)
        base = self.manifest.models[models[0]].spec["base"]
        probes = tuple(self.probes[t] for t in asked)
        everyone = (*models, *others)
        made = {name: self._sign(name, base, probes) for name in (base, *everyone)}
        kind = {"structure": _Structure, "leaves": _Leaves}.get(way, Forecast)
        return kind(
            predictor=predictor,
            base=made.pop(base),
            models=made,
            known={
                self.manifest.tasks[t]: {m: self._relative(m, expert, t) for m in everyone}
                for t, expert in asked.items()
            },
        )

    def _sign(self, name: str, base: str, probes: tuple[ProbeSet, ...]) -> Signature:
        planted = BUILD / "multiway-harm" / name
        checkpoint = resolve(str(planted if planted.exists() else self.manifest.path(name)))
        adapted = resolve(str(self.manifest.path(base))) if checkpoint.kind == "adapter" else None
        return sign(checkpoint, base=adapted, probe_sets=probes)

    def _relative(self, model: str, expert: str, name: str) -> float:
        scores = self.manifest.models
        if model not in scores:  # planted: nobody states how good it is
            return 0.0
        return (
            scores[model].scores[name]["exact_match"] / scores[expert].scores[name]["exact_match"]
        )


class _Structure(Forecast):
    """Merges have merged weights and no behaviour."""

    def _mean(self, models: Sequence[str]) -> Signature:
        mean = super()._mean(models)
        return replace(mean, sketches={}) if len(models) > 1 else mean


class _Leaves(Forecast):
    """Whatever the arms, a merge looks like the plain mean of its models."""

    def weights(self, tree: Tree) -> Signature:
        if tree.arm is not None:
            tree = joined(arm("linear"), *map(leaf, sorted(tree.models)))
        return super().weights(tree)


def report(manifest: Manifest) -> dict[str, Any]:
    """All numbers of the page, from what was measured and planned; sets that lack one are left
    out."""
    measured = {tuple(row["models"]): row for row in _read("multiway")}
    planned = {(tuple(row["models"]), row["way"]): row for row in _read("multiway-plans")}
    found: dict[str, Any] = {"prompts": PROMPTS, "folds": FOLDS, "drawn": DRAWN}
    for size in SETS["test"]:
        chosen = [m for m in sets(manifest, size) if m in measured and (m, "merged") in planned]
        if not chosen:
            continue
        scores = [_strategies(m, measured[m], planned) for m in chosen]
        found[str(size)] = {
            "wanted": len(sets(manifest, size)),
            "sets": len(chosen),
            "bases": {b: sum(measured[m]["base"] == b for m in chosen) for b in BASES},
            "strategies": {n: _spread(chosen, [s[n] for s in scores]) for n in scores[0]},
            "lead": {
                plan: {
                    n: _spread(chosen, [s[plan] - s[n] for s in scores])
                    for n in scores[0]
                    if n not in (plan, "oracle")
                }
                for plan in (PLAN, TRIED)
            },
            "captured": {plan: _captured(chosen, scores, plan) for plan in (PLAN, TRIED)},
            "ways": {
                way: _compared([m for m in chosen if (m, way) in planned], way, measured, planned)
                for way in WAYS
                if any((m, way) in planned for m in chosen)
            },
            "orders": _orders(chosen, measured),
            "forecast": _forecast(chosen, measured, planned),
            "cost": _cost(chosen, measured, planned),
        }
    found["intermediates"] = _intermediates(manifest, measured, planned)
    found["harm"] = _harm()
    found["again"] = _again()
    return found


def _intermediates(
    manifest: Manifest,
    measured: Mapping[Any, Mapping[str, Any]],
    planned: Mapping[Any, Mapping[str, Any]],
) -> dict[str, Any]:
    """Predicted against measured utility of merges of two inside sets of three, on all tasks.

    Merges of two occur in several sets of three; each counts once on a task.
    """
    pairs: dict[tuple[str, str], tuple[float, float, float]] = {}
    for models in sets(manifest, 3):
        if models in measured and (models, "merged") in planned:
            true, told = measured[models]["parts"], planned[models, "merged"]["parts"]
            for label, beliefs in told.items():
                for task_, (mean_, deviation), value in zip(
                    tasks_of(manifest, models), beliefs, true[label], strict=True
                ):
                    pairs[label, task_] = (mean_, deviation, value)
    predicted, deviations, true = np.array(list(pairs.values())).T
    return _calibration(predicted, deviations, true)


def _again() -> dict[str, Any]:
    """Means on other prompts, and the share of the headroom there."""
    rows = list(_read("multiway-again"))
    chosen = [tuple(row["models"]) for row in rows]
    scores = [row["values"] for row in rows]
    return {
        "prompts": OTHERS,
        "sets": len(rows),
        "means": {name: _spread(chosen, [s[name] for s in scores]) for name in scores[0]},
        "captured": {plan: _captured(chosen, scores, plan) for plan in (PLAN, TRIED)},
    }


def _harm() -> dict[str, Any]:
    """How often a planted model is left out, and a useful one, where planting it did harm."""
    rows = list(_read("multiway-harm"))
    harmful = [row for row in rows if row["with"] < row["without"]]
    found: dict[str, Any] = {"planted": len(rows), "harmful": len(harmful)}
    for name in ("plan", "tried"):
        found[name] = {
            kind: {
                "cases": len(some),
                "left_out": _rounded(np.mean([row["planted"] not in row[name] for row in some])),
                "all_others_kept": _rounded(
                    np.mean([set(row["models"]) <= set(row[name]) for row in some])
                ),
            }
            for kind in ("all", *KINDS)
            if (some := [row for row in harmful if kind in ("all", row["kind"])])
        }
    return found


def _strategies(
    models: tuple[str, ...], row: Mapping[str, Any], planned: Mapping[Any, Mapping[str, Any]]
) -> dict[str, float]:
    plan = planned[models, "merged"]
    true = _true(row, plan)
    found = {
        PLAN: true[_choice(plan["plans"], 1.0)],
        TRIED: true[_choice(plan["tried"], 1.0)],
        "plan without caution": true[_choice(plan["plans"], 0.0)],
    }
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


def _choice(plans: Mapping[str, Any], caution: float) -> str:
    """What comes first at this caution."""

    def value(label: str) -> tuple[float, str]:
        beliefs = np.array(plans[label])
        low = np.maximum(0, beliefs[:, 0] - caution * beliefs[:, 1]).mean()
        return -round(float(low), 9), label

    return min(plans, key=value)


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


def _resampled(chosen: Sequence[tuple[str, ...]], whole: bool) -> np.ndarray:
    """[2000, sets]: how often each set is drawn with its models.

    Either `whole` groups of models are drawn anew (no set is in two), or models one by one: a set
    then counts as often as all of its models together, which gives wider intervals.
    """
    units = many.groups(chosen)
    if not whole:
        units = [{model} for model in sorted(frozenset().union(*units))]
    belongs = np.array([[bool(unit & set(models)) for unit in units] for models in chosen])
    random = np.random.default_rng(SEED)
    drawn = random.integers(len(units), size=(2000, len(units)))
    counts = np.stack([np.bincount(row, minlength=len(units)) for row in drawn])
    weights = np.stack([counts[:, own].prod(axis=1) for own in belongs], axis=1)
    return weights[weights.sum(axis=1) > 0]


def _spread(chosen: Sequence[tuple[str, ...]], values: Sequence[float]) -> dict[str, float]:
    """Mean with 95 % intervals: from drawing models anew, and from drawing groups of them."""
    found = {"mean": _rounded(np.mean(values))}
    for whole, prefix in ((False, ""), (True, "group_")):
        weights = _resampled(chosen, whole)
        means = weights @ np.array(values) / weights.sum(axis=1)
        low, high = np.quantile(means, (0.025, 0.975))
        found |= {f"{prefix}low": _rounded(low), f"{prefix}high": _rounded(high)}
    return found


def _captured(
    chosen: Sequence[tuple[str, ...]], scores: Sequence[Mapping[str, float]], name: str
) -> dict[str, Any]:
    """Share of the way from the best control (in hindsight) to the oracle."""
    single = [n for n in scores[0] if n.startswith(("chain", "at once")) and "expert" not in n]
    best = max(single, key=lambda n: np.mean([s[n] for s in scores]))
    plan, control, oracle = (np.array([s[n] for s in scores]) for n in (name, best, "oracle"))
    share = (plan - control).sum() / (oracle - control).sum()
    found = {"control": best, "mean": _rounded(share)}
    for whole, prefix in ((False, ""), (True, "group_")):
        weights = _resampled(chosen, whole)
        shares = (weights @ (plan - control)) / (weights @ (oracle - control))
        low, high = np.quantile(shares, (0.025, 0.975))
        found |= {f"{prefix}low": _rounded(low), f"{prefix}high": _rounded(high)}
    return found


def _compared(
    chosen: Sequence[tuple[str, ...]],
    way: str,
    measured: Mapping[Any, Mapping[str, Any]],
    planned: Mapping[Any, Mapping[str, Any]],
) -> dict[str, Any]:
    """How a poorer way of seeing intermediates does on the same sets."""
    values = [
        [_true(measured[m], planned[m, w])[_choice(planned[m, w]["plans"], 1.0)] for m in chosen]
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
            chains = {chain(order, label) .label: chain(order, label) for order in (
                orders(models) if len(models) > 3 else [(*(m for m in models if m != last), last)
                                                        for last in models])}  # fmt: skip
            values = [_same(own, models, tree) for tree in chains.values()]
            gaps.append(max(values) - min(values))
        found[label] = _spread(chosen, gaps)
    if all("evenly" in measured[models] for models in chosen):
        each = [_values(measured[models]["evenly"]).values() for models in chosen]
        found[EVENLY] = _spread(chosen, [max(values) - min(values) for values in each])
    return found


def _forecast(
    chosen: Sequence[tuple[str, ...]],
    measured: Mapping[Any, Mapping[str, Any]],
    planned: Mapping[Any, Mapping[str, Any]],
) -> dict[str, Any]:
    """Predicted against measured utility: of tasks, and of plans inside their set."""
    tasks, inside, deviations = [], [], []
    for models in chosen:
        plans = planned[models, "merged"]["plans"]
        both = [label for label in measured[models]["utilities"] if label in plans]
        expected = np.array([plans[label] for label in both])
        true = np.array([measured[models]["utilities"][label] for label in both])
        tasks.append(np.stack([expected[..., 0].ravel(), true.ravel()]))
        deviations.append(expected[..., 1].ravel())
        if true.mean(axis=1).std() > 0:
            pair = np.corrcoef(expected[..., 0].mean(axis=1), true.mean(axis=1))
            inside.append(float(pair[0, 1]))
    predicted, true = np.concatenate(tasks, axis=1)
    return _calibration(predicted, np.concatenate(deviations), true) | {
        "inside": _rounded(np.nanmean(inside))
    }


def _calibration(predicted: np.ndarray, deviations: np.ndarray, true: np.ndarray) -> dict[str, Any]:
    """Correlation, share of 90 % intervals that hold, and means by fifths of the prediction."""
    bins = [(predicted >= low) & (predicted < low + 0.2) for low in np.arange(0, 1, 0.2)]
    return {
        "count": len(predicted),
        "correlation": _rounded(np.corrcoef(predicted, true)[0, 1]),
        "coverage": _rounded((np.abs(predicted - true) <= 1.645 * deviations + 1e-9).mean()),
        "bins": [
            {"count": int(b.sum()), "predicted": _rounded(predicted[b].mean()),
             "measured": _rounded(true[b].mean())}
            for b in bins if b.any()
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
    parser.add_argument("what", choices=["measure", "table", "plan", "harm", "again", "report"])
    parser.add_argument("zoo", type=Path)
    parser.add_argument("--seconds", type=float, default=150)
    parser.add_argument("--sizes", type=int, nargs="+", default=[3, 4])
    parser.add_argument("--part", choices=list(SETS), default="test")
    parser.add_argument("--way", choices=["merged", *WAYS], default="merged")
    parser.add_argument("--shard", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    manifest = load_manifest(given.zoo)
    limits = (given.seconds, given.shard)
    if given.what == "measure":
        done = measure(manifest, given.part, given.sizes, *limits)
    elif given.what == "table":
        done = table(manifest, given.sizes, given.seconds)
    elif given.what == "harm":
        done = harm(manifest, *limits)
    elif given.what == "again":
        done = again(manifest, given.seconds)
    elif given.what == "report":
        text = json.dumps(report(manifest), indent=1) + "\n"
        Path(__file__).with_suffix(".json").write_text(text)
        done = True
    else:
        done = plan(manifest, given.sizes, given.way, *limits)
    print("done" if done else "more")


if __name__ == "__main__":
    main()
