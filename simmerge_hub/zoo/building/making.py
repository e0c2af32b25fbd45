"""One model of a zoo: trained or converted, and saved as transformers or peft does."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from simmerge_hub.zoo.catalogue import Catalogue, Pairs
from simmerge_hub.zoo.manifest import (
    Entry,
    Kind,
    Manifest,
    digest_of,
    load_folder,
    load_model,
    weights_sha256,
)
from simmerge_hub.zoo.real.codec import codec_of
from simmerge_hub.zoo.real.gguf import make_base, sha256_of
from simmerge_hub.zoo.real.precision import running_dtype
from simmerge_hub.zoo.real.training import train_text
from simmerge_hub.zoo.tokenizer import tokenizer
from simmerge_hub.zoo.training import (
    CONTEXT,
    BaseSpec,
    PackagedSpec,
    SpecialistSpec,
    train_base,
    train_specialist,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel

GENERATION = 1
"""Raise it when a change of code changes what is trained: models of before are then rebuilt."""


def make_member(catalogue: Catalogue, manifest: Manifest, name: str) -> Entry:
    """Train one model, or convert it, and save it; what is examined is then loaded from there."""
    folder = manifest.folder / name
    spec = catalogue.bases.get(name) or catalogue.specialists[name]
    if isinstance(spec, PackagedSpec):
        kind: Kind = "base"
        make_base(spec.package, folder)
    elif isinstance(spec, BaseSpec):
        kind = "base"
        origin = load_model(manifest, spec.origin) if spec.origin else None
        _save(train_base(spec, origin=origin, tasks=catalogue.tasks), folder)
    else:
        kind = "adapter" if spec.mode == "lora" else "full"
        _train_and_save(catalogue, manifest, spec, folder)
    return Entry(
        kind=kind,
        digest=training_digest(catalogue, manifest, name),
        exam="",
        sha256=weights_sha256(folder),
        kept=True,
        spec=as_fields(spec),
        delta_ratio=0.0,
        scores={},
    )


def _train_and_save(
    catalogue: Catalogue, manifest: Manifest, spec: SpecialistSpec, folder: Path
) -> None:
    import torch

    task, origin = catalogue.tasks[spec.task], manifest.path(spec.base)
    named = f"{catalogue.namespace}/{spec.base}"
    if isinstance(catalogue.bases[spec.base], PackagedSpec):
        dtype = running_dtype() if spec.mode == "lora" else torch.float32
        trained = train_text(load_folder(origin, dtype), task, spec, codec_of(origin))
        _save(trained, folder, base=named, reads_as=origin)
    else:
        trained = train_specialist(load_model(manifest, spec.base), task, spec)
        _save(trained, folder, base=named)


def training_digest(catalogue: Catalogue, manifest: Manifest, name: str) -> str:
    """sha256 of everything that a model's weights follow from."""
    spec = catalogue.bases.get(name) or catalogue.specialists[name]
    origin: dict[str, object] = {}
    if isinstance(spec, PackagedSpec):
        origin["gguf"] = sha256_of(spec.package)
    elif isinstance(spec, BaseSpec):
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
        {"generation": GENERATION, "threads": catalogue.threads, "spec": as_fields(spec), **origin}
    )


def as_fields(spec: BaseSpec | PackagedSpec | SpecialistSpec | Pairs) -> dict[str, object]:
    """A spec without what was left out: a field that is new changes no digest of before."""
    return {key: value for key, value in asdict(spec).items() if value is not None}


def _save(
    model: PreTrainedModel, folder: Path, *, base: str = "", reads_as: Path | None = None
) -> None:
    """Write weights in bfloat16, configuration and tokenizer, as transformers or peft does.

    The tokenizer is the nano one, or that of the model in `reads_as`; beside an adapter the latter
    is left out, for it is large and its base has it.
    """
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
    if reads_as is None:
        tokenizer(CONTEXT).save_pretrained(folder)
    elif not hasattr(model, "peft_config"):
        for path in reads_as.glob("tokenizer*"):
            shutil.copy(path, folder)


def _sort(path: Path) -> None:
    """Rewrite an adapter's configuration in one order: peft writes sets in any."""
    fields = json.loads(path.read_text())
    ordered = {k: sorted(v) if k == "target_modules" else v for k, v in fields.items()}
    path.write_text(json.dumps(ordered, indent=2, sort_keys=True) + "\n")
