"""RegMean beside fusion_bench's (its `merging_with_regmean_weights`) and a float64 reference.

Runs in an environment of its own, with ours found by its path:

    python -m venv peer && peer/bin/pip install torch==2.13.0 fusion-bench==0.2.33
    PYTHONPATH=. peer/bin/python benchmarks/regmean_parity.py      # a minute

All three are given the same weights and inputs, random ones of random widths. What differs by
convention: fusion_bench divides each Gram matrix by the model's number of tokens, so that a model
with larger activations counts more; ours scales each to a mean diagonal of 1, has a weight for each
model, and adds a ridge. So ours is given as weights what each model's inputs are in the mean square
(times the weights of a case, which fusion_bench gets as factors of its matrices), and no ridge.
Each difference is the greatest of a case, relative to the greatest entry of the reference. Writes
benchmarks/regmean_parity.json.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import torch
from fusion_bench.method.regmean.regmean import merging_with_regmean_weights
from torch import Tensor

from simmerge_hub.operators import Arm, LayerInputs, Place, merge_tensors

ANSWERS = Path(__file__).with_suffix(".json")
ALPHAS, MODELS, DRAWS = (0.5, 0.9, 1.0), (2, 3), 10
WIDTHS, ROWS = (8, 400), (4, 200)
"""Of a layer, from and to: drawn for each case."""
MORE, FEWER = 4, 1 / 8
"""Tokens for each column: more, of which a Gram matrix is kept, or fewer, kept as they are."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One linear layer of some models: weights [rows, width] and inputs [tokens, width] of each."""

    weights: Sequence[Tensor]
    inputs: Sequence[Tensor]
    shares: Sequence[float]

    @property
    def mean_squares(self) -> list[float]:
        return [float(each.double().square().mean()) for each in self.inputs]


def main() -> None:
    torch.set_num_threads(1)
    groups = [
        {"tokens": kept, "alpha": alpha, "models": models, "weights": weighted}
        for kept, alpha, models, weighted in product(
            ("more than columns", "fewer than columns"), ALPHAS, MODELS, ("equal", "random")
        )
        if kept == "more than columns" or alpha < 1  # else nothing can be inverted
    ]
    report = {
        "fusion_bench": version("fusion_bench"),
        "torch": version("torch"),
        "draws": DRAWS,
        "cases": [group | compare(number, **group) for number, group in enumerate(groups)],
        "defaults": compare_defaults(),
    }
    ANSWERS.write_text(json.dumps(report, indent=1) + "\n")


def compare(
    number: int, *, tokens: str, alpha: float, models: int, weights: str
) -> dict[str, float]:
    """The greatest relative differences of some layers drawn at random."""
    pairs: dict[str, list[float]] = {}
    for draw in range(DRAWS):
        layer = draw_layer(
            1000 * number + draw, tokens.startswith("more"), models, weights == "random"
        )
        exact = reference(layer, alpha)
        scaled = [s * m for s, m in zip(layer.shares, layer.mean_squares, strict=True)]
        mine = merge_ours(layer, alpha=alpha, ridge=0.0, weights=scaled)
        wide, narrow = (merge_theirs(layer, alpha, d) for d in (torch.float64, torch.float32))
        for name, pair in {
            "ours_to_theirs": (mine, wide),
            "ours_to_reference": (mine, exact),
            "theirs_to_reference": (wide, exact),
            "theirs_in_float32_to_reference": (narrow, exact),
        }.items():
            pairs.setdefault(name, []).append(relative(*pair))
    return {name: float(f"{max(each):.1e}") for name, each in pairs.items()}


def compare_defaults() -> dict[str, float]:
    """Nothing matched: both by default, where the models' inputs are equally large or not."""
    differences: dict[str, list[float]] = {}
    for draw in range(DRAWS):
        layer = draw_layer(draw, True, 2, False)
        first, second = (each / each.square().mean().sqrt() for each in layer.inputs)
        for name, factor in {"inputs_equally_large": 1.0, "inputs_of_one_3_times": 3.0}.items():
            case = Layer(layer.weights, (first * factor, second), layer.shares)
            pair = merge_ours(case, alpha=0.9), merge_theirs(case, 0.9, torch.float64)
            differences.setdefault(name, []).append(relative(*pair))
    return {name: float(f"{max(each):.1e}") for name, each in differences.items()}


def draw_layer(seed: int, many: bool, models: int, weighted: bool) -> Layer:
    random = torch.Generator().manual_seed(seed)
    width, rows = (int(torch.randint(*span, (), generator=random)) for span in (WIDTHS, ROWS))
    count = max(3, int(width * (MORE if many else FEWER)))
    base = torch.randn(rows, width, generator=random)
    weights = [base + 0.3 * torch.randn(rows, width, generator=random) for _ in range(models)]
    inputs = []
    for number in range(models):
        mixing = torch.randn(width, width, generator=random) / width**0.5
        drawn = torch.randn(count + number, width, generator=random)
        inputs.append((drawn + drawn @ mixing) * (1 + number))
    shares = 0.2 + torch.rand(models, generator=random) if weighted else torch.ones(models)
    return Layer(weights, inputs, shares.tolist())


def merge_ours(layer: Layer, **parameters: Any) -> Tensor:
    """By Gram matrices, or by Woodbury's identity from the inputs where they are fewer."""
    many = len(layer.inputs[0]) >= layer.inputs[0].shape[1]
    seen = tuple(
        (LayerInputs(tokens=max(16, len(x)), **({"gram": x.T @ x} if many else {"rows": x})),)
        for x in layer.inputs
    )
    shape = tuple(layer.weights[0].shape)
    place = Place(tensor="layer", models=tuple("abc"[: len(seen)]), shape=shape, seen=seen)
    chosen = Arm(operator="regmean", parameters=parameters)
    return merge_tensors(chosen, None, list(layer.weights), place)


def merge_theirs(layer: Layer, alpha: float, dtype: torch.dtype) -> Tensor:
    """fusion_bench's, on what its hooks keep: XᵀX divided by the number of tokens."""
    grams = []
    for inputs, share in zip(layer.inputs, layer.shares, strict=True):
        fed = inputs.to(dtype)
        grams.append({"layer": share * (fed.T @ fed) / len(fed)})
    weights = {"layer.weight": [each.to(dtype) for each in layer.weights]}
    return merging_with_regmean_weights(weights, grams, alpha)["layer.weight"]


def reference(layer: Layer, alpha: float) -> Tensor:
    """Σ WᵢAᵢ (ΣA)⁻¹ in float64, solved and not inverted."""
    damped = []
    for inputs, share in zip(layer.inputs, layer.shares, strict=True):
        gram = share * (inputs.double().T @ inputs.double()) / len(inputs)
        damped.append(alpha * gram + (1 - alpha) * gram.diagonal().diag())
    total = sum(w.double() @ a for w, a in zip(layer.weights, damped, strict=True))
    return torch.linalg.solve(torch.stack(damped).sum(0), total, left=False)


def relative(one: Tensor, other: Tensor) -> float:
    return float((one.double() - other.double()).abs().max() / other.double().abs().max())


if __name__ == "__main__":
    main()
