"""A pair of zoo models that a search is tried on: merged in memory, examined, every point once."""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from simmerge_hub.learning.searching.space import RANGES, WEIGHT, arm_from
from simmerge_hub.operators import Arm, find
from simmerge_hub.zoo.evaluation import Exam, evaluate, exam, mean
from simmerge_hub.zoo.manifest import Manifest, load_model
from simmerge_hub.zoo.measuring.members import changes, feed_own_probes, weights_of
from simmerge_hub.zoo.measuring.running import Bench, merge_pair
from simmerge_hub.zoo.real.codec import codec_for
from simmerge_hub.zoo.real.domains import find_task

PROMPTS = 64
"""Of each task, that a search asks."""
FEW = PROMPTS // 4
OTHERS = 128
"""Of each task, that no search asks: what was found is judged on them too."""

SHARE, LEVELS = 0.1, 2
"""Steps of a model's weight, and parts of every other range: points are rounded to this lattice."""

Point = Mapping[str, Any]


def snap(point: Point) -> Point:
    """The point of the lattice that is nearest: what is measured once serves every search."""
    operator = point["operator"]
    share = point["weight.0"] / (point["weight.0"] + point["weight.1"])
    share = min(max(round(round(share / SHARE) * SHARE, 2), WEIGHT[0]), WEIGHT[1])
    own = {
        f"{operator}.{name}": low
        + round((point[f"{operator}.{name}"] - low) / (high - low) * LEVELS) / LEVELS * (high - low)
        for name, (low, high) in RANGES[operator].items()
    }
    return {"operator": operator, "weight.0": share, "weight.1": round(1 - share, 2), **own}


class PairTrial:
    """Two models of a zoo; `share(point)` is the mean share of the best model's score.

    What was measured is kept in a file, a line each, and never measured again.
    """

    def __init__(self, manifest: Manifest, names: Sequence[str], journal: Path) -> None:
        self.manifest, self.names, self.journal = manifest, tuple(names), journal
        self.known: dict[str, dict[str, list[float]]] = {}
        if journal.exists():
            for line in journal.read_text().splitlines():
                entry = json.loads(line)
                self.known.setdefault(entry["arm"], {})[entry["part"]] = entry["shares"]

    def few_and_whole(self, point: Point) -> tuple[float, float]:
        """The share kept on a quarter of the prompts, and on all."""
        few, rest = (mean(self._shares(point, part)) for part in ("few", "rest"))
        return few, (few * FEW + rest * (PROMPTS - FEW)) / PROMPTS

    def missing(self, points: Sequence[Point]) -> list[Point]:
        """Those of `points` that were not measured yet."""
        labels = [arm_from(snap(point), len(self.names)).label for point in points]
        return [
            p for p, la in zip(points, labels, strict=True) if "rest" not in self.known.get(la, {})
        ]

    def other_prompts(self, point: Point) -> float:
        """The share kept on prompts that no search asks."""
        return mean(self._shares(point, "others"))

    def _shares(self, point: Point, part: str) -> list[float]:
        chosen = arm_from(snap(point), len(self.names))
        kept = self.known.setdefault(chosen.label, {})
        if part not in kept:
            self._measure(chosen, ("others",) if part == "others" else ("few", "rest"))
        return kept[part]

    def _measure(self, chosen: Arm, parts: Sequence[str]) -> None:
        models = self._models
        fed = list(models.fed.values()) if find(chosen.operator).activations else []
        merged = merge_pair(models.bench, chosen, models.weights, fed)
        for part in parts:
            scores = [mean(evaluate(merged, each[part]).exact_match) for each in models.exams]
            shares = [s / best[part] for s, best in zip(scores, models.best, strict=True)]
            self.known[chosen.label][part] = shares
            with self.journal.open("a") as file:
                entry = {"arm": chosen.label, "part": part, "shares": shares}
                file.write(json.dumps(entry) + "\n")

    @cached_property
    def _models(self) -> "_Models":
        return _Models(self.manifest, self.names)


class _Models:
    """Weights, what layers are fed, exams, and what the better model scores in each part."""

    def __init__(self, manifest: Manifest, names: Sequence[str]) -> None:
        base = manifest.models[names[0]].spec["base"]
        scratch, codec = load_model(manifest, base), codec_for(manifest, base)
        origin = weights_of(scratch)
        runners = [load_model(manifest, base) for _ in names]
        self.bench = Bench(scratch=scratch, base=origin, runners=runners)
        self.weights = {name: changes(manifest, name, origin) for name in names}
        self.fed = {name: feed_own_probes(manifest, name, codec) for name in names}
        tasks = [find_task(manifest.tasks[manifest.models[n].spec["task"]]) for n in names]
        self.exams = [_parts(exam(task, PROMPTS + OTHERS, codec=codec)) for task in tasks]
        alone = [load_model(manifest, name) for name in names]
        self.best = [
            {
                part: max(mean(evaluate(model, asked).exact_match) for model in alone)
                for part, asked in each.items()
            }
            for each in self.exams
        ]


def _parts(whole: Exam) -> dict[str, Exam]:
    places = {
        "few": slice(FEW), "rest": slice(FEW, PROMPTS), "others": slice(PROMPTS, None)
    }  # fmt: skip
    return {n: Exam(ids=whole.ids[p], labels=whole.labels[p]) for n, p in places.items()}
