"""Merge every pair of a zoo with every arm, in memory, and measure what predictors learn from.

A merge of (a, b) with an arm is the merge of (b, a) with the swapped arm, so each unordered pair is
merged once per arm and examined on the tasks of both. The models of a pair are read once for all
arms, and only what they change is merged.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path

from simmerge_hub.hub.resolve import resolve
from simmerge_hub.operators import ARMS, FED_ARMS, Arm, find
from simmerge_hub.selector.tables.outcomes import Outcome, Outcomes
from simmerge_hub.zoo.evaluation import Exam, Score, evaluate, exam, mean
from simmerge_hub.zoo.manifest import Manifest, cast_for_exams, digest_of, load_manifest, load_model
from simmerge_hub.zoo.measuring import journal
from simmerge_hub.zoo.measuring.design import Pair, families, pairs_of
from simmerge_hub.zoo.measuring.gates import gate_report
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

JOURNAL_VERSION = 2
"""Raise it when rows of before are no longer what would be measured now."""
HELD = 2
"""Specialists that a measuring process keeps in memory: the two of a pair."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """One of a pair: its name, the task it is the expert for, what it changes, and its exam;
    what its layers are fed, if an arm looks at that."""

    name: str
    task: str
    weights: Weights
    exam: Exam
    feeding: Feeding | None


def measure_outcomes(
    zoo_folder: Path,
    *,
    arms: Sequence[Arm] = (*ARMS, *FED_ARMS),
    models: Iterable[str] | None = None,
    resume: Path | None = None,
    measure: bool = True,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Outcomes:
    """Ordered pairs of kept specialists of one base, on the expert's own task.

    Args:
        zoo_folder: what `build` wrote.
        arms: closed under swapping the two models.
        models: the specialists to pair; all that were kept by default. The zoo's recipe may say
            that only some of the pairs are measured.
        resume: a file that keeps what is finished, to go on from after a stop.
        measure: without it the table holds what that file has.
        progress: called with the number of finished pairs and of all.

    Returns:
        The table, one row for each (expert, auxiliary). Merges are rounded to bfloat16, as saved
        models are, and examined in the zoo's dtype.
    """
    manifest = load_manifest(zoo_folder)
    names = list(manifest.specialists if models is None else models)
    wanted = {b: pairs_of(manifest, b, m) for b, m in families(manifest, names).items()}
    digest = _digest(manifest, arms)
    digest_pair = partial(_pair_digest, manifest)
    known = journal.read(resume, digest, digest_pair) if resume else {}
    if resume and measure:
        journal.start(resume, digest, known, digest_pair)
    total, rows = sum(map(len, wanted.values())), list[Outcome]()
    for base, pairs in wanted.items():
        rows += [row for pair in pairs for row in known.get(pair, ())]
        missing = [pair for pair in pairs if pair not in known] if measure else []
        for pair, fresh in _family(manifest, base, missing, arms):
            if resume:
                journal.add(resume, pair, fresh, digest_pair)
            rows += fresh
            progress(len(rows) // 2, total)
    measured = Outcomes(arms=tuple(arms), rows=tuple(rows))
    return replace(measured, provenance=_provenance(manifest, measured, total))


def _exams(manifest: Manifest, base: str) -> dict[str, Exam]:
    codec, count = codec_for(manifest, base), manifest.evaluation
    return {n: exam(find_task(path), count, codec=codec) for n, path in manifest.tasks.items()}


def _family(
    manifest: Manifest, base: str, pairs: Sequence[Pair], arms: Sequence[Arm]
) -> Iterator[tuple[Pair, list[Outcome]]]:
    """The rows of each of `pairs`, as they come, measured by one process per processor."""
    if not pairs:
        return
    with ProcessPoolExecutor(
        len(os.sched_getaffinity(0)),
        mp_context=get_context("spawn"),
        initializer=_prepare,
        initargs=(manifest, base, arms),
    ) as pool:
        yield from zip(pairs, pool.map(_measure, pairs), strict=True)


_bench: dict[str, Callable[[str, str], list[Outcome]]] = {}
"""In a measuring process: how a pair of models is measured."""


def _prepare(manifest: Manifest, base: str, arms: Sequence[Arm]) -> None:
    """Load a base once in a measuring process."""
    import torch

    torch.set_num_threads(1)
    exams, codec = _exams(manifest, base), codec_for(manifest, base)
    sees = any(find(arm.operator).activations for arm in arms)
    scratch = cast_for_exams(manifest, load_model(manifest, base))
    origin = weights_of(scratch)
    runs = any(map(merges_as_it_runs, arms))
    runners = [load_model(manifest, base) for _ in range(HELD)] if runs else []
    bench = Bench(scratch=scratch, base=origin, runners=runners)

    @lru_cache(HELD)
    def side(name: str) -> _Side:
        known = manifest.models[name].spec["task"]
        moved = changes(manifest, name, origin)
        fed = feed_own_probes(manifest, name, codec) if sees else None
        return _Side(name=name, task=known, weights=moved, exam=exams[known], feeding=fed)

    def measure(first: str, second: str) -> list[Outcome]:
        one, other = side(first), side(second)
        scores = [_examine(bench, arm, one, other) for arm in arms]
        forward = {arm.label: score for arm, (score, _) in zip(arms, scores, strict=True)}
        backward = {
            arm.swapped().label: score for arm, (_, score) in zip(arms, scores, strict=True)
        }
        return [_row(manifest, one, other, forward), _row(manifest, other, one, backward)]

    _bench["measure"] = measure


def _measure(pair: tuple[str, str]) -> list[Outcome]:
    return _bench["measure"](*pair)


def _examine(bench: Bench, arm: Arm, one: _Side, other: _Side) -> tuple[Score, Score]:
    parents = {one.name: one.weights, other.name: other.weights}
    feedings = [each.feeding for each in (one, other) if each.feeding]
    merged = merge_pair(bench, arm, parents, feedings)
    return evaluate(merged, one.exam), evaluate(merged, other.exam)


def _row(manifest: Manifest, expert: _Side, auxiliary: _Side, scores: dict[str, Score]) -> Outcome:
    base = manifest.models[expert.name].spec["base"]
    roles = {"expert": expert.name, "auxiliary": auxiliary.name, "base": base}
    own = {role: manifest.models[name].scores[expert.task] for role, name in roles.items()}
    return Outcome(
        expert=expert.name,
        auxiliary=auxiliary.name,
        task=manifest.tasks[expert.task],
        regime=f"{manifest.name}/{base}",
        expert_utility=own["expert"]["exact_match"],
        auxiliary_utility=own["auxiliary"]["exact_match"],
        base_utility=own["base"]["exact_match"],
        utilities={label: round(mean(score.exact_match), 4) for label, score in scores.items()},
        secondary={label: round(mean(score.token_accuracy), 4) for label, score in scores.items()},
        halves={label: score.exact_match for label, score in scores.items()},
        unmerged={role: alone["token_accuracy"] for role, alone in own.items()},
        log_likelihood={label: score.log_likelihood for label, score in scores.items()},
        unmerged_log_likelihood={role: 0.0 - alone["nll"] for role, alone in own.items()},
    )


def _digest(manifest: Manifest, arms: Sequence[Arm]) -> str:
    """Of what all rows follow from; the pairs that are wanted are not part of it."""
    exams = [manifest.evaluation, manifest.dtype]
    return digest_of([JOURNAL_VERSION, manifest.name, exams, [a.label for a in arms]])


def _pair_digest(manifest: Manifest, pair: Pair) -> str | None:
    """Digest of the models and tasks that the rows of one pair follow from."""
    entries = [manifest.models.get(name) for name in pair]
    if not all(entry and entry.kept for entry in entries):
        return None
    specs = [entry.spec for entry in entries if entry]
    base = manifest.models[specs[0]["base"]]
    tasks = [manifest.tasks[spec["task"]] for spec in specs]
    return digest_of([base.sha256, [entry.sha256 for entry in entries if entry], tasks])


def _provenance(manifest: Manifest, measured: Outcomes, total: int) -> dict[str, object]:
    kept = {name: entry for name, entry in manifest.models.items() if entry.kept}
    pairs = len(measured.rows) // 2
    known: dict[str, object] = {
        "zoo": manifest.name,
        "evaluation": manifest.evaluation,
        "models": {name: entry.sha256 for name, entry in kept.items()},
        "parameters": {n: _entries(manifest, n) for n, e in kept.items() if e.kind == "base"},
        "versions": dict(manifest.versions),
        "gates": gate_report(measured),
    }
    return known | ({"unfinished": {"pairs": pairs, "of": total}} if pairs < total else {})


def _entries(manifest: Manifest, model: str) -> int:
    """How many numbers a model holds, from its headers."""
    return sum(header.entries for header in resolve(str(manifest.path(model))).tensors.values())
