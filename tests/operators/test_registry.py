"""Registry × properties: an operator is tested the moment it is registered."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor

from simmerge_hub import operators
from simmerge_hub.errors import OperatorError
from simmerge_hub.operators import ARMS, OPERATORS, Arm, Place, combine, measure, merge_tensors
from simmerge_hub.operators.registry import OWN_OPERATOR, operator

FIRST = ("linear", "task_arithmetic", "ties", "slerp", "nuslerp")
"""Operators for two models with nothing random; test_catalogue.py has all of them."""
SHAPES = [(), (5,), (4, 4), (37, 11), (6, 3, 2), (1, 1), (3, 0), (0, 3), (129, 7)]
EVERY_ARM = {arm.label: arm for arm in ARMS} | {
    name: Arm(operator=name, parameters={}) for name in FIRST
}


@pytest.fixture(params=EVERY_ARM.values(), ids=EVERY_ARM)
def arm(request: pytest.FixtureRequest) -> Arm:
    return request.param


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def near(base: Tensor, count: int = 2, size: float = 0.3) -> list[Tensor]:
    return [base + size * random(*base.shape, seed=i + 1) for i in range(count)]


def keeps_identical(arm: Arm) -> bool:
    """Whether merging a model with itself gives the model: sums of deltas and trims do not."""
    return (arm.operator != "task_arithmetic" and arm.parameters.get("density", 0.2) == 1.0) or (
        arm.operator in {"linear", "slerp", "nuslerp", "sce", "delta_regmean"}
    )


def test_every_operator_is_documented(arm: Arm) -> None:
    found = OPERATORS[arm.operator]
    assert found.summary.endswith(".")
    assert found.space in {"weight", "delta"}
    assert found.paper


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_result_is_float32_of_the_same_shape(arm: Arm, shape: tuple[int, ...]) -> None:
    base = random(*shape)
    merged = merge_tensors(arm, base, near(base))
    assert merged.dtype == torch.float32
    assert merged.shape == base.shape
    assert bool(torch.isfinite(merged).all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_arithmetic_is_float32_whatever_is_stored(arm: Arm, dtype: torch.dtype) -> None:
    base = random(9, 5).to(dtype)
    models = [m.to(dtype) for m in near(base.float())]
    merged = merge_tensors(arm, base, models)
    expected = merge_tensors(arm, base.float(), [m.float() for m in models])
    assert torch.equal(merged, expected)


def test_identical_models_give_the_model(arm: Arm) -> None:
    base, model = random(8, 8), random(8, 8, seed=3)
    merged = merge_tensors(arm, base, [model, model.clone()])
    if keeps_identical(arm):
        torch.testing.assert_close(merged, model, rtol=1e-6, atol=1e-6)
    else:
        assert not torch.allclose(merged, model)


def test_models_equal_to_the_base_give_the_base(arm: Arm) -> None:
    base = random(8, 8)
    torch.testing.assert_close(merge_tensors(arm, base, [base.clone(), base.clone()]), base)


def test_swapping_the_models_and_the_arm_changes_nothing(arm: Arm) -> None:
    base = random(16, 8)
    first, second = near(base)
    here = Place(tensor="weight", models=("first", "second"), shape=(16, 8))
    there = replace(here, models=("second", "first"))
    merged = merge_tensors(arm, base, [first, second], here)
    swapped = merge_tensors(arm.swapped(), base, [second, first], there)
    torch.testing.assert_close(merged, swapped, rtol=1e-6, atol=1e-6)


def test_swapping_twice_is_the_same_arm(arm: Arm) -> None:
    assert arm.swapped().swapped().label == arm.label


def test_the_default_arms_are_closed_under_swapping() -> None:
    labels = {arm.label for arm in ARMS}
    assert {arm.swapped().label for arm in ARMS} == labels
    assert len(labels) == len(ARMS)


@pytest.mark.parametrize("size", [2.0, 0.25])
def test_scaling_every_input_scales_the_result(arm: Arm, size: float) -> None:
    base = random(8, 6)
    models = near(base)
    merged = merge_tensors(arm, base * size, [m * size for m in models])
    torch.testing.assert_close(merged, merge_tensors(arm, base, models) * size)


@pytest.mark.parametrize(("shape", "step"), [*product([(257, 33), (64, 1), (3, 5000)], [1, 7, 64])])
def test_row_blocks_give_the_bits_of_the_whole(arm: Arm, shape: tuple[int, int], step: int) -> None:
    base = random(*shape)
    chunk = torch.stack(near(base))
    found = OPERATORS[arm.operator]
    whole = combine(found, chunk, measure(found, [chunk], arm.parameters), arm.parameters)
    lows = range(0, shape[0], step)
    parts = [chunk[:, low : low + step].clone() for low in lows]
    statistics = measure(found, parts, arm.parameters)
    blocks = [
        combine(found, part, statistics, arm.parameters, Place(low=low))
        for low, part in zip(lows, parts, strict=True)
    ]
    if arm.operator == "delta_regmean":  # it multiplies matrices, and a merge's blocks are fixed
        torch.testing.assert_close(torch.cat(blocks), whole, rtol=0, atol=2e-5)
    else:
        assert torch.equal(torch.cat(blocks), whole)


def test_threads_do_not_change_a_bit(arm: Arm, threads: Callable[[int], None]) -> None:
    base = random(300, 500)
    models = near(base)
    threads(1)
    one = merge_tensors(arm, base, models)
    threads(2)
    two = merge_tensors(arm, base, models)
    if arm.operator == "delta_regmean":  # products of matrices; a merge runs each on one thread
        torch.testing.assert_close(two, one, rtol=0, atol=2e-5)
    else:
        assert torch.equal(two, one)


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", [n for n in FIRST if OPERATORS[n].models[1] is None])
@pytest.mark.parametrize("count", [1, 3, 5])
def test_operators_for_any_number_of_models(name: str, count: int) -> None:
    base = random(4, 4)
    models = near(base, count)
    merged = merge_tensors(Arm(operator=name, parameters={}), base, models)
    reordered = merge_tensors(Arm(operator=name, parameters={}), base, models[::-1])
    torch.testing.assert_close(merged, reordered)


@pytest.mark.parametrize("name", [n for n, o in OPERATORS.items() if o.models == (2, 2)])
@pytest.mark.parametrize("count", [1, 3])
def test_operators_for_two_models_refuse_others(name: str, count: int) -> None:
    with pytest.raises(OperatorError) as caught:
        operators.check(name, {}, count)
    assert str(caught.value) == f"{name} merges exactly 2 models, but {count} are given"
    assert caught.value.hint == "use another operator, or merge in several steps"


@pytest.mark.parametrize("name", [n for n, o in OPERATORS.items() if o.space == "delta"])
def test_operators_on_deltas_need_a_base(name: str) -> None:
    with pytest.raises(OperatorError) as caught:
        merge_tensors(Arm(operator=name, parameters={}), None, near(random(2, 2)))
    assert str(caught.value) == f"{name} needs a base"
    assert caught.value.hint.startswith("name a base")


def test_inputs_are_left_as_they_were(arm: Arm) -> None:
    base = random(5, 5)
    models = near(base)
    before = [t.clone() for t in (base, *models)]
    merge_tensors(arm, base, models)
    assert all(torch.equal(a, b) for a, b in zip(before, (base, *models), strict=True))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("linar", "did you mean linear?"),
        ("tie", "did you mean ties?"),
        ("slurp", "did you mean slerp or nuslerp?"),
        ("larger", OWN_OPERATOR),
    ],
)
def test_an_unknown_operator_suggests_near_names(name: str, hint: str) -> None:
    with pytest.raises(OperatorError) as caught:
        operators.find(name)
    assert str(caught.value) == f"there is no operator {name!r}"
    assert caught.value.hint == hint


def test_an_unknown_parameter_lists_those_there_are() -> None:
    with pytest.raises(OperatorError) as caught:
        operators.arm("ties", densty=0.2)
    assert str(caught.value) == "ties has no parameter 'densty'"
    assert caught.value.hint == "it takes: density, trim, rescale, scale, weights, normalize"


@pytest.mark.parametrize("density", [0, 0.0, -0.1, 1.5, 2**200, float("nan"), float("inf")])
def test_a_density_that_keeps_nothing(density: float) -> None:
    with pytest.raises(OperatorError, match="ties: density is ") as caught:
        operators.arm("ties", density=density)
    assert caught.value.hint in {"give a share of the entries in (0, 1]", "give a finite number"}


@pytest.mark.parametrize("weights", [(), (1.0,), (1.0, 2.0, 3.0)])
def test_one_weight_for_each_model(weights: tuple[float, ...]) -> None:
    with pytest.raises(OperatorError) as caught:
        operators.arm("linear", weights=weights)
    assert str(caught.value) == f"linear: {len(weights)} weights for 2 models"
    assert "one weight for each model" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("ties", {"density": "0.2"}),
        ("ties", {"density": None}),
        ("ties", {"density": True}),
        ("slerp", {"t": "half"}),
        ("slerp", {"t": (0.5,)}),
        ("slerp", {"t": float("nan")}),
        ("linear", {"weights": 3}),
        ("linear", {"weights": "ab"}),
        ("linear", {"weights": ("1", "2")}),
        ("linear", {"weights": (1.0, float("inf"))}),
        ("task_arithmetic", {"scale": {}}),
        ("task_arithmetic", {"scale": float("inf")}),
    ],
)
def test_parameters_are_finite_numbers(name: str, parameters: dict) -> None:
    (key,) = parameters
    with pytest.raises(OperatorError, match=f"{name}: {key} is ") as caught:
        operators.check(name, parameters, 2)
    assert caught.value.hint


def test_weights_that_sum_to_zero_are_refused_before_a_tensor_is_seen() -> None:
    with pytest.raises(OperatorError, match="sum to zero") as caught:
        operators.check("linear", {"weights": (1.0, -1.0)}, 2)
    assert caught.value.hint == "give weights with a non-zero sum"


def test_a_new_operator_comes_in_by_the_same_door(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operators.registry, "OPERATORS", dict(OPERATORS))

    @operator(space="weight", paper="none", models=(1, None))
    def loudest(chunk: Tensor, _: None = None, *, gain: float = 1.0) -> Tensor:
        """The entry with the greatest magnitude."""
        return chunk.gather(0, chunk.abs().argmax(0, keepdim=True))[0] * gain

    found = operators.find("loudest")
    assert found.summary == "The entry with the greatest magnitude."
    assert found.parameters == {"gain": 1.0}
    merged = merge_tensors(
        operators.arm("loudest", gain=2.0), None, [torch.tensor([1.0, -3]), torch.tensor([-2.0, 1])]
    )
    assert merged.tolist() == [-4.0, -6.0]


TYPED_FOR_CHECKERS = """
from __future__ import annotations
from typing import TYPE_CHECKING
from simmerge_hub.operators.registry import operator

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal
    from torch import Tensor
    from nowhere import Mode

@operator(space="weight", paper="none")
def typed(
    chunk: Tensor, _: None = None, *, weights: float | Sequence[float] | None = None,
    side: Literal["left", "right"] = "left", mode: Mode = "fast", gain: Mode = 1.0, plain=2.0,
) -> Tensor:
    "The first."
    return chunk[0] * gain
"""


def test_an_operator_whose_types_only_checkers_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operators.registry, "OPERATORS", dict(OPERATORS))
    exec(compile(TYPED_FOR_CHECKERS, "typed.py", "exec"), {"__name__": "typed"})
    given = {"weights": (0.5, 0.5), "side": "right", "mode": "fast", "gain": 2, "plain": 3}
    typed = operators.check("typed", given, 2)
    assert typed.per_model == {"weights"}
    assert typed.choices == {"side": ("left", "right")}
    with pytest.raises(OperatorError, match="mode may be is not known") as caught:
        operators.check("typed", {"mode": "slow"}, 2)
    assert caught.value.hint == "import what Mode names outside `if TYPE_CHECKING:`"


@pytest.mark.parametrize(
    ("arm", "label"),
    [
        (operators.arm("linear"), "linear"),
        (operators.arm("ties", density=0.2), "ties(density=0.2)"),
        (operators.arm("linear", weights=(0.7, 0.3)), "linear(weights=0.7/0.3)"),
        (operators.arm("ties", scale=1, density=0.5), "ties(density=0.5, scale=1)"),
    ],
    ids=str,
)
def test_labels(arm: Arm, label: str) -> None:
    assert arm.label == label
