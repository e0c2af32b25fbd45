"""RegMean: the weights whose outputs are nearest to every model's own, on that model's inputs.

A linear layer W is merged in closed form (Jin et al. 2023, arXiv 2212.09849):

    W = Σᵢ Wᵢ Aᵢ (Σⱼ Aⱼ)⁻¹   with   Aᵢ = α·Gᵢ off the diagonal, Gᵢ on it,   Gᵢ = XᵢᵀXᵢ,

Xᵢ the inputs that model i feeds this layer. It acts on the columns alone, so whole rows go in and
whole rows come out. As Mᵢ = Aᵢ(ΣA)⁻¹ sum to one, it is computed as W_n + Σ (Wᵢ − W_n) Mᵢ: equal
models give themselves, and deltas from a base are merged to the same as weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from simmerge_hub.errors import OperatorError
from simmerge_hub.operators.averaging import weight_shares, weighted_sum
from simmerge_hub.operators.inputs import LayerInputs
from simmerge_hub.operators.registry import HERE, Chunks, Place, operator, per_model

if TYPE_CHECKING:
    from torch import Tensor

Others = Literal["mean", "sum"]
Inputs = Literal["models", "merge"]
Mix = Callable[[int, "Tensor"], "Tensor"]
"""(number of the model, rows float32 [rows, width]) -> the rows times that model's Mᵢ."""
LEAST_TOKENS = 16
"""A layer (or expert) that any model feeds fewer tokens is merged as other tensors are."""
LEAST_PIVOT = 2e-3
"""Share of a column's own sum of squares that the columns before it must leave unexplained. Gram
matrices are float32: far below it their rounding makes a tenth of the merge."""


def feeds_merge(parameters: Mapping[str, Any]) -> bool:
    """Whether with these parameters each layer is fed what the merge's own layers leave."""
    return parameters.get("inputs") == "merge"


def solve(
    chunks: Chunks,
    place: Place = HERE,
    *,
    alpha: float = 0.9,
    ridge: float = 1e-6,
    weights: Sequence[float] | None = None,
) -> tuple[Mix | None, ...]:
    """How the models' rows are mixed: one for each matrix of a tensor, () where nothing is fed.

    None stands for a matrix that some model fed too few tokens.
    """
    del chunks  # what decides is fed through the layer, not in it
    if place.seen is None:
        raise OperatorError(
            "regmean looks at what the models' layers are fed, which is not known here",
            hint="merge into a full model, from a recipe that has `calibration:`",
        )
    if not place.seen:
        return ()
    models = len(place.seen)
    shares = _shares(per_model(weights, models))
    matrices = zip(*place.seen, strict=True)
    return tuple(_solve_matrix(seen, shares, alpha, ridge, place.tensor) for seen in matrices)


@operator(space="weight", paper="arXiv 2212.09849", statistics=solve, activations=True)
def regmean(
    chunk: Tensor,
    mixes: tuple[Mix | None, ...],
    place: Place = HERE,
    *,
    alpha: float = 0.9,
    ridge: float = 1e-6,
    others: Others = "mean",
    inputs: Inputs = "models",
    weights: Sequence[float] | None = None,
) -> Tensor:
    """Regression mean: linear layers that answer each model's own inputs as that model does.

    Args:
        chunk: float32 [models, rows, cols], weights (deltas with `others: sum`).
        mixes: what mixes the rows of each of the tensor's matrices.
        place: where the chunk lies, which says which matrix it belongs to.
        alpha: the factor of the Gram matrices' off-diagonals; 0 leaves the diagonals alone.
        ridge: added to the diagonal of every Gram matrix, whose mean diagonal is scaled to 1.
        others: what becomes of tensors that are no linear layer: the mean, or the sum of deltas.
        inputs: whether a model's layer is fed what that model's own layers before it leave, or
            what those of the merge leave (RegMean++, arXiv 2508.03121).
        weights: how much each model counts; equal by default.

    Returns:
        float32 [rows, cols]. Every model's Gram matrix is first scaled to a mean diagonal of 1, so
        that none counts more for having larger activations.
    """
    import torch

    del inputs  # decides what is fed, not how it is merged
    shares = _shares(per_model(weights, len(chunk)))
    if not any(mixes):
        return _merge_other(chunk, shares, others)
    if len(place.shape) < 3:
        return _mix_rows(chunk, mixes[0], shares, others)
    merged = [
        _mix_rows(_as_matrix(rows, place.shape), mix, shares, others).flatten()
        for rows, mix in zip(chunk.unbind(1), mixes[place.low :], strict=False)
    ]
    return torch.stack(merged)


def _as_matrix(rows: Tensor, shape: Sequence[int]) -> Tensor:
    """One row of a three-dimensional tensor, which is a matrix: [models, rows, cols]."""
    return rows.reshape(len(rows), *shape[1:])


def _mix_rows(chunk: Tensor, mix: Mix | None, shares: Sequence[float], others: Others) -> Tensor:
    if mix is None:
        return _merge_other(chunk, shares, others)
    *rest, last = chunk
    merged = last.clone()
    for number, rows in enumerate(rest):
        merged += mix(number, rows - last)
    return merged


def _merge_other(chunk: Tensor, shares: Sequence[float], others: Others) -> Tensor:
    if others == "sum":
        return weighted_sum(chunk, [share * len(shares) for share in shares])
    return weighted_sum(chunk, shares)


def _shares(weights: Sequence[float]) -> list[float]:
    if min(weights) < 0:
        raise OperatorError(
            f"regmean: the weights {list(weights)} are not all positive",
            hint="a model counts more or less here, never against the others: give weights of at "
            "least 0",
        )
    return weight_shares("regmean", weights)


def _solve_matrix(
    seen: Sequence[LayerInputs], shares: Sequence[float], alpha: float, ridge: float, tensor: str
) -> Mix | None:
    scales = [float(each.diagonal.mean()) for each in seen]
    if min(each.tokens for each in seen) < LEAST_TOKENS or not min(scales) > 0:
        return None
    few = all(each.rows is not None for each in seen)
    mix = (_solve_few if few else _solve_gram)(seen, shares, scales, alpha, ridge)
    if mix is None:
        raise OperatorError(
            f"regmean: the Gram matrices of {tensor or 'a tensor'} cannot be inverted exactly "
            f"enough with alpha={alpha:g}, ridge={ridge:g}",
            hint="give alpha 0.9, or a larger ridge: 0.01",
        )
    return mix


def _solve_gram(
    seen: Sequence[LayerInputs],
    shares: Sequence[float],
    scales: Sequence[float],
    alpha: float,
    ridge: float,
) -> Mix | None:
    """By a Cholesky factor of Σ A in float64: as many tokens as columns, or more.

    At most three matrices in float64 are held at a time, whatever the number of models.
    """
    import torch

    given = list(zip(seen, shares, scales, strict=True))
    total = _damp(*given[0], alpha, ridge)
    for each in given[1:]:
        total += _damp(*each, alpha, ridge)
    columns = total.diagonal().clone()
    factor, failed = torch.linalg.cholesky_ex(total)
    del total
    if failed or (factor.diagonal().square() / columns).min() < LEAST_PIVOT:
        return None
    mixers = [
        torch.cholesky_solve(_damp(*each, alpha, ridge), factor).T.float().contiguous()
        for each in given[:-1]
    ]
    return lambda number, rows: rows @ mixers[number]


def _damp(each: LayerInputs, share: float, scale: float, alpha: float, ridge: float) -> Tensor:
    """Aᵢ: float64 [width, width]."""
    if each.rows is None:
        assert each.gram is not None
        damped = each.gram.double()
    else:
        rows = each.rows.double()
        damped = rows.T @ rows
    damped.mul_(share * alpha / scale)
    damped.diagonal().copy_(each.diagonal * (share / scale) + share * ridge)
    return damped


def _solve_few(
    seen: Sequence[LayerInputs],
    shares: Sequence[float],
    scales: Sequence[float],
    alpha: float,
    ridge: float,
) -> Mix | None:
    """By Woodbury's identity: no matrix as wide as the layer on both sides is ever formed.

    With S = ΣA = D + ZᵀZ, D diagonal, Z the tokens of all models, and K = (1 + ZD⁻¹Zᵀ)⁻¹ZD⁻¹:
    S⁻¹ = D⁻¹ − D⁻¹ZᵀK and ZS⁻¹ = K. A model's ZᵢᵀZᵢ gives ZᵢᵀKᵢ, without a difference of large
    numbers: a few huge activations do not hide the others.
    """
    import torch

    tokens = [
        each.rows.double() * (share * alpha / scale) ** 0.5
        for each, share, scale in zip(seen, shares, scales, strict=True)
        if each.rows is not None
    ]
    own = [
        each.diagonal * (share * (1 - alpha) / scale) + share * ridge
        for each, share, scale in zip(seen, shares, scales, strict=True)
    ]
    diagonal = sum(own[1:], own[0])
    if not float(diagonal.min()) > 0:
        return None
    together = torch.cat(tokens)
    inner = (together / diagonal) @ together.T
    inner.diagonal().add_(1)
    factor, failed = torch.linalg.cholesky_ex(inner)
    if failed:
        return None
    solved = torch.cholesky_solve(together / diagonal, factor).float()
    parts = solved.split([len(each) for each in tokens])
    every, each_own = together.float(), [(each / diagonal).float() for each in own]
    turned = [each.float().T for each in tokens]

    def mix(number: int, rows: Tensor) -> Tensor:
        damped = rows * each_own[number]
        mixed = damped.addmm_(damped @ every.T, solved, alpha=-1)
        return mixed.addmm_(rows @ turned[number], parts[number])

    return mix
