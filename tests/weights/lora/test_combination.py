"""Every operator merges deltas as it merges models, or says why it cannot."""

from dataclasses import replace

import pytest
import torch

from simmerge_hub.errors import OperatorError
from simmerge_hub.operators import OPERATORS, Arm, Place, arm, merge_tensors
from simmerge_hub.weights.lora import combination

NAMES = ("code", "math")
NEED_THE_BASE = {"slerp", "karcher", "arcee_fusion"}


@pytest.mark.parametrize("name", OPERATORS)
def test_as_in_a_full_model(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    models = min(OPERATORS[name].models[1] or 2, 2)
    base, *deltas = (torch.randn(12, 9, generator=generator) for _ in range(models + 1))
    one = Arm(operator=name, parameters={})
    if OPERATORS[name].activations:
        for others in ("mean", "sum"):
            with pytest.raises(OperatorError, match="looks at what models' layers are fed"):
                combination(replace(one, parameters={"others": others}), NAMES)
        return
    if name in NEED_THE_BASE:
        with pytest.raises(OperatorError, match="looks at the base's weights too"):
            combination(one, NAMES[:models])
        return
    place = Place(tensor="w", models=NAMES[:models], shape=(12, 9), seed=3)
    expected = merge_tensors(one, base, [base + delta for delta in deltas], place) - base
    combine = combination(one, NAMES[:models], seed=3)
    if callable(combine):
        merged = combine("w", [delta.clone() for delta in deltas])
    else:
        merged = sum((w * d for w, d in zip(combine, deltas, strict=True)), torch.zeros(()))
    # nearswap looks at differences of 1e-4, which base + delta rounds
    tolerance = 1e-3 if name == "nearswap" else 1e-5
    torch.testing.assert_close(merged, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("one", "weights"),
    [
        (arm("linear"), (0.5, 0.5)),
        (arm("linear", weights=(3, 1)), (0.75, 0.25)),
        (arm("linear", weights=(3, 1), normalize=False), (3, 1)),
        (arm("task_arithmetic"), (1, 1)),
        (arm("task_arithmetic", scale=0.5, weights=(1, -2)), (0.5, -1)),
    ],
    ids=lambda one: one.label if isinstance(one, Arm) else "",
)
def test_sums_become_weights(one: Arm, weights: tuple[float, float]) -> None:
    assert combination(one, NAMES) == weights


def test_random_draws_belong_to_seed_tensor_and_name() -> None:
    deltas = [torch.ones(8, 8), torch.ones(8, 8)]
    dare = arm("dare_linear")

    def draw(tensor: str = "w", names: tuple[str, str] = NAMES, seed: int = 0) -> torch.Tensor:
        combine = combination(dare, names, seed=seed)
        assert callable(combine)
        return combine(tensor, [delta.clone() for delta in deltas])

    assert torch.equal(draw(), draw())
    others = [draw("v"), draw(names=("code", "prose")), draw(seed=1)]
    assert not any(torch.equal(draw(), other) for other in others)


@pytest.mark.parametrize(
    ("one", "message", "hint"),
    [
        (
            arm("slerp", t=0.5),
            "slerp(t=0.5) looks at the base's weights too, which adapters do not have",
            "use an operator on deltas, such as ties or nuslerp, or merge into a full model",
        ),
        (
            arm("nuslerp", origin="zero"),
            "nuslerp(origin=zero) looks at the base's weights too, which adapters do not have",
            "use an operator on deltas, such as ties or nuslerp, or merge into a full model",
        ),
        (
            arm("ties", trim="model"),
            "ties(trim=model) measures all tensors of a model together",
            "use trim='tensor', or merge into a full model",
        ),
    ],
)
def test_what_deltas_are_not_enough_for(one: Arm, message: str, hint: str) -> None:
    with pytest.raises(OperatorError) as caught:
        combination(one, NAMES)
    assert (str(caught.value), caught.value.hint) == (message, hint)


def test_parameters_are_checked() -> None:
    with pytest.raises(OperatorError, match="3 weights for 2 models"):
        combination(Arm(operator="ties", parameters={"weights": (1, 1, 1)}), NAMES)
