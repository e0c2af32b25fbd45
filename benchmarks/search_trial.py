"""A pair of zoo models that a search is tried on: merged in memory, examined, every point once."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from simmerge_hub.learning.searching.space import RANGES, arm_from
from simmerge_hub.operators import Arm, find
from simmerge_hub.zoo.evaluation import Exam, evaluate, exam, mean
from simmerge_hub.zoo.manifest import Manifest, cast_for_exams, load_model
from simmerge_hub.zoo.measuring.members import Feeding, changes, feed_own_probes, weights_of
from simmerge_hub.zoo.measuring.running import Bench, merge_pair
from simmerge_hub.zoo.real.codec import codec_for
from simmerge_hub.zoo.real.domains import find_task

PROMPTS = 64
"""Of each task, that a search asks."""
FEW = PROMPTS // 4
OTHERS, OTHERS_REAL = 128, 32
"""Of each task, that no search asks: what was found is judged on them too. A zoo of a real base
has 96 prompts of each task in its exams, 64 and these 32."""

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
SHARES_REAL = (0.3, 0.5, 0.7)
"""Weights of the first model, evenly apart: points are rounded to a lattice of them. Of a real base
there are fewer: a point costs 15 to 40 s of a core."""
LEVELS = 2
"""Parts of the range of every other parameter."""

Point = Mapping[str, Any]


def snap(point: Point, shares: Sequence[float] = SHARES) -> Point:
    """The point of the lattice that is nearest: what is measured once serves every search."""
    operator, step = point["operator"], round(shares[1] - shares[0], 2)
    share = point["weight.0"] / (point["weight.0"] + point["weight.1"])
    begin = shares[0] % step
    nearest = round(begin + round((share - begin) / step) * step, 2)
    share = min(max(nearest, shares[0]), shares[-1])
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

    def __init__(
        self,
        manifest: Manifest,
        names: Sequence[str],
        journal: Path,
        *,
        others: int = OTHERS,
        shares: Sequence[float] = SHARES,
    ) -> None:
        self.manifest, self.names, self.journal = manifest, tuple(names), journal
        self.others, self.shares = others, shares
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
        labels = [self._arm(point).label for point in points]
        return [
            p for p, la in zip(points, labels, strict=True) if "rest" not in self.known.get(la, {})
        ]

    def snap(self, point: Point) -> Point:
        """The nearest point of this trial's lattice."""
        return snap(point, self.shares)

    def other_prompts(self, point: Point) -> float:
        """The share kept on prompts that no search asks."""
        return mean(self._shares(point, "others"))

    def _arm(self, point: Point) -> Arm:
        return arm_from(self.snap(point), len(self.names))

    def _shares(self, point: Point, part: str) -> list[float]:
        chosen = self._arm(point)
        kept = self.known.setdefault(chosen.label, {})
        if part not in kept:
            self._measure(chosen, ("others",) if part == "others" else ("few", "rest"))
        return kept[part]

    def _measure(self, chosen: Arm, parts: Sequence[str]) -> None:
        models = self._models
        bench, fed = models.bench, []
        if find(chosen.operator).activations:
            bench, fed = models.running_bench, models.fed
        merged = merge_pair(bench, chosen, models.weights, fed)
        for part in parts:
            scores = [mean(evaluate(merged, each[part]).exact_match) for each in models.exams]
            shares = [s / best[part] for s, best in zip(scores, models.best, strict=True)]
            self.known[chosen.label][part] = shares
            with self.journal.open("a") as file:
                entry = {"arm": chosen.label, "part": part, "shares": shares}
                file.write(json.dumps(entry) + "\n")

    @cached_property
    def _models(self) -> "_Models":
        return _Models(self.manifest, self.names, self.others)


class _Models:
    """Weights, what layers are fed, exams, and what the better model scores in each part.

    What only merges by activations need is made when the first of them is: it takes most memory.
    """

    def __init__(self, manifest: Manifest, names: Sequence[str], others: int) -> None:
        self.manifest, self.names = manifest, names
        self.base = manifest.models[names[0]].spec["base"]
        self.codec = codec = codec_for(manifest, self.base)
        scratch = cast_for_exams(manifest, load_model(manifest, self.base))
        origin = weights_of(scratch)
        self.bench = Bench(scratch=scratch, base=origin)
        self.weights = {name: changes(manifest, name, origin) for name in names}
        tasks = [find_task(manifest.tasks[manifest.models[n].spec["task"]]) for n in names]
        self.exams = [_parts(exam(task, PROMPTS + others, codec=codec)) for task in tasks]
        self.best = self._score_alone()

    @cached_property
    def fed(self) -> list[Feeding]:
        """What each model is fed by its own probes."""
        return [feed_own_probes(self.manifest, name, self.codec) for name in self.names]

    @cached_property
    def running_bench(self) -> Bench:
        """The bench with a model to run for each of the pair; after `fed`, which loads them too."""
        assert self.fed
        return replace(
            self.bench, runners=[load_model(self.manifest, self.base) for _ in self.names]
        )

    def _score_alone(self) -> list[dict[str, float]]:
        """By task, the better model's score in each part."""
        scores = [dict.fromkeys(each, 0.0) for each in self.exams]
        for name in self.names:
            model = cast_for_exams(self.manifest, load_model(self.manifest, name))
            for known, parts in zip(scores, self.exams, strict=True):
                for part, asked in parts.items():
                    known[part] = max(known[part], mean(evaluate(model, asked).exact_match))
        return scores


def _parts(whole: Exam) -> dict[str, Exam]:
    places = {
        "few": slice(FEW), "rest": slice(FEW, PROMPTS), "others": slice(PROMPTS, None)
    }  # fmt: skip
    return {n: Exam(ids=whole.ids[p], labels=whole.labels[p]) for n, p in places.items()}
