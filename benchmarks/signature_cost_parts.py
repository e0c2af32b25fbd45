"""The parts of `signature_cost.py`, each run in a process of its own; the last line is JSON."""

import json
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

TASK = "code"
COMPARED = ("logprobs", "entropy", "loss", "hidden", "attention")
PLANNED = ("code", "math", "multilingual")
EXPERTS = (0, 0, 1)
"""Which of a pair counts as the expert of each planned task."""


def say(**found: Any) -> None:
    """Print what a part found, with the peak of the process."""
    print(json.dumps({**found, "peak_mb": round(peak() / 1e6)}))


def peak() -> int:
    """Peak resident bytes of this program; `ru_maxrss` has those of the one that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def serve(folder: str, file: str) -> None:
    """A localhub that writes down how many bytes of bodies it sent, in all and of weight files."""
    from simmerge_hub.localhub import serve as run
    from simmerge_hub.localhub import server

    counts = {"all": 0, "weights": 0, "requests": 0}
    real = server.application

    def counted(*arguments: Any) -> Any:
        app = real(*arguments)

        async def counting(scope: Any, receive: Any, send: Any) -> None:
            async def sending(message: Any) -> None:
                size = len(message.get("body", b""))
                counts["all"] += size
                counts["weights"] += size if scope["path"].endswith(".safetensors") else 0
                await send(message)

            counts["requests"] += 1
            await app(scope, receive, sending)
            Path(file).write_text(json.dumps(counts))

        return counting

    server.application = counted
    run(dir=folder, exit_with_parent=True)


def upload(folder: str, repo: str) -> None:
    """Push a folder as a model."""
    from huggingface_hub import HfApi

    HfApi().create_repo(repo)
    HfApi().upload_folder(repo_id=repo, folder_path=folder)
    say()


def structural(model: str) -> None:
    """Resolve and sign a model by its weights alone; imports are not timed."""
    from simmerge_hub.hub.resolve import resolve
    from simmerge_hub.signatures.published.shared import size_of
    from simmerge_hub.signatures.signing.signature import sign

    began = time.perf_counter()
    checkpoint = resolve(model)
    read = time.perf_counter()
    made = sign(checkpoint)
    done = time.perf_counter()
    say(
        resolving_seconds=round(read - began, 2),
        signing_seconds=round(done - read, 2),
        signature_mb=round(size_of(made) / 1e6, 1),
    )


def imports() -> None:
    """What a functional pass imports, and no model."""
    began = time.perf_counter()
    import accelerate  # noqa: F401
    import peft  # noqa: F401
    from transformers import LlamaForCausalLM  # noqa: F401

    say(seconds=round(time.perf_counter() - began, 1))


def probe(base: str, model: str, how: str, keep: str) -> None:
    """The functional part for one probe set of ours, whole in memory or by layers."""
    from simmerge_hub.hub.resolve import resolve
    from simmerge_hub.signatures.probing.probe import probe_set, run_probes

    checkpoint, whole = resolve(model), resolve(base)
    began = time.perf_counter()
    adapted = whole if checkpoint.kind == "adapter" else None
    probed = run_probes(checkpoint, adapted, [probe_set(TASK)], offload=how == "offloaded")
    made = probed.sketches[TASK]
    seconds = time.perf_counter() - began
    np.savez(keep, **{name: getattr(made, name) for name in COMPARED})
    say(seconds=round(seconds, 1))


def compared(one: str, other: str) -> None:
    """The largest difference of each array of two sketches, as a share of its largest entry."""
    first, second = np.load(one), np.load(other)
    wide = {n: (first[n].astype(np.float64), second[n].astype(np.float64)) for n in COMPARED}
    print(
        json.dumps({n: float(np.abs(a - b).max() / np.abs(a).max()) for n, (a, b) in wide.items()})
    )


def pairs(size: str) -> None:
    """Milliseconds for features: of the first pair and task, and of models all met in other pairs.

    Of each pair the first task is slower: weights are compared once for all tasks.
    """
    from simmerge_hub.signatures.features.vector import features

    base, *models = {"nano": _nano, "7B": _seven}[size]()
    first, others = 0.0, []
    met: set[str] = set()
    for a, b in combinations(models, 2):
        for task in a.sketches:
            began = time.perf_counter()
            features(a, b, base, task)
            took = 1000 * (time.perf_counter() - began)
            first = first or took
            others += [took] if met >= {a.digest, b.digest} else []
        met |= {a.digest, b.digest}
    say(
        first_ms=round(first, 2),
        median_ms=round(statistics.median(others), 2),
        mean_ms=round(statistics.mean(others), 2),
        slowest_ms=round(max(others), 2),
        measured=len(others),
        signature_mb=_saved(models[0]),
    )


def _nano() -> list[Any]:
    from simmerge_hub.cli.zoo import nano_folder
    from simmerge_hub.hub.resolve import resolve
    from simmerge_hub.signatures.probing.probe import probe_set
    from simmerge_hub.signatures.signing.signature import sign

    tasks = [probe_set(t, str(nano_folder() / "probes" / f"{t}.jsonl")) for t in PLANNED]
    names = ("base", "code", "math", "multilingual", "instruct")
    return [sign(resolve(str(nano_folder() / n)), probe_sets=tasks) for n in names]


def _seven() -> list[Any]:
    from synthetic import seven_b_signature

    tasks = ("code", "math", "multilingual", "rag", "instruct")
    return [seven_b_signature(seed, tasks, 0.05 * seed) for seed in range(4)]


def _saved(signature: Any) -> float:
    """Megabytes of the file."""
    from tempfile import TemporaryDirectory

    from simmerge_hub.signatures.signing.signature import save

    with TemporaryDirectory() as folder:
        save(signature, Path(folder, "one.safetensors"))
        return round(Path(folder, "one.safetensors").stat().st_size / 1e6, 1)


def planning(listed: str, probes: str) -> None:
    """Sign a base and N models (from the cache, if they are there); decide about every pair."""
    from simmerge_hub.hub.resolve import resolve
    from simmerge_hub.operators import BALANCED
    from simmerge_hub.planning.ask.objective import MEAN
    from simmerge_hub.planning.ask.tasks import Task
    from simmerge_hub.planning.inputs import Inputs
    from simmerge_hub.planning.pairs import decide
    from simmerge_hub.selector.predictor import archive
    from simmerge_hub.selector.predictor.origin import packaged_predictor
    from simmerge_hub.signatures.features.vector import features
    from simmerge_hub.signatures.merged.effects import effects, swap_effects
    from simmerge_hub.signatures.probing.probe import probe_set
    from simmerge_hub.signatures.signing.signature import sign

    tasks = [probe_set(t, f"{probes}/{t}.jsonl") for t in PLANNED]
    trained = archive.load(packaged_predictor())
    began = time.perf_counter()
    base, *checkpoints = [resolve(folder) for folder in json.loads(Path(listed).read_text())]
    entries = sum(h.entries for h in base.tensors.values())
    origin, *signed = [sign(c, base=base, probe_sets=tasks) for c in (base, *checkpoints)]
    ready = time.perf_counter()
    status: dict[str, int] = {}
    for i, j in combinations(range(len(signed)), 2):
        pair, two = (signed[i], signed[j]), (checkpoints[i], checkpoints[j])
        ranked = {}
        told = effects(*pair, origin, BALANCED)
        moved = told, swap_effects(told)
        for task, expert in zip(PLANNED, EXPERTS, strict=True):
            found = features(pair[expert], pair[1 - expert], origin, task)
            ranked[task] = trained.predict(
                found,
                task=task,
                arms=BALANCED,
                effects={a.label: e for a, e in zip(BALANCED, moved[expert], strict=True)},
                parameters=entries,
            )
        asked = tuple(
            Task(name=t, expert=two[e].name, probes=None, scores={}, named=True)
            for t, e in zip(PLANNED, EXPERTS, strict=True)
        )
        made = decide(Inputs(models=two, base=base, tasks=asked, dropped={}), ranked, MEAN)
        status[made.status] = status.get(made.status, 0) + 1
    seconds = time.perf_counter() - ready
    count = sum(status.values())
    say(
        pairs=count,
        tasks=len(PLANNED),
        signatures_seconds=round(ready - began, 2),
        planning_seconds=round(seconds, 2),
        pairs_per_second=round(count / seconds, 1),
        status=status,
    )


def ours(base: str, one: str, other: str) -> None:
    """Sign two models and their base by weights, then compare the pair as if met first."""
    from simmerge_hub.hub.resolve import resolve
    from simmerge_hub.signatures.features.vector import features
    from simmerge_hub.signatures.signing.signature import sign

    checkpoints = [resolve(folder) for folder in (base, one, other)]
    began = time.perf_counter()
    origin, first, second = [sign(checkpoint) for checkpoint in checkpoints]
    signed = time.perf_counter()
    found = features(first, second, origin, "")
    done = time.perf_counter()
    say(
        signing_seconds=round(signed - began, 3),
        pair_seconds=round(done - signed, 4),
        weight_cosine=found["weight_cosine"],
    )


def whole(one: str, other: str) -> None:
    """Load both models whole in float32, and take the cosine of all their weights; no import is
    timed."""
    import torch
    from transformers import LlamaForCausalLM

    began = time.perf_counter()
    models = [LlamaForCausalLM.from_pretrained(m, dtype=torch.float32) for m in (one, other)]
    loaded = time.perf_counter()
    sums = np.zeros(3)
    with torch.no_grad():
        for x, y in zip(*(m.parameters() for m in models), strict=True):
            a, b = x.reshape(-1), y.reshape(-1)
            sums += [float(a @ b), float(a @ a), float(b @ b)]
    done = time.perf_counter()
    say(
        seconds=round(done - began, 3),
        loading_seconds=round(loaded - began, 3),
        weight_cosine=float(sums[0] / np.sqrt(sums[1] * sums[2])),
    )


def mergelens(one: str, other: str) -> None:
    """mergelens on the same pair: its cosine alone; for small models its default metrics too."""
    from mergelens import compare_models

    began = time.perf_counter()
    compare_models([one, other], metrics=["cosine_similarity"], show_progress=False)
    seconds = time.perf_counter() - began
    found = {"version": version("mergelens"), "cosine_seconds": round(seconds, 3)}
    if sum(f.stat().st_size for f in Path(one).glob("*.safetensors")) < 10**8:
        began = time.perf_counter()
        compare_models([one, other], show_progress=False)
        found["default_metrics_seconds"] = round(time.perf_counter() - began, 3)
    say(**found)


PARTS: dict[str, Callable[..., None]] = {
    part.__name__: part
    for part in (
        serve, upload, structural, imports, probe, compared, pairs, planning, ours, whole,
        mergelens,
    )
}  # fmt: skip
