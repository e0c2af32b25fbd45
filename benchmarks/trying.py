"""Trying merges on unlabelled probes: what a merge keeps of its experts' own answers, and the truth.

    python benchmarks/trying.py measure ZOO TABLE        # a built zoo; 15 minutes for 150 nano pairs
    python benchmarks/trying.py measure ZOO TABLE --most 5 --prompts 32

Pairs of the outcomes table are drawn by a hash of their names, spread over the zoo's bases. Each is
merged with every arm of the table, in memory; the merge reads the probes of both models' tasks, each
with the expert's own greedy answer, and no label. What is kept goes to
recipes/outcomes/NAME-kept.jsonl.gz, one line for each expert, auxiliary and arm, with the true gap
closed (exact match in the exam) beside it. A stopped run goes on (build/trying-NAME.jsonl).
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

from simmerge_hub.operators import find
from simmerge_hub.selector.predictor.origin import find as find_predictor
from simmerge_hub.selector.tables.outcomes import (
    SMALLEST_GAP,
    Outcome,
    Outcomes,
    load_outcomes,
)
from simmerge_hub.signatures.probing.answers import continue_greedily
from simmerge_hub.signatures.probing.dosing.dose import score_tokens
from simmerge_hub.signatures.probing.dosing.response import ANSWER_TOKENS
from simmerge_hub.zoo.manifest import Manifest, load_manifest, load_model
from simmerge_hub.zoo.measuring.members import changes, feed_own_probes, weights_of
from simmerge_hub.zoo.measuring.running import Bench, merge_pair
from simmerge_hub.zoo.real.codec import codec_for

HERE = Path(__file__).parent
BUILD = HERE.parent / "build"
SHARES = {"skills": 96, "half": 48, "large": 10}
"""Nano pairs of each base; of a base that is not here all that are wanted."""
ENTRIES = 2**25


def measure(zoo: Path, table: Path, most: int, prompts: int, arms: str) -> None:
    """Measure what is missing of the drawn pairs; raw scores stay in build/."""
    manifest, outcomes = load_manifest(zoo), load_outcomes(table)
    kept = BUILD / f"trying-{manifest.name}.jsonl"
    BUILD.mkdir(exist_ok=True)
    lines = kept.read_text().splitlines() if kept.is_file() else []
    known = {tuple(json.loads(line)["pair"]) for line in lines}
    wanted = draw_pairs(manifest, outcomes, most)
    labels = [a.label for a in outcomes.arms if arms in ("", "all") or find_plain(a)]
    chosen = [a for a in outcomes.arms if a.label in labels]
    for base in sorted({base_of(manifest, pair[0]) for pair in wanted}):
        bench = None
        for pair in wanted:
            if base_of(manifest, pair[0]) != base or pair in known:
                continue
            bench = bench or prepare(manifest, base, chosen, prompts)
            entry = bench(*pair)
            with kept.open("a") as file:
                file.write(json.dumps(entry) + "\n")
            print(len(known), pair, flush=True)
            known.add(pair)


def find_plain(arm: Any) -> bool:
    """Whether an arm's layers are not fed while it merges."""
    return not find(arm.operator).activations


def draw_pairs(manifest: Manifest, outcomes: Outcomes, most: int) -> list[tuple[str, str]]:
    """Unordered pairs in which some expert is ahead, in the order of their hashes."""
    pairs = {
        (min(r.expert, r.auxiliary), max(r.expert, r.auxiliary))
        for r in outcomes.rows
        if r.gap >= SMALLEST_GAP
    }
    foretold = held_out(outcomes)
    if foretold:
        pairs = {pair for pair in pairs if pair in foretold or pair[::-1] in foretold}
    ordered = sorted(pairs, key=lambda pair: sha256("/".join(pair).encode()).hexdigest())
    drawn: dict[str, list[tuple[str, str]]] = {}
    for pair in ordered:
        base = base_of(manifest, pair[0])
        if len(drawn.setdefault(base, [])) < SHARES.get(base, most):
            drawn[base].append(pair)
    return [pair for each in drawn.values() for pair in each]


def held_out(outcomes: Outcomes) -> dict[tuple[str, str], dict[str, float]]:
    """(expert, auxiliary) -> arm -> the gain that was predicted without either model.

    From the record of the packaged predictor; empty for a zoo it was not trained on.
    """
    trained = find_predictor().predictor
    record = trained.record
    apart = [row for row in outcomes.rows if row.gap >= SMALLEST_GAP]
    names = sorted({name for row in apart for name in (row.expert, row.auxiliary)})
    regimes = {row.regime for row in apart}
    if not regimes <= trained.regimes.keys():
        return {}
    labels = [each.label for each in record.arms]
    return {
        (names[expert], names[auxiliary]): dict(zip(labels, gains.tolist(), strict=True))
        for kind, expert, auxiliary, gains in zip(
            record.kinds, record.experts, record.auxiliaries, record.predicted["complete"],
            strict=True,
        )
        if kind == "models"
    }  # fmt: skip


def base_of(manifest: Manifest, name: str) -> str:
    """The base a specialist comes from."""
    return manifest.models[name].spec["base"]


def prepare(manifest: Manifest, base: str, arms: Sequence[Any], most: int):
    """What measures a pair: for both sides what every arm and each model alone keeps."""
    codec, scratch = codec_for(manifest, base), load_model(manifest, base)
    origin = weights_of(scratch)
    fed = any(find(each.operator).activations for each in arms)
    runners = [load_model(manifest, base) for _ in range(2)] if fed else []
    bench = Bench(scratch=scratch, base=origin, runners=runners)

    @lru_cache(8)
    def side(name: str) -> dict[str, Any]:
        lines = manifest.probes(manifest.models[name].spec["task"]).read_text().splitlines()
        ids = [(codec.bos, *codec.encode(json.loads(line)["prompt"])) for line in lines][:most]
        model = load_model(manifest, name)
        answered = continue_greedily(model, ids, ANSWER_TOKENS)
        weights = changes(manifest, name, origin)
        feeding = feed_own_probes(manifest, name, codec) if fed else None
        return {"ids": ids, "answered": answered, "weights": weights, "feeding": feeding,
                "own": read(model, ids, answered)}  # fmt: skip

    @lru_cache(8)
    def at_base(name: str) -> dict[str, Any]:
        into = dict(scratch.named_parameters())
        with torch.no_grad():
            for tensor, weight in origin.items():
                into[tensor].copy_(weight)
        return read(scratch, side(name)["ids"], side(name)["answered"])

    def measure_pair(first: str, second: str) -> dict[str, Any]:
        names = (first, second)
        parents = {name: side(name)["weights"] for name in names}
        feedings = [side(name)["feeding"] for name in names if fed]
        entry: dict[str, Any] = {"pair": names, "base": base, "sides": {}}
        for name, other in ((first, second), (second, first)):
            entry["sides"][name] = {
                "own": side(name)["own"],
                "base": at_base(name),
                "ends": [list(a[len(i):]) for i, a in zip(side(name)["ids"], side(name)["answered"], strict=True)],
                "auxiliary": read(load_cached(other), side(name)["ids"], side(name)["answered"]),
                "arms": {},
            }  # fmt: skip
        for each in arms:
            merge = merge_pair(bench, each, parents, feedings)
            for name in names:
                label = each.label if name == first else each.swapped().label
                entry["sides"][name]["arms"][label] = read(
                    merge, side(name)["ids"], side(name)["answered"]
                )
        return entry

    @lru_cache(3)
    def load_cached(name: str):
        return load_model(manifest, name)

    return measure_pair


def read(model: Any, ids: Any, answered: Any) -> dict[str, list[float]]:
    """By answer: tokens kept, their log-likelihood, that of the likeliest tokens."""
    lengths = [len(full) - len(i) for i, full in zip(ids, answered, strict=True)]
    kept, logliks, tops = score_tokens(model, ids, answered, ENTRIES)
    bounds = np.cumsum(lengths)[:-1]
    columns = {"kept": kept, "loglik": logliks, "top": tops}
    sums = {k: [float(p.sum()) for p in np.split(v, bounds)] for k, v in columns.items()}
    return {"tokens": lengths, **{k: [round(x, 3) for x in v] for k, v in sums.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["measure"])
    parser.add_argument("zoo", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--most", type=int, default=10**6)
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--arms", default="")
    given = parser.parse_args()
    torch.set_num_threads(1)
    measure(given.zoo, given.table, given.most, given.prompts, given.arms)


if __name__ == "__main__":
    main()
