"""Rows mixed by Gram matrices: W_n + Σ (Wᵢ − W_n) Mᵢ with Mᵢ = Aᵢ(ΣA)⁻¹.

The Mᵢ sum to one and act on the columns alone, so whole rows go in and whole rows come out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from simmerge_hub.errors import OperatorError
from simmerge_hub.operators.averaging import weight_shares
from simmerge_hub.operators.regression.inputs import LayerInputs

if TYPE_CHECKING:
    from torch import Tensor

Mix = Callable[[int, "Tensor"], "Tensor"]
"""(number of the model, rows float32 [rows, width]) -> the rows times that model's Mᵢ."""
LEAST_PIVOT = 2e-3
"""Share of a column's own sum of squares that the columns before it must leave unexplained. Gram
matrices are float32: far below it their rounding makes a tenth of the merge."""


def mix_rows(chunk: Tensor, mix: Mix) -> Tensor:
    """The merged rows float32 [rows, cols] of a chunk [models, rows, cols]."""
    *rest, last = chunk
    merged = last.clone()
    for number, rows in enumerate(rest):
        merged += mix(number, rows - last)
    return merged


def positive_shares(operator: str, weights: Sequence[float]) -> list[float]:
    """How much each model counts; they sum to one. Raises OperatorError for negative weights."""
    if min(weights) < 0:
        raise OperatorError(
            f"{operator}: the weights {list(weights)} are not all positive",
            hint="a model counts more or less here, never against the others: give weights of at "
            "least 0",
        )
    return weight_shares(operator, weights)


def solve_mix(
    operator: str,
    seen: Sequence[LayerInputs],
    shares: Sequence[float],
    alpha: float,
    ridge: float,
    tensor: str,
) -> Mix:
    """How rows are mixed, from what each model's matrix was fed.

    Args:
        operator: for whom, as errors call it.
        seen: one for each model.
        shares: how much each counts; they sum to one.
        alpha: the factor of the Gram matrices' off-diagonals.
        ridge: added to every diagonal, whose mean is scaled to 1; a Gram matrix of zeros stays so.
        tensor: its name, for errors.

    Raises:
        OperatorError: the sum cannot be inverted exactly enough.
    """
    scales = [float(each.diagonal.mean()) or 1.0 for each in seen]
    few = all(each.rows is not None for each in seen)
    mix = (_solve_few if few else _solve_gram)(seen, shares, scales, alpha, ridge)
    if mix is None:
        raise OperatorError(
            f"{operator}: the Gram matrices of {tensor or 'a tensor'} cannot be inverted exactly "
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
