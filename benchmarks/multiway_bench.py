"""How merges of zoo models are measured, what is known of the models, where results are kept."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from multiway_sets import FED, fed_trees, folds, relative, seeded_hash, tasks_of
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from simmerge_hub.hub.resolve import resolve
from simmerge_hub.operators import Place, merge_tensors
from simmerge_hub.planning.tree import Tree
from simmerge_hub.planning.trees.forecast import Forecast
from simmerge_hub.selector.predictor.predictor import Predictor
from simmerge_hub.signatures.probing.forward import sketch
from simmerge_hub.signatures.probing.probe import ProbeSet, probe_set
from simmerge_hub.signatures.probing.sketch import Sketch
from simmerge_hub.signatures.signing.signature import Signature, sign
from simmerge_hub.zoo.evaluation import Exam, evaluate, exam, mean
from simmerge_hub.zoo.manifest import Manifest, load_model
from simmerge_hub.zoo.measuring import running
from simmerge_hub.zoo.measuring.members import Feeding, feed_own_probes, weights_of
from simmerge_hub.zoo.real.codec import NANO
from simmerge_hub.zoo.tasks import Task, task

BUILD = Path("build")
PLANTED = BUILD / "multiway-planted"
PROMPTS = 64
OTHERS = 192
"""Prompts beside those that the oracle was chosen on."""

Weights = dict[str, torch.Tensor]


class Bench:
    """The models of one base, loaded once, and how a merge of them is measured."""

    def __init__(self, manifest: Manifest, base: str, *, other: bool = False) -> None:
        self.manifest, self.base, self.other = manifest, base, other
        self.scratch = load_model(manifest, base)
        self.origin = weights_of(self.scratch)
        self.weights: dict[str, Weights] = {}
        self.exams: dict[str, Exam] = {}
        self.feedings: dict[str, Feeding] = {}
        self.runners: list[PreTrainedModel] = []
        self.tokenizer = AutoTokenizer.from_pretrained(manifest.path(base))

    def utilities(self, models: Sequence[str], plans: Sequence[Tree]) -> dict[str, list[float]]:
        """Label of a plan -> utility on every task of the set, in the order of its models."""
        made: dict[str, Weights] = {}
        asked = tasks_of(self.manifest, models)
        best = {t: self._score(self._weights(expert, made), t) for t, expert in asked.items()}
        found = {}
        for tree in plans:
            merged = self._merge(tree, made, models)
            found[tree.label] = [round(self._score(merged, t) / best[t], 4) for t in asked]
        return found

    def fed_utilities(self, models: Sequence[str]) -> dict[str, list[float]]:
        """The same of the merges by what layers are fed, each model by the probes of its task."""
        asked = tasks_of(self.manifest, models)
        best = {t: self._score(self._weights(expert, {}), t) for t, expert in asked.items()}
        parents = {name: self._weights(name, {}) for name in models}
        while len(self.runners) < len(models):
            self.runners.append(load_model(self.manifest, self.base))
        bench = running.Bench(
            scratch=self.scratch, base=self.origin, runners=self.runners[: len(models)]
        )
        utilities = {}
        for arm, tree in zip(FED, fed_trees(models), strict=True):
            running.merge_pair(bench, arm, parents, [self._feed(name) for name in models])
            utilities[tree.label] = [round(self._examine(t) / best[t], 4) for t in asked]
        return utilities

    def _feed(self, model: str) -> Feeding:
        if model not in self.feedings:
            self.feedings[model] = feed_own_probes(self.manifest, model, NANO)
        return self.feedings[model]

    def _merge(self, tree: Tree, made: dict[str, Weights], models: Sequence[str]) -> Weights:
        if tree.arm is None:
            return self._weights(tree.models[0], made)
        if tree.label in made:
            return made[tree.label]
        parts = [self._merge(part, made, models) for part in tree.parts]
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
                self.weights[model] = self._read(model)
            made[model] = self.weights[model]
        return made[model]

    def _read(self, model: str) -> Weights:
        if (PLANTED / model).exists():
            return weights_of(
                AutoModelForCausalLM.from_pretrained(PLANTED / model, dtype=torch.float32)
            )
        return weights_of(load_model(self.manifest, model))

    def run(self, tree: Tree, probes: Sequence[ProbeSet]) -> dict[str, Sketch]:
        """What a tree's merge does on probes; merges inside it are made anew every time."""
        self._load(self._merge(tree, {}, tree.models))
        return {
            p.task: sketch(self.scratch, self.tokenizer, p.prompts, probes=p.digest) for p in probes
        }

    def _load(self, weights: Weights) -> None:
        """Rounded to bfloat16, as saved models are."""
        with torch.no_grad():
            for key, weight in self.scratch.named_parameters():
                weight.copy_(weights[key].to(torch.bfloat16))

    def _score(self, weights: Weights, name: str) -> float:
        self._load(weights)
        return self._examine(name)

    def _examine(self, name: str) -> float:
        """Exact match of what is loaded."""
        if name not in self.exams:
            known = task(*self.manifest.tasks[name].split("/"))
            self.exams[name] = _others(known) if self.other else exam(known, PROMPTS)
        return mean(evaluate(self.scratch, self.exams[name]).exact_match)


class Benches(dict[str, Bench]):
    """Base -> its bench, made when it is first asked for."""

    def __init__(self, manifest: Manifest, *, other: bool = False) -> None:
        super().__init__()
        self.manifest, self.other = manifest, other

    def __missing__(self, base: str) -> Bench:
        self[base] = Bench(self.manifest, base, other=self.other)
        return self[base]


def plant(bench: Bench, chosen: Sequence[str], kind: str, strength: float) -> str | None:
    """The name of a harmful model, made where it is not the zoo's; None: nothing to make it of.

    Args:
        bench: of the set's base.
        chosen: the set it is planted beside; it is made of another specialist of their fold.
        kind: `stranger`: that specialist, good at something that is not asked for; `noise` as large
            as its delta; anything else: its delta.
        strength: what noise or delta are multiplied with.
    """
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
    other = min(others, key=lambda name: seeded_hash("plant", *chosen, name))
    if kind == "stranger":
        return other
    name = planted_name(kind, chosen)
    theirs = bench._weights(other, {})
    random = torch.Generator().manual_seed(int(seeded_hash(name)[:8], 16))
    made = {}
    for key, origin in bench.origin.items():
        delta = theirs[key] - origin
        if kind == "noise":
            noise = torch.randn(delta.shape, generator=random)
            delta = noise * delta.norm() / noise.norm()
        made[key] = origin + strength * delta
    bench.weights[name] = made
    folder = PLANTED / name
    bench._load(made)
    bench.scratch.save_pretrained(folder)
    bench.tokenizer.save_pretrained(folder)
    return name


def planted_name(kind: str, chosen: Sequence[str]) -> str:
    """What a model is called that is made to be planted beside a set."""
    return f"{kind}-{seeded_hash(*chosen)[:8]}"


def _others(known: Task) -> Exam:
    """OTHERS prompts of a task that follow the first PROMPTS."""
    whole = exam(known, PROMPTS + OTHERS)
    return Exam(ids=whole.ids[PROMPTS:], labels=whole.labels[PROMPTS:])


class Signatures:
    """Signatures of the zoo's models, and forecasts of their merges."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.probes = {
            t: probe_set(path, str(manifest.probes(t))) for t, path in manifest.tasks.items()
        }

    def forecast(
        self, models: Sequence[str], predictor: Predictor, others: Sequence[str] = ()
    ) -> Forecast:
        """As a plan does it; `others` are models without a task of their own."""
        asked = tasks_of(self.manifest, models)
        base = self.manifest.models[models[0]].spec["base"]
        probes = tuple(self.probes[t] for t in asked)
        everyone = (*models, *others)
        made = {name: self._sign(name, base, probes) for name in (base, *everyone)}
        return Forecast(
            predictor=predictor,
            base=made.pop(base),
            models=made,
            known={
                self.manifest.tasks[t]: {m: relative(self.manifest, m, expert, t) for m in everyone}
                for t, expert in asked.items()
            },
        )

    def _sign(self, name: str, base: str, probes: tuple[ProbeSet, ...]) -> Signature:
        planted = PLANTED / name
        checkpoint = resolve(str(planted if planted.exists() else self.manifest.path(name)))
        adapted = resolve(str(self.manifest.path(base))) if checkpoint.kind == "adapter" else None
        return sign(checkpoint, base=adapted, probe_sets=probes)


def read(name: str) -> Iterator[dict[str, Any]]:
    path = BUILD / f"{name}.jsonl"
    if path.exists():
        for line in path.read_text().splitlines():
            yield json.loads(line)


def append(name: str, row: Mapping[str, Any]) -> None:
    BUILD.mkdir(exist_ok=True)
    with (BUILD / f"{name}.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
