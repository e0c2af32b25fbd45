"""What merges do on tasks that nobody asked for: is what RegMean keeps paid for elsewhere?

    python benchmarks/off_probes.py ZOO      # a built zoo; ten minutes

Pairs of specialists of the base that half knows some tasks are merged, and each merge is examined
on the tasks that neither model was trained on and that neither's prompts show. Written is the mean
loss per token of the answers, in nats, beside that of the models themselves and of their base.
Writes benchmarks/off_probes.json.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from activation_ablation import draw

from simmerge_hub.operators import FED_ARMS, arm, find
from simmerge_hub.selector.models.resampling import resample, spread
from simmerge_hub.zoo.evaluation import evaluate, exam, mean
from simmerge_hub.zoo.manifest import Manifest, load_manifest, load_model
from simmerge_hub.zoo.measuring.members import changes, feed_own_probes, weights_of
from simmerge_hub.zoo.measuring.running import Bench, merge_pair
from simmerge_hub.zoo.real.codec import codec_for
from simmerge_hub.zoo.real.domains import find_task

HERE = Path(__file__).parent
BASE, PAIRS, SEED = "half", 24, 0
ARMS = (
    arm("linear"),
    arm("task_arithmetic", scale=0.7),
    arm("task_arithmetic", scale=1.0),
    arm("ties", density=0.5),
    *(each for each in FED_ARMS if "weights" not in each.parameters),
    arm("regmean", alpha=0.9, inputs="merge"),
)


def main() -> None:
    """Measure, write the JSON, print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("zoo", type=Path)
    torch.set_num_threads(1)
    manifest = load_manifest(parser.parse_args().zoo)
    pairs = draw(manifest, PAIRS, base=BASE)
    losses = [_measure(manifest, pair) for pair in pairs]
    weights = resample([a for a, _ in pairs], [b for _, b in pairs], SEED)
    report = {
        "zoo": manifest.name,
        "pairs": len(pairs),
        "loss": {
            label: {
                key: round(value, 4)
                for key, value in spread(
                    np.array([each[label] for each in losses]), weights
                ).items()
            }
            for label in losses[0]
        },
    }
    (HERE / "off_probes.json").write_text(json.dumps(report, indent=1) + "\n")
    for label, entry in report["loss"].items():
        print(label, entry)


def _measure(manifest: Manifest, pair: Sequence[str]) -> dict[str, float]:
    """Label -> mean loss on the tasks that the base was shown and neither model was trained on."""
    own = {manifest.models[name].spec["task"] for name in pair}
    codec = codec_for(manifest, BASE)
    others = sorted(set(_shown(manifest)) - own)
    exams = [exam(find_task(manifest.tasks[t]), manifest.evaluation, codec=codec) for t in others]
    scratch = load_model(manifest, BASE)
    origin = weights_of(scratch)
    parents = {name: changes(manifest, name, origin) for name in pair}
    feedings = [feed_own_probes(manifest, name, codec) for name in pair]
    found = {
        "the base": _loss(load_model(manifest, BASE), exams),
        "the two models, mean": fmean(_loss(load_model(manifest, n), exams) for n in pair),
    }
    for each in ARMS:
        runners = [load_model(manifest, BASE) for _ in pair]
        bench = Bench(scratch=scratch, base=origin, runners=runners)
        fed = feedings if find(each.operator).activations else ()
        found[each.label] = _loss(merge_pair(bench, each, parents, fed), exams)
    print(pair, found, flush=True)
    return found


def _shown(manifest: Manifest) -> Sequence[str]:
    """The tasks that the base was shown, in part."""
    return list(manifest.models[BASE].spec["exposed"])


def _loss(model: Any, exams: Sequence[Any]) -> float:
    return fmean(-mean(evaluate(model, each).log_likelihood) for each in exams)


if __name__ == "__main__":
    main()
