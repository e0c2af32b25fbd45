"""What mergekit 0.1.5 answers on tiny tensors: the numbers tests/operators/test_parity.py holds.

Runs in an environment with mergekit, which it uses through its public API:

    python benchmarks/parity_reference.py tests/operators/parity.json

Random operators draw from `torch.bernoulli`; it is replaced for them by a comparison with words
that are written into the file, so that the test can thin with the same mask.
"""

import json
import sys
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from unittest.mock import patch

import torch
from mergekit.merge_methods import merge_tensors

SHAPES = {"matrix": (6, 10), "vector": (9,)}
THREE, TWO, ONE = [0, 1, 2], [0, 1], [0]
CASES = [
    # name, mergekit's method, its parameters for the models, our operator, our parameters, models
    ("linear", {"weight": [1.0, 2.0, 0.5]}, "linear", {"weights": [1.0, 2.0, 0.5]}, THREE),
    ("linear", {"weight": [1.0, 2.0, 0.5], "normalize": False}, "linear",
     {"weights": [1.0, 2.0, 0.5], "normalize": False}, THREE),
    ("passthrough", {"scale": 0.5}, "passthrough", {"scale": 0.5}, ONE),
    ("slerp", {"t": 0.3}, "slerp", {"t": 0.3}, TWO),
    ("nuslerp", {"weight": [1.0, 3.0]}, "nuslerp", {"t": 0.75}, TWO),
    ("nuslerp", {"weight": [1.0, 3.0]}, "nuslerp", {"t": 0.75, "origin": "zero"}, TWO),
    ("nuslerp", {"weight": [1.0, 3.0], "nuslerp_flatten": False}, "nuslerp",
     {"t": 0.75, "along": "row"}, TWO),
    ("nuslerp", {"weight": [1.0, 3.0], "nuslerp_flatten": False, "nuslerp_row_wise": True},
     "nuslerp", {"t": 0.75, "along": "column"}, TWO),
    ("multislerp", {"weight": [1.0, 2.0, 0.5]}, "multislerp", {"weights": [1.0, 2.0, 0.5]}, THREE),
    ("multislerp", {"weight": [1.0, 2.0, 0.5]}, "multislerp",
     {"weights": [1.0, 2.0, 0.5], "origin": "zero"}, THREE),
    ("multislerp", {"weight": [0.5, 0.3, 0.4], "normalize_weights": False}, "multislerp",
     {"weights": [0.5, 0.3, 0.4], "normalize": False}, THREE),
    ("karcher", {}, "karcher", {}, THREE),
    ("karcher", {"max_iter": 1}, "karcher", {"steps": 1}, THREE),
    ("task_arithmetic", {"weight": [1.0, 2.0, 0.5], "lambda": 0.7}, "task_arithmetic",
     {"weights": [1.0, 2.0, 0.5], "scale": 0.7}, THREE),
    ("task_arithmetic", {"weight": [1.0, 2.0, 0.5], "normalize": True}, "task_arithmetic",
     {"weights": [1.0, 2.0, 0.5], "normalize": True}, THREE),
    ("ties", {"weight": [1.0, 2.0, 0.5], "density": 0.3}, "ties",
     {"weights": [1.0, 2.0, 0.5], "density": 0.3}, THREE),
    ("ties", {"weight": [1.0, 1.0], "density": [0.2, 0.7], "lambda": 0.6}, "ties",
     {"density": [0.2, 0.7], "scale": 0.6}, TWO),
    ("ties", {"weight": [1.0, -0.5, 0.5], "density": 0.6, "normalize": False}, "ties",
     {"weights": [1.0, -0.5, 0.5], "density": 0.6, "normalize": False}, THREE),
    ("ties", {"weight": [1.0, 2.0, 0.5], "density": 0.3, "rescale": True}, "ties",
     {"weights": [1.0, 2.0, 0.5], "density": 0.3, "rescale": "l1"}, THREE),
    ("dare_linear", {"weight": [1.0, 0.5], "density": 0.4, "rescale": False}, "dare_linear",
     {"weights": [1.0, 0.5], "density": 0.4, "rescale": "none"}, TWO),
    ("dare_linear", {"weight": [1.0, 0.5], "density": 0.4}, "dare_linear",
     {"weights": [1.0, 0.5], "density": 0.4, "rescale": "l1"}, TWO),
    ("dare_ties", {"weight": [1.0, 0.5, 1.0], "density": 0.4}, "dare_ties",
     {"weights": [1.0, 0.5, 1.0], "density": 0.4, "rescale": "l1", "normalize": False}, THREE),
    ("della", {"weight": [1.0, 0.5, 1.0], "density": 0.4, "epsilon": 0.2}, "della",
     {"weights": [1.0, 0.5, 1.0], "density": 0.4, "epsilon": 0.2, "rescale": "l1"}, THREE),
    ("della_linear", {"weight": [1.0, 0.5], "density": 0.6}, "della_linear",
     {"weights": [1.0, 0.5], "density": 0.6, "rescale": "l1"}, TWO),
    ("breadcrumbs", {"weight": [1.0, 0.5], "density": 0.5, "gamma": 0.15}, "breadcrumbs",
     {"weights": [1.0, 0.5], "density": 0.5, "gamma": 0.15}, TWO),
    ("breadcrumbs", {"weight": [1.0, 0.5], "density": 0.95, "gamma": 0.15}, "breadcrumbs",
     {"weights": [1.0, 0.5], "density": 0.95, "gamma": 0.15}, TWO),
    ("breadcrumbs_ties", {"weight": [1.0, 0.5, 2.0], "density": 0.5, "gamma": 0.1},
     "breadcrumbs_ties",
     {"weights": [1.0, 0.5, 2.0], "density": 0.5, "gamma": 0.1, "normalize": False}, THREE),
    ("model_stock", {}, "model_stock", {}, THREE),
    ("model_stock", {"filter_wise": True}, "model_stock", {"filter_wise": True}, THREE),
    ("sce", {"select_topk": 0.3}, "sce", {"density": 0.3}, THREE),
    ("sce", {}, "sce", {"density": 1.0}, TWO),
    ("arcee_fusion", {}, "arcee_fusion", {}, ONE),
    ("nearswap", {"t": 0.02}, "nearswap", {"limit": 0.02}, ONE),
    ("ram", {"epsilon": 0.03}, "ram", {"floor": 0.03}, THREE),
    ("ramplus_tl", {"epsilon": 0.03, "r": 0.5, "alpha": 2.0}, "ramplus_tl",
     {"floor": 0.03, "boost": 0.5, "ceiling": 2.0}, THREE),
]  # fmt: skip
WITHOUT_BASE = {"linear", "passthrough", "karcher"}


def main() -> None:
    inputs = {name: tensors(shape) for name, shape in SHAPES.items()}
    found = {
        "mergekit": version("mergekit"),
        "inputs": {n: [t.tolist() for t in each] for n, each in inputs.items()},
        "words": {n: words(shape).tolist() for n, shape in SHAPES.items()},
        "cases": [answers(case, inputs) for case in CASES],
    }
    Path(sys.argv[1]).write_text(json.dumps(rounded(found), separators=(",", ":")) + "\n")


def tensors(shape: tuple[int, ...]) -> list[torch.Tensor]:
    """The base and three models in float32, deltas about a fifth of the weights."""
    random = torch.Generator().manual_seed(len(shape))
    base = 0.3 * torch.randn(shape, generator=random)
    models = [base + 0.06 * torch.randn(shape, generator=random) for _ in range(3)]
    return [base, *models]


def words(shape: tuple[int, ...]) -> torch.Tensor:
    """For each of three models, a number in [0, 2**32) for every entry."""
    random = torch.Generator().manual_seed(7)
    return torch.randint(2**32, (3, *shape), generator=random)


def answers(case: tuple, inputs: dict) -> dict:
    method, parameters, operator, ours, picked = case
    outputs = {}
    for shape, (base, *models) in inputs.items():
        for dtype in ("float32", "bfloat16"):
            based = method not in WITHOUT_BASE and ours.get("origin") != "zero"
            chosen = [models[i] for i in picked]
            if method == "slerp":
                outputs[f"{shape} {dtype}"] = run(method, parameters, chosen, 0, dtype, shape)
            elif based:
                outputs[f"{shape} {dtype}"] = run(
                    method, parameters, [base, *chosen], 0, dtype, shape
                )
            else:
                outputs[f"{shape} {dtype}"] = run(method, parameters, chosen, None, dtype, shape)
    return {
        "method": method,
        "mergekit": parameters,
        "operator": operator,
        "parameters": ours,
        "models": picked,
        "outputs": outputs,
    }


def run(method: str, parameters: dict, given: list, base: int | None, dtype: str, shape: str):
    given = [t.to(getattr(torch, dtype)) for t in given]
    models = [i for i in range(len(given)) if i != base]
    spread = {
        key: dict(zip(models, value, strict=True)) if isinstance(value, list) else value
        for key, value in parameters.items()
    }
    with common_mask(words(SHAPES[shape])):
        merged = merge_tensors(given, method, parameters=spread, base_index=base)
    return merged.float().tolist()


@contextmanager
def common_mask(drawn: torch.Tensor):
    """`torch.bernoulli` answers with a model's own words, model after model."""
    turns = iter(drawn)

    def bernoulli(input: torch.Tensor) -> torch.Tensor:
        uniform = next(turns).double() / 2**32
        return (uniform < input.double().view(uniform.shape)).to(input.dtype).view(input.shape)

    with patch.object(torch, "bernoulli", bernoulli):
        yield


def rounded(value):
    """Floats with nine digits, which is what a float32 has."""
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
