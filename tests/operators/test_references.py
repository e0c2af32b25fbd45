"""Every operator against its definition, written out entry by entry in float64."""

import math
from collections.abc import Callable, Sequence
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
import torch

from simmerge_hub.operators import OPERATORS, Arm, merge_tensors
from simmerge_hub.operators.registry import HERE, Place
from simmerge_hub.operators.sparse import draws
from tests.activations import seen_by, tokens_of

Array = np.ndarray
SHAPES = [(6, 7), (9,), (3, 2, 4)]


def deltas(base: Array, models: Sequence[Array]) -> list[Array]:
    return [m - base for m in models]


def each(value: float | Sequence[float], count: int) -> list[float]:
    """One number for each model."""
    return list(value) if isinstance(value, Sequence) else [value] * count


def share(values: Sequence[float] | None, count: int) -> list[float]:
    given = [1.0] * count if values is None else list(values)
    return [v / sum(given) for v in given]


def linear(base: Array, models: list[Array], *, weights: Any = None) -> Array:
    return sum(w * m for w, m in zip(share(weights, len(models)), models, strict=True))


def task_arithmetic(
    base: Array, models: list[Array], *, weights: Any = None, scale: float = 1.0
) -> Array:
    given = weights or [1.0] * len(models)
    return base + scale * sum(w * d for w, d in zip(given, deltas(base, models), strict=True))


def passthrough(base: Array, models: list[Array], *, scale: float = 1.0) -> Array:
    return scale * models[0]


def arc(a: Array, b: Array, t: float) -> Array:
    """Rotate a towards b in their plane; the norm moves with the un-normalised formula."""
    theta = math.acos(float(np.vdot(a, b)) / np.linalg.norm(a) / np.linalg.norm(b))
    return (
        math.sin((1 - t) * theta) / math.sin(theta) * a + math.sin(t * theta) / math.sin(theta) * b
    )


def slerp(base: Array, models: list[Array], *, t: float = 0.5) -> Array:
    return arc(*models, t)


def nuslerp(
    base: Array, models: list[Array], *, t: float = 0.5, along: str = "tensor", origin: str = "base"
) -> Array:
    centre = base if origin == "base" else 0 * base
    a, b = (m - centre for m in models)
    if along == "tensor" or a.ndim == 1:
        return centre + arc(a, b, t)
    rows = [x.reshape(len(x), -1) for x in (a, b)]
    if along == "column":
        rows = [x.T for x in rows]
    found = np.stack([arc(x, y, t) for x, y in zip(*rows, strict=True)])
    return centre + (found.T if along == "column" else found).reshape(a.shape)


def multislerp(
    base: Array, models: list[Array], *, weights: Any = None, origin: str = "base"
) -> Array:
    """With the tangent step of mergekit, which must vanish."""
    centre = base if origin == "base" else 0 * base
    shares, parts = share(weights, len(models)), [m - centre for m in models]
    norms = [np.linalg.norm(p) for p in parts]
    units = [p / n for p, n in zip(parts, norms, strict=True)]
    mean = sum(w * u for w, u in zip(shares, units, strict=True))
    mean /= np.linalg.norm(mean)
    tangent = sum(w * (u - np.vdot(u, mean) * mean) for w, u in zip(shares, units, strict=True))
    assert np.linalg.norm(tangent) < 1e-12
    return centre + mean * sum(w * n for w, n in zip(shares, norms, strict=True))


def karcher(base: Array, models: list[Array], *, weights: Any = None) -> Array:
    """By gradient descent on the sum of squared angles, in the space of the tensor."""
    shares, norms = share(weights, len(models)), [np.linalg.norm(m) for m in models]
    units = [m / n for m, n in zip(models, norms, strict=True)]
    mean = units[0]
    for _ in range(300):
        step = 0 * mean
        for w, u in zip(shares, units, strict=True):
            angle = math.acos(min(1.0, float(np.vdot(mean, u))))
            away = u - np.vdot(mean, u) * mean
            if angle > 1e-9:
                step = step + w * angle * away / np.linalg.norm(away)
        mean = mean + 0.5 * step
        mean = mean / np.linalg.norm(mean)
    return mean * sum(w * n for w, n in zip(shares, norms, strict=True))


def trimmed(delta: Array, density: float) -> Array:
    keep = max(1, int(density * delta.size))
    threshold = sorted(np.abs(delta).ravel())[-keep]
    return np.where(np.abs(delta) >= threshold, delta, 0)


def elected(parts: Sequence[Array], masses: Sequence[float], normalize: bool = True) -> Array:
    """Entry by entry: the sign of the sum, then the sum or the mean of those who have it."""
    merged = np.zeros_like(parts[0])
    for place in np.ndindex(merged.shape):
        sign = 1 if sum(p[place] for p in parts) >= 0 else -1
        ayes = [i for i, p in enumerate(parts) if p[place] * sign > 0]
        total = sum(parts[i][place] for i in ayes)
        merged[place] = total / (sum(masses[i] for i in ayes) or 1) if normalize else total
    return merged


def ties(
    base: Array, models: list[Array], *, density: float = 0.2, weights: Any = None,
    scale: float = 1.0, normalize: bool = True, rescale: str = "none",
) -> Array:  # fmt: skip
    given, parts = weights or [1.0] * len(models), []
    for w, d in zip(given, deltas(base, models), strict=True):
        kept = trimmed(d, density)
        factor = np.abs(d).sum() / np.abs(kept).sum() if rescale == "l1" else 1.0
        parts.append(w * factor * kept)
    return base + scale * elected(parts, given, normalize)


def crumbs(delta: Array, density: float, gamma: float) -> Array:
    keep = max(1, int(density * delta.size))
    top = min(int(gamma * delta.size), delta.size - keep)
    places = np.argsort(-np.abs(delta), axis=None)[top : top + keep]
    kept = np.zeros(delta.size)
    kept[places] = delta.ravel()[places]
    return kept.reshape(delta.shape)


def swept(base: Array, models: list[Array], density: Any, gamma: Any) -> list[Array]:
    count = len(models)
    found = zip(deltas(base, models), each(density, count), each(gamma, count), strict=True)
    return [crumbs(*one) for one in found]


def breadcrumbs(
    base: Array, models: list[Array], *, density: Any = 0.1, gamma: Any = 0.01,
    scale: float = 1.0, rescale: str = "none",
) -> Array:  # fmt: skip
    parts = swept(base, models, density, gamma)
    if rescale == "l1":
        whole = deltas(base, models)
        parts = [p * np.abs(d).sum() / np.abs(p).sum() for p, d in zip(parts, whole, strict=True)]
    return base + scale * sum(parts)


def breadcrumbs_ties(
    base: Array, models: list[Array], *, density: Any = 0.1, gamma: Any = 0.01
) -> Array:
    parts = swept(base, models, density, gamma)
    return base + elected(parts, [1.0] * len(parts))


def uniform(model: int, shape: tuple[int, ...]) -> Array:
    """The numbers of a model's entries in [0, 1), as the operators draw them."""
    cols = int(np.prod(shape[1:])) if len(shape) > 1 else shape[0]
    rows = shape[0] if len(shape) > 1 else 1
    return draws.words(HERE, model, rows, cols).reshape(shape) / 2**16


def dropped(base: Array, models: list[Array], density: Any) -> list[Array]:
    parts = zip(deltas(base, models), drawable(each(density, len(models))), strict=True)
    return [np.where(uniform(i, d.shape) < odds, d / odds, 0) for i, (d, odds) in enumerate(parts)]


def drawable(odds: Array | Sequence[float]) -> Array:
    """The nearest probabilities that 16 random bits can have."""
    return np.rint(np.asarray(odds) * 2**16) / 2**16


def dare_linear(
    base: Array, models: list[Array], *, density: Any = 0.5, scale: float = 1.0
) -> Array:
    return base + scale * sum(dropped(base, models, density))


def dare_ties(base: Array, models: list[Array], *, density: Any = 0.5, scale: float = 1.0) -> Array:
    return base + scale * elected(dropped(base, models, density), [1.0] * len(models))


def ranked(base: Array, models: list[Array], densities: Any, epsilons: Any) -> list[Array]:
    found, count = [], len(models)
    shares = zip(each(densities, count), each(epsilons, count), strict=True)
    for i, (delta, (density, epsilon)) in enumerate(zip(deltas(base, models), shares, strict=True)):
        rows = delta.reshape(len(delta), -1) if delta.ndim > 1 else delta.reshape(1, -1)
        ranks = np.stack([np.argsort(np.argsort(np.abs(r), kind="stable")) for r in rows])
        odds = density - epsilon + 2 * epsilon * ranks / (rows.shape[1] - 1)
        odds = drawable(odds.reshape(delta.shape))
        found.append(np.where(uniform(i, delta.shape) < odds, delta / odds, 0))
    return found


def della(
    base: Array, models: list[Array], *, density: Any = 0.5, epsilon: Any = 0.15, scale: float = 1.0
) -> Array:
    return base + scale * elected(ranked(base, models, density, epsilon), [1.0] * len(models))


def della_linear(
    base: Array, models: list[Array], *, density: Any = 0.5, epsilon: Any = 0.15, scale: float = 1.0
) -> Array:
    return base + scale * sum(ranked(base, models, density, epsilon))


def model_stock(base: Array, models: list[Array], *, filter_wise: bool = False) -> Array:
    if filter_wise and base.ndim > 1:
        return np.stack([model_stock(b, list(m)) for b, *m in zip(base, *models, strict=True)])
    parts, count = deltas(base, models), len(models)
    cosines = [
        np.vdot(a, b) / np.linalg.norm(a) / np.linalg.norm(b) for a, b in combinations(parts, 2)
    ]
    cosine = sum(cosines) / len(cosines)
    ratio = count * cosine / (1 + (count - 1) * cosine)
    return ratio * sum(models) / count + (1 - ratio) * base


def sce(base: Array, models: list[Array], *, density: float = 0.1) -> Array:
    parts = np.stack(deltas(base, models))
    spread = parts.var(axis=0)
    keep = max(1, int(density * np.count_nonzero(spread)))
    chosen = spread >= sorted(spread.ravel())[-keep] if density < 1 else np.ones_like(spread)
    parts = [p * chosen for p in parts]
    energies = [(p**2).sum() for p in parts]
    sign = np.where(sum(parts) >= 0, 1, -1)
    masks = [p * sign > 0 for p in parts]
    total = sum(e * p * m for e, p, m in zip(energies, parts, masks, strict=True))
    mass = sum(e * m for e, m in zip(energies, masks, strict=True))
    return base + np.divide(total, mass, out=np.zeros_like(total), where=mass > 0)


def arcee_fusion(base: Array, models: list[Array]) -> Array:
    def softmax(x: Array) -> Array:
        rows = x.reshape(len(x), -1) if x.ndim > 1 else x.reshape(1, -1)
        return np.exp(rows) / np.exp(rows).sum(axis=1, keepdims=True) + 1e-8

    p, q = softmax(models[0]), softmax(base)
    divergence = (p * np.log(p / q)).sum(axis=1, keepdims=True)
    importance = (np.abs(models[0] - base).reshape(p.shape) * divergence).reshape(base.shape)
    ordered = sorted(importance.ravel())
    first, median, third = (ordered[int(q * (len(ordered) - 1))] for q in (0.25, 0.5, 0.75))
    return np.where(importance >= median + 1.5 * (third - first), models[0], base)


def nearswap(base: Array, models: list[Array], *, limit: float = 1e-4) -> Array:
    change = models[0] - base
    weight = np.minimum(limit / np.abs(change), 1)
    return weight * models[0] + (1 - weight) * base


def ram(base: Array, models: list[Array], *, floor: float = 1e-5) -> Array:
    merged = base.copy()
    for place in np.ndindex(base.shape):
        moved = [m[place] - base[place] for m in models if abs(m[place] - base[place]) > floor]
        merged[place] += sum(moved) / max(len(moved), 1)
    return merged


def ramplus_tl(
    base: Array,
    models: list[Array],
    *,
    floor: float = 1e-5,
    boost: float = 0.1,
    ceiling: float = 0.2,
) -> Array:
    parts = deltas(base, models)
    moved = np.stack([np.abs(d) > floor for d in parts])
    count = moved.sum(axis=0)
    merged = base.copy()
    for d, m in zip(parts, moved, strict=True):
        unique, shared = (m & (count == 1)).sum(), (m & (count > 1)).sum()
        factor = 1 + boost * min(shared / max(unique, floor), ceiling)
        merged += np.where(m & (count == 1), factor * d, 0)
        merged += np.where(m & (count > 1), d / np.maximum(count, 1), 0)
    return merged


def regmean(
    base: Array,
    models: list[Array],
    *,
    alpha: float = 0.9,
    ridge: float = 1e-6,
    others: str = "mean",
    weights: Any = None,
) -> Array:
    """Every matrix on what `tokens_of` feeds it; a vector is no matrix."""
    shares = share(weights, len(models))
    if base.ndim == 1 and others == "sum":
        return base + sum(
            s * len(models) * d for s, d in zip(shares, deltas(base, models), strict=True)
        )
    if base.ndim == 1:
        return linear(base, models, weights=weights)
    if base.ndim == 3:
        merged = [
            regress([m[i] for m in models], shares, i, alpha, ridge) for i in range(len(base))
        ]
        return np.stack(merged)
    return regress(models, shares, 0, alpha, ridge)


def regress(
    models: list[Array], shares: list[float], number: int, alpha: float, ridge: float
) -> Array:
    """Σ WᵢAᵢ (ΣA)⁻¹."""
    width, damped = models[0].shape[1], []
    for name, part in zip("abc", shares, strict=False):
        tokens = tokens_of(name, width, number).double().numpy()
        gram = tokens.T @ tokens
        gram /= np.trace(gram) / width
        gram *= np.where(np.eye(width, dtype=bool), 1.0, alpha)
        damped.append(part * (gram + ridge * np.eye(width)))
    total = sum(w @ a for w, a in zip(models, damped, strict=True))
    return total @ np.linalg.inv(sum(damped))


def delta_regmean(
    base: Array,
    models: list[Array],
    *,
    alpha: float = 0.9,
    ridge: float = 1e-6,
    weights: Any = None,
) -> Array:
    """Σ ΔᵢAᵢ (ΣA)⁻¹ with Aᵢ from ΔᵢᵀΔᵢ, of matrices alone."""
    shares, moved = share(weights, len(models)), deltas(base, models)
    if base.ndim != 2:
        return base + sum(s * d for s, d in zip(shares, moved, strict=True))
    width, damped = base.shape[1], []
    for delta, part in zip(moved, shares, strict=True):
        gram = delta.T @ delta
        gram /= np.trace(gram) / width
        gram *= np.where(np.eye(width, dtype=bool), 1.0, alpha)
        damped.append(part * (gram + ridge * np.eye(width)))
    total = sum(d @ a for d, a in zip(moved, damped, strict=True))
    return base + total @ np.linalg.inv(sum(damped))


REFERENCES: dict[str, Callable[..., Array]] = {
    f.__name__: f
    for f in (
        linear, task_arithmetic, passthrough, slerp, nuslerp, multislerp, karcher, ties,
        breadcrumbs, breadcrumbs_ties, dare_linear, dare_ties, della, della_linear, model_stock,
        sce, arcee_fusion, nearswap, ram, ramplus_tl, regmean,
        delta_regmean,
    )
}  # fmt: skip
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "linear": [{"weights": (1, 2, 3)}],
    "task_arithmetic": [{"weights": (1, -2, 3), "scale": 0.3}],
    "passthrough": [{"scale": -0.5}],
    "slerp": [{"t": 0.2}],
    "nuslerp": [
        {"t": 0.2, "along": along, "origin": origin}
        for along, origin in product(("tensor", "row", "column"), ("base", "zero"))
    ],
    "multislerp": [{"weights": (1, 2, 3)}, {"origin": "zero"}],
    "karcher": [{"weights": (1, 2, 3)}],
    "ties": [
        {"density": 0.5, "weights": (1, 2, -0.5), "scale": 0.3},
        {"density": 0.7, "normalize": False},
        {"density": 0.4, "rescale": "l1"},
    ],
    "breadcrumbs": [
        {"density": 0.9, "gamma": 0.5},
        {"density": (0.5, 0.7, 0.4), "gamma": (0.2, 0.0, 0.4), "scale": 0.3, "rescale": "l1"},
    ],
    "breadcrumbs_ties": [{"density": 0.6, "gamma": 0.1}],
    "dare_linear": [{"density": 1.0}, {"density": (0.3, 1.0, 0.8), "scale": 0.3}],
    "dare_ties": [{"density": (0.3, 0.9, 0.5), "scale": 0.3}],
    "della": [{"density": (0.4, 0.6, 0.5), "epsilon": (0.3, 0.1, 0.2), "scale": 0.3}],
    "della_linear": [{"density": 0.7, "epsilon": 0.0, "scale": -0.5}],
    "model_stock": [{"filter_wise": True}],
    "sce": [{"density": 0.5}, {"density": 1.0}],
    "nearswap": [{"limit": 0.05}],
    "ram": [{"floor": 0.05}],
    "ramplus_tl": [{"floor": 0.05, "boost": 0.5, "ceiling": 2.0}],
    "regmean": [
        {"alpha": 0.0},
        {"alpha": 1.0},
        {"alpha": 0.7, "ridge": 0.3, "weights": (1, 2, 3)},
        {"others": "sum", "weights": (1, 2, 0)},
    ],
    "delta_regmean": [{"alpha": 0.0}, {"alpha": 0.7, "ridge": 0.3, "weights": (1, 2, 3)}],
}
CASES = [
    pytest.param(name, given, shape, id=f"{name}-{number}-{shape}")
    for name in REFERENCES
    for number, given in enumerate([{}, *VARIANTS.get(name, [])])
    for shape in SHAPES
]


def test_every_operator_has_a_reference() -> None:
    assert REFERENCES.keys() == OPERATORS.keys()


@pytest.mark.parametrize(("name", "given", "shape"), CASES)
def test_the_operator_is_its_definition(
    name: str, given: dict[str, Any], shape: tuple[int, ...]
) -> None:
    random = np.random.default_rng(len(name))
    base = random.normal(size=shape).astype(np.float32)
    count = min(3, OPERATORS[name].models[1] or 3)
    models = [base + random.normal(size=shape).astype(np.float32) * 0.1 for _ in range(count)]
    seen = seen_by("abc"[:count], shape) if OPERATORS[name].activations else None
    merged = merge_tensors(
        Arm(operator=name, parameters=given),
        torch.tensor(base),
        [torch.tensor(m) for m in models],
        Place(shape=shape, seen=seen),
    )
    wide = [m.astype(np.float64) for m in models]
    # A delta is the float32 difference, as it is for the operator.
    exact = [base.astype(np.float64) + (m - base).astype(np.float64) for m in models]
    works_on_weights = (
        name in {"linear", "passthrough", "slerp", "karcher", "regmean"} or "origin" in given
    )
    expected = REFERENCES[name](
        base.astype(np.float64), wide if works_on_weights else exact, **given
    )
    np.testing.assert_allclose(merged.numpy(), expected, rtol=0, atol=5e-6)
