"""Probe sets: unlabelled prompts of one task, and the run of a model over them."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simmerge_hub.errors import ProbeError, SignatureError
from simmerge_hub.hub.convert import assembled
from simmerge_hub.hub.ranges import local_file
from simmerge_hub.hub.resolve import TOKENIZER_FILES, Checkpoint
from simmerge_hub.hub.texts import texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PreTrainedModel

    from simmerge_hub.signatures.sketch import Sketch

DOMAINS = ("code", "math", "multilingual", "rag", "instruct")
"""Tasks that have a probe set of ours."""
PROMPTS = 64
"""Prompts of a probe set at most."""

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, steps done, steps in all)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSet:
    """Unlabelled prompts of one task; `digest` is the sha256 of the prompts alone."""

    task: str
    source: str
    prompts: tuple[str, ...]
    digest: str


def probe_set(task: str, source: str | None = None, *, limit: int = PROMPTS) -> ProbeSet:
    """The probe set of a task.

    Args:
        task: any name; one of DOMAINS where no source is given.
        source: a dataset `org/name[@revision][:split[:column]]`, or a .jsonl or .txt file; ours
            by default.
        limit: the first `limit` prompts are used.

    Raises:
        ProbeError: no source and no probe set of ours, or a source without prompts.
    """
    if source is None:
        found, prompts = f"simmerge-hub:{task}", _ours(task)[:limit]
    else:
        read = texts(source, limit=limit)
        found, prompts = read.source, read.prompts
    digest = hashlib.sha256(json.dumps(prompts).encode()).hexdigest()
    return ProbeSet(task=task, source=found, prompts=tuple(prompts), digest=digest)


def run_probes(
    checkpoint: Checkpoint,
    base: Checkpoint | None,
    probe_sets: Sequence[ProbeSet],
    *,
    dtype: str = "float32",
    device: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Sketch]:
    """Load a model once and run every probe set through it in one forward pass each.

    Args:
        checkpoint: a full model, or an adapter with its `base`; downloaded whole if remote.
        base: the model an adapter belongs to.
        probe_sets: one sketch is made of each.
        dtype: what to compute in; sketches of different dtype are never compared.
        device: a GPU where torch finds one by default.
        progress: called as probe sets go by.

    Returns:
        Task -> sketch.
    """
    from transformers import AutoTokenizer

    from simmerge_hub.signatures.sketch import sketch

    folder = _tokenizer_folder(checkpoint, base)
    with _loading(f"the tokenizer of {checkpoint.name}"):
        tokens = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = load_model(checkpoint, base, dtype=dtype, device=device)
    sketches = {}
    for number, probes in enumerate(probe_sets):
        if progress:
            progress(f"probing {checkpoint.name} with {probes.task}", number, len(probe_sets))
        sketches[probes.task] = sketch(model, tokens, probes.prompts, probes=probes.digest)
    return sketches


def load_model(
    checkpoint: Checkpoint,
    base: Checkpoint | None = None,
    *,
    dtype: str = "float32",
    device: str | None = None,
) -> PreTrainedModel:
    """The model in evaluation mode, with attention that can be recorded; adapters folded in.

    No code from the repository is run: `trust_remote_code` is off, weights are safetensors.

    Raises:
        SignatureError: transformers or PEFT cannot load it.
    """
    import torch
    from transformers import AutoModelForCausalLM

    from simmerge_hub.signatures.attention import register

    whole = checkpoint if checkpoint.kind == "full" else base
    if whole is None:
        raise SignatureError(
            f"{checkpoint.name} is an adapter, and its base is not known",
            hint="name the model it was trained on with --base",
        )
    folder = _folder(whole)
    with _quiet(), _loading(whole.name):
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, dtype), use_safetensors=True,
            trust_remote_code=False, local_files_only=True, attn_implementation="eager",
        )  # fmt: skip
        model.set_attn_implementation(register())
    if checkpoint.kind == "adapter":
        adapter = str(_folder(checkpoint))
        with _quiet(), _loading(checkpoint.name):
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return model.to(place).eval()  # type: ignore[arg-type]


@contextmanager
def _loading(what: str) -> Iterator[None]:
    """Raise what transformers and PEFT raise for a model they cannot load as an error of ours."""
    try:
        yield
    except (ValueError, OSError, ImportError, KeyError, RuntimeError) as error:
        lines = str(error).strip().splitlines() or [""]
        raise SignatureError(
            f"{what} cannot be loaded: {type(error).__name__}: {lines[0].strip()}",
            hint=_remedy(error),
        ) from error


def _remedy(error: Exception) -> str:
    if "trust_remote_code" in str(error):
        return "its code is never run here; plan without running it: --signals structural"
    if isinstance(error, ImportError):
        return "install the package it names, then try again"
    return "update transformers, or plan without running it: --signals structural"


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars of transformers', and no word from PEFT about what it will rename."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _folder(checkpoint: Checkpoint) -> Path:
    """A folder with the files loading needs, downloaded into the cache if they are remote."""
    beside = {
        name
        for name in checkpoint.files
        if "/" not in name and (name.endswith(".json") or _of_tokenizer(name))
    }
    if checkpoint.converted is not None:
        return assembled(checkpoint, beside)
    needed = {header.file for header in checkpoint.tensors.values()} | beside
    paths = [local_file(checkpoint.location, name) for name in sorted(needed)]
    return paths[0].parent


def _tokenizer_folder(checkpoint: Checkpoint, base: Checkpoint | None) -> Path:
    """Where the tokenizer is: with the model, or for an adapter without one with its base."""
    for holder in (checkpoint, base):
        if holder is not None and any(_of_tokenizer(name) for name in holder.files):
            return _folder(holder)
    raise ProbeError(
        f"{checkpoint.name} has no tokenizer, so prompts cannot be fed to it",
        hint="add the tokenizer's files to it, or plan with --signals structural",
    )


def _of_tokenizer(name: str) -> bool:
    return bool(TOKENIZER_FILES.fullmatch(name))


def _ours(task: str) -> tuple[str, ...]:
    if task not in DOMAINS:
        raise ProbeError(
            f"there is no probe set of ours for {task!r}",
            hint=f"ours are: {', '.join(DOMAINS)}; or use --probes {task}=org/dataset",
        )
    file = resources.files("simmerge_hub.signatures") / "probes" / f"{task}.jsonl"
    lines: list[Mapping[str, Any]] = [json.loads(line) for line in file.read_text().splitlines()]
    return tuple(line["prompt"] for line in lines)
