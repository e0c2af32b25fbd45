"""Weights of two models and their base as tables: one row a tensor, sums that groups add up.

Everything that needs the base is made once per model and remembered; a pair then costs a few
passes over the sampled entries. Sums are scaled from the sampled rows to the whole tensor, so
that tensors weigh in a group what they weigh in the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from simmerge_hub.errors import SignatureError
from simmerge_hub.signatures.measures import geometry
from simmerge_hub.signatures.measures.memo import memoize
from simmerge_hub.signatures.measures.sums import TensorSums, tensor_sums
from simmerge_hub.signatures.signing.signature import Signature
from simmerge_hub.weights.shapes import matrix_shape

if TYPE_CHECKING:
    from torch import Tensor

TRIM_DENSITY = 0.2
"""Trimming keeps the largest fifth of each tensor's delta, as TIES does by default."""
LEADING_DIRECTIONS = 8
"""Leading input directions of a delta that are compared."""
SUMMED_COLUMNS = (
    "product", "moved", "opposed", "kept_both", "kept_opposed", "kept_either", "mass", "lost",
)  # fmt: skip
"""Columns of what two deltas have in common that are sums over entries."""
RANK_ROWS = 64
"""Rows of a matrix, evenly spread, looked at for ranks and directions."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class Delta:
    """One model minus its base, over the tensors of `sums`.

    `values` float32, `signs` and `trimmed` int8 (0 where zero or trimmed away) are flat per tensor;
    `kept` is how many entries trimming keeps, and the sum of their magnitudes;
    `inputs` are the leading input directions of matrices, [cols, at most 8].
    """

    values: Mapping[str, np.ndarray]
    signs: Mapping[str, np.ndarray]
    trimmed: Mapping[str, np.ndarray]
    kept: Mapping[str, tuple[int, float]]
    inputs: Mapping[str, np.ndarray]
    sums: TensorSums


@memoize
def delta(model: Signature, base: Signature) -> Delta:
    """The delta of a model, over the tensors it shares with its base."""
    names = shared_tensors([model, base])
    weights = {n: _flat(model.sampled[n]) for n in names}
    origin = {n: _flat(base.sampled[n]) for n in names}
    values = {n: weights[n] - origin[n] for n in names}
    trimmed = {n: _trim(v) for n, v in values.items()}
    matrices = {n: _matrix(values[n], base.sampled[n]) for n in names}
    inputs = {
        n: geometry.leading_inputs(m, LEADING_DIRECTIONS) for n, m in matrices.items() if len(m) > 1
    }
    scale = entries_per_sample(base, names)
    columns = {
        "entries": np.array([v.size for v in values.values()]),
        "square": np.array([_dot(v, v) for v in values.values()]),
        "absolute": np.array([float(np.abs(v).sum()) for v in values.values()]),
        "kept": np.array([_dot(values[n][t], values[n][t]) for n, t in _support(trimmed)]),
        "base": np.array([_dot(v, v) for v in origin.values()]),
    }
    ranks = {
        "rank": _ranks(matrices, base),
        "base_rank": _ranks({n: _matrix(origin[n], base.sampled[n]) for n in names}, base),
    }
    return Delta(
        values=values,
        signs={n: np.sign(v).astype(np.int8) for n, v in values.items()},
        trimmed=trimmed,
        kept={n: (int(m.sum()), float(np.abs(values[n][m]).sum())) for n, m in _support(trimmed)},
        inputs=inputs,
        sums=tensor_sums(base.shapes, names, {k: scale * c for k, c in columns.items()} | ranks),
    )


@memoize
def weight_sums(a: Signature, b: Signature) -> TensorSums:
    """Squares of both models' weights and of their difference, per tensor they share."""
    names = shared_tensors([a, b])
    rows = [_squares(_flat(a.sampled[n]), _flat(b.sampled[n])) for n in names]
    columns = entries_per_sample(a, names) * np.array(rows, np.float64).reshape(-1, 3).T
    return tensor_sums(
        a.shapes, names, dict(zip(("first", "second", "distance"), columns, strict=True))
    )


@memoize
def delta_sums(a: Delta, b: Delta, base: Signature) -> TensorSums:
    """What two deltas have in common, per tensor: their product, signs, supports, directions."""
    names = [n for n in a.sums.names if n in b.values]
    rows = [_overlap(a, b, n) for n in names]
    scale = entries_per_sample(base, names)
    columns = {
        key: np.array([row[key] for row in rows], np.float64)
        * (scale if key in SUMMED_COLUMNS else 1)
        for key in (*SUMMED_COLUMNS, "subspace")
    }
    return tensor_sums(base.shapes, names, columns)


def shared_tensors(signatures: Sequence[Signature]) -> tuple[str, ...]:
    """Tensors all have, of one shape, sampled alike; SignatureError for different settings."""
    first, *others = signatures
    if any(s.settings != first.settings for s in others):
        raise SignatureError(
            f"{' and '.join(s.name for s in signatures)} were signed with different settings",
            hint="sign all of them with the same settings",
        )
    return tuple(n for n in first.sampled if all(_is_shared(n, first, other) for other in others))


def _is_shared(name: str, first: Signature, other: Signature) -> bool:
    sample = other.sampled.get(name)
    return (
        sample is not None
        and other.shapes[name] == first.shapes[name]
        and sample.shape == first.sampled[name].shape
    )


def _overlap(a: Delta, b: Delta, name: str) -> dict[str, float]:
    x, y = a.values[name], b.values[name]
    agreement, trimmed = a.signs[name] * b.signs[name], a.trimmed[name] * b.trimmed[name]
    opposed = trimmed < 0
    both = np.count_nonzero(trimmed)
    one, mass = (first + second for first, second in zip(a.kept[name], b.kept[name], strict=True))
    places = np.flatnonzero(opposed)
    lost = 2 * float(np.minimum(np.abs(x[places]), np.abs(y[places])).sum())
    directions = [d.inputs[name] for d in (a, b) if name in d.inputs]
    return {
        "product": _dot(x, y),
        "moved": float(np.count_nonzero(agreement)),
        "opposed": float(np.count_nonzero(agreement < 0)),
        "kept_both": float(both),
        "kept_opposed": float(np.count_nonzero(opposed)),
        "kept_either": float(one - both),
        "mass": mass,
        "lost": lost,
        "subspace": geometry.subspace_overlap(*directions) if len(directions) == 2 else np.nan,
    }


def _trim(values: np.ndarray) -> np.ndarray:
    """Signs of the entries TIES would keep; the same threshold as its, found by partition."""
    magnitude = np.abs(values)
    place = values.size - max(1, int(TRIM_DENSITY * values.size))
    threshold = np.partition(magnitude, place)[place]
    return np.where(magnitude >= threshold, np.sign(values), 0).astype(np.int8)


def _support(trimmed: Mapping[str, np.ndarray]) -> list[tuple[str, np.ndarray]]:
    return [(name, signs != 0) for name, signs in trimmed.items()]


def _ranks(matrices: Mapping[str, np.ndarray], base: Signature) -> np.ndarray:
    """Effective rank of every matrix, as its looked-at rows would have it; NaN for vectors, zero.

    Where fewer rows are sampled than would be looked at in the whole tensor, what those would say
    is estimated: otherwise ranks of a large model would be bounded by the size of its sample.
    """
    wanted = (_count_ranked(matrix_shape(base.shapes[n])[0]) for n in matrices)
    return np.array(
        [geometry.effective_rank(m, rows) if len(m) > 1 else np.nan
         for m, rows in zip(matrices.values(), wanted, strict=True)]
    )  # fmt: skip


def _matrix(flat: np.ndarray, sample: Tensor) -> np.ndarray:
    whole = flat.reshape(tuple(sample.shape))
    return whole[:: _stride(len(whole))]


def _stride(rows: int) -> int:
    return -(-rows // RANK_ROWS)


def _count_ranked(rows: int) -> int:
    return -(-rows // _stride(rows))


def _squares(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    difference = x - y
    return _dot(x, x), _dot(y, y), _dot(difference, difference)


def entries_per_sample(signature: Signature, names: Sequence[str]) -> np.ndarray:
    """float64 [tensors]: entries of the tensor for each sampled one."""
    return np.array(
        [prod(signature.shapes[n]) / max(1, signature.sampled[n].numel()) for n in names]
    )


def _flat(sample: Tensor) -> np.ndarray:
    return sample.float().reshape(-1).numpy()


def _dot(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.dot(x, y))
