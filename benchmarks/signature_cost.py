"""What signatures cost: bytes, seconds and memory to sign, milliseconds to compare, pairs to plan.

    python benchmarks/signature_cost.py                          # ~10 minutes, 8 GB of disk
    python benchmarks/signature_cost.py --only remote planning   # the JSON keeps the other parts
    pip install --no-deps --target /tmp/lens mergelens==2.0.3    # for the part `peers`, if wanted
    python benchmarks/signature_cost.py --mergelens /tmp/lens

Every measurement is a process of its own (Linux only). The 1.1 B model is random (`synthetic.py`);
the 40 nano models are the packaged ones and copies with seeded noise; a signature of 7 B shape is
made without a model. Writes benchmarks/signature_cost.json.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from signature_cost_parts import PARTS, TASK
from synthetic import TUNINGS, save_adapter, save_base, save_fine_tune, save_noisy

from simmerge_hub.hub.resolve import resolve
from simmerge_hub.signatures.signing.artifact import PRECISION_FLOOR

HERE = Path(__file__).parent
PACKAGED = HERE.parent / "simmerge_hub" / "zoo" / "nano"
NANO = ("code", "math", "multilingual", "instruct", "rag-lora")
MODELS = 40
NOISE = (0.003, 0.01, 0.03, 0.06, 0.1)
LARGE = ("remote", "local", "memory", "peers")
"""Parts that need the 1.1 B models."""
WHOLE = ("remote", "local", "memory", "pairs", "planning", "peers")


def main() -> None:
    """Run the parts that are asked for, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=WHOLE, default=WHOLE)
    parser.add_argument("--synthetic", type=Path, help="where the 1.1 B models are, or are kept")
    parser.add_argument("--mergelens", help="a folder with mergelens in it, for comparison")
    parser.add_argument("--work", help="where everything else is written for the time being")
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        name, *arguments = options.part
        PARTS[name](*arguments)
        return
    file = HERE / "signature_cost.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    with tempfile.TemporaryDirectory(prefix="signature-cost-", dir=options.work) as folder:
        work = Path(folder)
        models = options.synthetic or work / "synthetic"
        if set(options.only) & set(LARGE):
            prepare(models)
        measured = {
            "remote": lambda: remote(models / "base", work),
            "local": lambda: child("structural", str(models / "base"), work=work / "local"),
            "memory": lambda: memory(models, work),
            "pairs": lambda: {n: child("pairs", n, work=work / n) for n in ("nano", "7B")},
            "planning": lambda: planning(work),
            "peers": lambda: peers(models, work, options.mergelens),
        }
        for part in options.only:
            found[part] = measured[part]()
            print(part, json.dumps(found[part]), file=sys.stderr, flush=True)
            file.write_text(json.dumps(found | {"threads": os.cpu_count()}, indent=2) + "\n")


def prepare(models: Path) -> None:
    """A base, a fine-tune and an adapter, unless they are there."""
    base, (name, tuning) = models / "base", next(iter(TUNINGS.items()))
    if not base.exists():
        save_base(base)
    if not (models / name).exists():
        save_fine_tune(base, models / name, tuning, 1)
    if not (models / "adapter").exists():
        save_adapter(resolve(str(base)), models / "adapter")


def child(part: str, *arguments: str, work: Path, **environment: str) -> dict[str, Any]:
    """What one part says, run in a process with caches of its own in `work`."""
    caches = {"HF_HOME": str(work / "home"), "HF_ASSETS_CACHE": str(work / "assets")}
    said = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, "--part", part, *arguments],
        env={**os.environ, **caches, **environment}, stdout=subprocess.PIPE, check=True,
    ).stdout  # fmt: skip
    return json.loads(said.splitlines()[-1])


def remote(base: Path, work: Path) -> dict[str, Any]:
    """Sign by byte ranges from a localhub that counts the bytes it sends."""
    size, counted = size_of(base), work / "counted.json"
    command = [sys.executable, __file__, "--part", "serve", str(work / "hub"), str(counted)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as hub:
        assert hub.stdin is not None
        assert hub.stdout is not None
        told = dict(hub.stdout.readline().strip().split("=", 1) for _ in range(3))
        there = {"HF_ENDPOINT": told["HF_ENDPOINT"], "HF_TOKEN": told["HF_TOKEN"]}
        child("upload", str(base), "bench/base", work=work / "uploader", **there)
        before = json.loads(counted.read_text())
        signed = child("structural", "bench/base", work=work / "remote", **there)
        after = json.loads(counted.read_text())
        hub.stdin.close()
    sent = {key: after[key] - before[key] for key in after}
    return {
        **signed,
        "checkpoint_mb": round(size / 1e6),
        "sent_by_the_server_mb": round(sent["all"] / 1e6, 2),
        "of_weight_files_mb": round(sent["weights"] / 1e6, 2),
        "requests": sent["requests"],
        "share_of_checkpoint": round(sent["all"] / size, 5),
    }


def memory(models: Path, work: Path) -> dict[str, Any]:
    """Peaks, seconds and differences of the functional pass, for a model and an adapter on it."""
    base, size = models / "base", size_of(models / "base")
    found: dict[str, Any] = {
        "checkpoint_mb": round(size / 1e6),
        "prompts": 64,
        "task": TASK,
        "imports": child("imports", work=work),
        "floor": PRECISION_FLOOR["float32"],
    }
    for what, model in (("model", base), ("adapter", models / "adapter")):
        passes = {}
        for how in ("resident", "offloaded"):
            keep = work / f"{what}-{how}.npz"
            passes[how] = child("probe", str(base), str(model), how, str(keep), work=work)
            passes[how]["share"] = round(passes[how]["peak_mb"] * 1e6 / size, 3)
        kept = [str(work / f"{what}-{how}.npz") for how in ("resident", "offloaded")]
        found[what] = {**passes, "difference": child("compared", *kept, work=work)}
    return found


def planning(work: Path) -> dict[str, Any]:
    """All pairs of 40 signed nano models, for three tasks."""
    folder = work / "copies"
    folder.mkdir()
    full = [n for n in NANO if not n.endswith("lora")]
    models = [PACKAGED / name for name in NANO]
    for number in range(MODELS - len(NANO)):
        name, scale = full[number % len(full)], NOISE[number // len(full) % len(NOISE)]
        models.append(save_noisy(PACKAGED / name, folder / f"noisy-{number}", scale, number))
    listed = work / "models.json"
    listed.write_text(json.dumps([str(PACKAGED / "base"), *map(str, models)]))
    first = child("planning", str(listed), str(PACKAGED / "probes"), work=work)
    second = child("planning", str(listed), str(PACKAGED / "probes"), work=work)
    return {
        "models": MODELS,
        "packaged": len(NANO),
        "noisy_copies": MODELS - len(NANO),
        "noise": NOISE,
        "signing_all_once_seconds": first["signatures_seconds"],
        **second,
    }


def peers(models: Path, work: Path, mergelens: str | None) -> dict[str, Any]:
    """Loading both models whole, beside features of signatures."""
    tuned = str(models / next(iter(TUNINGS)))
    sizes = {
        "nano": [str(PACKAGED / n) for n in ("base", "code", "math")],
        "1.1B": [str(models / "base"), str(models / "base"), tuned],
    }
    found: dict[str, Any] = {}
    for size, trio in sizes.items():
        ours = child("ours", *trio, work=work / size)
        whole = child("whole", *trio[1:], work=work / size)
        found[size] = {
            "signatures": ours,
            "whole_models_float32_cosine": whole,
            "times_slower_than_signed": round(whole["seconds"] / ours["pair_seconds"], 1),
            "times_slower_than_signing_and_comparing": round(
                whole["seconds"] / (ours["signing_seconds"] + ours["pair_seconds"]), 1
            ),
        }
        if mergelens:
            path = os.pathsep.join([mergelens, os.environ.get("PYTHONPATH", "")])
            lens = child("mergelens", *trio[1:], work=work / size, PYTHONPATH=path)
            found[size]["mergelens"] = lens
            found[size]["mergelens_times_slower_than_signed"] = round(
                lens["cosine_seconds"] / ours["pair_seconds"], 1
            )
    return found


def size_of(folder: Path) -> int:
    """Bytes of the weight files."""
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


if __name__ == "__main__":
    main()
