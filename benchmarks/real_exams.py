"""Exams of a real language model: bfloat16 held against float32, and what a measured arm costs.

    python benchmarks/real_exams.py ../zoo-real                # minutes on one core

Some specialists, spread over the zoo, take their own exams in both dtypes. Then two pairs are
merged with every arm and examined on both tasks, as `zoo measure` does it. Seconds are those of
one processor core, whatever else runs on the machine. Writes benchmarks/real_exams.json; exits
with 1 beyond the tolerance.
"""

import argparse
import json
import sys
import time
from itertools import combinations
from pathlib import Path
from typing import Any

import torch

from simmerge_hub.operators import ARMS, Arm
from simmerge_hub.zoo.evaluation import Exam, Score, evaluate, exam, mean
from simmerge_hub.zoo.manifest import Manifest, base_of, cast_for_exams, load_manifest, load_model
from simmerge_hub.zoo.measuring.members import changes, merge_into, weights_of
from simmerge_hub.zoo.real.codec import codec_for
from simmerge_hub.zoo.real.domains import find_task

HERE = Path(__file__).parent
TOLERANCE = {"exact_match": 0.032, "token_accuracy": 0.02, "log_likelihood": 0.03}
"""Largest difference allowed in an exam of 96 prompts: three answers; two tokens of a hundred; nats
per token."""


def main() -> int:
    """Measure, write the JSON, and hold it against the tolerance."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("zoo", type=Path, help="what zoo build made of recipes/zoo-real.yaml")
    parser.add_argument("--most", type=int, default=8, help="specialists whose exams are compared")
    options = parser.parse_args()
    torch.set_num_threads(1)
    manifest = load_manifest(options.zoo)
    names = list(manifest.specialists)
    compared = {name: compare(manifest, name) for name in _every_nth(names, options.most)}
    worst = {k: max(abs(each[k]) for each in compared.values()) for k in TOLERANCE}
    result = {
        "zoo": manifest.name,
        "torch": torch.__version__,
        "prompts": manifest.evaluation,
        "tolerance": TOLERANCE,
        "worst": worst,
        "specialists": compared,
        "pairs": [cost(manifest, *pair) for pair in _two_pairs(manifest, names)],
    }
    (HERE / "real_exams.json").write_text(json.dumps(result, indent=1, sort_keys=True) + "\n")
    print(json.dumps({k: result[k] for k in ("worst", "pairs")}, indent=1))
    return int(any(worst[key] > allowed for key, allowed in TOLERANCE.items()))


def _every_nth(names: list[str], most: int) -> list[str]:
    """At most so many, from all of the list."""
    step = max(1, len(names) // most)
    return names[::step][:most]


def _two_pairs(manifest: Manifest, names: list[str]) -> list[tuple[str, str]]:
    """One of adapters, and one with a full model, where there are such."""
    kinds = {name: manifest.models[name].kind for name in names}
    pairs = list(combinations(names, 2))
    of_adapters = [p for p in pairs if {kinds[n] for n in p} == {"adapter"}]
    mixed = [p for p in pairs if {kinds[n] for n in p} == {"adapter", "full"}]
    return of_adapters[:1] + mixed[:1]


def compare(manifest: Manifest, name: str) -> dict[str, Any]:
    """bfloat16 minus float32, and the seconds of both."""
    taken = _exam(manifest, name)
    model = load_model(manifest, name)
    whole, slow = _time_exam(model, taken)
    half, fast = _time_exam(cast_for_exams(manifest, model), taken)
    return {
        "exact_match": round(mean(half.exact_match) - mean(whole.exact_match), 4),
        "token_accuracy": round(mean(half.token_accuracy) - mean(whole.token_accuracy), 4),
        "log_likelihood": round(whole.nll - half.nll, 4),
        "float32": mean(whole.exact_match),
        "seconds_float32": slow,
        "seconds_bfloat16": fast,
    }


def _exam(manifest: Manifest, name: str) -> Exam:
    codec = codec_for(manifest, base_of(manifest, name))
    task = find_task(manifest.tasks[manifest.models[name].spec["task"]])
    return exam(task, manifest.evaluation, codec=codec)


def _time_exam(model: Any, taken: Exam) -> tuple[Score, float]:
    before = time.process_time()
    score = evaluate(model, taken)
    return score, round(time.process_time() - before, 2)


def cost(manifest: Manifest, one: str, other: str) -> dict[str, Any]:
    """Seconds to read a pair, to merge it with each arm, and to examine a merge on both tasks."""
    scratch = cast_for_exams(manifest, load_model(manifest, base_of(manifest, one)))
    origin = weights_of(scratch)
    before = time.process_time()
    parents = {name: changes(manifest, name, origin) for name in (one, other)}
    read = time.process_time() - before
    merging = {arm.label: _time_merge(scratch, arm, origin, parents) for arm in ARMS}
    exams = sum(_time_exam(scratch, _exam(manifest, name))[1] for name in (one, other))
    return {
        "pair": [one, other],
        "kinds": [manifest.models[name].kind for name in (one, other)],
        "read": round(read, 2),
        "merge": merging,
        "exams": round(exams, 2),
        "seconds_per_arm": round(exams + sum(merging.values()) / len(merging), 2),
    }


def _time_merge(scratch: Any, arm: Arm, origin: Any, parents: Any) -> float:
    before = time.process_time()
    merge_into(scratch, arm, origin, parents)
    return round(time.process_time() - before, 2)


if __name__ == "__main__":
    sys.exit(main())
