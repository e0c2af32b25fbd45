"""Every kind of model that transformers knows: does it load the exact mean from a merge?

    python benchmarks/architectures.py run     # hours; goes on where it stopped
    python benchmarks/architectures.py report  # the JSON beside this file, from what was run

Of each kind a small model with random weights is made and saved twice, with other weights, and once
more under the names of transformers' modules where those differ from the published ones. Pairs are
merged with Linear, and a LoRA adapter that PEFT put on its linear layers with the second model. The
merge is loaded by transformers and held against the mean of what it loads of the two, or, of an
adapter, of what PEFT's merge_and_unload makes of the model that was adapted.
"""

import argparse
import gc
import json
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from architectures_small import list_kinds, make_small, silence
from peft import LoraConfig, get_peft_model
from safetensors import safe_open
from torch import Tensor
from transformers import PreTrainedModel

import simmerge_hub
from simmerge_hub.errors import SimmergeError
from simmerge_hub.merger import merge
from simmerge_hub.recipe import Recipe, Source, Step

OUT = Path(__file__).with_suffix(".json")
SECONDS = 120
"""No kind may take longer."""
NEAR = 1e-6
"""Largest difference that rounding explains, beside the largest entry of a tensor (float32)."""
STEP = 0.1
SHOWN = 300
EXACT, REFUSED, WRONG, NOT_MADE = "exact", "refused", "wrong", "not made"

State = Mapping[str, Tensor]


def main() -> None:
    """Run the kinds that were not run yet, or write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("verb", choices=["run", "report"])
    parser.add_argument("--journal", type=Path, default=Path("architectures.jsonl"))
    parser.add_argument("--kinds", nargs="*", help="only these")
    parser.add_argument("--part", default="0/1", help="i/n: every nth kind from the ith on")
    arguments = parser.parse_args()
    if arguments.verb == "report":
        _report(arguments.journal)
        return
    silence()
    done = {row["kind"] for row in _read(arguments.journal)}
    kinds = {k: c for k, c in list_kinds().items() if not arguments.kinds or k in arguments.kinds}
    first, count = map(int, arguments.part.split("/"))
    for kind in list(kinds)[first::count]:
        if kind in done:
            continue
        row = {"kind": kind, "class": kinds[kind].__name__} | _run(kinds[kind])
        with arguments.journal.open("a") as journal:
            journal.write(json.dumps(row) + "\n")
        gc.collect()


def _run(made: type[PreTrainedModel]) -> dict[str, Any]:
    """What became of the merges of one kind: form -> outcome, and why."""
    folder = Path(tempfile.mkdtemp(prefix="architectures-"))
    row: dict[str, Any] = {}
    try:
        with _limit(SECONDS):
            row.update(_try_forms(made, folder))
    except Exception as error:
        row["made" if not row else "stopped"] = _reason(error)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return row


def _try_forms(made: type[PreTrainedModel], folder: Path) -> Iterator[tuple[str, Any]]:
    model = make_small(made, seed=0)
    yield "parameters", sum(p.numel() for p in model.parameters())
    for name, how in (("a", {}), ("b", {}), ("c", {"save_original_format": False})):
        _shake(model, seed=ord(name))
        model.save_pretrained(folder / name, **how)
    del model
    yield "whole", _hold(made, folder, ["a", "b"])
    if _stored(folder / "a") != _stored(folder / "c"):
        yield "other names", _hold(made, folder, ["a", "c"])
        yield "other names first", _hold(made, folder, ["c", "a"])
    yield "adapter", _hold_adapter(made, folder)


def _hold_adapter(made: type[PreTrainedModel], folder: Path) -> dict[str, str]:
    """The mean of a model and of an adapter on another one, beside what PEFT computes."""
    model = _load(made, folder / "a")
    config = LoraConfig(r=2, target_modules="all-linear", exclude_modules=_list_tied(model) or None)
    try:
        wrapped = get_peft_model(model, config)
        _shake(wrapped, seed=5, statistics=False)
        wrapped.save_pretrained(folder / "lora")
        adapted = dict(wrapped.merge_and_unload().state_dict())
    except Exception as error:
        return {"outcome": NOT_MADE, "why": _reason(error)}
    return _hold(made, folder, ["b", "lora"], base="a", adapted=adapted)


def _list_tied(model: PreTrainedModel) -> list[str]:
    """Modules whose weight is another's, too: PEFT changes both in memory, and adapts one."""
    named = list(model.named_parameters(remove_duplicate=False))
    often = Counter(id(parameter) for _, parameter in named)
    return [n.removesuffix(".weight") for n, p in named if often[id(p)] > 1]


def _hold(
    made: type[PreTrainedModel],
    folder: Path,
    names: list[str],
    base: str = "",
    adapted: State | None = None,
) -> dict[str, str]:
    """Merge two folders, and hold what transformers loads against the mean."""
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    recipe = Recipe(
        base=Source(name=base, folder=folder / base) if base else None,
        models=tuple(Source(name=name, folder=folder / name) for name in names),
        steps=(Step(operator="linear", models=tuple(names), parameters={}),),
    )
    try:
        report = merge(recipe, out)
    except SimmergeError as error:
        return {"outcome": REFUSED, "why": str(error)[:SHOWN]}
    first = _read_state(made, folder / names[0])
    second = adapted or _read_state(made, folder / names[1])
    wrong = _differences(_read_state(made, out), first, second)
    notes = [str(note) for note in report.notes]
    if wrong:
        return {"outcome": WRONG, "why": f"{len(wrong)}: {wrong[:3]} {notes}"[:SHOWN]}
    return {"outcome": EXACT}


def _differences(merged: State, first: State, second: State) -> list[str]:
    wrong = [f"{name} is lost" for name in first.keys() & second.keys() - merged.keys()]
    for name, tensor in merged.items():
        pair = [state[name] for state in (first, second) if name in state]
        if not tensor.is_floating_point() or not tensor.numel():
            continue
        if len(pair) < 2 or any(t.shape != tensor.shape for t in pair):
            wrong.append(f"{name} is not that of both")
            continue
        mean = (pair[0].double() + pair[1].double()) / 2
        off = (tensor.double() - mean).abs().nan_to_num().max().item()
        if off > NEAR * max(1, mean.abs().nan_to_num().max().item()):
            wrong.append(f"{name} by {off:.2g}")
    return wrong


def _load(made: type[PreTrainedModel], folder: Path) -> PreTrainedModel:
    return made.from_pretrained(folder, dtype=torch.float32)


def _read_state(made: type[PreTrainedModel], folder: Path) -> State:
    """What transformers loads of a folder, without what it says that the folder lacks."""
    model, found = made.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    return {n: t for n, t in model.state_dict().items() if n not in found["missing_keys"]}


def _shake(model: torch.nn.Module, seed: int, statistics: bool = True) -> None:
    """Add noise to whatever may be trained, and to running statistics."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point() and parameter.requires_grad:
                parameter += STEP * torch.randn(parameter.shape, generator=generator)
        for name, buffer in model.named_buffers():
            if statistics and name.endswith(("running_mean", "running_var")):
                buffer += STEP * torch.rand(buffer.shape, generator=generator)


def _stored(folder: Path) -> set[str]:
    names: set[str] = set()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as shard:
            names |= set(shard.keys())
    return names


@contextmanager
def _limit(seconds: int) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError(f"stopped after {seconds} seconds")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines)}"[:SHOWN]


def _read(journal: Path) -> list[dict[str, Any]]:
    return (
        [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []
    )


def _report(journal: Path) -> None:
    rows = sorted(_read(journal), key=lambda row: row["kind"])
    forms = ("whole", "other names", "other names first", "adapter")
    found = {
        "simmerge_hub": simmerge_hub.__version__,
        "transformers": transformers.__version__,
        "kinds": len(rows),
        "made": sum("whole" in row for row in rows),
        "outcomes": {f: Counter(r[f]["outcome"] for r in rows if f in r) for f in forms},
    }
    lines = ",\n".join(json.dumps(row) for row in rows)  # a line for each kind
    head = json.dumps(found, indent=1).removesuffix("\n}")
    OUT.write_text(f'{head},\n "rows": [\n{lines}\n]\n}}\n')


if __name__ == "__main__":
    main()
