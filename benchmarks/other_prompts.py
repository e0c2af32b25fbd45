"""What RegMean reaches on pairs of real language models by prompts that are not the experts' own.

    python benchmarks/other_prompts.py zoo-smollm package ZOO   # 2 or 3 minutes of a core a pair
    python benchmarks/other_prompts.py --report                 # a moment

`zoo-real-2` or `zoo-smollm` is the table whose pairs are merged again, and ZOO the built zoo.

`package`: the prompts of a task's domain in the package, which a plan takes where nobody gives any;
`mixed`: some of every domain, the same for both models. Each model appends its own answers, as in
any merge. `own` is what the table says: prompts like those that the experts were taught and are
examined on. What is measured is kept in recipes/outcomes/NAME-prompts.jsonl, one pair and kind a
line, and a stopped run goes on. The report is benchmarks/other_prompts.json; what plans say of the
first table goes into the package (`selector/predictor/measured/prompts.json`).
"""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from real_pairs import LOST
from selection import SEED, TABLES, round_all

from simmerge_hub.operators import FED_ARMS, arm
from simmerge_hub.selector.models.resampling import resample, spread
from simmerge_hub.selector.tables.outcomes import SMALLEST_GAP, gap_closed, load_outcomes
from simmerge_hub.signatures.probing.answers import continue_greedily
from simmerge_hub.signatures.probing.feeding import feed_whole
from simmerge_hub.signatures.probing.probe import PROBE_DOMAINS, probe_set
from simmerge_hub.zoo.evaluation import evaluate, exam, mean
from simmerge_hub.zoo.manifest import Manifest, cast_for_exams, load_manifest, load_model
from simmerge_hub.zoo.measuring.members import ANSWER_TOKENS, Feeding, Weights, changes, weights_of
from simmerge_hub.zoo.measuring.running import Bench, merge_pair
from simmerge_hub.zoo.real.codec import codec_for
from simmerge_hub.zoo.real.domains import find_task

HERE = Path(__file__).parent
REPORT = HERE / "other_prompts.json"
NANO = "zoo-v3"
"""The table of nano specialists in which merges that see activations were measured."""
ZOOS = ("zoo-real-2", "zoo-smollm")
"""Tables: of Gemma 3 270M, whose numbers plans quote, and of another family's model."""
PACKAGED = HERE.parent / "simmerge_hub" / "selector" / "predictor" / "measured" / "prompts.json"
KINDS = ("package", "mixed")
ARMS = tuple(each for each in FED_ARMS if "weights" not in each.parameters)
LINEAR = arm("linear")
EACH = 13
"""Prompts of each domain of a mixed set."""

Pair = tuple[str, str]


def main() -> None:
    """Measure what is missing, unless only the report is asked for; write that."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", choices=ZOOS, nargs="?")
    parser.add_argument("kind", choices=KINDS, nargs="?")
    parser.add_argument("zoo", type=Path, nargs="?")
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    if not options.report:
        if options.zoo is None:
            parser.error(f"name a table, which prompts ({' or '.join(KINDS)}), and a built zoo")
        torch.set_num_threads(1)
        measure_all(load_manifest(options.zoo), options.table, options.kind)
    zoos = {zoo: {kind: judge(zoo, kind) for kind in KINDS} for zoo in ZOOS}
    report = {"zoos": zoos, "same": {"real": summary(same_real()), NANO: summary(same_nano())}}
    REPORT.write_text(json.dumps(round_all(report), indent=1) + "\n")
    found = zoos[ZOOS[0]]["package"]["two domains"]
    means = {name: each["mean"] for name, each in found["arms"].items()}
    known = {
        "pairs": found["pairs"],
        "gains": {
            each.label: {whose: means[f"{whose}: {each.label}"] for whose in ("package", "own")}
            for each in ARMS
        },
    }
    PACKAGED.write_text(json.dumps(round_all(known), indent=1) + "\n")
    print(REPORT, PACKAGED)


def journal(zoo: str) -> Path:
    """Where what is measured of a table's pairs is kept."""
    return TABLES / f"{zoo}-prompts.jsonl"


def read_journal(zoo: str) -> list[dict[str, Any]]:
    """What is measured: the prompts, a pair in order, by arm the exact match on each one's task."""
    lines = journal(zoo).read_text().splitlines() if journal(zoo).is_file() else []
    return [json.loads(line) for line in lines]


def measure_all(manifest: Manifest, zoo: str, kind: str) -> None:
    """Every pair of the table that is not in the journal."""
    table = load_outcomes(TABLES / f"{zoo}.jsonl.gz")
    pairs = sorted({(min(r.expert, r.auxiliary), max(r.expert, r.auxiliary)) for r in table.rows})
    done = [(*row["pair"],) for row in read_journal(zoo) if row["prompts"] == kind]
    measure = bench(manifest, kind)
    for pair in pairs:
        if pair in done:
            continue
        row = {"prompts": kind, "pair": pair, "exact match": measure(pair)}
        with journal(zoo).open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(row, flush=True)


def bench(manifest: Manifest, kind: str) -> Callable[[Pair], dict[str, list[float]]]:
    """What measures a pair of the zoo's only base."""
    (base,) = {manifest.models[name].spec["base"] for name in manifest.specialists}
    codec, count = codec_for(manifest, base), manifest.evaluation
    scratch = cast_for_exams(manifest, load_model(manifest, base))
    origin = weights_of(scratch)
    runners = [load_model(manifest, base) for _ in range(2)]
    prepared = Bench(scratch=scratch, base=origin, runners=runners)

    @lru_cache(2)
    def side(name: str) -> tuple[Weights, Feeding]:
        model = load_model(manifest, name)
        ids = [(*codec.start, *codec.encode(text)) for text in prompts(manifest, name, kind)]
        sequences = continue_greedily(model, ids, ANSWER_TOKENS)
        feeding = Feeding(sequences=sequences, fed=feed_whole(model, sequences))
        return changes(manifest, name, origin), feeding

    def measure(pair: Pair) -> dict[str, list[float]]:
        sides = {name: side(name) for name in pair}
        exams = [exam(find_task(task_of(manifest, name)), count, codec=codec) for name in pair]
        found: dict[str, list[float]] = {}
        for each in ARMS:
            parents = {name: weights for name, (weights, _) in sides.items()}
            merged = merge_pair(prepared, each, parents, [fed for _, fed in sides.values()])
            found[each.label] = [round(mean(evaluate(merged, e).exact_match), 4) for e in exams]
        return found

    return measure


def prompts(manifest: Manifest, name: str, kind: str) -> Sequence[str]:
    """What a specialist is fed."""
    if kind == "package":
        return probe_set(task_of(manifest, name).partition("/")[0]).prompts
    return [text for domain in PROBE_DOMAINS for text in probe_set(domain, limit=EACH).prompts]


def task_of(manifest: Manifest, name: str) -> str:
    """`math/arithmetic`: the task that a specialist was taught."""
    return manifest.tasks[manifest.models[name].spec["task"]]


def judge(zoo: str, kind: str) -> dict[str, Any]:
    """The pairs of which both tasks can be judged; those of two domains, and those of one."""
    pairs = list(read_pairs(zoo, kind))
    apart = [each for each in pairs if not each["alike"]]
    return {
        "two domains": summary(apart),
        "one domain": summary([each for each in pairs if each["alike"]]),
        "pairs": [{"pair": each["pair"], "gains": each["gains"]} for each in pairs],
    }


def read_pairs(zoo: str, kind: str) -> Iterator[dict[str, Any]]:
    """A pair, and by arm the shares of both gaps that it closes: by its own prompts, by others."""
    table = load_outcomes(TABLES / f"{zoo}.jsonl.gz")
    known = {(row.expert, row.auxiliary): row for row in table.rows}
    for row in read_journal(zoo):
        first, second = row["pair"]
        both = [known[first, second], known[second, first]]
        if row["prompts"] != kind or any(each.gap < SMALLEST_GAP for each in both):
            continue
        gains = {
            f"own: {each.label}": [gap_closed(one, one.utilities[each.label]) for one in both]
            for each in (LINEAR, *ARMS)
        }
        for label, scores in row["exact match"].items():
            pairs = zip(both, scores, strict=True)
            gains[f"{kind}: {label}"] = [gap_closed(one, score) for one, score in pairs]
        domains = {one.task.partition("/")[0] for one in both}
        yield {"pair": [first, second], "gains": gains, "alike": len(domains) == 1}


def same_real() -> list[dict[str, Any]]:
    """The pairs of real specialists, both of which were fed the same: one mixture, or the package's
    prompts of the one domain they are of."""
    every = [(zoo, kind, each) for zoo in ZOOS for kind in KINDS for each in read_pairs(zoo, kind)]
    return [
        {
            "pair": [f"{zoo}/{name}" for name in each["pair"]],
            "gains": _as_same(each["gains"], kind),
        }
        for zoo, kind, each in every
        if each["alike"] or kind == "mixed"
    ]


def same_nano() -> list[dict[str, Any]]:
    """The pairs of nano specialists of one task: both were fed its prompts. The better one's skill
    is what there is to lose."""
    rows = load_outcomes(TABLES / f"{NANO}.jsonl.gz").rows
    task = {row.expert: row.task for row in rows}
    return [
        {
            "pair": [row.expert, row.auxiliary],
            "gains": {
                f"{whose}: {each.label}": [gap_closed(row, row.utilities[each.label])]
                for whose, arms in (("own", (LINEAR,)), ("same", ARMS))
                for each in arms
            },
        }
        for row in rows
        if task[row.expert] == task[row.auxiliary] and row.gap >= SMALLEST_GAP
    ]


def _as_same(gains: dict[str, list[float]], kind: str) -> dict[str, list[float]]:
    fed = {f"same: {each.label}": gains[f"{kind}: {each.label}"] for each in ARMS}
    return {f"own: {LINEAR.label}": gains[f"own: {LINEAR.label}"], **fed}


def summary(pairs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """By arm and prompts, the mean over pairs with its interval over models, and skills lost."""
    if not pairs:
        return {"pairs": 0}
    labels = list(pairs[0]["gains"])
    gains = np.array([[each["gains"][label] for label in labels] for each in pairs])
    means, worst = gains.mean(axis=2), gains.min(axis=2)
    linear = labels.index(f"own: {LINEAR.label}")
    weights = resample([p["pair"][0] for p in pairs], [p["pair"][1] for p in pairs], SEED)
    return {
        "pairs": len(pairs),
        "models": len({name for each in pairs for name in each["pair"]}),
        "arms": {
            label: spread(means[:, i], weights)
            | {"lost": float((worst[:, i] < LOST).mean())}
            | {"over linear": spread(means[:, i] - means[:, linear], weights)}
            for i, label in enumerate(labels)
        },
    }


if __name__ == "__main__":
    main()
