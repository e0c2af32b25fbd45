"""A catalogue -> folders that transformers and peft load, probes, and a manifest.

The manifest is written after every model, so a build that was stopped goes on where it was: a model
whose digest and weights are as recorded is left alone.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from simmerge_hub.errors import RecipeError
from simmerge_hub.zoo.building.examining import exam_digest, examine
from simmerge_hub.zoo.building.making import as_fields, make_member, training_digest
from simmerge_hub.zoo.building.schedule import in_order
from simmerge_hub.zoo.catalogue import Catalogue, load_catalogue
from simmerge_hub.zoo.evaluation import Exam, exam
from simmerge_hub.zoo.manifest import (
    MANIFEST_FILE,
    Entry,
    Manifest,
    base_of,
    load_manifest,
    save_manifest,
    weights_sha256,
)
from simmerge_hub.zoo.real.codec import Codec, codec_for
from simmerge_hub.zoo.training import BaseSpec, threads

PROBE_SEED = 0

State = Literal["training", "finished", "dropped", "unchanged"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a build reports: the model, its number of all, and what became of it."""

    model: str
    number: int
    total: int
    state: State
    entry: Entry | None = None


OnStep = Callable[[Step], None]
Made = tuple[State, Entry]


def build(
    config_path: Path,
    output: Path,
    *,
    only: Collection[str] | None = None,
    progress: OnStep = lambda step: None,
) -> Manifest:
    """Build the zoo that a YAML file describes.

    Args:
        config_path: see `zoo.catalogue`.
        output: one folder per kept model, `probes/` and `manifest.json`; may hold an earlier build.
        only: names of the specialists to build; all by default. Bases are always built.
        progress: called before and after every model.

    Returns:
        The manifest, with measured scores of every model on every task.

    Raises:
        RecipeError: the YAML does not describe a zoo, or has no such specialist.
    """
    catalogue = load_catalogue(config_path)
    output.mkdir(parents=True, exist_ok=True)
    manifest = replace(_new_manifest(catalogue, output), models=_former_entries(output))
    _write_probes(catalogue, manifest)
    wanted = _choose_members(catalogue, only)
    origins = {name: _origin(catalogue, name) for name in wanted}
    _catalogue.cache_clear()
    reports = {n: _Report(progress, n, i, len(wanted)) for i, n in enumerate(wanted, 1)}

    def enter(name: str, result: Made) -> None:
        nonlocal manifest
        state, entry = result
        manifest = manifest.with_entry(name, entry)
        save_manifest(manifest)
        reports[name](state, entry)

    def start(name: str) -> Manifest:
        if _reusable_entry(catalogue, manifest, name) is None:
            reports[name]("training")
        return manifest

    in_order(
        origins,
        partial(_make_elsewhere, config_path),
        processes=catalogue.processes,
        given=start,
        done=enter,
    )
    return manifest


@dataclass(frozen=True, slots=True)
class _Report:
    progress: OnStep
    model: str
    number: int
    total: int

    def __call__(self, state: State, entry: Entry | None = None) -> None:
        self.progress(
            Step(model=self.model, number=self.number, total=self.total, state=state, entry=entry)
        )


def _new_manifest(catalogue: Catalogue, output: Path) -> Manifest:
    return Manifest(
        folder=output,
        name=catalogue.name,
        namespace=catalogue.namespace,
        evaluation=catalogue.evaluation,
        versions={name: version(name) for name in ("torch", "transformers", "peft")},
        threads=catalogue.threads,
        tasks={name: f"{task.domain}/{task.variant}" for name, task in catalogue.tasks.items()},
        models={},
        pairs=as_fields(catalogue.pairs) if catalogue.pairs.limits else {},
        dtype=catalogue.dtype,
    )


def _former_entries(output: Path) -> dict[str, Entry]:
    return dict(load_manifest(output).models) if (output / MANIFEST_FILE).exists() else {}


def _choose_members(catalogue: Catalogue, only: Collection[str] | None) -> list[str]:
    chosen = list(catalogue.specialists if only is None else only)
    unknown = [name for name in chosen if name not in catalogue.specialists]
    if unknown:
        raise RecipeError(
            f"the zoo {catalogue.name} has no {', '.join(unknown)}",
            hint=f"it has {', '.join(catalogue.specialists)}",
        )
    return [*catalogue.bases, *chosen]


def _write_probes(catalogue: Catalogue, manifest: Manifest) -> None:
    for name, task in catalogue.tasks.items():
        path = manifest.probes(name)
        path.parent.mkdir(exist_ok=True)
        examples = task.examples("probe", catalogue.probes, seed=PROBE_SEED)
        path.write_text("".join(json.dumps({"prompt": e.prompt}) + "\n" for e in examples))


def _origin(catalogue: Catalogue, name: str) -> str | None:
    if name in catalogue.bases:
        spec = catalogue.bases[name]
        return spec.origin if isinstance(spec, BaseSpec) else None
    return catalogue.specialists[name].base


@cache
def _catalogue(config_path: Path) -> Catalogue:
    """The catalogue, once in each process: draws cannot be sent to another."""
    return load_catalogue(config_path)


@cache
def _exams(config_path: Path, codec: Codec) -> dict[str, Exam]:
    """What every model that reads by `codec` is asked, once in each process."""
    catalogue = _catalogue(config_path)
    tasks = catalogue.tasks.items()
    return {name: exam(task, catalogue.evaluation, codec=codec) for name, task in tasks}


def _member(catalogue: Catalogue, config_path: Path, name: str, manifest: Manifest) -> Made:
    """One model trained and measured, or found as it should be."""
    if entry := _reusable_entry(catalogue, manifest, name):
        return "unchanged", entry
    former = _former_training(catalogue, manifest, name)
    if not (former and former.kept):
        manifest = manifest.with_entry(name, make_member(catalogue, manifest, name))
    exams = _exams(config_path, codec_for(manifest, base_of(manifest, name)))
    entry = examine(catalogue, manifest, name, exams)
    if not entry.kept:
        shutil.rmtree(manifest.folder / name)
    return ("finished" if entry.kept else "dropped"), entry


def _former_training(catalogue: Catalogue, manifest: Manifest, name: str) -> Entry | None:
    """The entry of an earlier build, if the same inputs would give the same weights again."""
    former = manifest.models.get(name)
    if former is None or former.digest != training_digest(catalogue, manifest, name):
        return None
    return former if _is_intact(manifest.folder / name, former) else None


def _reusable_entry(catalogue: Catalogue, manifest: Manifest, name: str) -> Entry | None:
    """The entry of an earlier build that needs neither training nor measuring."""
    former = _former_training(catalogue, manifest, name)
    return former if former and former.exam == exam_digest(catalogue, manifest, name) else None


def _make_elsewhere(config_path: Path, name: str, manifest: Manifest) -> Made:
    """`_member` in a process of its own."""
    catalogue = _catalogue(config_path)
    with threads(catalogue.threads):
        return _member(catalogue, config_path, name, manifest)


def _is_intact(folder: Path, entry: Entry) -> bool:
    return not entry.kept or weights_sha256(folder) == entry.sha256
