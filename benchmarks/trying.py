"""What tried merges keep of their experts' own answers, beside what they are worth.

    python benchmarks/trying.py measure ZOO TABLE --name nano    # a built zoo; 12 minutes for nano
    python benchmarks/trying.py sets ZOO                         # three and four models at once;
                                                                 # 15 minutes
    python benchmarks/trying.py report                           # seconds, without a zoo

Pairs of an outcomes table are drawn by a hash of their names, spread over the zoo's bases. Each is
merged with the arms of the table, in memory; every merge reads the probes of both models' tasks,
each with the expert's own greedy answer, and no label. What it keeps is written to
recipes/outcomes/kept-NAME.jsonl.gz, one line for each expert, auxiliary and arm, beside the true
gap closed (exact match in the exam) and what was predicted without either model. A stopped run goes
on (build/kept-NAME.jsonl).

`report` writes benchmarks/trying.json, and the lines that plans use to tried.json in the package
(`selector/predictor/measured`): fitted on all nano pairs, intervals from models left out.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
import trying_report

from simmerge_hub.operators import FED_ARMS, Arm, arm, find
from simmerge_hub.selector.predictor.origin import find as find_predictor
from simmerge_hub.selector.tables.lines import write_text
from simmerge_hub.selector.tables.outcomes import (
    HIGHEST,
    SMALLEST_GAP,
    Outcome,
    Outcomes,
    gap_closed,
    load_outcomes,
)
from simmerge_hub.signatures.merged.kept import summarise
from simmerge_hub.signatures.probing.answers import Sequences, continue_greedily
from simmerge_hub.signatures.probing.dosing.dose import score_answers
from simmerge_hub.signatures.probing.dosing.response import ANSWER_TOKENS, DOSES, Cross, Response
from simmerge_hub.zoo.evaluation import evaluate, exam, mean
from simmerge_hub.zoo.manifest import Manifest, load_manifest, load_model
from simmerge_hub.zoo.measuring.members import (
    Feeding,
    Weights,
    changes,
    feed_own_probes,
    weights_of,
)
from simmerge_hub.zoo.measuring.running import Bench, merge_pair, merges_as_it_runs
from simmerge_hub.zoo.real.codec import codec_for
from simmerge_hub.zoo.real.domains import find_task

HERE = Path(__file__).parent
BUILD = HERE.parent / "build"
SHARES = {"skills": 65, "half": 48, "large": 0}
"""Nano pairs of each base; of a base that is not here all that are wanted."""
SET_BASE, SET_SIZES, SETS = "skills", (3, 4), 24
"""Sets of models: of which base, how large, and how many of each size."""
SET_ARMS = (
    arm("linear"),
    arm("ties", density=0.5),
    arm("task_arithmetic", scale=0.7),
    *(each for each in FED_ARMS if "weights" not in each.parameters),
)
HELD = 3
"""Specialists kept in memory."""
ENTRIES = 2**25
"""Logits made at a time at most."""
DIGITS = 4
Pair = tuple[str, str]


def main() -> None:
    """Measure, or report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["measure", "sets", "report"])
    parser.add_argument("zoo", type=Path, nargs="?")
    parser.add_argument("table", type=Path, nargs="?")
    parser.add_argument("--name", default="nano")
    parser.add_argument("--most", type=int, default=10**6, help="pairs of a base")
    parser.add_argument("--prompts", type=int, default=64, help="of each task")
    parser.add_argument("--arms", nargs="*", help="labels; default: all of the table")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.what == "measure":
        measure(given)
    if given.what == "sets":
        measure_sets(given)
    trying_report.write()


def measure(given: argparse.Namespace) -> None:
    """Measure what is missing of the drawn pairs, and write the table."""
    manifest, outcomes = load_manifest(given.zoo), load_outcomes(given.table)
    journal = BUILD / f"kept-{given.name}.jsonl"
    BUILD.mkdir(exist_ok=True)
    known = read_journal(journal)
    pairs = draw_pairs(manifest, outcomes, given.most)
    arms = [a for a in outcomes.arms if not given.arms or a.label in given.arms]
    for base in sorted({base_of(manifest, pair[0]) for pair in pairs}, reverse=True):
        missing = [p for p in pairs if base_of(manifest, p[0]) == base and p not in known]
        measure_pair = prepare(manifest, base, arms, given.prompts) if missing else None
        for pair in missing:
            assert measure_pair
            known[pair] = measure_pair(*pair)
            with journal.open("a") as file:
                file.write(json.dumps({"pair": pair, "kept": known[pair]}) + "\n")
            print(len(known), *pair, flush=True)
    write_table(trying_report.TABLES / f"kept-{given.name}.jsonl.gz", known, outcomes)


def measure_sets(given: argparse.Namespace) -> None:
    """Sets of nano models of one base, experts of different tasks, merged in one step."""
    manifest = load_manifest(given.zoo)
    journal = BUILD / "kept-sets.jsonl"
    BUILD.mkdir(exist_ok=True)
    lines = journal.read_text().splitlines() if journal.is_file() else []
    rows = [json.loads(line) for line in lines]
    known = {tuple(row["models"]) for row in rows}
    for size in SET_SIZES:
        missing = [models for models in draw_sets(manifest, size) if models not in known]
        if not missing:
            continue
        bench, side = set_up(manifest, SET_BASE, SET_ARMS, given.prompts, models=size)
        for models in missing:
            rows.append(measure_set(manifest, bench, {name: side(name) for name in models}))
            with journal.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
            print(len(rows), *models, flush=True)
    path = trying_report.TABLES / "kept-sets.jsonl.gz"
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))


def measure_set(manifest: Manifest, bench: Bench, sides: "Mapping[str, Side]") -> dict[str, Any]:
    """Arm -> expert -> what the merge of all keeps, and what it is worth."""
    arms: dict[str, Any] = {}
    for each in SET_ARMS:
        merge = merge_sides(bench, each, sides)
        arms[each.label] = {
            name: {**read(merge, own), **worth_in_set(manifest, merge, name, list(sides))}
            for name, own in sides.items()
        }
    return {"models": list(sides), "arms": arms}


def draw_sets(manifest: Manifest, size: int) -> list[tuple[str, ...]]:
    """SETS sets of a size, drawn by a seed."""
    names = [n for n in sorted(manifest.specialists) if base_of(manifest, n) == SET_BASE]
    random, drawn = Random(0), list[tuple[str, ...]]()
    while len(drawn) < SETS:
        chosen = tuple(sorted(random.sample(names, size)))
        if len({manifest.models[n].spec["task"] for n in chosen}) == size and chosen not in drawn:
            drawn.append(chosen)
    return drawn


def worth_in_set(
    manifest: Manifest, merge: Any, name: str, models: Sequence[str]
) -> dict[str, float | None]:
    """`utility`: exact match as a share of the expert's.

    `gain`: the share of the gap between the expert and the mean of the others; None without a gap.
    """
    task = manifest.models[name].spec["task"]
    own, *others = (
        manifest.models[n].scores[task]["exact_match"]
        for n in (name, *(n for n in models if n != name))
    )
    examined = exam(find_task(manifest.tasks[task]), manifest.evaluation)
    reached = mean(evaluate(merge, examined).exact_match)
    level = sum(others) / len(others)
    gap = own - level
    gain = min(HIGHEST, max(-1.0, (reached - level) / gap)) if gap >= SMALLEST_GAP else None
    return {
        "utility": round(reached / own, DIGITS) if own else None,
        "gain": None if gain is None else round(gain, DIGITS),
    }


def read_journal(path: Path) -> dict[Pair, Any]:
    """Pair -> expert -> arm -> what is kept."""
    lines = path.read_text().splitlines() if path.is_file() else []
    entries = map(json.loads, lines)
    return {(entry["pair"][0], entry["pair"][1]): entry["kept"] for entry in entries}


def draw_pairs(manifest: Manifest, outcomes: Outcomes, most: int) -> list[Pair]:
    """Unordered pairs in which an expert is ahead, by the hash of their names; where the packaged
    predictor was trained on the zoo, those that it has a held-out prediction of."""
    ahead = {_unordered(row) for row in outcomes.rows if row.gap >= SMALLEST_GAP}
    foretold = {(min(pair), max(pair)) for pair in held_out(outcomes)}
    drawn: dict[str, list[Pair]] = {}
    for pair in sorted(ahead & foretold if foretold else ahead, key=_place):
        same = drawn.setdefault(base_of(manifest, pair[0]), [])
        if len(same) < min(most, SHARES.get(base_of(manifest, pair[0]), most)):
            same.append(pair)
    return [pair for same in drawn.values() for pair in same]


def held_out(outcomes: Outcomes) -> dict[Pair, dict[str, float]]:
    """(expert, auxiliary) -> arm -> the gain that was predicted without either model.

    From the record of the packaged predictor; empty for a zoo that it was not trained on.
    """
    trained = find_predictor().predictor
    record, apart = trained.record, [row for row in outcomes.rows if row.gap >= SMALLEST_GAP]
    if {row.regime for row in apart} != trained.regimes.keys():
        return {}
    names = sorted({name for row in apart for name in (row.expert, row.auxiliary)})
    labels = [each.label for each in record.arms]
    lines = zip(
        record.kinds, record.experts, record.auxiliaries, record.predicted["complete"], strict=True
    )
    return {
        (names[expert], names[auxiliary]): dict(zip(labels, gains.tolist(), strict=True))
        for kind, expert, auxiliary, gains in lines
        if kind == "models"
    }


def base_of(manifest: Manifest, name: str) -> str:
    """The base a specialist comes from."""
    return manifest.models[name].spec["base"]


def prepare(
    manifest: Manifest, base: str, arms: Sequence[Arm], prompts: int
) -> Callable[[str, str], dict[str, Any]]:
    """What measures a pair: expert -> arm, seen from it -> what the merge keeps."""
    bench, side = set_up(manifest, base, arms, prompts, models=2)

    def measure_pair(first: str, second: str) -> dict[str, Any]:
        sides = {name: side(name) for name in (first, second)}
        kept: dict[str, Any] = {first: {}, second: {}}
        for each in arms:
            merge = merge_sides(bench, each, sides)
            for name, own in sides.items():
                label = each.label if name == first else each.swapped().label
                kept[name][label] = read(merge, own)
        return kept

    return measure_pair


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A specialist: its prompts, with its answers; its weights, and what its layers are fed."""

    ids: Sequences
    answered: Sequences
    response: Response
    weights: Weights
    feeding: Feeding | None


def set_up(
    manifest: Manifest, base: str, arms: Sequence[Arm], prompts: int, *, models: int
) -> tuple[Bench, Callable[[str], Side]]:
    """Where merges of so many models are made, and what reads a specialist."""
    codec, scratch = codec_for(manifest, base), load_model(manifest, base)
    origin = weights_of(scratch)
    fed = any(find(each.operator).activations for each in arms)
    runs = any(map(merges_as_it_runs, arms))
    runners = [load_model(manifest, base) for _ in range(models)] if runs else []

    @lru_cache(HELD)
    def side(name: str) -> Side:
        lines = manifest.probes(manifest.models[name].spec["task"]).read_text().splitlines()
        texts = [json.loads(line)["prompt"] for line in lines][:prompts]
        ids = [(*codec.start, *codec.encode(text)) for text in texts]
        model = load_model(manifest, name)
        answered = continue_greedily(model, ids, ANSWER_TOKENS)
        own = score_answers(model, ids, answered, ENTRIES)
        _restore(scratch, origin)
        return Side(
            ids=ids,
            answered=answered,
            response=respond(ids, answered, own, score_answers(scratch, ids, answered, ENTRIES)),
            weights=changes(manifest, name, origin),
            feeding=feed_own_probes(manifest, name, codec) if fed else None,
        )

    return Bench(scratch=scratch, base=origin, runners=runners), side


def merge_sides(bench: Bench, arm: Arm, sides: Mapping[str, Side]) -> Any:
    """The merge of some specialists, in memory."""
    feedings = [each.feeding for each in sides.values() if each.feeding]
    return merge_pair(bench, arm, {name: s.weights for name, s in sides.items()}, feedings)


def read(merge: Any, own: Side) -> dict[str, Any]:
    """What a merge keeps of a specialist's answers."""
    kept, logliks = score_answers(merge, own.ids, own.answered, ENTRIES)
    seen = summarise(own.response, Cross(kept=kept, logliks=logliks))
    return rounded(asdict(seen))


def respond(ids: Sequences, answered: Sequences, own: Any, base: Any) -> Response:
    """The answers at the two doses that are read; nothing at the others."""
    answers = [full[len(i) :] for i, full in zip(ids, answered, strict=True)]
    tokens = sum(map(len, answers))
    kept, logliks = np.zeros((len(DOSES), tokens), np.bool_), np.zeros((len(DOSES), tokens))
    for dose, scores in ((1.0, own), (0.0, base)):
        kept[DOSES.index(dose)], logliks[DOSES.index(dose)] = scores
    return Response(
        probes="",
        base="",
        doses=np.array(DOSES, np.float32),
        answers=np.array([token for answer in answers for token in answer], np.int32),
        lengths=np.array([len(answer) for answer in answers], np.int32),
        kept=kept,
        logliks=logliks.astype(np.float32),
    )


def rounded(values: Mapping[str, float]) -> dict[str, float]:
    """Four digits after the point."""
    return {name: round(float(value), DIGITS) for name, value in values.items()}


def write_table(path: Path, known: Mapping[Pair, Any], outcomes: Outcomes) -> None:
    """One line for each expert, auxiliary and arm that is known."""
    foretold, lines = held_out(outcomes), []
    for row in sorted(outcomes.rows, key=lambda row: row.key):
        kept = known.get(_unordered(row), {}).get(row.expert, {})
        if row.gap < SMALLEST_GAP:
            continue
        predicted = foretold.get((row.expert, row.auxiliary), {})
        for label, values in kept.items():
            halves = [gap_closed(row, half) for half in row.halves[label]]
            line = {"expert": row.expert, "auxiliary": row.auxiliary, "regime": row.regime,
                    "arm": label, "gain": round(gap_closed(row, row.utilities[label]), DIGITS),
                    "halves": [round(half, DIGITS) for half in halves], **values}  # fmt: skip
            lines.append(line | ({"predicted": predicted[label]} if predicted else {}))
    write_text(path, "".join(json.dumps(line) + "\n" for line in lines))


def _unordered(row: Outcome) -> Pair:
    return min(row.expert, row.auxiliary), max(row.expert, row.auxiliary)


def _place(pair: Pair) -> str:
    return sha256("/".join(pair).encode()).hexdigest()


def _restore(model: Any, weights: Mapping[str, Any]) -> None:
    into = dict(model.named_parameters())
    with torch.no_grad():
        for name, weight in weights.items():
            into[name].copy_(weight)


if __name__ == "__main__":
    main()
