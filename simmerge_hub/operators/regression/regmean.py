"""RegMean: the weights whose outputs are nearest to every model's own, on that model's inputs.

A linear layer W is merged in closed form (Jin et al. 2023, arXiv 2212.09849):

    W = Σᵢ Wᵢ Aᵢ (Σⱼ Aⱼ)⁻¹   with   Aᵢ = α·Gᵢ off the diagonal, Gᵢ on it,   Gᵢ = XᵢᵀXᵢ,

Xᵢ the inputs that model i feeds this layer. It acts on the columns alone, so whole rows go in and
whole rows come out. As Mᵢ = Aᵢ(ΣA)⁻¹ sum to one, it is computed as W_n + Σ (Wᵢ − W_n) Mᵢ: equal
models give themselves, and deltas from a base are merged to the same as weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from simmerge_hub.errors import OperatorError
from simmerge_hub.operators.averaging import weighted_sum
from simmerge_hub.operators.registry import HERE, Chunks, Place, operator, per_model
from simmerge_hub.operators.regression.inputs import LayerInputs
from simmerge_hub.operators.regression.mixing import Mix, mix_rows, positive_shares, solve_mix

if TYPE_CHECKING:
    from torch import Tensor

Others = Literal["mean", "sum"]
Inputs = Literal["models", "merge"]
LEAST_TOKENS = 16
"""A layer (or expert) that any model feeds fewer tokens is merged as other tensors are."""


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
    shares = positive_shares("regmean", per_model(weights, models))
    return tuple(
        solve_mix("regmean", seen, shares, alpha, ridge, place.tensor) if _is_fed(seen) else None
        for seen in zip(*place.seen, strict=True)
    )


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
    shares = positive_shares("regmean", per_model(weights, len(chunk)))
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


def _is_fed(seen: Sequence[LayerInputs]) -> bool:
    return all(each.tokens >= LEAST_TOKENS and float(each.diagonal.mean()) > 0 for each in seen)


def _mix_rows(chunk: Tensor, mix: Mix | None, shares: Sequence[float], others: Others) -> Tensor:
    return _merge_other(chunk, shares, others) if mix is None else mix_rows(chunk, mix)


def _merge_other(chunk: Tensor, shares: Sequence[float], others: Others) -> Tensor:
    if others == "sum":
        return weighted_sum(chunk, [share * len(shares) for share in shares])
    return weighted_sum(chunk, shares)
