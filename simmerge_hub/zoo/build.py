"""A catalogue -> folders that transformers and peft load, probes, and a manifest.

The manifest is written after every model, so a build that was stopped goes on where it was: a model
whose digest and weights are as recorded is left alone.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from simmerge_hub.errors import RecipeError
from simmerge_hub.zoo.catalogue import Catalogue, load_catalogue
from simmerge_hub.zoo.evaluation import Exam, Score, evaluate, exam, mean
from simmerge_hub.zoo.manifest import (
    FILE,
    Entry,
    Kind,
    Manifest,
    digest_of,
    load_manifest,
    load_model,
    save_manifest,
    weights_sha256,
)
from simmerge_hub.zoo.schedule import in_order
from simmerge_hub.zoo.tokenizer import tokenizer
from simmerge_hub.zoo.training import (
    CONTEXT,
    BaseSpec,
    SpecialistSpec,
    threads,
    train_base,
    train_specialist,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel

GENERATION = 1
"""Raise it when a change of code changes what is trained: models of before are then rebuilt."""
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


Progress = Callable[[Step], None]
Made = tuple[State, Entry]


def build(
    config_path: Path,
    output: Path,
    *,
    only: Collection[str] | None = None,
    progress: Progress = lambda step: None,
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
    manifest = replace(_started(catalogue, output), models=_former(output))
    _write_probes(catalogue, manifest)
    wanted = _wanted(catalogue, only)
    origins = {name: _origin(catalogue, name) for name in wanted}
    _planned.cache_clear()
    reports = {n: _Report(progress, n, i, len(wanted)) for i, n in enumerate(wanted, 1)}

    def enter(name: str, result: Made) -> None:
        nonlocal manifest
        state, entry = result
        manifest = manifest.with_entry(name, entry)
        save_manifest(manifest)
        reports[name](state, entry)

    def start(name: str) -> Manifest:
        if _finished(catalogue, manifest, name) is None:
            reports[name]("training")
        return manifest

    in_order(
        origins,
        partial(_elsewhere, config_path),
        processes=catalogue.processes,
        given=start,
        done=enter,
    )
    return manifest


@dataclass(frozen=True, slots=True)
class _Report:
    progress: Progress
    model: str
    number: int
    total: int

    def __call__(self, state: State, entry: Entry | None = None) -> None:
        self.progress(
            Step(model=self.model, number=self.number, total=self.total, state=state, entry=entry)
        )


def _started(catalogue: Catalogue, output: Path) -> Manifest:
    return Manifest(
        folder=output,
        name=catalogue.name,
        namespace=catalogue.namespace,
        evaluation=catalogue.evaluation,
        versions={name: version(name) for name in ("torch", "transformers", "peft")},
        threads=catalogue.threads,
        tasks={name: f"{task.domain}/{task.variant}" for name, task in catalogue.tasks.items()},
        models={},
        pairs=asdict(catalogue.pairs) if catalogue.pairs.most else {},
    )


def _former(output: Path) -> dict[str, Entry]:
    return dict(load_manifest(output).models) if (output / FILE).exists() else {}


def _wanted(catalogue: Catalogue, only: Collection[str] | None) -> list[str]:
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
        found = task.examples("probe", catalogue.probes, seed=PROBE_SEED)
        path.write_text("".join(json.dumps({"prompt": e.prompt}) + "\n" for e in found))


def _origin(catalogue: Catalogue, name: str) -> str | None:
    if name in catalogue.bases:
        return catalogue.bases[name].origin
    return catalogue.specialists[name].base


@cache
def _planned(config_path: Path) -> tuple[Catalogue, dict[str, Exam]]:
    """The catalogue and its exams, once in each process: draws cannot be sent to another."""
    catalogue = load_catalogue(config_path)
    return catalogue, {n: exam(t, catalogue.evaluation) for n, t in catalogue.tasks.items()}


def _member(catalogue: Catalogue, exams: dict[str, Exam], name: str, manifest: Manifest) -> Made:
    """One model trained and measured, or found as it should be."""
    if found := _finished(catalogue, manifest, name):
        return "unchanged", found
    former = _former_training(catalogue, manifest, name)
    if not (former and former.kept):
        manifest = manifest.with_entry(name, _trained(catalogue, manifest, name))
    entry = _measured(catalogue, manifest, name, exams)
    if not entry.kept:
        shutil.rmtree(manifest.folder / name)
    return ("finished" if entry.kept else "dropped"), entry


def _former_training(catalogue: Catalogue, manifest: Manifest, name: str) -> Entry | None:
    """The entry of an earlier build, if the same inputs would give the same weights again."""
    former = manifest.models.get(name)
    if former is None or former.digest != _digest(catalogue, manifest, name):
        return None
    return former if _intact(manifest.folder / name, former) else None


def _finished(catalogue: Catalogue, manifest: Manifest, name: str) -> Entry | None:
    """The entry of an earlier build that needs neither training nor measuring."""
    former = _former_training(catalogue, manifest, name)
    return former if former and former.exam == _exam_digest(catalogue, manifest) else None


def _elsewhere(config_path: Path, name: str, manifest: Manifest) -> Made:
    """`_member` in a process of its own."""
    catalogue, exams = _planned(config_path)
    with threads(catalogue.threads):
        return _member(catalogue, exams, name, manifest)


def _digest(catalogue: Catalogue, manifest: Manifest, name: str) -> str:
    spec = catalogue.bases.get(name) or catalogue.specialists[name]
    origin: dict[str, object] = {}
    if isinstance(spec, BaseSpec):
        if spec.origin:
            origin["origin"] = manifest.models[spec.origin].sha256
        if spec.exposed:
            origin["tasks"] = {shown: manifest.tasks[shown] for shown in spec.exposed}
    else:
        origin = {
            "base": manifest.models[spec.base].sha256,
            "task": manifest.tasks[spec.task],
            "namespace": catalogue.namespace,
        }
    return digest_of(
        {"generation": GENERATION, "threads": catalogue.threads, "spec": _plain(spec), **origin}
    )


def _plain(spec: BaseSpec | SpecialistSpec) -> dict[str, object]:
    """A spec without what was left out: a field that is new changes no digest of before."""
    return {key: value for key, value in asdict(spec).items() if value is not None}


def _exam_digest(catalogue: Catalogue, manifest: Manifest) -> str:
    return digest_of([dict(manifest.tasks), catalogue.evaluation, catalogue.keep_above])


def _intact(folder: Path, entry: Entry) -> bool:
    return not entry.kept or weights_sha256(folder) == entry.sha256


def _trained(catalogue: Catalogue, manifest: Manifest, name: str) -> Entry:
    """Train one model and save it; what is measured is then loaded from there."""
    folder = manifest.folder / name
    spec = catalogue.bases.get(name) or catalogue.specialists[name]
    if isinstance(spec, BaseSpec):
        kind: Kind = "base"
        origin = load_model(manifest, spec.origin) if spec.origin else None
        _save(train_base(spec, origin=origin, tasks=catalogue.tasks), folder)
    else:
        kind = "adapter" if spec.mode == "lora" else "full"
        task = catalogue.tasks[spec.task]
        trained = train_specialist(load_model(manifest, spec.base), task, spec)
        _save(trained, folder, base=f"{catalogue.namespace}/{spec.base}")
    return Entry(
        kind=kind,
        digest=_digest(catalogue, manifest, name),
        exam="",
        sha256=weights_sha256(folder),
        kept=True,
        spec=_plain(spec),
        delta_ratio=0.0,
        scores={},
    )


def _measured(catalogue: Catalogue, manifest: Manifest, name: str, exams: dict[str, Exam]) -> Entry:
    entry = manifest.models[name]
    model = load_model(manifest, name)
    scores = {task: _shares(evaluate(model, exam)) for task, exam in exams.items()}
    entry = replace(entry, scores=scores, exam=_exam_digest(catalogue, manifest))
    if entry.kind == "base":
        return entry
    return replace(
        entry,
        kept=scores[entry.spec["task"]]["exact_match"] > catalogue.keep_above,
        delta_ratio=_delta_ratio(model, load_model(manifest, entry.spec["base"])),
    )


def _shares(score: Score) -> dict[str, float]:
    return {
        "exact_match": round(mean(score.exact_match), 4),
        "token_accuracy": round(mean(score.token_accuracy), 4),
        "nll": score.nll,
    }


def _delta_ratio(model: PreTrainedModel, base: PreTrainedModel) -> float:
    import torch

    with torch.no_grad():
        pairs = zip(model.parameters(), base.parameters(), strict=True)
        squares = [(float((w - b).square().sum()), float(b.square().sum())) for w, b in pairs]
    delta, whole = (sum(column) for column in zip(*squares, strict=True))
    return round((delta / whole) ** 0.5, 4)


def _save(model: PreTrainedModel, folder: Path, *, base: str = "") -> None:
    """Write weights in bfloat16, configuration and tokenizer, as transformers or peft does."""
    import torch

    shutil.rmtree(folder, ignore_errors=True)
    model = model.to(torch.bfloat16)  # type: ignore[assignment]
    if hasattr(model, "peft_config"):
        model.peft_config["default"].base_model_name_or_path = base
        model.save_pretrained(str(folder), save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)
        _sort(folder / "adapter_config.json")
    else:
        model.save_pretrained(folder)
    tokenizer(CONTEXT).save_pretrained(folder)


def _sort(path: Path) -> None:
    """Rewrite an adapter's configuration in one order: peft writes sets in any."""
    fields = json.loads(path.read_text())
    ordered = {k: sorted(v) if k == "target_modules" else v for k, v in fields.items()}
    path.write_text(json.dumps(ordered, indent=2, sort_keys=True) + "\n")
