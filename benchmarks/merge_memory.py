"""Peak memory of a merge for models of 0.3, 1.1 and 3 B parameters, and time for tiny tensors.

    python benchmarks/merge_memory.py            # ~6 minutes, 20 GB of disk at a time

Two claims. Memory: the peak resident size of `simmerge-hub merge` (linear and TIES, bf16, two
models and a base, sharded) does not grow with the model. Tensors: with 1,000, 10,000 and 100,000
tensors of 64 entries each the time per tensor does not grow. Writes benchmarks/merge_memory.json.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import yaml
from safetensors.torch import save_file

HERE = Path(__file__).parent
MODELS = {"0.3B": (1024, 2816, 24), "1.1B": (2048, 5632, 22), "3B": (2560, 8704, 30)}
"""Hidden size, inner size, layers; the vocabulary is 32,000."""
VOCABULARY = 32_000
COUNTS = (1_000, 10_000, 100_000)
STEPS = {"linear": {}, "ties": {"density": 0.2}}


def main() -> None:
    """Measure everything and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", help="where models are written for the time being")
    parser.add_argument("--make", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:  # in a process of its own: a child's peak begins with its parent's size
        made, folder, *rest = options.make
        {"save": save, "few": few}[made](Path(folder), *map(int, rest))
        return
    work = Path(tempfile.mkdtemp(prefix="merge-memory-", dir=options.work))
    try:
        found = {"memory": {n: peak(work, shape) for n, shape in MODELS.items()}}
        peaks = [each[o]["peak_mb"] for each in found["memory"].values() for o in STEPS]
        found["memory"]["spread_mb"] = max(peaks) - min(peaks)
        found["tensors"] = {str(count): tiny(work, count) for count in COUNTS}
    finally:
        shutil.rmtree(work)
    found["threads"] = os.cpu_count()
    (HERE / "merge_memory.json").write_text(json.dumps(found, indent=2) + "\n")


def peak(work: Path, shape: tuple[int, int, int]) -> dict[str, dict[str, float]]:
    """Peak MB and seconds for one size of model."""
    for seed, name in enumerate(("base", "a", "b")):
        make("save", work / name, *shape, seed)
    found = {step: merged(work, step) for step in STEPS}
    print(shape, found, flush=True)
    for name in ("base", "a", "b"):
        shutil.rmtree(work / name)
    return found


def make(what: str, folder: Path, *numbers: int) -> None:
    """Make a model in another process."""
    command = [sys.executable, __file__, "--make", what, str(folder), *map(str, numbers)]
    subprocess.run(command, check=True)


def save(folder: Path, hidden: int, inner: int, layers: int, seed: int) -> None:
    """A Llama of random weights, one file per six layers."""
    folder.mkdir()
    config = {"model_type": "llama", "num_hidden_layers": layers, "vocab_size": VOCABULARY}
    (folder / "config.json").write_text(json.dumps(config))
    random = torch.Generator().manual_seed(seed)
    parts = [list(range(low, min(low + 6, layers))) for low in range(0, layers, 6)]
    placed = {}
    for number, part in enumerate(parts):
        sizes = {"model.embed_tokens.weight": (VOCABULARY, hidden)} if not number else {}
        for layer in part:
            at = f"model.layers.{layer}"
            sizes |= {f"{at}.self_attn.{n}_proj.weight": (hidden, hidden) for n in "qo"}
            sizes |= {f"{at}.self_attn.{n}_proj.weight": (hidden // 4, hidden) for n in "kv"}
            sizes |= {f"{at}.mlp.{n}_proj.weight": (inner, hidden) for n in ("gate", "up")}
            sizes |= {f"{at}.mlp.down_proj.weight": (hidden, inner)}
            sizes |= {f"{at}.input_layernorm.weight": (hidden,)}
        if part is parts[-1]:
            sizes |= {"lm_head.weight": (VOCABULARY, hidden), "model.norm.weight": (hidden,)}
        file = f"model-{number + 1:05}-of-{len(parts):05}.safetensors"
        tensors = {
            n: (torch.randn(s, generator=random) * 0.02).to(torch.bfloat16)
            for n, s in sizes.items()
        }
        save_file(tensors, folder / file, metadata={"format": "pt"})
        placed |= dict.fromkeys(tensors, file)
    index = {"metadata": {}, "weight_map": placed}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def tiny(work: Path, count: int) -> dict[str, float]:
    """Microseconds per tensor of a merge of `count` tensors of 8 × 8."""
    for seed, name in enumerate(("base", "a", "b")):
        make("few", work / name, count, seed)
    found = {}
    for step in STEPS:
        run = merged(work, step)
        found[step] = round(1e6 * run["seconds"] / count, 1)
    for name in ("base", "a", "b"):
        shutil.rmtree(work / name)
    print(count, "tensors, µs each:", found, flush=True)
    return found


def few(folder: Path, count: int, seed: int) -> None:
    """A model of many tensors with few entries."""
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    whole = torch.randn(count, 8, 8, generator=torch.Generator().manual_seed(seed))
    tensors = {f"model.layers.{i}.w": whole[i].clone() for i in range(count)}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def merged(work: Path, step: str) -> dict[str, float]:
    """Peak resident MB of one merge command, and the seconds it says it took."""
    recipe = {
        "simmerge": 1,
        "base": {"folder": str(work / "base")},
        "models": [{"folder": str(work / n)} for n in ("a", "b")],
        "steps": [{"operator": step, "models": ["a", "b"], "parameters": STEPS[step]}],
    }
    (work / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    command = [
        str(Path(sys.executable).parent / "simmerge-hub"),
        "merge",
        str(work / "recipe.yaml"),
    ]
    process = subprocess.Popen(
        [*command, "-o", str(work / "out"), "--no-fsync", "--json"], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the merge failed: {process.returncode}")
    shutil.rmtree(work / "out")
    return {
        "peak_mb": round(usage.ru_maxrss / 1024),
        "seconds": json.loads(said)["seconds"],
    }


if __name__ == "__main__":
    main()
