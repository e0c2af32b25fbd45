"""Rows put together from others are what a loop over rows gives, in few reads."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from simmerge_hub.weights.gather import fill_origins, gather_rows
from simmerge_hub.weights.stream import Rows


def rows_of(tensor: Tensor, calls: list[tuple[int, int]] | None = None) -> Rows:
    matrix = tensor if tensor.ndim > 1 else tensor[None]

    def read(low: int, high: int, out: Tensor | None = None) -> Tensor:
        assert 0 <= low <= high <= len(matrix)
        if calls is not None:
            calls.append((low, high))
        part = matrix[low:high].flatten(1).float()
        return part.clone() if out is None else out.copy_(part)

    return Rows(shape=tuple(tensor.shape), read=read)


def brute_force(tensors: list[Tensor], table: Tensor, place: int, base: int | None) -> Tensor:
    """[size, …]: one row after the other, by the rule as it is written."""
    means = []
    for column in table.T.tolist():
        if column[place] >= 0:
            means.append(tensors[place][column[place]])
        elif base is not None and column[base] >= 0:
            means.append(tensors[base][column[base]])
        else:
            having = [t[row] for t, row in zip(tensors, column, strict=True) if row >= 0]
            total = torch.zeros(tensors[0].shape[1:])
            for row in having:
                total = total + row
            means.append(total / max(1, len(having)))
    return torch.stack(means)


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Tensor], Tensor, int | None]:
    heights = draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    size = draw(st.integers(1, 14))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    tensors = [torch.randn(height, 3, generator=generator) for height in heights]
    table = torch.full((len(heights), size), -1)
    for place, height in enumerate(heights):
        start = 0
        while start < size:  # runs, as they are in tables of real models
            origin = draw(st.integers(-1, height - 1))
            length = min(draw(st.integers(1, 6)), size - start)
            if origin >= 0:
                length = min(length, height - origin)
                table[place, start : start + length] = torch.arange(origin, origin + length)
            start += length
    return tensors, table, draw(st.none() | st.integers(0, len(heights) - 1))


@given(cases(), st.data())
def test_against_a_loop_over_rows(
    case: tuple[list[Tensor], Tensor, int | None], data: st.DataObject
) -> None:
    tensors, table, base = case
    size = table.shape[1]
    low = data.draw(st.integers(0, size))
    high = data.draw(st.integers(low, size))
    for place in range(len(tensors)):
        origins = fill_origins(table, place, base)
        expected = brute_force(tensors, table, place, base)
        sources = [rows_of(tensor) for tensor in tensors]
        rows = gather_rows(sources, origins, release=lambda: None)
        assert rows.shape == (size, 3)
        assert torch.equal(rows.read(low, high), expected[low:high])
        out = torch.full((high - low, 3), torch.nan)
        assert rows.read(low, high, out) is out
        assert torch.equal(out, expected[low:high])
        vectors = [rows_of(tensor[:, 0]) for tensor in tensors]
        vector = gather_rows(vectors, origins, release=lambda: None)
        assert vector.shape == (size,)
        assert torch.equal(vector.read(0, 1), expected[:, 0][None])
        out = torch.full((1, size), torch.nan)
        assert vector.read(0, 1, out) is out
        assert torch.equal(out, expected[:, 0][None])
        assert vector.read(0, 0).shape == (0, size)


def test_the_first_row_of_the_base_stands_in_as_others_do() -> None:
    """What the second model lacks is the base's row 0, not the mean with the third's."""
    table = torch.tensor([[0, 1], [-1, 1], [1, 0]])
    assert fill_origins(table, 1, 0)[:, 0].tolist() == [0, -1, -1]
    assert fill_origins(table, 1, None)[:, 0].tolist() == [0, -1, 1]


def test_what_follows_is_one_read() -> None:
    calls: list[tuple[int, int]] = []
    tensor = torch.randn(100, 2)
    origins = torch.cat([torch.arange(60), torch.arange(70, 100)])[None]
    rows = gather_rows([rows_of(tensor, calls)], origins, release=lambda: None)
    rows.read(0, 50)
    rows.read(50, 90)
    assert calls == [(0, 50), (50, 60), (70, 100)]


def test_only_the_models_that_have_a_part_are_read() -> None:
    calls: list[tuple[int, int]] = []
    mine, other = torch.randn(4), torch.randn(4)
    table = torch.tensor([[0, 1, 2, 3], [3, 2, 1, 0]])
    rows = gather_rows(
        [rows_of(mine), rows_of(other, calls)], fill_origins(table, 0, None), release=lambda: None
    )
    assert torch.equal(rows.read(0, 1), mine[None])
    assert calls == []


def test_rows_of_more_than_two_dimensions_keep_theirs() -> None:
    tensor = torch.randn(3, 2, 4)
    rows = gather_rows([rows_of(tensor)], torch.tensor([[2, -1, 0]]), release=lambda: None)
    assert rows.shape == (3, 2, 4)
    expected = torch.stack([tensor[2], torch.zeros(2, 4), tensor[0]]).flatten(1)
    assert torch.equal(rows.read(0, 3), expected)


def test_nan_is_left_to_others() -> None:
    tensor = torch.tensor([[torch.nan], [1.0]])
    rows = gather_rows([rows_of(tensor)], torch.tensor([[1, 0]]), release=lambda: None)
    assert rows.read(0, 2)[:, 0].isnan().tolist() == [False, True]


@pytest.mark.parametrize("shape", [(4, 2), (4,)])
def test_done_is_passed_on(shape: tuple[int, ...]) -> None:
    told = []
    rows = gather_rows(
        [rows_of(torch.ones(shape))], torch.arange(4)[None], release=lambda: told.append(1)
    )
    rows.release()
    assert told == [1]
