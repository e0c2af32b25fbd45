"""RegMean beside its definition in float64, and what must hold whatever the numbers."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from simmerge_hub import operators
from simmerge_hub.errors import OperatorError
from simmerge_hub.operators import Arm, LayerInputs, Place, add_inputs, merge_tensors, reduce_inputs
from simmerge_hub.operators.regression.regmean import LEAST_TOKENS
from tests.activations import seen_by, tokens_of

WIDTH = 12


def models_of(count: int, *shape: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(7)
    return [torch.randn(shape or (5, WIDTH), generator=generator) for _ in range(count)]


def place(inputs: Sequence[Any], shape: Sequence[int] = (5, WIDTH)) -> Place:
    """`inputs` are each model's LayerInputs, or a sequence of one for each matrix."""
    seen = tuple((each,) if isinstance(each, LayerInputs) else tuple(each) for each in inputs)
    return Place(tensor="w", models=tuple("abcd"[: len(seen)]), shape=tuple(shape), seen=seen)


def merge(
    models: list[Tensor], where: Place, base: Tensor | None = None, **parameters: Any
) -> Tensor:
    return merge_tensors(Arm(operator="regmean", parameters=parameters), base, models, where)


def gram(tokens: Tensor) -> LayerInputs:
    return LayerInputs(tokens=len(tokens), gram=tokens.T @ tokens)


def few(tokens: Tensor) -> LayerInputs:
    return LayerInputs(tokens=len(tokens), rows=tokens)


def defined(
    models: list[Tensor],
    tokens: list[Tensor],
    alpha: float = 0.9,
    ridge: float = 1e-6,
    weights: Sequence[float] | None = None,
) -> Tensor:
    """Σ WᵢAᵢ (ΣA)⁻¹ in float64."""
    total = torch.zeros_like(models[0], dtype=torch.float64)
    together = torch.zeros(tokens[0].shape[1], tokens[0].shape[1], dtype=torch.float64)
    for model, fed, weight in zip(models, tokens, weights or [1.0] * len(models), strict=True):
        products = fed.double().T @ fed.double()
        products = products / products.diagonal().mean()
        own = products.diagonal().clone()
        damped = products * alpha
        damped.diagonal().copy_(own + ridge)
        total += model.double() @ (weight * damped)
        together += weight * damped
    return total @ together.inverse()


def close(merged: Tensor, expected: Tensor, atol: float = 3e-5) -> None:
    torch.testing.assert_close(merged.double(), expected.double(), rtol=0, atol=atol)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "parameters",
    [{}, {"alpha": 0.0}, {"alpha": 0.5}, {"alpha": 1.0}, {"ridge": 0.5}, {"ridge": 0.0}],
    ids=str,
)
def test_it_is_its_definition_however_the_inputs_are_kept(
    count: int, parameters: dict[str, float]
) -> None:
    models, tokens = models_of(count), [tokens_of("abcd"[i], WIDTH) for i in range(count)]
    expected = defined(models, tokens, **parameters)
    close(merge(models, place([gram(t) for t in tokens]), **parameters), expected)
    close(merge(models, place([few(t) for t in tokens]), **parameters), expected)
    mixed = [few(tokens[0]), *map(gram, tokens[1:])]
    close(merge(models, place(mixed), **parameters), expected)


@pytest.mark.parametrize("size", [1.0, 1000.0])
@pytest.mark.parametrize("alpha", [0.0, 0.7, 0.9, 0.99, 0.999, 1.0])
def test_fewer_tokens_than_columns(alpha: float, size: float) -> None:
    """Their products alone cannot be inverted. As in language models, some columns are huge."""
    models, width = models_of(3, 5, 150), 150
    tokens = [tokens_of(n, width, count=20) for n in "abc"]
    for each in tokens:
        each[:, :2] *= size
    assert reduce_inputs(tokens[0], most=20).rows is not None
    expected = defined(models, tokens, alpha)
    largest, shape = float(expected.abs().max()), (5, width)
    merged = merge(models, place([few(t) for t in tokens], shape), alpha=alpha)
    close(merged, expected, atol=2e-6 * largest)
    if alpha <= 0.9:  # beyond, the rounding of a Gram matrix in float32 counts
        merged = merge(models, place([gram(t) for t in tokens], shape), alpha=alpha)
        close(merged, expected, atol=1e-5 * largest)


def test_gram_matrices_too_near_to_singular_are_refused_and_the_hint_helps() -> None:
    """Their rounding in float32 would come out as a tenth of the merge, without a word."""
    models, shape = models_of(2, 5, 150), (5, 150)
    tokens = [tokens_of(n, 150, count=40) for n in "ab"]
    where = place([gram(t) for t in tokens], shape)
    with pytest.raises(OperatorError, match="cannot be inverted exactly enough") as refused:
        merge(models, where, alpha=1.0)
    assert refused.value.hint == "give alpha 0.9, or a larger ridge: 0.01"
    for parameters in ({"alpha": 0.9}, {"alpha": 1.0, "ridge": 0.01}):
        expected = defined(models, tokens, **parameters)
        largest = float(expected.abs().max())
        close(merge(models, where, **parameters), expected, atol=1e-3 * largest)


def test_without_off_diagonals_it_is_a_mean_weighted_column_by_column() -> None:
    a, b = models_of(2)
    tokens = [tokens_of(n, WIDTH).double() for n in "ab"]
    sizes = [t.square().sum(0) / t.square().sum() for t in tokens]
    expected = (a * sizes[0] + b * sizes[1]) / (sizes[0] + sizes[1])
    merged = merge([a, b], place([gram(t.float()) for t in tokens]), alpha=0.0, ridge=0.0)
    close(merged, expected)


def test_by_hand() -> None:
    """Model a is fed only the first column, model b only the second: each keeps its own."""
    fed = [torch.zeros(20, 2), torch.zeros(20, 2)]
    fed[0][:, 0], fed[1][:, 1] = 3.0, 0.1
    models = [torch.tensor([[1.0, 2.0]]), torch.tensor([[10.0, 20.0]])]
    merged = merge(models, place([gram(t) for t in fed], (1, 2)), ridge=0.0)
    close(merged, torch.tensor([[1.0, 20.0]]))


def test_a_great_ridge_makes_it_the_mean() -> None:
    a, b = models_of(2)
    merged = merge([a, b], place(map_tokens("ab")), ridge=1e6)
    close(merged, (a + b) / 2)


def map_tokens(names: str, width: int = WIDTH) -> list[LayerInputs]:
    return [gram(tokens_of(name, width)) for name in names]


def test_larger_activations_do_not_count_for_more() -> None:
    models, tokens = models_of(2), [tokens_of(n, WIDTH) for n in "ab"]
    merged = merge(models, place([gram(t) for t in tokens]))
    larger = merge(models, place([gram(tokens[0] * 1000), gram(tokens[1])]))
    torch.testing.assert_close(merged, larger, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kept", [few, gram])
def test_equal_models_give_themselves_exactly(kept: Any) -> None:
    model, *_ = models_of(1)
    where = place([kept(tokens_of(n, WIDTH)) for n in "abc"])
    assert torch.equal(merge([model.clone() for _ in "abc"], where), model)


@pytest.mark.parametrize("kept", [few, gram])
def test_the_order_of_the_models_only_rounds(kept: Any) -> None:
    models, inputs = models_of(3), [kept(tokens_of(n, WIDTH)) for n in "abc"]
    merged = merge(models, place(inputs), weights=(1.0, 2.0, 3.0))
    again = merge(models[::-1], place(inputs[::-1]), weights=(3.0, 2.0, 1.0))
    torch.testing.assert_close(merged, again, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kept", [few, gram])
def test_weights_count_models(kept: Any) -> None:
    models, tokens = models_of(2), [tokens_of(n, WIDTH) for n in "ab"]
    where = place([kept(t) for t in tokens])
    close(
        merge(models, where, weights=(3.0, 1.0)),
        defined(models, tokens, weights=(3.0, 1.0)),
    )
    close(merge(models, where, weights=(1.0, 0.0)), models[0].double())
    one = merge(models, where, weights=(2.0, 2.0))
    torch.testing.assert_close(one, merge(models, where), rtol=0, atol=1e-6)


def test_deltas_are_merged_to_the_same_as_weights() -> None:
    base, *models = models_of(3)
    where = place(map_tokens("ab"))
    weights = merge(models, where)
    deltas = merge(models, where, base, others="sum")
    torch.testing.assert_close(weights, deltas, rtol=0, atol=1e-5)


@pytest.mark.parametrize("seen", [(), "scarce"])
def test_other_tensors_are_averaged_or_their_deltas_summed(seen: Any) -> None:
    """Those that nothing is fed through, and those fed too few tokens by one model."""
    base, a, b = models_of(3)
    where = Place(shape=(5, WIDTH), seen=())
    if seen == "scarce":
        inputs = [gram(tokens_of("a", WIDTH)), gram(tokens_of("b", WIDTH)[: LEAST_TOKENS - 1])]
        where = place(inputs)
    torch.testing.assert_close(merge([a, b], where), (a + b) / 2)
    torch.testing.assert_close(merge([a, b], where, weights=(1.0, 3.0)), (a + 3 * b) / 4)
    torch.testing.assert_close(merge([a, b], where, base, others="sum"), a + b - base)
    doubled = merge([a, b], where, base, others="sum", weights=(1.0, 3.0))
    torch.testing.assert_close(doubled, base + 0.5 * (a - base) + 1.5 * (b - base))


def test_exactly_enough_tokens_are_enough() -> None:
    models, tokens = models_of(2), [tokens_of(n, WIDTH)[:LEAST_TOKENS] for n in "ab"]
    close(merge(models, place([gram(t) for t in tokens])), defined(models, tokens))


def test_a_layer_that_is_fed_zeros_is_averaged() -> None:
    a, b = models_of(2)
    where = place([gram(torch.zeros(20, WIDTH)), gram(tokens_of("b", WIDTH))])
    torch.testing.assert_close(merge([a, b], where), (a + b) / 2)


def test_summing_needs_a_base() -> None:
    with pytest.raises(OperatorError, match="regmean needs a base") as caught:
        operators.check("regmean", {"others": "sum"}, 2, base=False)
    assert "as `base:`" in caught.value.hint
    assert operators.check("regmean", {"others": "sum"}, 2).space == "delta"
    assert operators.check("regmean", {}, 2, base=False).space == "weight"


def test_each_matrix_of_a_tensor_is_merged_for_itself() -> None:
    """Experts; the second was fed too little by one model."""
    shape, names = (3, 4, WIDTH), "ab"
    models = models_of(2, *shape)
    seen = [list(each) for each in seen_by(names, shape)]
    seen[0][1] = LayerInputs(tokens=0, rows=torch.zeros(0, 1))
    merged = merge(models, place(seen, shape))
    for i in (0, 2):
        tokens = [tokens_of(n, WIDTH, i) for n in names]
        close(merged[i], defined([m[i] for m in models], tokens))
    torch.testing.assert_close(merged[1], (models[0][1] + models[1][1]) / 2)


def test_experts_in_chunks() -> None:
    """A chunk that begins at the third expert is merged as the third."""
    shape = (3, 4, WIDTH)
    models, where = models_of(2, *shape), Place(shape=shape, seen=seen_by("ab", shape))
    op = operators.check("regmean", {}, 2)
    solved = operators.measure(op, [], {}, where)
    chunk = torch.stack([m.flatten(1) for m in models])[:, 2:]
    here = Place(shape=shape, seen=where.seen, low=2)
    last = operators.combine(op, chunk, solved, {}, here).reshape(1, 4, WIDTH)
    torch.testing.assert_close(last, merge(models, where)[2:], rtol=0, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.9, 0.99])
@pytest.mark.parametrize("kept", [few, gram])
def test_a_column_that_is_never_fed_takes_the_mean(kept: Any, alpha: float) -> None:
    models, tokens = models_of(2), [tokens_of(n, WIDTH) for n in "ab"]
    for each in tokens:
        each[:, 3] = 0
    merged = merge(models, place([kept(t) for t in tokens]), alpha=alpha)
    close(merged, defined(models, tokens, alpha))
    close(merged[:, 3], (models[0] + models[1])[:, 3] / 2)


@pytest.mark.parametrize("kept", [few, gram])
def test_what_cannot_be_inverted_is_refused(kept: Any) -> None:
    tokens = [tokens_of(n, WIDTH) for n in "ab"]
    for each in tokens:
        each[:, 3] = 0
    with pytest.raises(
        OperatorError, match=r"of w cannot be inverted exactly enough with alpha=0\.9, ridge=0"
    ) as caught:
        merge(models_of(2), place([kept(t) for t in tokens]), ridge=0.0)
    assert "larger ridge" in caught.value.hint


def test_nobody_looked() -> None:
    with pytest.raises(OperatorError, match="what the models' layers are fed") as caught:
        merge(models_of(2), Place(shape=(5, WIDTH)))
    assert "`calibration:`" in caught.value.hint


@pytest.mark.parametrize(
    ("parameters", "message", "hint"),
    [
        ({"weights": (1.0, -0.5)}, r"weights \[1.0, -0.5\] are not all positive", "at least 0"),
        ({"weights": (0.0, 0.0)}, "sum to zero", "non-zero sum"),
        ({"weights": (1.0,)}, "1 weights for 2 models", "one weight for each"),
        ({"alpha": 1.5}, "alpha is 1.5, and is no share", r"in \[0, 1\]"),
        ({"alpha": -0.1}, "alpha is -0.1", r"in \[0, 1\]"),
        ({"ridge": -1.0}, "ridge is -1.0, and is negative", "at least 0"),
        ({"others": "max"}, "others is 'max'", "mean, sum"),
    ],
    ids=str,
)
def test_parameters_are_refused_before_anything_is_fed(
    parameters: dict[str, Any], message: str, hint: str
) -> None:
    with pytest.raises(OperatorError, match=message) as caught:
        operators.check("regmean", parameters, 2)
    assert __import__("re").search(hint, caught.value.hint)


@given(st.integers(1, 6), st.integers(0, 5))
def test_inputs_in_parts_are_the_inputs_at_once(size: int, seed: int) -> None:
    tokens = tokens_of("a", WIDTH, seed, 24)
    first, *others = tokens.split(size)
    for kept in (few, gram):
        total, whole = kept(first), kept(tokens)
        for part in others:
            total = add_inputs(total, part)
        assert total.tokens == 24
        assert total.width == WIDTH
        torch.testing.assert_close(total.diagonal, whole.diagonal, rtol=1e-6, atol=0)


def test_inputs_are_kept_as_what_is_smaller() -> None:
    tokens = torch.randn(4, 24)
    assert reduce_inputs(tokens, most=4).gram is None
    assert reduce_inputs(tokens, most=5).rows is None


def test_nothing_fed_has_no_width() -> None:
    assert LayerInputs(tokens=0, rows=torch.zeros(0, 1)).width is None
