"""All pairs of N models at once: sums over entries, and the measures they give.

Pairs are not visited one by one. For every tensor the models stand in one matrix, and its products
with itself are the sums of all pairs. The measures are those of the features of the same names.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import prod

import numpy as np
import torch
from torch import Tensor

from simmerge_hub.signatures.measures import distributions
from simmerge_hub.signatures.measures.blocks import layer_count, layer_of
from simmerge_hub.signatures.measures.comparison import comparable
from simmerge_hub.signatures.probing.sketch import Sketch
from simmerge_hub.signatures.signing.signature import Signature


def pair_sums(
    names: Sequence[str], models: Sequence[Signature], base: Signature | None
) -> dict[str, np.ndarray]:
    """Sums over entries, float64 [L + 1, …]: a row for each layer, the last for all outside them.

    `weights` [N] squares; `product` [N, N] of what the models are beyond the base, or where there
    is none beyond their mean, for precision; `moved` and `opposed` [N, N] counts; `base` squares.
    """
    count, places = len(models), layer_count(names) + 1
    of_pairs = ("product", "moved", "opposed") if base else ("product",)
    sums: dict[str, np.ndarray] = {w: np.zeros((places, count, count)) for w in of_pairs}
    sums["weights"] = np.zeros((places, count))
    if base:
        sums["base"] = np.zeros(places)
    for name in names:
        layer = layer_of(name)
        place = places - 1 if layer is None else layer
        weights = torch.stack([_flat(model, name) for model in models])
        origin = _flat(base, name) if base else weights.mean(0)
        terms = _products(weights - origin, signs=base is not None)
        terms["weights"] = _squares(weights)
        if base:
            terms["base"] = _squares(origin)
        scale = prod(models[0].shapes[name]) / weights.shape[1]
        for what, values in terms.items():
            sums[what][place] += scale * values
    return sums


def _products(moved: Tensor, *, signs: bool) -> dict[str, np.ndarray]:
    """Products of every row of float32 [N, entries] with every other, and of their signs."""
    products = {"product": _gram(moved)}
    if signs:
        sign_of = moved.sign()
        products["moved"] = _gram(sign_of.abs())
        products["opposed"] = (products["moved"] - _gram(sign_of)) / 2
    return products


def _gram(rows: Tensor) -> np.ndarray:
    """float64 [N, N], exactly symmetric, of rows [N, entries].

    By torch: on a busy machine the threads of numpy's OpenBLAS wait for each other, up to fifty
    times as long as the product takes.
    """
    gram = (rows @ rows.T).double().numpy()
    return (gram + gram.T) / 2


def _squares(rows: Tensor) -> np.ndarray:
    """float64 […]: sums of squares over the last axis."""
    return rows.double().square().sum(-1).numpy()


def pair_measures(sums: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Measure -> float64 […, N, N]; of a model with itself 1 for cosines, 0 for conflict."""
    product, weights = sums["product"], sums["weights"]
    own = np.diagonal(product, axis1=-2, axis2=-1)
    distance = _outer(np.add, own) - 2 * product
    size = 2 * np.sqrt(_outer(np.multiply, weights))
    measures = {"weight_cosine": _ratio(_outer(np.add, weights) - distance, size)}
    if "base" in sums:
        measures = {
            "delta_cosine": _ratio(product, np.sqrt(_outer(np.multiply, own))),
            "sign_conflict": _ratio(sums["opposed"], sums["moved"]),
        } | measures
    itself = np.arange(product.shape[-1])
    for measure, values in measures.items():
        values[..., itself, itself] = 0 if measure == "sign_conflict" else 1
    return measures


def delta_norms(sums: Mapping[str, np.ndarray]) -> np.ndarray:
    """Norm of each delta over the base's, float64 […, N]; missing where there is no base."""
    own = np.diagonal(sums["product"], axis1=-2, axis2=-1)
    if "base" not in sums:
        return np.full(own.shape, np.nan)
    return np.sqrt(_ratio(own, np.broadcast_to(sums["base"][..., None], own.shape)))


def behaviour_measures(models: Sequence[Signature]) -> dict[str, np.ndarray]:
    """Mean Jensen-Shannon divergence of every pair on each task all were probed with, in nats."""
    tasks = [task for task in models[0].sketches if all(task in m.sketches for m in models)]
    divergences = {f"js.{task}": _divergences([m.sketches[task] for m in models]) for task in tasks}
    return {"js": np.mean(list(divergences.values()), axis=0), **divergences} if divergences else {}


def _divergences(sketches: Sequence[Sketch]) -> np.ndarray:
    matrix = np.zeros((len(sketches), len(sketches)))
    for (i, x), (j, y) in combinations(enumerate(sketches), 2):
        matrix[i, j] = matrix[j, i] = _divergence(x, y) if comparable(x, y) else np.nan
    return matrix


def _divergence(x: Sketch, y: Sketch) -> float:
    return float(distributions.js(*distributions.align_outcomes([x, y]).logprobs).mean())


def _flat(model: Signature, name: str) -> Tensor:
    return model.sampled[name].float().reshape(-1)


def _outer(operation: np.ufunc, values: np.ndarray) -> np.ndarray:
    """float64 […, N, N] of […, N] with itself."""
    return operation(values[..., :, None], values[..., None, :])


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, NaN where whole is not positive."""
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0)
