"""What a pass over one probe set costs where the vocabulary is most of the model, before and after.

    python benchmarks/signing.py                    # ~3 minutes, 4 GB of memory, 1 GB of disk
    python benchmarks/signing.py --how resident     # the JSON keeps the other part

The model has the shapes of Gemma 3 270M (262,144 words, 63 % of its weights) and random weights.
*Before* is the code of the commit before logits were made where they are used, from this
repository's history; both are run in turn, whole in memory and by layers, each in a process of its
own and on one thread (Linux only). On a machine with other load look at `cpu_seconds`; `seconds`
are those of the clock. Writes benchmarks/signing.json.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BEFORE = "b17bb12"
TASK = "math"
PROMPTS = 64
ROUNDS = 1
HOW = ("resident", "offloaded")
COMPARED = ("logprobs", "tail", "entropy", "loss", "hidden", "attention")
SHAPE: dict[str, Any] = {
    "vocab_size": 262_144, "hidden_size": 640, "intermediate_size": 2048, "num_hidden_layers": 18,
    "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 256, "sliding_window": 512,
    "max_position_embeddings": 32_768, "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0,
}  # fmt: skip


def main() -> None:
    """Run both codes in turn, and write the JSON."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--probe", nargs=3, metavar=("MODEL", "HOW", "ARRAYS"))
    options.add_argument("--how", nargs="*", choices=HOW, default=HOW)
    asked = options.parse_args()
    if asked.probe:
        probe(*asked.probe)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model = save_model(folder / "model")
        codes = {"before": check_out(folder / "before"), "after": HERE.parent}
        for how in asked.how:
            keep({**settings(model), how: compare(how, model, codes)})


def keep(parts: dict[str, Any]) -> None:
    """Write parts of the JSON; those of other runs stay."""
    file = HERE / "signing.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(known | parts, indent=2) + "\n")


def settings(model: Path) -> dict[str, Any]:
    """What both codes were run on."""
    return {
        "model": {"vocabulary": SHAPE["vocab_size"], "parameters": parameters(model)},
        "before": BEFORE,
        "task": TASK,
        "dtype": "float32",
        "prompts": PROMPTS,
        "rounds": ROUNDS,
        "threads": 1,
    }


def compare(how: str, model: Path, codes: dict[str, Path]) -> dict[str, Any]:
    """Both codes in turn, ROUNDS times: the pass of least work, the highest peak, differences."""
    folder = model.parent
    runs: dict[str, list[dict[str, Any]]] = {code: [] for code in codes}
    for _ in range(ROUNDS):
        for code, tree in codes.items():
            runs[code].append(run(tree, model, how, folder / f"{how}-{code}.npz"))
    report: dict[str, Any] = {}
    for code, each in runs.items():
        fastest = min(each, key=lambda one: one["cpu_seconds"])
        report[code] = {
            "seconds": fastest["seconds"],
            "cpu_seconds": fastest["cpu_seconds"],
            "tokens_per_second": round(fastest["tokens"] / fastest["seconds"], 1),
            "peak_mb": max(one["peak_mb"] for one in each),
            "peak_beyond_loading_mb": max(one["peak_mb"] - one["loaded_mb"] for one in each),
        }
    before, after = report["before"], report["after"]
    return report | {
        "tokens": runs["after"][0]["tokens"],
        "times_faster": round(before["seconds"] / after["seconds"], 2),
        "times_less_work": round(before["cpu_seconds"] / after["cpu_seconds"], 2),
        "largest_difference": difference(*(folder / f"{how}-{code}.npz" for code in runs)),
    }


def run(tree: Path, model: Path, how: str, arrays: Path) -> dict[str, Any]:
    """One pass by the code in a tree, in a process of its own; its last line is JSON."""
    done = subprocess.run(
        [sys.executable, __file__, "--probe", str(model), how, str(arrays)],
        env={**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def probe(model: str, how: str, arrays: str) -> None:
    """Run the probes, and print seconds of the pass without loading, tokens and the peak."""
    import numpy as np

    from simmerge_hub.hub.resolve import resolve
    from simmerge_hub.signatures.probing.probe import probe_set, run_probes

    try:
        from simmerge_hub.signatures.probing import forward as module
    except ImportError:  # the code of an old commit
        from simmerge_hub.signatures.probing import sketch as module

    times: dict[str, Any] = {"seconds": 0.0, "tokens": 0}
    real = module.sketch

    def timed(loaded: Any, tokenizer: Any, prompts: Any, **settings: Any) -> Any:
        times["loaded_mb"] = peak()
        times["tokens"] = sum(len(module.read_prompt(p, tokenizer, 128)) for p in prompts)
        began, work = time.perf_counter(), time.process_time()
        made = real(loaded, tokenizer, prompts, **settings)
        times["seconds"] = round(time.perf_counter() - began, 2)
        times["cpu_seconds"] = round(time.process_time() - work, 2)
        return made

    module.sketch = timed
    probes = probe_set(TASK, limit=PROMPTS)
    made: Any = run_probes(resolve(model), None, [probes], offload=how == "offloaded")
    sketch = getattr(made, "sketches", made)[TASK]  # the code before gave the sketches alone
    np.savez(arrays, **{name: getattr(sketch, name) for name in COMPARED})
    print(json.dumps({**times, "peak_mb": peak()}))


def peak() -> int:
    """Peak resident megabytes of this process."""
    status = Path("/proc/self/status").read_text()
    return round(int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6)


def difference(one: Path, other: Path) -> dict[str, float]:
    """The largest difference of each array, as a share of its largest entry."""
    import numpy as np

    first, second = np.load(one), np.load(other)
    wide = {n: (first[n].astype(np.float64), second[n].astype(np.float64)) for n in COMPARED}
    return {n: float(f"{abs(a - b).max() / abs(a).max():.2g}") for n, (a, b) in wide.items()}


def save_model(folder: Path) -> Path:
    """A Gemma 3 of random weights in bfloat16, and a tokenizer that knows the words of the task."""
    import torch
    from transformers import AutoModelForCausalLM, Gemma3TextConfig

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(Gemma3TextConfig(**SHAPE), dtype=torch.bfloat16)
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(5)  # so that predictions are far from uniform
    model.save_pretrained(folder)
    save_tokenizer(folder)
    return folder


def save_tokenizer(folder: Path) -> None:
    """Words and signs of the probes, spread over the vocabulary."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    from simmerge_hub.signatures.probing.probe import probe_set

    split = pre_tokenizers.BertPreTokenizer()
    words = {w for p in probe_set(TASK).prompts for w, _ in split.pre_tokenize_str(p)}
    step = SHAPE["vocab_size"] // (len(words) + 4)
    ids = {word: 3 + step * (1 + i) for i, word in enumerate(sorted(words))}
    inner = Tokenizer(models.WordLevel({"<bos>": 2, "<unk>": 3} | ids, unk_token="<unk>"))
    inner.pre_tokenizer = split
    inner.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", 2)]
    )
    PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<bos>").save_pretrained(folder)


def parameters(model: Path) -> int:
    """How many entries its tensors have."""
    from simmerge_hub.hub.resolve import resolve

    return sum(header.entries for header in resolve(str(model)).tensors.values())


def check_out(folder: Path, commit: str = BEFORE) -> Path:
    """The package as it was in a commit."""
    folder.mkdir()
    packed = subprocess.run(
        ["git", "-C", str(HERE.parent), "archive", commit, "simmerge_hub"],
        stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed.stdout, check=True)
    return folder


if __name__ == "__main__":
    main()
