"""What each operator costs: nanoseconds per entry of the output, one thread, in memory.

    python benchmarks/operator_speed.py [--json FILE]

A tensor of 512 × 4,096 bfloat16-valued entries (a base and two fine-tunes, deltas of a twentieth of
the weights) in chunks of 2**18. `measure` is the pass for statistics, `combine` the merge; neither
includes reading, converting to float32, or subtracting the base.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from time import thread_time

import torch

from simmerge_hub import operators
from simmerge_hub.operators import OPERATORS, Place
from simmerge_hub.operators.sparse.thresholds import magnitude_thresholds

ROWS, COLS, CHUNK = 512, 4096, 2**18
SETTINGS: dict[str, dict] = {
    "nuslerp along=row": {"along": "row"},
    "nuslerp along=column": {"along": "column"},
    "ties density=1": {"density": 1.0},
    "ties rescale=l1": {"rescale": "l1"},
    "dare_ties rescale=l1": {"rescale": "l1"},
    "model_stock filter_wise": {"filter_wise": True},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    torch.set_num_threads(1)
    options = parser.parse_args()
    base, models = _tensors()
    found = {name: _cost(name, base, models) for name in [*OPERATORS, *SETTINGS]}
    for dtype, delta in (("bfloat16", models[0] - base), ("float32", torch.randn(ROWS, COLS))):
        chunks = delta.unsqueeze(0).split(CHUNK // COLS, dim=1)
        seconds = _best(lambda c=chunks: magnitude_thresholds(c, 0.2))
        found[f"threshold, {dtype}, a model"] = {"measure": seconds, "combine": 0.0}
    print(f"{'ns per entry':28} measure combine")
    for name, cost in found.items():
        print(f"{name:28} {cost['measure']:7.2f} {cost['combine']:7.2f}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


def _tensors() -> tuple[torch.Tensor, list[torch.Tensor]]:
    random = torch.Generator().manual_seed(0)
    base = (0.02 * torch.randn(ROWS, COLS, generator=random)).bfloat16()
    noise = [0.001 * torch.randn(ROWS, COLS, generator=random) for _ in range(2)]
    return base.float(), [(base + n).bfloat16().float() for n in noise]


def _cost(name: str, base: torch.Tensor, models: list[torch.Tensor]) -> dict[str, float]:
    operator, _, _ = name.partition(" ")
    given = SETTINGS.get(name, {})
    inputs = models[: OPERATORS[operator].models[1] or 2]
    found = operators.check(operator, given, len(inputs))
    step = CHUNK // COLS
    chunks = [
        operators.stack_inputs(found, base[i : i + step], [m[i : i + step] for m in inputs])[0]
        for i in range(0, ROWS, step)
    ]
    place = Place(tensor="w", shape=(ROWS, COLS))
    known = operators.measure(found, chunks, given, place)
    return {
        "measure": _best(lambda: operators.measure(found, chunks, given, place)),
        "combine": _best(
            lambda: [operators.combine(found, c, known, given, place) for c in chunks]
        ),
    }


def _best(work: Callable[[], object], repeats: int = 15) -> float:
    """Nanoseconds of processor time per entry, the fastest of a few runs."""
    seconds = []
    for _ in range(repeats):
        began = thread_time()
        work()
        seconds.append(thread_time() - began)
    return round(min(seconds) / (ROWS * COLS) * 1e9, 3)


if __name__ == "__main__":
    main()
