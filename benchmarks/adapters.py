"""Merged adapters beside PEFT's, what a cut rank leaves out, and the memory that a merge takes.

    python benchmarks/adapters.py       # a few minutes, 3 GB of memory

PEFT's `add_weighted_adapter` and ours on two random adapters of a tiny Llama: the Frobenius norm of
the difference of all deltas, relative to that of PEFT's; and of rsLoRA adapters, which PEFT scales
otherwise, how many times as large its merge is. Three random adapters of rank 16 on two
matrices of a 7B model, merged by TIES at the sum of their ranks: the share of the merged delta that
is left out. And the peak memory of a process that merges by TIES or by weights. Writes
benchmarks/adapters.json.
"""

import copy
import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from simmerge_hub.hub.resolve import Checkpoint, resolve
from simmerge_hub.operators import Arm, arm
from simmerge_hub.weights.lora import combination, merge_adapters, write_adapter

HERE = Path(__file__).parent
PLAIN: dict[str, Any] = {"r": 3, "lora_alpha": 7, "target_modules": ["q_proj", "up_proj"]}
RANK = 16
NARROW, WIDE = 4096, 11_008
"""A 7B Llama's hidden and inner size."""
SPARSE = arm("ties", density=0.2)
MODULES = {"ties": 1, "weights": 96, "nothing": 1}
"""How many are merged where memory is measured: 96 are three in each of 32 layers."""
KINDS: dict[str, tuple[dict[str, Any], Sequence[float], Arm | None, int]] = {
    "`cat`": ({"combination_type": "cat"}, (0.7, 0.4), None, 0),
    "`svd`": ({"combination_type": "svd", "svd_rank": 2}, (0.7, 0.4), None, 2),
    "`ties_svd`, equal weights": (
        {"combination_type": "ties_svd", "svd_rank": RANK, "density": 0.2},
        (0.5, 0.5),
        arm("ties", density=0.2, scale=0.5),
        RANK,
    ),
    "`ties_svd`, weights 0.7 and 0.3": (
        {"combination_type": "ties_svd", "svd_rank": RANK, "density": 0.2},
        (0.7, 0.3),
        arm("ties", density=0.2, weights=(0.7, 0.3)),
        RANK,
    ),
    "`linear`": ({"combination_type": "linear"}, (0.5, 0.5), None, 0),
}
"""What PEFT is asked for; the weights; ours, None for a sum of weighted deltas, and its rank."""
SCALED = ("`cat`", "`svd`", "`ties_svd`, equal weights")


def main() -> None:
    """Measure and write the JSON; with arguments, what a process of its own measures."""
    if len(sys.argv) > 1:
        run(*sys.argv[1:])
        return
    with tempfile.TemporaryDirectory() as work:
        report = {
            "peft": version("peft"),
            "peak_mb": {name: ask_peak(Path(work), name) for name in MODULES},
            "difference": {kind: compare(Path(work), kind)[0] for kind in KINDS},
            "rslora": {kind: compare(Path(work), kind, use_rslora=True)[1] for kind in SCALED},
            "cut": cut(Path(work)),
        }
    (HERE / "adapters.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))


def compare(work: Path, kind: str, **config: Any) -> tuple[float, float]:
    """How far ours is from PEFT's, and how many times as large PEFT's is."""
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    small = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "vocab_size": 40}
    base = LlamaForCausalLM(LlamaConfig(**small, **heads)).eval()
    how, weights, ours, rank = KINDS[kind]
    place = tempfile.mkdtemp(dir=work)
    folders = [Path(place, name) for name in ("code", "math")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed, folder in enumerate(folders):
            model = get_peft_model(copy.deepcopy(base), LoraConfig(**PLAIN, **config))
            random = torch.Generator().manual_seed(seed)
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.data.add_(0.3 * torch.randn(parameter.shape, generator=random))
            model.save_pretrained(str(folder))
        adapters = [resolve(str(folder)) for folder in folders]
        combine = combination(ours, [each.name for each in adapters]) if ours else weights
        report = write_adapter(merge_adapters(adapters, combine, rank=rank), folders[0] / "both")
        model = PeftModel.from_pretrained(copy.deepcopy(base), folders[0], adapter_name="one")
        model.load_adapter(str(folders[1]), "two")
        model.load_adapter(str(report.folder), "ours")
        model.add_weighted_adapter(["one", "two"], list(weights), "theirs", **how)
    apart = whole = size = 0.0
    for module in model.modules():
        if "theirs" in getattr(module, "lora_A", ()):
            own, their = (module.get_delta_weight(name) for name in ("ours", "theirs"))
            apart += float((own - their).square().sum())
            whole += float(their.square().sum())
            size += float(own.square().sum())
    return (apart / whole) ** 0.5, (whole / size) ** 0.5


def cut(work: Path) -> dict[str, Any]:
    """What TIES at the sum of the ranks leaves out, and a weighted sum."""
    adapters = make(work / "cut", {"q_proj": (NARROW, NARROW), "up_proj": (WIDE, NARROW)})
    ties = combination(SPARSE, [each.name for each in adapters])
    rank = RANK * len(adapters)
    merged = write_adapter(merge_adapters(adapters, ties, rank=rank), work / "cut" / "out")
    added = write_adapter(merge_adapters(adapters, [1 / 3] * 3), work / "cut" / "sum")
    return {"rank": rank, SPARSE.label: merged.residue, "weighted sum": added.residue}


def make(folder: Path, shapes: Mapping[str, tuple[int, int]]) -> list[Checkpoint]:
    """Three random adapters on modules of these output and input sizes."""
    for seed in range(3):
        random = torch.Generator().manual_seed(seed)
        place = folder / f"adapter-{seed}"
        place.mkdir(parents=True)
        tensors: dict[str, Tensor] = {}
        for name, (rows, columns) in shapes.items():
            at = f"base_model.model.model.{name}"
            tensors[f"{at}.lora_A.weight"] = torch.randn(RANK, columns, generator=random)
            tensors[f"{at}.lora_B.weight"] = torch.randn(rows, RANK, generator=random)
        save_file(tensors, place / "adapter_model.safetensors", metadata={"format": "pt"})
        config = {"peft_type": "LORA", "r": RANK, "lora_alpha": RANK}
        config["target_modules"] = list(shapes)
        (place / "adapter_config.json").write_text(json.dumps(config))
    return [resolve(str(folder / f"adapter-{seed}")) for seed in range(3)]


def ask_peak(work: Path, name: str) -> float:
    """Peak resident MB of a process that merges so, or of `nothing`, that only imports.

    Adapters are made in a process of their own: a child's peak begins with its parent's size.
    """
    command = [sys.executable, __file__, str(work / f"peak-{name}"), name]
    subprocess.run([*command, "make"], check=True)
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def run(folder: str, name: str, made: str = "") -> None:
    """What a process of its own does: make adapters, or merge them and print its peak."""
    if made:
        make(Path(folder), {f"layers.{i}.up_proj": (WIDE, NARROW) for i in range(MODULES[name])})
        return
    if name != "nothing":
        adapters = [resolve(f"{folder}/adapter-{seed}") for seed in range(3)]
        ties = name == "ties"
        combine = combination(SPARSE, [a.name for a in adapters]) if ties else [1 / 3] * 3
        merge = merge_adapters(adapters, combine, rank=RANK * 3 if ties else 0)
        write_adapter(merge, f"{folder}/out")
    print(round(getrusage(RUSAGE_SELF).ru_maxrss / 1024))


if __name__ == "__main__":
    main()
