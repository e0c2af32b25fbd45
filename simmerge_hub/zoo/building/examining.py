"""How a model of a zoo did in its exams, and how far it lies from its base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from simmerge_hub.zoo.catalogue import Catalogue
from simmerge_hub.zoo.evaluation import Exam, Score, evaluate, mean
from simmerge_hub.zoo.manifest import (
    Entry,
    Manifest,
    base_of,
    cast_for_exams,
    digest_of,
    load_model,
)
from simmerge_hub.zoo.measuring.design import draw_pairs

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def examine(
    catalogue: Catalogue, manifest: Manifest, name: str, exams: Mapping[str, Exam]
) -> Entry:
    """The entry of a model that was made, with its scores, its distance, and whether it is kept."""
    entry = manifest.models[name]
    model = load_model(manifest, name)
    origin = base_of(manifest, name)
    ratio = 0.0
    if entry.kind != "base":
        blocks = "package" in manifest.models[origin].spec
        ratio = _delta_ratio(model, load_model(manifest, origin), blocks=blocks)
    model = cast_for_exams(manifest, model)
    scores = {t: _shares(evaluate(model, exams[t])) for t in tasks_for(catalogue, name)}
    digest = exam_digest(catalogue, manifest, name)
    entry = replace(entry, scores=scores, exam=digest, delta_ratio=ratio)
    if entry.kind == "base":
        return entry
    kept = scores[entry.spec["task"]]["exact_match"] > catalogue.keep_above
    return replace(entry, kept=kept)


def _shares(score: Score) -> dict[str, float]:
    return {
        "exact_match": round(mean(score.exact_match), 4),
        "token_accuracy": round(mean(score.token_accuracy), 4),
        "nll": score.nll,
    }


def _delta_ratio(model: PreTrainedModel, base: PreTrainedModel, *, blocks: bool) -> float:
    """‖model − base‖ / ‖base‖ over all weights, or over the matrices of the blocks only."""
    import torch

    with torch.no_grad():
        squares = [
            (float((w - b).square().sum()), float(b.square().sum()))
            for (name, w), b in zip(model.named_parameters(), base.parameters(), strict=True)
            if not blocks or (w.ndim == 2 and ".layers." in name)
        ]
    delta, whole = (sum(column) for column in zip(*squares, strict=True))
    return round((delta / whole) ** 0.5, 4)


def exam_digest(catalogue: Catalogue, manifest: Manifest, name: str) -> str:
    """sha256 of the tasks and the number of prompts that a model's scores are measured with."""
    tasks = {task: manifest.tasks[task] for task in tasks_for(catalogue, name)}
    asked = [tasks, catalogue.evaluation, catalogue.keep_above]
    return digest_of(asked if catalogue.dtype == "float32" else [*asked, catalogue.dtype])


def tasks_for(catalogue: Catalogue, name: str) -> list[str]:
    """The tasks of a model's exams: all, or where a share of pairs is measured its own and those of
    its partners."""
    spec = catalogue.specialists.get(name)
    share = (catalogue.pairs.share or {}).get(spec.base) if spec else None
    if spec is None or share is None:
        return list(catalogue.tasks)
    family = [n for n, other in catalogue.specialists.items() if other.base == spec.base]
    pairs = [pair for pair in draw_pairs(family, share, catalogue.pairs.seed) if name in pair]
    needed = {spec.task} | {catalogue.specialists[n].task for pair in pairs for n in pair}
    return [task for task in catalogue.tasks if task in needed]
