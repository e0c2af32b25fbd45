"""Rows of one output tensor, worked out by hand."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from simmerge_hub.errors import CheckpointError, OperatorError
from simmerge_hub.merger import compute
from simmerge_hub.merger.compute import (
    Job,
    WholeModel,
    blocks,
    check_operator,
    is_finite,
    merge_rows,
    refuse_nonfinite,
)
from simmerge_hub.recipe import Step
from simmerge_hub.weights.stream import Rows


def rows(tensor: Tensor, reads: list[tuple[int, int]] | None = None) -> Rows:
    """A tensor as rows; what is read is noted."""

    def read(low: int, high: int, out: Tensor | None = None) -> Tensor:
        if reads is not None:
            reads.append((low, high))
        part = tensor[low:high].clone()
        return part if out is None else out.copy_(part)

    return Rows(shape=tuple(tensor.shape), read=read)


def step(operator: str, *models: str, name: str = "", **parameters: Any) -> Step:
    return Step(operator=operator, models=models, parameters=parameters, name=name)


BASE = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
A, B = BASE + torch.tensor([[1.0, 0.0], [0.0, 2.0]]), BASE + torch.tensor([[3.0, 4.0], [0.0, 0.0]])


def job(*steps: Step, depth: float = 0.0) -> Job:
    inputs = {"base": rows(BASE), "a": rows(A), "b": rows(B)}
    return Job(name="w", steps=steps, inputs=inputs, base="base", depth=depth)


def test_blocks_cover_all_rows_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "BLOCK_ENTRIES", 8)
    assert blocks((5, 4)) == [(0, 2), (2, 4), (4, 5)]
    assert blocks((2, 100)) == [(0, 1), (1, 2)]  # at least one row
    assert blocks((100,)) == [(0, 1)]
    assert blocks((0, 4)) == []
    assert blocks((3, 0)) == [(0, 3)]


def test_a_mean_of_any_rows() -> None:
    merged = merge_rows(job(step("linear", "a", "b")))
    assert merged.shape == (2, 2)
    assert merged.read(0, 2).tolist() == [[3, 4], [3, 5]]
    assert merged.read(1, 2).tolist() == [[3, 5]]
    out = torch.zeros(1, 2)
    assert merged.read(0, 1, out) is out
    assert out.tolist() == [[3, 4]]


def test_deltas_are_taken_from_the_base_and_put_back() -> None:
    merged = merge_rows(job(step("task_arithmetic", "a", "b", scale=0.5)))
    assert merged.read(0, 2).tolist() == [[3, 4], [3, 5]]


def test_a_later_step_uses_an_earlier_one() -> None:
    """half = (a + b)/2 = [[3, 4], [3, 5]]; then 3/4 of it and 1/4 of the base."""
    merged = merge_rows(
        job(
            step("linear", "a", "b", name="half"),
            step("linear", "half", "base", weights=(0.75, 0.25)),
        )
    )
    assert merged.read(0, 2).tolist() == [[2.5, 3.5], [3, 4.75]]


def test_a_gradient_at_the_depth_of_the_tensor() -> None:
    merged = merge_rows(job(step("slerp", "a", "b", t={"gradient": (0.0, 1.0)}), depth=1.0))
    torch.testing.assert_close(merged.read(0, 2), B)


def test_statistics_of_the_whole_model_are_measured_once() -> None:
    """Keep a quarter of eight entries: the largest two, which lie in the other tensor."""
    small, large = torch.full((2, 2), 0.5), torch.tensor([[9.0, 1.0], [1.0, 8.0]])
    reads: list[tuple[int, int]] = []
    once = step("ties", "a", density=0.25, trim="model")

    def of(delta: Tensor, name: str) -> Job:
        inputs = {"base": rows(BASE, reads), "a": rows(BASE + delta)}
        return Job(name=name, steps=(once,), inputs=inputs, base="base")

    jobs = [of(small, "small"), of(large, "large")]
    whole = WholeModel(jobs)
    merged = [merge_rows(each, whole).read(0, 2) - BASE for each in jobs]
    assert merged[0].tolist() == [[0, 0], [0, 0]]
    assert merged[1].tolist() == [[9, 0], [0, 8]]
    before = len(reads)
    whole.statistics(0)
    assert len(reads) == before


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nan_and_inf_are_refused_where_they_are(bad: float) -> None:
    tensor = torch.ones(4, 2)
    tensor[3, 1] = bad
    checked = refuse_nonfinite(rows(tensor), "org/a", "w")
    assert checked.read(0, 2).tolist() == [[1, 1], [1, 1]]
    for _ in range(2):
        with pytest.raises(CheckpointError, match="org/a has NaN or Inf in w"):
            checked.read(2, 4)


def test_a_sum_that_overflows_is_finite_all_the_same() -> None:
    assert is_finite(torch.full((2,), 3e38))
    assert is_finite(torch.empty(0, 3))
    assert not is_finite(torch.tensor([math.inf, -math.inf]))


def test_parameters_of_one_tensor_are_checked() -> None:
    scheduled = step("ties", "a", "b", density={"filter": {"mlp": 0.5, "*": 2.0}})
    operator, parameters = check_operator(scheduled, "mlp.weight", 0.0, base=True)
    assert (operator.name, parameters["density"]) == ("ties", 0.5)
    with pytest.raises(OperatorError, match="density"):
        check_operator(scheduled, "q.weight", 0.0, base=True)
