"""What a built zoo holds: one JSON file beside the model folders, and how to load from it.

    {"format": "simmerge-hub zoo", "schema": 1, "name": ..., "tasks": {...}, "models": {...}}

Neither times nor places of this machine are recorded: the same build gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from simmerge_hub.documents import explain
from simmerge_hub.errors import CheckpointError
from simmerge_hub.hub.files.hashes import hash_contents
from simmerge_hub.zoo.real.precision import running_dtype

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Kind = Literal["base", "full", "adapter"]

FORMAT = "simmerge-hub zoo"
SCHEMA = 1
MANIFEST_FILE = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One model of a zoo.

    Args:
        kind: a base, a specialist with all its weights, or a LoRA adapter.
        digest: sha256 of everything the weights follow from; a finished model with the same
            digest is not trained again.
        exam: sha256 of the tasks and the number of prompts that `scores` were measured with.
        sha256: of the weight file.
        kept: a base, or a specialist that learned its task; others have no folder.
        spec: the fields of its BaseSpec or SpecialistSpec.
        delta_ratio: ‖model − base‖ / ‖base‖ over all weights, 0 for a base. Where the base comes
            from a package, over the matrices of its blocks: in a Gemma a few norm weights outweigh
            all the rest.
        scores: task -> exact_match, token_accuracy (shares) and nll (nats per answer token); all
            tasks, or those that its pairs are measured on.
    """

    kind: Kind
    digest: str
    exam: str
    sha256: str
    kept: bool
    spec: Mapping[str, Any]
    delta_ratio: float
    scores: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A zoo on disk. `tasks` maps a task's name to `domain/variant`; `models` are all, kept or not.

    `folder` is where it was read from and is not part of the file. `pairs` says which pairs are
    measured: {"seed": …, "most": {base: count}, "share": {base: share}}; left out, all of them.
    `dtype` is that of exams.
    """

    folder: Path
    name: str
    namespace: str
    evaluation: int
    versions: Mapping[str, str]
    threads: int
    tasks: Mapping[str, str]
    models: Mapping[str, Entry]
    pairs: Mapping[str, Any] = field(default_factory=dict)
    dtype: str = "float32"

    def path(self, model: str) -> Path:
        """The folder of a model that was kept."""
        if model not in self.models or not self.models[model].kept:
            known = ", ".join(n for n, entry in self.models.items() if entry.kept)
            raise CheckpointError(f"the zoo {self.name} has no {model}", hint=f"it has {known}")
        return self.folder / model

    def probes(self, task: str) -> Path:
        """The JSON Lines file with the probe prompts of a task."""
        return self.folder / "probes" / f"{task}.jsonl"

    @property
    def specialists(self) -> dict[str, Entry]:
        """The kept specialists by name, in the order they were planned."""
        return {n: entry for n, entry in self.models.items() if entry.kept and entry.kind != "base"}

    def with_entry(self, model: str, entry: Entry) -> Manifest:
        """This manifest with one entry added or replaced."""
        return replace(self, models={**self.models, model: entry})


def load_manifest(folder: Path) -> Manifest:
    """The manifest in `folder`. Raises CheckpointError when there is none that can be read."""
    try:
        fields = json.loads((folder / MANIFEST_FILE).read_text())
        kind = (fields.pop("format"), fields.pop("schema"))
        if kind != (FORMAT, SCHEMA):
            raise ValueError(f"it says {kind}, not {(FORMAT, SCHEMA)}")
        models = {name: Entry(**entry) for name, entry in fields.pop("models").items()}
        return Manifest(folder=folder, models=models, **fields)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{folder} is not a zoo: {explain(error)}",
            hint="build one: simmerge-hub zoo build RECIPE -o DIR",
        ) from error


def save_manifest(manifest: Manifest) -> None:
    """Write the manifest into its folder, replacing the former one in a single step."""
    fields = asdict(manifest)
    del fields["folder"]
    if not manifest.pairs:
        del fields["pairs"]
    if manifest.dtype == "float32":
        del fields["dtype"]
    text = json.dumps({"format": FORMAT, "schema": SCHEMA, **fields}, indent=1)
    partial = manifest.folder / f".{MANIFEST_FILE}"
    partial.write_text(text + "\n")
    partial.replace(manifest.folder / MANIFEST_FILE)


def load_model(manifest: Manifest, model: str) -> PreTrainedModel:
    """A kept model in float32, ready for evaluation; an adapter comes folded into its base."""
    import torch

    entry = manifest.models[model]
    folder = manifest.path(model if entry.kind != "adapter" else entry.spec["base"])
    loaded = load_folder(folder, torch.float32)
    if entry.kind == "adapter":
        from peft import PeftModel

        loaded = PeftModel.from_pretrained(loaded, manifest.path(model)).merge_and_unload()  # type: ignore[operator]
    return loaded.eval()


def load_folder(folder: Path, dtype: Any) -> PreTrainedModel:
    """The full model in `folder` in a torch dtype."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)


def cast_for_exams(manifest: Manifest, model: PreTrainedModel) -> PreTrainedModel:
    """`model` itself, its weights rounded to the dtype of this zoo's exams.

    They stay in it, or are in float32 where the processor runs it slower (`zoo.real.precision`).
    """
    import torch

    if manifest.dtype == "float32":
        return model.float()  # type: ignore[return-value]
    rounded = model.to(getattr(torch, manifest.dtype))  # type: ignore[call-arg]
    return rounded.to(running_dtype())  # type: ignore[return-value]


def base_of(manifest: Manifest, model: str) -> str:
    """The base that a model was trained from; a base itself."""
    return manifest.models[model].spec["base"] if manifest.models[model].kind != "base" else model


def digest_of(value: Any) -> str:
    """sha256 of a value's canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def weights_sha256(folder: Path) -> str:
    """sha256 of the weight file in a model or adapter folder, or "" without one."""
    files = sorted(folder.glob("*.safetensors"))
    return hash_contents(files[0], "sha256") if files else ""
