"""What RegMean needs: alpha, prompts, own answers, and whose layers feed the next.

    python benchmarks/activation_ablation.py ZOO      # a built zoo; half an hour

Pairs of specialists of different tasks are drawn by a seed. Every setting differs from DEFAULT in
one thing or two. The gap that a merge closes is averaged over both tasks of a pair, and intervals
resample models. Writes benchmarks/activation_ablation.json.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

import numpy as np
import torch

from simmerge_hub.operators import arm
from simmerge_hub.selector.models.resampling import resample, spread
from simmerge_hub.selector.tables.outcomes import SMALLEST_GAP
from simmerge_hub.signatures.probing.answers import continue_greedily
from simmerge_hub.signatures.probing.feeding import feed_whole
from simmerge_hub.zoo.evaluation import evaluate, exam, mean
from simmerge_hub.zoo.manifest import Manifest, load_manifest, load_model
from simmerge_hub.zoo.measuring.members import Feeding, changes, weights_of
from simmerge_hub.zoo.measuring.running import Bench, merge_pair
from simmerge_hub.zoo.real.codec import codec_for
from simmerge_hub.zoo.real.domains import find_task

HERE = Path(__file__).parent
PAIRS = 40
SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A way to merge: see `regmean`; `prompts` of each model, with so many tokens of answers."""

    alpha: float = 0.98
    inputs: str = "merge"
    others: str = "mean"
    prompts: int = 64
    answers: int = 16

    @property
    def label(self) -> str:
        """As the JSON has it."""
        return (
            f"alpha {self.alpha:g}, inputs {self.inputs}, others {self.others}, "
            f"{self.prompts} prompts, {self.answers} tokens of answers"
        )


DEFAULT = Setting()
SETTINGS = (
    *(replace(DEFAULT, alpha=a) for a in (0.0, 0.5, 0.7, 0.9, 0.95, 0.98, 0.995)),
    *(replace(DEFAULT, alpha=a, inputs="models") for a in (0.0, 0.5, 0.7, 0.9, 0.95, 0.98)),
    *(replace(DEFAULT, prompts=n) for n in (8, 16, 32, 128, 512)),
    *(replace(DEFAULT, prompts=n, alpha=0.9, inputs="models") for n in (8, 16, 32, 128, 512)),
    *(replace(DEFAULT, answers=n) for n in (0, 4)),
    replace(DEFAULT, answers=0, alpha=0.9, inputs="models"),
    replace(DEFAULT, others="sum"),
    replace(DEFAULT, others="sum", alpha=0.9, inputs="models"),
)


def main() -> None:
    """Measure every setting on every pair, write the JSON, print the means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("zoo", type=Path)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    manifest = load_manifest(options.zoo)
    pairs = draw(manifest, options.pairs)
    gains = dict[tuple[str, str], Mapping[str, float]]()
    for pair, found in _measure(manifest, pairs):
        gains[pair] = found
        print(len(gains), pair, {k: round(v, 3) for k, v in found.items()}, flush=True)
    report = {"zoo": manifest.name, "pairs": len(gains), "settings": _summarise(gains)}
    (HERE / "activation_ablation.json").write_text(json.dumps(report, indent=1) + "\n")
    for label, entry in report["settings"].items():
        print(label, entry)


def draw(manifest: Manifest, count: int, base: str | None = None) -> list[tuple[str, str]]:
    """Pairs that are apart on both tasks, those of one base (or of all) after the other."""
    specs = {
        name: entry.spec
        for name, entry in manifest.specialists.items()
        if base in (None, entry.spec["base"])
    }
    pairs = [
        (a, b)
        for a, b in combinations(sorted(specs), 2)
        if specs[a]["base"] == specs[b]["base"] and min(_gaps(manifest, (a, b))) >= SMALLEST_GAP
    ]
    Random(SEED).shuffle(pairs)
    return sorted(pairs[:count], key=lambda pair: (specs[pair[0]]["base"], pair))


def _gaps(manifest: Manifest, pair: Sequence[str]) -> list[float]:
    """What each is ahead of the other on its own task."""
    tasks = [manifest.models[name].spec["task"] for name in pair]
    scores = [manifest.models[name].scores for name in pair]
    if any(task not in known for task in tasks for known in scores):
        return [0.0]
    return [
        scores[i][tasks[i]]["exact_match"] - scores[1 - i][tasks[i]]["exact_match"] for i in (0, 1)
    ]


def _measure(
    manifest: Manifest, pairs: Sequence[tuple[str, str]]
) -> Iterator[tuple[tuple[str, str], dict[str, float]]]:
    """Pair -> the gap each setting closes."""
    for base in dict.fromkeys(manifest.models[a].spec["base"] for a, _ in pairs):
        scratch = load_model(manifest, base)
        origin = weights_of(scratch)
        runners = [load_model(manifest, base) for _ in range(2)]
        bench = Bench(scratch=scratch, base=origin, runners=runners)
        for pair in (p for p in pairs if manifest.models[p[0]].spec["base"] == base):
            parents = {name: changes(manifest, name, origin) for name in pair}
            feedings: dict[Any, list[Feeding]] = {}
            gains = {}
            for setting in SETTINGS:
                read = setting.prompts, setting.answers
                if read not in feedings:
                    feedings[read] = [_feed(manifest, name, *read) for name in pair]
                chosen = arm(
                    "regmean", alpha=setting.alpha, inputs=setting.inputs, others=setting.others
                )
                merged = merge_pair(bench, chosen, parents, feedings[read])
                gains[setting.label] = _gain(manifest, pair, merged)
            yield pair, gains


def _feed(manifest: Manifest, name: str, prompts: int, answers: int) -> Feeding:
    spec, model = manifest.models[name].spec, load_model(manifest, name)
    codec, task = codec_for(manifest, spec["base"]), find_task(manifest.tasks[spec["task"]])
    examples = task.examples("probe", prompts, seed=SEED)
    ids = [(*codec.start, *codec.encode(example.prompt)) for example in examples]
    sequences = continue_greedily(model, ids, answers) if answers else ids
    return Feeding(sequences=sequences, fed=feed_whole(model, sequences))


def _gain(manifest: Manifest, pair: Sequence[str], merged: Any) -> float:
    """The gap closed, mean of both tasks."""
    gains = []
    for name, other in (pair, pair[::-1]):
        spec = manifest.models[name].spec
        codec = codec_for(manifest, spec["base"])
        known = exam(find_task(manifest.tasks[spec["task"]]), manifest.evaluation, codec=codec)
        scores = [manifest.models[n].scores[spec["task"]]["exact_match"] for n in (name, other)]
        reached = mean(evaluate(merged, known).exact_match)
        gains.append((reached - scores[1]) / (scores[0] - scores[1]))
    return fmean(gains)


def _summarise(gains: Mapping[tuple[str, str], Mapping[str, float]]) -> dict[str, Any]:
    """Setting -> the mean over pairs, and the interval of it over resampled models."""
    pairs = list(gains)
    weights = resample([a for a, _ in pairs], [b for _, b in pairs], SEED)
    return {
        each.label: {
            key: round(value, 4)
            for key, value in spread(
                np.array([gains[p][each.label] for p in pairs]), weights
            ).items()
        }
        for each in SETTINGS
    }


if __name__ == "__main__":
    main()
