"""Peak memory and time of a merge by RegMean beside Linear, by depth and width.

    python benchmarks/regmean_memory.py                  # 15 minutes, 8 GB of disk at a time
    python benchmarks/regmean_memory.py --only shallow   # the JSON keeps the others

Two random Llamas in bf16, each run on 64 prompts. The claim: peak memory depends on the widest
layer, not on how many there are (`shallow` and `deep` differ in depth alone). Beside it stands what
`simmerge-hub check` says beforehand. A model that answers its prompts is whole in memory while it
does, so merges are measured without answers and with them. Beside their time stands that of one
forward pass of both whole models over the same prompts. Of a 7B shape one layer is measured and all
32 are computed: the memory is that of one, the time 32 times it, vocabulary and all, so at most
that. Writes benchmarks/regmean_memory.json.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
import yaml
from safetensors.torch import save_file
from synthetic import save_tokenizer

from simmerge_hub.signatures.probing.probe import probe_set

HERE = Path(__file__).parent
MODELS = {
    "shallow": (1024, 2816, 4),
    "deep": (1024, 2816, 16),
    "1.1B, two layers": (2048, 5632, 2),
    "1.1B": (2048, 5632, 22),
    "7B, one layer": (4096, 14_336, 1),
}
"""Hidden size, inner size, layers; the vocabulary is 32,000."""
VOCABULARY = 32_000
HEAD = 64
TASK = "code"
COMMAND = [sys.executable, "-m", "simmerge_hub.cli.main"]
MERGES: dict[str, dict[str, Any]] = {
    "linear": {},
    "regmean": {"answers": 0},
    "regmean with answers": {"answers": 16},
    "regmean, inputs: merge": {"answers": 0},
}
"""What is merged how, with the tokens of answers."""
LAYERS_OF_7B = 32
PROMPTS_TOGETHER = 16


def main() -> None:
    """Measure what is asked for and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", help="where models are written for the time being")
    parser.add_argument("--only", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--merges", nargs="+", choices=MERGES, default=list(MERGES))
    parser.add_argument("--make", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--forward", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.forward:
        print(run_forward(options.forward))
        return
    if options.make:  # in a process of its own: a child's peak begins with its parent's size
        folder, *numbers = options.make
        save(Path(folder), *map(int, numbers))
        return
    path = HERE / "regmean_memory.json"
    measured: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"models": {}}
    for name in options.only:
        with tempfile.TemporaryDirectory(prefix="regmean-memory-", dir=options.work) as work:
            fresh = measure(Path(work), MODELS[name], options.merges)
            measured["models"][name] = measured["models"].get(name, {}) | fresh
        if name.startswith("7B"):
            measured["7B, computed"] = compute_whole(measured["models"][name])
        print(name, json.dumps(measured["models"][name]), flush=True)
        measured["threads"] = os.cpu_count()
        path.write_text(json.dumps(measured, indent=2) + "\n")


def measure(work: Path, shape: tuple[int, int, int], merges: list[str]) -> dict[str, Any]:
    """Merges of two models of one shape."""
    for seed, name in enumerate("ab"):
        command = [sys.executable, __file__, "--make", str(work / name), *map(str, shape)]
        subprocess.run([*command, str(seed)], check=True)
    passes = [time_forward(work / name) for name in "ab"]
    merged = {name: merge(work, name) for name in merges}
    return {"forward": {"seconds": round(sum(passes), 1)}, **merged}


def time_forward(folder: Path) -> float:
    """Seconds of one pass over the prompts, in a process of its own."""
    command = [sys.executable, __file__, "--forward", str(folder)]
    said = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(said.stdout.split()[-1])


def run_forward(folder: Path) -> float:
    """Seconds that the whole model takes for the prompts, in float32 as merges run it."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, pad_token="<unk>")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    texts = probe_set(TASK).prompts
    began = perf_counter()
    with torch.inference_mode():
        for low in range(0, len(texts), PROMPTS_TOGETHER):
            some = list(texts[low : low + PROMPTS_TOGETHER])
            inputs = tokenizer(some, return_tensors="pt", padding=True)
            model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
    return perf_counter() - began


def compute_whole(layer: dict[str, Any]) -> dict[str, Any]:
    """Memory and time of all layers, from those of one."""
    return {
        name: {"peak_mb": one["peak_mb"], "seconds": round(one["seconds"] * LAYERS_OF_7B)}
        for name, one in layer.items()
        if "peak_mb" in one and name != "regmean with answers"  # there whole models answer
    }


def save(folder: Path, hidden: int, inner: int, layers: int, seed: int) -> None:
    """A Llama of random weights with a tokenizer, one file per six layers."""
    folder.mkdir()
    heads = hidden // HEAD
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": hidden,
        "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": heads // 4, "vocab_size": VOCABULARY, "dtype": "bfloat16",
        "max_position_embeddings": 2048, "tie_word_embeddings": False,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    save_tokenizer(folder, TASK)
    random = torch.Generator().manual_seed(seed)
    parts = [range(low, min(low + 6, layers)) for low in range(0, layers, 6)]
    files = {}
    for number, part in enumerate(parts):
        sizes = {} if number else {"model.embed_tokens.weight": (VOCABULARY, hidden)}
        for layer in part:
            sizes |= layer_shapes(f"model.layers.{layer}", hidden, inner)
        if part is parts[-1]:
            sizes |= {"lm_head.weight": (VOCABULARY, hidden), "model.norm.weight": (hidden,)}
        tensors = {
            n: (torch.randn(s, generator=random) * 0.02 + (len(s) == 1)).to(torch.bfloat16)
            for n, s in sizes.items()
        }
        file = f"model-{number + 1:05}-of-{len(parts):05}.safetensors"
        save_file(tensors, folder / file, metadata={"format": "pt"})
        files |= dict.fromkeys(tensors, file)
    index = {"metadata": {}, "weight_map": files}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def layer_shapes(at: str, hidden: int, inner: int) -> dict[str, tuple[int, ...]]:
    """The tensors of one layer, with a quarter as many heads of keys and values."""
    sizes: dict[str, tuple[int, ...]] = {
        f"{at}.self_attn.{n}_proj.weight": (hidden, hidden) for n in "qo"
    }
    sizes |= {f"{at}.self_attn.{n}_proj.weight": (hidden // 4, hidden) for n in "kv"}
    sizes |= {f"{at}.mlp.{n}_proj.weight": (inner, hidden) for n in ("gate", "up")}
    sizes |= {f"{at}.mlp.down_proj.weight": (hidden, inner)}
    return sizes | {f"{at}.{n}_layernorm.weight": (hidden,) for n in ("input", "post_attention")}


def merge(work: Path, name: str) -> dict[str, float]:
    """Peak resident MB and seconds of one merge, and what `check` said they would be."""
    operator = "regmean" if MERGES[name] else "linear"
    step: dict[str, Any] = {"operator": operator, "models": ["a", "b"]}
    if name.endswith("inputs: merge"):
        step["parameters"] = {"inputs": "merge"}
    recipe: dict[str, Any] = {
        "simmerge": 1,
        "models": [{"folder": str(work / n)} for n in "ab"],
        "steps": [step],
    }
    if MERGES[name]:
        prompts = dict.fromkeys("ab", f"simmerge-hub:{TASK}")
        recipe["calibration"] = {"prompts": prompts, **MERGES[name]}
    path = work / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    expected, _ = run("check", str(path), "--json")
    said, peak = run("merge", str(path), "-o", str(work / "out"), "--no-fsync", "--json")
    shutil.rmtree(work / "out")
    return {
        "peak_mb": round(peak / 2**20),
        "checked_mb": round(expected["memory"] / 2**20),
        "seconds": round(said["seconds"], 1),
        "checked_seconds": round(expected["seconds"], 1),
    }


def run(*arguments: str) -> tuple[dict[str, Any], int]:
    """What a command says, and its peak resident bytes."""
    process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{arguments[0]} failed: {process.returncode}")
    return json.loads(said), usage.ru_maxrss * 1024


if __name__ == "__main__":
    main()
