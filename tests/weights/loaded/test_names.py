"""Tensors under the names that another model stores the same parameters under."""

from typing import Any

from simmerge_hub.weights.loaded.names import Part, rename_like


def test_a_name_that_means_another_part_is_given_up() -> None:
    """Of old two norms are counted from 0, of today from 1: `norm1` is not `norm1`."""
    headers: Any = {"norm1": "first", "norm2": "second", "other": "own"}
    parts = {"norm1": Part("norm1"), "norm2": Part("norm2")}
    of_old = {"norm0": Part("norm1"), "norm1": Part("norm2")}
    assert rename_like(headers, parts, of_old) == {
        "norm0": "first", "norm1": "second", "other": "own",
    }  # fmt: skip
    assert rename_like(headers, parts, parts) == headers


def test_no_two_tensors_get_one_name() -> None:
    """A head that one model ties keeps its name beside the embedding."""
    headers: Any = {"embedding": "rows", "head": "copy"}
    parts = {"embedding": Part("embedding"), "head": Part("embedding")}
    wanted = {"embedding": Part("embedding"), "head": Part("head")}
    assert rename_like(headers, parts, wanted) == headers
