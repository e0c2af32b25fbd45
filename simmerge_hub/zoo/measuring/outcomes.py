"""Merge every pair of a zoo with every arm, in memory, and measure what predictors learn from.

A merge of (a, b) with an arm is the merge of (b, a) with the swapped arm, so each unordered pair is
merged once per arm and examined on the tasks of both.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from simmerge_hub.hub.resolve import resolve
from simmerge_hub.operators import ARMS, Arm, Place, merge_tensors
from simmerge_hub.selector.tables.outcomes import Outcome, Outcomes
from simmerge_hub.zoo.evaluation import Exam, Score, evaluate, exam, mean
from simmerge_hub.zoo.manifest import Manifest, digest_of, load_manifest, load_model
from simmerge_hub.zoo.measuring import journal
from simmerge_hub.zoo.measuring.design import Pair, families, pairs_of
from simmerge_hub.zoo.measuring.gates import gate_report
from simmerge_hub.zoo.tasks import task

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import LlamaForCausalLM

Weights = dict[str, "Tensor"]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """One of a pair: its name, the task it is the expert for, and that task's exam."""

    name: str
    task: str
    weights: Weights
    exam: Exam


def measure_outcomes(
    zoo_folder: Path,
    *,
    arms: Sequence[Arm] = ARMS,
    models: Iterable[str] | None = None,
    resume: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> Outcomes:
    """Ordered pairs of kept specialists of one base, on the expert's own task.

    Args:
        zoo_folder: what `build` wrote.
        arms: closed under swapping the two models.
        models: the specialists to pair; all that were kept by default. The zoo's recipe may say
            that only some of the pairs are measured.
        resume: a file that keeps what is finished, to go on from after a stop.
        progress: called with the number of finished pairs and of all.

    Returns:
        The table, one row for each (expert, auxiliary). Merges are rounded to bfloat16, as saved
        models are, and examined in float32.
    """
    manifest = load_manifest(zoo_folder)
    names = list(manifest.specialists if models is None else models)
    wanted = {b: pairs_of(manifest, b, m) for b, m in families(manifest, names).items()}
    digest = _digest(manifest, arms)
    known = journal.read(resume, digest) if resume else {}
    if resume:
        journal.start(resume, digest, known)
    total, rows = sum(map(len, wanted.values())), list[Outcome]()
    for base, pairs in wanted.items():
        rows += [row for pair in pairs for row in known.get(pair, ())]
        for pair, found in _family(manifest, base, [p for p in pairs if p not in known], arms):
            if resume:
                journal.add(resume, pair, found)
            rows += found
            progress(len(rows) // 2, total)
    measured = Outcomes(arms=tuple(arms), rows=tuple(rows))
    return replace(measured, provenance=_provenance(manifest, measured))


def weights_of(model: LlamaForCausalLM) -> Weights:
    """The model's weights by name, float32, a tied one once."""
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def merge_into(
    scratch: LlamaForCausalLM, arm: Arm, base: Weights, parents: Mapping[str, Weights]
) -> LlamaForCausalLM:
    """`scratch`, now holding the merge of `parents`: float32 weights with bfloat16 values.

    Random numbers belong to the tensor and to the parent's name, with seed 0.
    """
    import torch

    with torch.no_grad():
        for name, weight in scratch.named_parameters():
            place = Place(tensor=name, models=tuple(parents), shape=tuple(weight.shape))
            sides = [parent[name] for parent in parents.values()]
            merged = merge_tensors(arm, base[name], sides, place)
            weight.copy_(merged.to(torch.bfloat16))
    return scratch


def _exams(manifest: Manifest) -> dict[str, Exam]:
    named = {name: task(*path.split("/")) for name, path in manifest.tasks.items()}
    return {name: exam(known, manifest.evaluation) for name, known in named.items()}


def _family(
    manifest: Manifest, base: str, pairs: Sequence[Pair], arms: Sequence[Arm]
) -> Iterator[tuple[Pair, list[Outcome]]]:
    """The rows of each of `pairs`, measured by one process per processor; nothing for no pairs."""
    members = sorted({name for pair in pairs for name in pair})
    with ProcessPoolExecutor(
        len(os.sched_getaffinity(0)),
        mp_context=get_context("spawn"),
        initializer=_prepare,
        initargs=(manifest, base, members, arms),
    ) as pool:
        yield from zip(pairs, pool.map(_measured, pairs), strict=True)


_bench: dict[str, Callable[[str, str], list[Outcome]]] = {}
"""In a measuring process: how a pair of models is measured."""


def _prepare(manifest: Manifest, base: str, members: list[str], arms: Sequence[Arm]) -> None:
    """Load a family once in a measuring process."""
    import torch

    torch.set_num_threads(1)
    exams = _exams(manifest)
    scratch = load_model(manifest, base)
    origin = weights_of(scratch)
    sides = {name: _side(manifest, name, exams) for name in members}

    def measure(first: str, second: str) -> list[Outcome]:
        one, other = sides[first], sides[second]
        found = [_examined(scratch, arm, origin, one, other) for arm in arms]
        forward = {arm.label: score for arm, (score, _) in zip(arms, found, strict=True)}
        backward = {arm.swapped().label: score for arm, (_, score) in zip(arms, found, strict=True)}
        return [_row(manifest, one, other, forward), _row(manifest, other, one, backward)]

    _bench["measure"] = measure


def _measured(pair: tuple[str, str]) -> list[Outcome]:
    return _bench["measure"](*pair)


def _side(manifest: Manifest, name: str, exams: dict[str, Exam]) -> _Side:
    known = manifest.models[name].spec["task"]
    weights = weights_of(load_model(manifest, name))
    return _Side(name=name, task=known, weights=weights, exam=exams[known])


def _examined(
    scratch: LlamaForCausalLM, arm: Arm, origin: Weights, one: _Side, other: _Side
) -> tuple[Score, Score]:
    merged = merge_into(scratch, arm, origin, {one.name: one.weights, other.name: other.weights})
    return evaluate(merged, one.exam), evaluate(merged, other.exam)


def _row(manifest: Manifest, expert: _Side, auxiliary: _Side, found: dict[str, Score]) -> Outcome:
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
        utilities={label: round(mean(score.exact_match), 4) for label, score in found.items()},
        secondary={label: round(mean(score.token_accuracy), 4) for label, score in found.items()},
        halves={label: score.exact_match for label, score in found.items()},
        unmerged={role: scores["token_accuracy"] for role, scores in own.items()},
    )


def _digest(manifest: Manifest, arms: Sequence[Arm]) -> str:
    """Of all that rows follow from; the pairs that are wanted are not part of it."""
    models = {name: entry.sha256 for name, entry in manifest.models.items()}
    tasks = dict(manifest.tasks)
    return digest_of([manifest.name, models, tasks, manifest.evaluation, [a.label for a in arms]])


def _provenance(manifest: Manifest, measured: Outcomes) -> dict[str, object]:
    kept = {name: entry for name, entry in manifest.models.items() if entry.kept}
    return {
        "zoo": manifest.name,
        "evaluation": manifest.evaluation,
        "models": {name: entry.sha256 for name, entry in kept.items()},
        "parameters": {n: _entries(manifest, n) for n, e in kept.items() if e.kind == "base"},
        "versions": dict(manifest.versions),
        "gates": gate_report(measured),
    }


def _entries(manifest: Manifest, model: str) -> int:
    """How many numbers a model holds, from its headers."""
    return sum(header.entries for header in resolve(str(manifest.path(model))).tensors.values())
