"""Inner products: of tensors, rows and columns, whatever the chunks."""

import numpy as np
import torch

from simmerge_hub.operators.products import column_products, products, row_products

CHUNK = torch.tensor([[[1.0, 2.0], [0.0, -1.0]], [[3.0, 0.0], [4.0, 2.0]]])


def test_by_hand() -> None:
    assert row_products(CHUNK).tolist() == [[[5, 3], [3, 9]], [[1, -2], [-2, 20]]]
    assert products([CHUNK]).tolist() == [[6, 1], [1, 29]]
    assert column_products([CHUNK]).tolist() == [[[1, 3], [3, 25]], [[5, -2], [-2, 4]]]


def test_no_bit_depends_on_where_a_tensor_was_cut() -> None:
    chunk = torch.randn(3, 64, 37, generator=torch.Generator().manual_seed(0))
    for step in (1, 7, 64):
        parts = [chunk[:, low : low + step] for low in range(0, 64, step)]
        assert np.array_equal(products(parts), products([chunk]))
        assert np.array_equal(column_products(parts), column_products([chunk]))


def test_sums_are_of_float64() -> None:
    """In float32 the small entry beside the large one would be lost."""
    chunk = torch.tensor([[[1e4, 1e-4]]])
    assert products([chunk])[0, 0] > float(torch.tensor(1e4)) ** 2
