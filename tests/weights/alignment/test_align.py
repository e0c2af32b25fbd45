"""What fits together is told from headers, with a reason for what does not."""

from pathlib import Path

import pytest
import torch

from simmerge_hub.errors import AlignmentError
from simmerge_hub.hub.resolve import Checkpoint, resolve
from simmerge_hub.weights.alignment.align import align, align_strict
from simmerge_hub.weights.alignment.matching import Rejection
from tests import nano


def checkpoint(folder: Path, tensors: dict[str, torch.Tensor]) -> Checkpoint:
    return resolve(str(nano.save(folder, tensors, config={})))


ONE = {"w": torch.ones(4, 3), "bias": torch.ones(4)}


@pytest.mark.parametrize(
    ("other", "name", "reason"),
    [
        ({"w": torch.ones(5, 3)}, "w", "has another vocabulary size: [5, 3], in a [4, 3]"),
        ({"w": torch.ones(4, 2)}, "w", "has another shape: [4, 2], in a [4, 3]"),
        ({"w": torch.ones(4, 3, 1)}, "w", "has another shape: [4, 3, 1], in a [4, 3]"),
        ({"bias": torch.ones(5)}, "bias", "has another shape: [5], in a [4]"),
        ({"more": torch.ones(1)}, "more", "is not in a"),
        ({"w": torch.ones(4, 3, dtype=torch.int8)}, "w", "is in a only"),
    ],
)
def test_reasons(tmp_path: Path, other: dict[str, torch.Tensor], name: str, reason: str) -> None:
    models = [checkpoint(tmp_path / "a", ONE), checkpoint(tmp_path / "b", ONE | other)]
    alignment = align(models)
    assert alignment.rejected == (Rejection(name=name, model="b", reason=reason),)
    assert name not in alignment.shapes
    with pytest.raises(AlignmentError) as caught:
        align_strict(models)
    assert str(caught.value) == f"b does not fit: {name} {reason}"
    assert caught.value.hint.startswith("merge fine-tunes of one base model")
    assert ("`unmatched: drop`" in caught.value.hint) is (name == "more")  # one of few tensors


def test_a_missing_tensor_and_more(tmp_path: Path) -> None:
    models = [checkpoint(tmp_path / "a", ONE), checkpoint(tmp_path / "b", {"x": torch.ones(1)})]
    with pytest.raises(AlignmentError, match=r"^b does not fit: .* is in a only \(and 2 more\)$"):
        align_strict(models)


def test_what_several_lack_is_copied(tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "base", ONE | {"x": torch.ones(1)})
    models = [checkpoint(tmp_path / name, ONE) for name in "ab"]
    assert align(models, base, unmatched="keep").notes == ("x is copied: a and b lack it",)


def test_what_matches_keeps_the_order_of_the_reference(tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "base", ONE | {"z": torch.ones(2, 2), "a": torch.ones(())})
    model = checkpoint(tmp_path / "b", ONE | {"a": torch.ones(()), "z": torch.ones(2, 2)})
    assert list(align_strict([model], base).shapes) == list(base.tensors)
    assert align_strict([model], base).shapes["a"] == ()


def test_a_base_stored_in_eight_bits(tmp_path: Path) -> None:
    """Fine-tunes in bf16 of a base in fp8: its scales are part of its weights (PEERS, fault 2)."""
    eight = {"w": torch.ones(4, 3).to(torch.float8_e4m3fn), "w_scale_inv": torch.ones(1)}
    base = checkpoint(
        tmp_path / "base", eight | {"bias": torch.ones(4), "w.input_scale": torch.ones(1)}
    )
    alignment = align_strict([checkpoint(tmp_path / "b", ONE)], base)
    assert alignment.shapes == {"w": (4, 3), "bias": (4,)}


def test_an_adapter_has_the_shapes_of_its_base(tmp_path: Path) -> None:
    base = resolve(str(nano.model(tmp_path / "base")))
    lora = resolve(str(nano.lora(tmp_path / "lora")))
    assert align_strict([lora], base).shapes == {n: h.shape for n, h in base.tensors.items()}


@pytest.mark.parametrize("base", ["none", "adapter"])
def test_an_adapter_without_a_base(tmp_path: Path, base: str) -> None:
    lora = resolve(str(nano.lora(tmp_path / "lora")))
    with pytest.raises(AlignmentError) as caught:
        align_strict([lora], lora if base == "adapter" else None)
    assert str(caught.value) == "lora is an adapter, and its base is not known"
    assert caught.value.hint == "name the model it was trained on with --base"
