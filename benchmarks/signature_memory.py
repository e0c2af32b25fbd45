"""Peak memory of the functional part of a signature, whole in memory and by layers from disk.

    python benchmarks/signature_memory.py                    # minutes, 3 GB of disk, 8 of memory
    python benchmarks/signature_memory.py --model ./folder   # a model of yours, tokenizer or not

The claim: by layers, the pass over a probe set of ours (64 prompts, float32) has a peak resident
size of at most 35 % of a 1.1 B bf16 checkpoint, everything the process needs included, for a full
model and for an adapter on it; and it says the same as the model whole in memory. Each pass is a
process of its own (Linux only). Writes benchmarks/signature_memory.json.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from simmerge_hub.hub.resolve import Checkpoint, resolve
from simmerge_hub.signatures.loading import FLOOR
from simmerge_hub.signatures.probe import probe_set, run_probes

HERE = Path(__file__).parent
TASK = "code"
COMPARED = ("logprobs", "entropy", "loss", "hidden", "attention")
PROJECTIONS = ("q", "k", "v", "o")
RANK = 16


def main() -> None:
    """Run every pass in a process of its own, compare, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, help="a folder; a random 1.1 B Llama by default")
    parser.add_argument("--work", type=Path, help="where the model is written for the time being")
    parser.add_argument("--pass", dest="one", nargs=3, metavar=("WORK", "WHAT", "HOW"))
    args = parser.parse_args()
    if args.one:
        run(Path(args.one[0]), *args.one[1:])
        return
    with tempfile.TemporaryDirectory(prefix="signature-memory-", dir=args.work) as folder:
        found = measured(Path(folder), args.model)
    (HERE / "signature_memory.json").write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


def measured(work: Path, model: Path | None) -> dict[str, object]:
    """Peaks, seconds and differences for the model and for an adapter on it."""
    prepare(work, model or random_model(work / "random"))
    size = sum(file.stat().st_size for file in (work / "model").glob("*.safetensors"))
    imports = child(work, "model", "imports")
    found: dict[str, object] = {"checkpoint_mb": round(size / 1e6), "imports": imports}
    for what in ("model", "adapter"):
        passes = {how: child(work, what, how) for how in ("resident", "offloaded")}
        for one in passes.values():
            one["share"] = round(one["peak_mb"] * 1e6 / size, 3)
        found[what] = {**passes, "difference": compared(work, what)}
    return found | {"floor": FLOOR["float32"], "threads": os.cpu_count()}


def random_model(folder: Path) -> Path:
    """A Llama of 1.1 B parameters with random weights in bf16, in three shards."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=2048, intermediate_size=5632, num_hidden_layers=22, num_attention_heads=32,
        num_key_value_heads=4, vocab_size=32_000, dtype="bfloat16",
    )  # fmt: skip
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder, max_shard_size="1GB")
    return folder


def prepare(work: Path, model: Path) -> None:
    """Links to the model's files, with a tokenizer of the prompts' words; an adapter on it."""
    (work / "model").mkdir()
    for file in model.iterdir():
        (work / "model" / file.name).symlink_to(file.resolve())
    if not (work / "model" / "tokenizer.json").exists():
        save_tokenizer(work / "model")
    save_adapter(resolve(str(work / "model")), work / "adapter")


def save_tokenizer(folder: Path) -> None:
    """One token for each word of the prompts, and for what is between words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    cut = pre_tokenizers.Whitespace()
    words = {word for text in probe_set(TASK).prompts for word, _ in cut.pre_tokenize_str(text)}
    ids = {word: i for i, word in enumerate(["<unk>", *sorted(words)])}
    inner = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    inner.pre_tokenizer = cut
    PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>").save_pretrained(folder)


def save_adapter(base: Checkpoint, folder: Path) -> None:
    """A LoRA of random weights on every attention projection."""
    folder.mkdir()
    tensors, random = {}, torch.Generator().manual_seed(1)
    for name, header in base.tensors.items():
        if any(f"self_attn.{p}_proj.weight" in name for p in PROJECTIONS):
            out, into = header.shape
            at = f"base_model.model.{name.removesuffix('.weight')}"
            tensors[f"{at}.lora_A.weight"] = 0.02 * torch.randn(RANK, into, generator=random)
            tensors[f"{at}.lora_B.weight"] = 0.02 * torch.randn(out, RANK, generator=random)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": 2 * RANK,
        "target_modules": [f"{p}_proj" for p in PROJECTIONS], "base_model_name_or_path": None,
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config))


def child(work: Path, what: str, how: str) -> dict[str, float]:
    """One pass in a process of its own: its peak resident size and seconds."""
    command = [sys.executable, __file__, "--pass", str(work), what, how]
    said = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    found = json.loads(said)
    print(what, how, found, file=sys.stderr, flush=True)
    return found


def run(work: Path, what: str, how: str) -> None:
    """What `child` starts: sketch, keep the arrays, and say what it took."""
    base = resolve(str(work / "model"))
    checkpoint = resolve(str(work / "adapter")) if what == "adapter" else base
    began = time.perf_counter()
    if how == "imports":
        import accelerate  # noqa: F401
        import peft  # noqa: F401
        from transformers import LlamaForCausalLM  # noqa: F401
    else:
        adapted = base if what == "adapter" else None
        sketches = run_probes(checkpoint, adapted, [probe_set(TASK)], offload=how == "offloaded")
        arrays = {name: getattr(sketches[TASK], name) for name in COMPARED}
        np.savez(work / f"{what}-{how}.npz", **arrays)
    seconds = time.perf_counter() - began
    print(json.dumps({"peak_mb": round(peak() / 1e6), "seconds": round(seconds, 1)}))


def peak() -> int:
    """Peak resident bytes of this program; `ru_maxrss` has those of the one that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def compared(work: Path, what: str) -> dict[str, float]:
    """The largest difference of each array, as a share of its largest entry."""
    one, other = (np.load(work / f"{what}-{how}.npz") for how in ("resident", "offloaded"))
    wide = {n: (one[n].astype(np.float64), other[n].astype(np.float64)) for n in COMPARED}
    return {n: float(np.abs(a - b).max() / np.abs(a).max()) for n, (a, b) in wide.items()}


if __name__ == "__main__":
    main()
