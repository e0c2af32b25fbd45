"""What headers say of tensors, worked out by hand."""

from pathlib import Path

import pytest
import torch

from simmerge_hub.hub.resolve import resolve
from simmerge_hub.weights.shapes import common_dtype, matrix_shape
from tests import nano


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((), (1, 1)), ((5,), (1, 5)), ((4, 3), (4, 3)), ((4, 3, 2), (4, 6)), ((0, 3), (0, 3))],
)
def test_rows_and_columns(shape: tuple[int, ...], expected: tuple[int, int]) -> None:
    assert matrix_shape(shape) == expected


def test_the_dtype_most_entries_have(tmp_path: Path) -> None:
    tensors = {"a": torch.ones(10).half(), "b": torch.ones(11).bfloat16(), "c": torch.ones(9)}
    assert common_dtype(resolve(str(nano.save(tmp_path, tensors, config={})))) == "bfloat16"
    doubles = {"a": torch.ones(10).double(), "b": torch.ones(9).half()}
    assert common_dtype(resolve(str(nano.save(tmp_path, doubles, config={})))) == "float32"
