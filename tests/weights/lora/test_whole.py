"""Tensors stored whole are kept where they agree, averaged where that is right, or refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from simmerge_hub.errors import AlignmentError, CheckpointError, OperatorError
from simmerge_hub.hub.resolve import Checkpoint, resolve
from simmerge_hub.operators import arm
from simmerge_hub.weights.lora import combination, merge_adapters, whole, write_adapter
from tests import nano
from tests.weights.lora.conftest import Workshop

FACTORS = {
    "base_model.model.lm_head.lora_A.weight": torch.ones(2, 16),
    "base_model.model.lm_head.lora_B.weight": torch.ones(20, 2),
}
NORM = "base_model.model.model.norm.weight"
HEAD = "base_model.model.score.weight"
UNDER = "base_model.model.model.embed_tokens.base_layer.weight"
INSTEAD = "merge the adapters into their base instead: that gives a full model"
TIES = combination(arm("ties"), ("code", "math"))


def pair(folder: Path, code: dict[str, Tensor], math: dict[str, Tensor]) -> list[Checkpoint]:
    adapters = {"code": code, "math": math}
    return [resolve(str(nano.lora(folder / n, FACTORS | t))) for n, t in adapters.items()]


def write(folder: Path, adapters: list[Checkpoint], combine: Any, **how: Any) -> dict[str, Tensor]:
    return nano.load(write_adapter(merge_adapters(adapters, combine, **how), folder / "out").folder)


@pytest.mark.parametrize("block", [16, whole.HELD_ENTRIES])
def test_a_mean_by_weights(tmp_path: Path, monkeypatch: Any, block: int) -> None:
    monkeypatch.setattr(whole, "HELD_ENTRIES", block)
    one, two = torch.randn(20, 16), torch.randn(20, 16)
    small, large = torch.zeros(16), torch.ones(16)
    two_adapters = pair(tmp_path, {HEAD: one, NORM: small}, {HEAD: two, NORM: large})
    merged = write(tmp_path, two_adapters, (3, 1))
    torch.testing.assert_close(merged[HEAD], 0.75 * one + 0.25 * two)
    assert merged[NORM].tolist() == [0.25] * 16


@pytest.mark.parametrize("combine", [(2, 3), TIES], ids=["sum", "ties"])
def test_equal_values_are_kept_in_their_dtype(tmp_path: Path, combine: Any) -> None:
    head = torch.randn(20, 16).half()
    adapters = pair(tmp_path, {HEAD: head}, {HEAD: head.float()})
    merged = write(tmp_path, adapters, combine, dtype="bfloat16")
    assert merged[HEAD].dtype == torch.float16
    assert torch.equal(merged[HEAD], head)
    assert merged["base_model.model.lm_head.lora_A.weight"].dtype == torch.bfloat16


def test_a_copy_of_the_base_may_be_in_some(tmp_path: Path) -> None:
    under = torch.randn(20, 16)
    assert torch.equal(write(tmp_path, pair(tmp_path, {}, {UNDER: under}), TIES)[UNDER], under)


@pytest.mark.parametrize(
    "spelling",
    ["{0}_orig_mod.{1}.weight", "module.{0}{1}.weight", "{0}{1}.modules_to_save.default.weight"],
)
def test_it_is_written_as_peft_calls_it(tmp_path: Path, spelling: str) -> None:
    """Savers that know nothing of PEFT leave wrappers and the adapter's name in."""
    odd = spelling.format("base_model.model.", "score")
    under = "base_model.model._orig_mod.model.embed_tokens.base_layer.weight"
    for order, name in ((1, "code"), (-1, "math")):
        spelled = {odd: torch.ones(20, 16), under: torch.zeros(20, 16)}
        plain = {HEAD: torch.full((20, 16), 3.0)}
        adapters = pair(tmp_path / name, *(spelled, plain)[::order])
        merged = write(tmp_path / name, adapters, (1, 1))
        assert merged.keys() == {*FACTORS, HEAD, UNDER}
        assert merged[HEAD].unique().tolist() == [2]


def test_a_difference_in_the_last_rows_counts(tmp_path: Path, monkeypatch: Any) -> None:
    """A head of which only the rows of few tokens were trained."""
    monkeypatch.setattr(whole, "HELD_ENTRIES", 16)
    one, two = torch.ones(20, 16), torch.ones(20, 16)
    two[19] = 3
    merged = write(tmp_path, pair(tmp_path, {HEAD: one}, {HEAD: two}), (1, 1))
    assert merged[HEAD][:, 0].tolist() == [1] * 19 + [2]


def test_only_one_brings_it(tmp_path: Path) -> None:
    with pytest.raises(AlignmentError) as caught:
        merge_adapters(pair(tmp_path, {}, {NORM: torch.ones(16)}), (1, 1))
    assert str(caught.value) == (
        "math brings model.norm.weight whole (modules_to_save), code does not"
    )
    assert caught.value.hint == INSTEAD


def test_other_vocabularies(tmp_path: Path) -> None:
    adapters = pair(tmp_path, {HEAD: torch.ones(20, 16)}, {HEAD: torch.ones(23, 16)})
    with pytest.raises(AlignmentError) as caught:
        merge_adapters(adapters, (1, 1))
    assert str(caught.value) == "code brings score.weight as [20, 16], math as [23, 16]"
    assert INSTEAD in caught.value.hint


def test_an_operator_needs_deltas(tmp_path: Path) -> None:
    adapters = pair(tmp_path, {NORM: torch.zeros(16)}, {NORM: torch.ones(16)})
    with pytest.raises(AlignmentError) as caught:
        merge_adapters(adapters, TIES)
    assert str(caught.value) == (
        f"code and math bring {NORM} whole, with different values, and only a mean can merge that"
    )
    assert caught.value.hint == f"use linear or task_arithmetic, or {INSTEAD}"


def test_other_bases_underneath(tmp_path: Path) -> None:
    adapters = pair(tmp_path, {UNDER: torch.zeros(20, 16)}, {UNDER: torch.ones(20, 16)})
    with pytest.raises(AlignmentError) as caught:
        merge_adapters(adapters, (1, 1))
    assert str(caught.value) == (
        f"code and math hold different copies of {UNDER}, a tensor of their base"
    )
    assert caught.value.hint == "adapters of different bases cannot be merged"


def test_weights_without_a_mean(tmp_path: Path) -> None:
    adapters = pair(tmp_path, {NORM: torch.zeros(16)}, {NORM: torch.ones(16)})
    with pytest.raises(OperatorError) as caught:
        merge_adapters(adapters, (1, -1))
    assert "sum to zero, and model.norm.weight is stored whole" in str(caught.value)
    assert INSTEAD in caught.value.hint


def test_damaged(tmp_path: Path) -> None:
    adapters = pair(tmp_path, {NORM: torch.full((16,), float("nan"))}, {NORM: torch.ones(16)})
    with pytest.raises(CheckpointError, match=f"code has NaN or Inf in {NORM}"):
        merge_adapters(adapters, (1, 1))


def test_peft_loads_what_was_saved_whole(workshop: Callable[..., Workshop]) -> None:
    shop = workshop()
    adapters = shop.pair(r=2, target_modules=["q_proj"], modules_to_save=["lm_head"])
    report = write_adapter(merge_adapters(adapters, (0.5, 0.5)), shop.folder / "both")
    heads = [
        shop.load(shop.folder / each.name).merge_and_unload().lm_head.weight for each in adapters
    ]
    assert not torch.equal(*heads)
    head = shop.load(report.folder).merge_and_unload().lm_head.weight
    torch.testing.assert_close(head, (heads[0] + heads[1]) / 2)


def test_a_tensor_adapted_here_and_brought_whole_there(tmp_path: Path) -> None:
    """PEFT saves a copy of the base's beside a LoRA on it: that is no part of a mean."""
    embedding = UNDER.replace(".base_layer", "")
    adapters = pair(tmp_path, {UNDER: torch.ones(20, 16)}, {embedding: torch.zeros(20, 16)})
    for ordered in (adapters, adapters[::-1]):
        with pytest.raises(AlignmentError, match=r"code adapts .* math brings it whole") as caught:
            merge_adapters(ordered, (0.5, 0.5))
        assert caught.value.hint == INSTEAD
