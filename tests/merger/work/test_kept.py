"""Results between steps: the work grows with the number of steps, and no bit changes."""

from typing import Any

import pytest
import torch

from simmerge_hub import operators
from simmerge_hub.merger import compute
from simmerge_hub.merger.compute import Job, blocks, merge_rows
from simmerge_hub.merger.work import kept
from simmerge_hub.recipe import Step
from simmerge_hub.weights.stream import Rows

MODELS = {name: torch.randn(8, 6, generator=torch.Generator().manual_seed(seed))
          for seed, name in enumerate(("base", "a", "b", "c"))}  # fmt: skip


def chain(length: int) -> Job:
    """Each step merges the result of the one before with another model, by its angle to it."""
    steps = [Step(operator="slerp", models=("a", "b"), parameters={"t": 0.4}, name="s0")]
    for number in range(1, length):
        names = (f"s{number - 1}", "bc"[number % 2])
        steps.append(Step(operator="slerp", models=names, parameters={"t": 0.4}, name=f"s{number}"))
    return Job(name="x", steps=steps, inputs={n: rows(t) for n, t in MODELS.items()}, base="base")


def rows(tensor: torch.Tensor) -> Rows:
    def read(low: int, high: int, out: torch.Tensor | None = None) -> torch.Tensor:
        part = tensor[low:high]
        return part.clone() if out is None else out.copy_(part)

    return Rows(shape=tuple(tensor.shape), read=read)


def run(job: Job) -> torch.Tensor:
    merged = merge_rows(job)
    return torch.cat([merged.read(low, high) for low, high in blocks(merged.shape)])


@pytest.fixture
def combined(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The operators' work: one entry for each block that was combined. A block is one row."""
    monkeypatch.setattr(compute, "BLOCK_ENTRIES", 6)
    counts: list[int] = []
    own = operators.combine

    def combine(*arguments: Any) -> Any:
        counts.append(1)
        return own(*arguments)

    monkeypatch.setattr(operators, "combine", combine)
    return counts


def test_the_work_grows_with_the_number_of_steps(combined: list[int]) -> None:
    run(chain(10))
    assert len(combined) == 10 * 8
    combined.clear()
    run(chain(20))
    assert len(combined) == 20 * 8


def test_no_bit_depends_on_it(combined: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is too large to be kept is computed anew, as often as it takes."""
    fast = run(chain(10))
    combined.clear()
    monkeypatch.setattr(kept, "WHOLE_ENTRIES", 8 * 6 - 1)
    assert torch.equal(run(chain(10)), fast)
    assert len(combined) > 3 * 10 * 8


def test_two_results_are_held_at_a_time(
    combined: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[dict[Any, Any]] = []
    most = 0

    def keep_whole(inner: Rows, read_last: Any) -> Rows:
        kept_rows = own(inner, read_last)
        blocks_here: dict[Any, Any] = {}
        held.append(blocks_here)

        def read(low: int, high: int, out: torch.Tensor | None = None) -> torch.Tensor:
            nonlocal most
            block = kept_rows.read(low, high, out)
            blocks_here[low] = 1
            most = max(most, sum(map(len, held)))
            return block

        def release() -> None:
            blocks_here.clear()
            kept_rows.release()

        return Rows(shape=inner.shape, read=read, release=release)

    own = kept._keep_whole
    monkeypatch.setattr(kept, "_keep_whole", keep_whole)
    run(chain(12))
    assert len(held) == 11
    assert most <= 2 * 8


def test_short_programs_keep_nothing(combined: list[int]) -> None:
    run(chain(3))
    assert len(combined) == 8 * (1 + 2 + 3)
