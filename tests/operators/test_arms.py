"""Tensors as rows, and arms as labels."""

import runpy
from pathlib import Path

import pytest
import torch

from simmerge_hub.errors import OperatorError
from simmerge_hub.operators import (
    ARMS,
    FED_ARMS,
    Arm,
    arm,
    as_rows,
    known_arm,
    merge_tensors,
    registry,
)


@pytest.mark.parametrize(
    ("shape", "rows"),
    [((), (1, 1)), ((7,), (1, 7)), ((2, 3), (2, 3)), ((4, 3, 2), (4, 6)), ((2, 0), (2, 0))],
)
def test_every_tensor_is_rows(shape: tuple[int, ...], rows: tuple[int, int]) -> None:
    assert as_rows(torch.zeros(shape, dtype=torch.bfloat16)).shape == rows
    assert as_rows(torch.zeros(shape, dtype=torch.bfloat16)).dtype == torch.float32


def test_swapping_turns_t_and_weights_round() -> None:
    assert arm("slerp", t=0.25).swapped() == Arm(operator="slerp", parameters={"t": 0.75})
    assert arm("linear", weights=(0.7, 0.3)).swapped().parameters == {"weights": (0.3, 0.7)}


def test_an_arm_is_checked_for_two_models() -> None:
    merged = merge_tensors(arm("slerp", t=0.0), None, [torch.tensor([3.0, 4]), torch.ones(2)])
    assert merged.tolist() == pytest.approx([3.0, 4.0])


@pytest.mark.parametrize("each", (*ARMS, *FED_ARMS), ids=lambda each: each.label)
def test_arms_that_are_known_to_be_good_are(each: Arm) -> None:
    """They are not run when the package is imported, which would need torch."""
    assert each == arm(each.operator, **each.parameters)


def test_an_arm_that_is_known_is_checked_but_not_run() -> None:
    assert known_arm("linear", weights=(1.0, -1.0)).parameters == {"weights": (1.0, -1.0)}
    with pytest.raises(OperatorError, match="sum to zero"):
        arm("linear", weights=(1.0, -1.0))
    with pytest.raises(OperatorError, match="has no parameter"):
        known_arm("linear", density=0.5)


def test_what_an_arm_of_ones_own_is_known_by_changes_with_its_file(tmp_path: Path) -> None:
    """So nothing that was kept of what it does outlives an edit."""
    file, spelled = tmp_path / "own.py", set[str]()
    try:
        for factor in (0.1, 1.0):
            file.write_text(
                "from simmerge_hub.operators.registry import operator\n"
                '@operator(space="weight", paper="none")\n'
                f"def times(chunk, statistics):\n    return {factor} * chunk.sum(0)\n"
            )
            runpy.run_path(str(file), run_name="own")
            spelled.add(arm("times").spelled)
    finally:
        registry.OPERATORS.pop("times", None)
    assert len(spelled) == 2
    assert registry.own_code(["linear", "ties"]) == ""
