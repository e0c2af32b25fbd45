"""Merging a synthetic 1.1 B bf16 Llama: simmerge-hub against mergekit 0.1.5, whole commands.

    python benchmarks/merge_vs_mergekit.py            # all operators, three rounds; ~30 minutes
    python benchmarks/merge_vs_mergekit.py --rounds 1 --operators linear

Runs are interleaved (A B A B …) so that other load on the machine hits both, and begin with the
inputs in the page cache and free memory that was touched lately: a virtual machine may have to ask
its host for both. Neither side calls fsync or starts another process. The floor is reading both
inputs and writing one output with `dd`, in the same rounds. mergekit is installed into an
environment of its own. Writes benchmarks/merge_vs_mergekit.json, from which the table in
benchmarks/README.md is made.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import yaml

HERE = Path(__file__).parent
SHAPE = {"hidden": 2048, "intermediate": 5632, "layers": 22, "vocabulary": 32000}
"""TinyLlama's shape, 1.1 B parameters."""
METHODS: dict[str, dict] = {
    "linear": {"weights": [0.5, 0.5]},
    "slerp": {"t": 0.5},
    "ties": {"density": 0.2},
    "dare_ties": {"density": 0.2},
}
TOUCHED = 10 * 2**30
"""Bytes of memory touched before a run: more than either side uses, and the output's pages."""
TARGETS = {"linear": 4, "slerp": 4, "ties": 15, "dare_ties": 6}
NEEDS_BASE = {"ties", "dare_ties"}


def main() -> None:
    """Run everything that is asked for and write the JSON."""
    options = arguments()
    work = Path(options.work or tempfile.mkdtemp(prefix="merge-bench-"))
    models = [synthetic(work / name, seed) for seed, name in enumerate(("base", "a", "b"))]
    mergekit = mergekit_environment(Path(options.mergekit or work / "mergekit-env"))
    runs: dict[str, dict[str, list]] = {}
    for number in range(options.rounds):
        for name in options.operators:
            found = runs.setdefault(name, {"simmerge-hub": [], "mergekit": [], "floor": []})
            found["simmerge-hub"].append(ours(work, models, name))
            found["mergekit"].append(theirs(work, models, name, mergekit))
            found["floor"].append(floor(work, models))
            print(f"round {number + 1}, {name}:", {k: v[-1] for k, v in found.items()}, flush=True)
            result = {"machine": machine(), "rounds": number + 1, "operators": summary(runs)}
            (HERE / "merge_vs_mergekit.json").write_text(json.dumps(result, indent=2) + "\n")
    if not options.work:
        shutil.rmtree(work)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--operators", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--work", help="keep models and outputs in this folder")
    parser.add_argument("--mergekit", help="an environment with mergekit 0.1.5; made if missing")
    return parser.parse_args()


def synthetic(folder: Path, seed: int) -> Path:
    """A Llama with random weights: the base, or the base plus noise of 5 % of its scale."""
    if (folder / "config.json").exists():
        return folder
    code = """
import sys, torch
from transformers import LlamaConfig, LlamaForCausalLM
folder, seed, hidden, intermediate, layers, vocabulary = sys.argv[1], *map(int, sys.argv[2:])
torch.set_default_dtype(torch.bfloat16)
torch.manual_seed(0)
model = LlamaForCausalLM(LlamaConfig(vocab_size=vocabulary, hidden_size=hidden,
    intermediate_size=intermediate, num_hidden_layers=layers, num_attention_heads=32,
    num_key_value_heads=4))
if seed:
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            noise = torch.randn(weight.shape, dtype=torch.float32) * 0.001
            weight.copy_((weight.float() + noise).to(torch.bfloat16))
model.save_pretrained(folder, max_shard_size="1GB")
"""
    subprocess.run(
        [sys.executable, "-c", code, str(folder), str(seed), *map(str, SHAPE.values())],
        check=True,
        capture_output=True,
    )
    return folder


def mergekit_environment(folder: Path) -> Path:
    """The mergekit-yaml command in an environment of its own."""
    command = folder / "bin" / "mergekit-yaml"
    if not command.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin" / "pip"), "install", "-q", "torch==2.13.0", "mergekit==0.1.5"]
        subprocess.run(pip, check=True)
    return command


def recipe_of(work: Path, models: list[Path], name: str) -> Path:
    """Our recipe of a merge, as a file."""
    base, *others = models
    recipe = {
        "simmerge": 1,
        **({"base": {"folder": str(base)}} if name in NEEDS_BASE else {}),
        "models": [{"folder": str(m)} for m in others],
        "steps": [
            {"operator": name, "models": [m.name for m in others], "parameters": METHODS[name]}
        ],
        "dtype": "bfloat16",
    }
    path = work / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def ours(work: Path, models: list[Path], name: str) -> dict[str, float]:
    """Seconds and peak bytes of `simmerge-hub merge`."""
    program = Path(sys.executable).parent / "simmerge-hub"
    command = [str(program), "merge", str(recipe_of(work, models, name))]
    cache = work / "cache"  # ours remembers the hashes of folders: forget, every run is a first one
    shutil.rmtree(cache, ignore_errors=True)
    options = ["-o", str(work / "out-ours"), "--no-fsync", "--json"]
    return timed([*command, *options], work / "out-ours", HF_HOME=str(cache))


def theirs(work: Path, models: list[Path], name: str, mergekit: Path) -> dict[str, float]:
    """Seconds and peak bytes of mergekit-yaml on the same merge."""
    base, *others = models
    parameters = METHODS[name]
    if name == "slerp":
        config = {
            "merge_method": "slerp",
            "base_model": str(others[0]),
            "models": [{"model": str(m)} for m in others],
            "parameters": {"t": 0.5},
        }
    else:
        given = {k: v for k, v in parameters.items() if k == "density"}
        weight = 0.5 if name == "linear" else 1.0
        config = {
            "merge_method": name,
            "models": [
                {"model": str(m), "parameters": {"weight": weight, **given}} for m in others
            ],
            **({"base_model": str(base)} if name in NEEDS_BASE else {}),
        }
    (work / "mergekit.yml").write_text(yaml.safe_dump({**config, "dtype": "bfloat16"}))
    command = [str(mergekit), str(work / "mergekit.yml"), str(work / "out-theirs")]
    spared = ["--no-write-model-card", "--no-copy-tokenizer", "--quiet"]  # what ours is not spared
    return timed([*command, *spared], work / "out-theirs")


def floor(work: Path, models: list[Path]) -> dict[str, float]:
    """Seconds to read both inputs from the page cache and write one output, with dd."""
    target = work / "out-floor"
    settle(work)
    began = time.perf_counter()
    files = [sorted(m.glob("*.safetensors")) for m in models[1:]]
    for path in files[0]:
        subprocess.run(["dd", f"if={path}", "of=/dev/null", "bs=4M", "status=none"], check=True)
    with open(target, "wb") as out:
        for path in files[1]:
            subprocess.run(["dd", f"if={path}", "bs=4M", "status=none"], stdout=out, check=True)
    seconds = time.perf_counter() - began
    target.unlink()
    return {"seconds": round(seconds, 2)}


def timed(command: list[str], output: Path, **environment: str) -> dict[str, float]:
    """Run a command into a fresh folder: wall seconds, peak resident MB of the process.

    Neither side starts other processes. `inside` is what ours says it took, start-up aside.
    """
    shutil.rmtree(output, ignore_errors=True)
    settle(output.parent)
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | environment,
    )
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{said.decode()[-2000:]}")
    shutil.rmtree(output, ignore_errors=True)
    found = {"seconds": round(seconds, 2), "peak_mb": round(usage.ru_maxrss / 1024)}
    return found | ({"inside": json.loads(said)["seconds"]} if environment else {})


def settle(work: Path) -> None:
    """Nothing left to write, memory touched, inputs in the page cache: before every run."""
    os.sync()
    touch = f"bytearray(b'x') * {TOUCHED}"  # elsewhere: a child's peak would begin with ours
    subprocess.run([sys.executable, "-c", touch], check=True)
    for path in sorted(work.glob("*/*.safetensors")):
        with open(path, "rb", buffering=0) as file:
            while file.read(2**24):
                pass


def summary(runs: dict[str, dict[str, list]]) -> dict[str, dict]:
    """Medians, ratios and targets per operator, beside every single run."""
    found: dict[str, dict] = {}
    for name, sides in runs.items():
        seconds = {side: median(r["seconds"] for r in rows) for side, rows in sides.items()}
        ratios = [
            t["seconds"] / o["seconds"]
            for o, t in zip(sides["simmerge-hub"], sides["mergekit"], strict=True)
        ]
        found[name] = {
            "seconds": seconds,
            "times_faster": round(median(ratios), 2),
            "target": TARGETS[name],
            "peak_mb": {s: max(r["peak_mb"] for r in sides[s]) for s in sides if s != "floor"},
            "inside_over_floor": round(
                median(
                    o["inside"] / f["seconds"]
                    for o, f in zip(sides["simmerge-hub"], sides["floor"], strict=True)
                ),
                2,
            ),
            "runs": sides,
        }
    return found


def machine() -> dict[str, str | int | None]:
    """What the numbers were measured on."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


if __name__ == "__main__":
    main()
