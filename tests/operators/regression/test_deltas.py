"""RegMean without data: where one model moved, where both did, and what a solve takes."""

import pytest
import torch
from torch import Tensor

from simmerge_hub.errors import OperatorError
from simmerge_hub.operators import Arm, Place, find, merge_tensors
from simmerge_hub.operators.regression.deltas import solve_bytes, solve_deltas

ROWS, COLS = 30, 12


def random(rows: int, cols: int, seed: int) -> Tensor:
    return torch.randn(rows, cols, generator=torch.Generator().manual_seed(seed))


def merge(deltas: list[Tensor], **parameters: object) -> Tensor:
    """The merged delta from a base of zeros."""
    base = torch.zeros_like(deltas[0])
    place = Place(tensor="w", shape=tuple(base.shape))
    return merge_tensors(Arm(operator="delta_regmean", parameters=parameters), base, deltas, place)


def test_deltas_of_other_columns_are_added_whole() -> None:
    """Trained on inputs that have nothing in common, neither layer sees the other's delta."""
    one, other = random(ROWS, COLS, 1), random(ROWS, COLS, 2)
    one[:, COLS // 2 :] = 0
    other[:, : COLS // 2] = 0
    torch.testing.assert_close(merge([one, other]), one + other, rtol=0, atol=2e-5)


def test_deltas_in_other_directions_are_added_whole_without_damping() -> None:
    turn = torch.linalg.qr(random(COLS, COLS, 3)).Q
    one = random(ROWS, COLS // 2, 1) @ turn[: COLS // 2]
    other = random(ROWS, COLS // 2, 2) @ turn[COLS // 2 :]
    torch.testing.assert_close(merge([one, other], alpha=1.0), one + other, rtol=0, atol=1e-3)
    assert (merge([one, other], alpha=0.5) - one - other).abs().max() > 0.1


def test_a_model_that_did_not_move_takes_nothing_away() -> None:
    one = random(ROWS, COLS, 1)
    torch.testing.assert_close(merge([one, torch.zeros_like(one)]), one, rtol=0, atol=2e-5)


def test_no_model_moved() -> None:
    zeros = torch.zeros(ROWS, COLS)
    assert merge([zeros, zeros.clone()]).equal(zeros)


def test_a_larger_delta_counts_for_no_more() -> None:
    """Each product is scaled to one mean diagonal, so what decides is where a model moved."""
    one, other = random(ROWS, COLS, 1), random(ROWS, COLS, 2)
    merged = merge([1e-3 * one, 1e-3 * other])
    torch.testing.assert_close(1e3 * merged, merge([one, other]), rtol=1e-4, atol=1e-4)
    louder = merge([one, 10 * other])
    assert (louder - merge([one, other])).norm() > 1  # the rows themselves are larger


@pytest.mark.parametrize("rows", [4, 5, 7])
def test_few_rows_are_merged_as_many_are(rows: int) -> None:
    """Of a tensor with fewer rows in all than columns the rows are kept, not their products."""
    one, other = random(rows, COLS, 1), random(rows, COLS, 2)
    padded = [torch.cat([each, torch.zeros(2 * COLS, COLS)]) for each in (one, other)]
    torch.testing.assert_close(merge([one, other]), merge(padded)[:rows], rtol=0, atol=2e-5)


def test_weights_lean() -> None:
    one, other = random(ROWS, COLS, 1), random(ROWS, COLS, 2)
    apart = [(merge([one, other], weights=(w, 1 - w)) - one).norm() for w in (0.2, 0.5, 0.8)]
    assert apart == sorted(apart, reverse=True)
    with pytest.raises(OperatorError, match="are not all positive"):
        merge([one, other], weights=(1.0, -1.0))


@pytest.mark.parametrize(
    ("shape", "name"), [((9,), "norm.weight"), ((3, 2, 4), ""), ((1, 9), "final_logits_bias")]
)
def test_what_is_no_matrix_is_averaged(shape: tuple[int, ...], name: str) -> None:
    base = torch.zeros(shape)
    models = [torch.full(shape, 1.0), torch.full(shape, 3.0)]
    models[0][..., 0] = 0  # where one alone moved, a matrix takes its delta whole
    chosen = Arm(operator="delta_regmean", parameters={})
    merged = merge_tensors(chosen, base, models, Place(shape=shape, tensor=name))
    assert merged.equal((models[0] + models[1]) / 2)


def test_what_cannot_be_inverted_is_said() -> None:
    """Both moved in one direction alone."""
    one = random(ROWS, 1, 1) @ random(1, COLS, 2)
    with pytest.raises(OperatorError, match="delta_regmean: the Gram matrices of w cannot be"):
        merge([one, 2 * one], alpha=1.0, ridge=0.0)


@pytest.mark.parametrize("size", [1, 7, 300, 700])
def test_products_do_not_depend_on_how_rows_come(size: int) -> None:
    rows = torch.stack([random(700, 5, seed) for seed in (1, 2)])
    place = Place(tensor="w", shape=(700, 5))
    mix = solve_deltas([rows[:, i : i + size] for i in range(0, 700, size)], place)
    whole = solve_deltas([rows], place)
    assert mix and whole
    torch.testing.assert_close(mix(0, rows[0]), whole(0, rows[0]), rtol=1e-5, atol=1e-6)


def test_sampled_rows_do_not_tell_of_it() -> None:
    assert not find("delta_regmean").on_samples
    assert find("ties").on_samples


def test_bytes_of_a_solve() -> None:
    """Products of a matrix with many rows, the rows of one with few; nothing else is solved."""
    assert solve_bytes((5000,), 2) == solve_bytes((8, 4, 4), 2) == (0, 0)
    held, solve = solve_bytes((4096, 1024), 2)
    assert held == 2 * 4 * 1024**2
    assert solve == (3 * 8 + 4) * 1024**2
    few, some = solve_bytes((64, 4096), 2)
    assert few < 4 * 4096**2 > some


def test_a_tensor_without_a_place_is_looked_at() -> None:
    assert solve_deltas([torch.ones(2, 1, 5)]) is None
    assert solve_deltas([torch.ones(2, 4, 5)]) is not None
