"""Probe sets: unlabelled prompts of one task, and the run of a model over them."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import combinations
from math import sqrt
from typing import TYPE_CHECKING, Any

from simmerge_hub.errors import ProbeError
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.hub.texts import texts
from simmerge_hub.progress import Progress

if TYPE_CHECKING:
    from simmerge_hub.signatures.probing.sketch import Sketch

PROBE_DOMAINS = ("code", "math", "multilingual", "rag", "instruct")
"""Tasks that have a probe set of ours."""
PROMPTS = 64
"""Prompts of a probe set at most."""
PACKAGED = "simmerge-hub:"
"""Begins the source of a probe set of ours; the task follows."""
RUN, ALIKE = 6, 0.5
"""Prompts are compared by runs of so many characters, and look alike from this cosine on: halves of
prompts that share a template or passages have 0.91 and more, of prompts of one task written freely
0.31 at most, prompts of two tasks 0.14 at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSet:
    """Unlabelled prompts of one task; `digest` is the sha256 of the prompts alone."""

    task: str
    source: str
    prompts: tuple[str, ...]
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """What one model left behind: task -> sketch; how many tokens it read in how many seconds.

    Loading the model is not timed.
    """

    sketches: dict[str, Sketch]
    tokens: int
    seconds: float


def probe_set(task: str, source: str | None = None, *, limit: int = PROMPTS) -> ProbeSet:
    """The probe set of a task.

    Args:
        task: any name; one of PROBE_DOMAINS where no source is given.
        source: a dataset `org/name[@revision][:split[:column]]`, a .jsonl or .txt file, or
            `simmerge-hub:math` for one of ours; ours of this task by default.
        limit: the first `limit` prompts are used.

    Raises:
        ProbeError: no source and no probe set of ours, or a source without prompts.
    """
    if source is None or source.startswith(PACKAGED):
        ours = task if source is None else source.removeprefix(PACKAGED)
        origin, prompts = f"{PACKAGED}{ours}", _packaged_prompts(ours)[:limit]
    else:
        read = texts(source, limit=limit)
        origin, prompts = read.source, read.prompts
    digest = hashlib.sha256(json.dumps(prompts).encode()).hexdigest()
    return ProbeSet(task=task, source=origin, prompts=tuple(prompts), digest=digest)


def look_alike(prompts: Mapping[str, Sequence[ProbeSet]]) -> list[tuple[str, str]]:
    """The pairs of models whose prompts are written nearly the same.

    The measure is the cosine of how often each run of `RUN` characters occurs. It needs no model;
    the Gram matrices of two models differ whether or not their prompts do.
    """
    runs = {name: _count_runs(sets) for name, sets in prompts.items()}
    return [(a, b) for a, b in combinations(runs, 2) if _cosine(runs[a], runs[b]) >= ALIKE]


def _count_runs(sets: Sequence[ProbeSet]) -> Counter[str]:
    texts = dict.fromkeys(text for each in sets for text in each.prompts)
    return Counter(text[i : i + RUN] for text in texts for i in range(max(1, len(text) - RUN + 1)))


def _cosine(one: Counter[str], other: Counter[str]) -> float:
    product = sum(count * other[run] for run, count in one.items())
    return product / sqrt(_square(one) * _square(other)) if product else 0.0


def _square(counts: Counter[str]) -> int:
    return sum(count**2 for count in counts.values())


def run_probes(
    checkpoint: Checkpoint,
    base: Checkpoint | None,
    probe_sets: Sequence[ProbeSet],
    *,
    dtype: str = "float32",
    device: str | None = None,
    offload: bool | None = None,
    progress: Progress | None = None,
) -> Probed:
    """Load a model once and run every probe set through it in one forward pass each.

    Args:
        checkpoint: a full model, or an adapter with its `base`; downloaded whole if remote.
        base: the model an adapter belongs to.
        probe_sets: one sketch is made of each.
        dtype: what to compute in; sketches of different dtype are never compared.
        device: a GPU where torch finds one by default.
        offload: whether weights stay on the disk but for the layer that runs; by default if the
            model does not fit into the free memory.
        progress: called as probe sets go by.

    Raises:
        ProbeError: a prompt of fewer than two tokens, there is no tokenizer, or not this model's.
        SignatureError: transformers or PEFT cannot load the model.
    """
    from simmerge_hub.signatures.probing import loading
    from simmerge_hub.signatures.probing.forward import longest_prompt, read_prompt, sketch
    from simmerge_hub.weights.loaded import memory

    tokenizer = loading.load_tokenizer(checkpoint, base)
    sketches, tokens, seconds = {}, 0, 0.0
    with loading.open_model(checkpoint, base, dtype=dtype, device=device, offload=offload) as model:
        size = memory.model_bytes(checkpoint, base, dtype)
        entries = memory.batch_entries(size, memory.free_memory(model.device))
        for number, probes in enumerate(probe_sets):
            if progress:
                progress(f"probing {checkpoint.name} with {probes.task}", number, len(probe_sets))
            began = time.perf_counter()
            sketches[probes.task] = sketch(
                model, tokenizer, probes.prompts, probes=probes.digest, entries=entries
            )
            seconds += time.perf_counter() - began
            longest = longest_prompt(model.config.get_text_config())
            tokens += sum(len(read_prompt(text, tokenizer, longest)) for text in probes.prompts)
    return Probed(sketches=sketches, tokens=tokens, seconds=seconds)


def _packaged_prompts(task: str) -> tuple[str, ...]:
    if task not in PROBE_DOMAINS:
        raise ProbeError(
            f"there is no probe set of ours for {task!r}",
            hint=f"ours are: {', '.join(PROBE_DOMAINS)}; or name a file, or org/dataset",
        )
    file = resources.files("simmerge_hub.signatures.probing") / "probes" / f"{task}.jsonl"
    lines: list[Mapping[str, Any]] = [json.loads(line) for line in file.read_text().splitlines()]
    return tuple(line["prompt"] for line in lines)
