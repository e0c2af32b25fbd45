"""Adapters that cannot be merged are refused from headers, each with its reason."""

from pathlib import Path
from typing import Any

import pytest
import torch

from simmerge_hub.errors import AlignmentError, CheckpointError
from simmerge_hub.hub.resolve import resolve
from simmerge_hub.weights.lora import merge_adapters, write_adapter
from simmerge_hub.weights.lora.folder import adapter_config
from tests import nano

AT = "base_model.model.model.layers.0.self_attn.q_proj"
UNLOAD = "merge it into its base with peft's merge_and_unload() and use the result"
FACTORS = {f"{AT}.lora_A.weight": torch.ones(2, 16), f"{AT}.lora_B.weight": torch.ones(16, 2)}


def refusal(folder: Path, tensors: Any = None, **config: Any) -> CheckpointError:
    """The error for an adapter whose weights are gone when it is looked at."""
    good = resolve(str(nano.lora(folder / "good")))
    bad = resolve(str(nano.lora(folder / "bad", tensors, **config)))
    (folder / "bad" / "adapter_model.safetensors").unlink()
    with pytest.raises(CheckpointError) as caught:
        merge_adapters([good, bad], (1, 1))
    return caught.value


@pytest.mark.parametrize(
    ("config", "seen"),
    [
        ({"peft_type": "LOHA"}, "is a LOHA adapter; only LoRA (rsLoRA, DoRA) can be folded in"),
        ({"bias": "all"}, "trains biases too (bias='all')"),
        ({"init_lora_weights": "pissa"}, "was started with pissa, which changes the base too"),
        ({"lora_bias": True}, "is a LoRA of a special kind (lora_bias)"),
    ],
)
def test_more_than_a_product(tmp_path: Path, config: dict[str, Any], seen: str) -> None:
    error = refusal(tmp_path, **config)
    assert (str(error), error.hint) == (f"bad {seen}", UNLOAD)


@pytest.mark.parametrize(
    ("extra", "seen"),
    [
        ({f"{AT}.steps": torch.ones(1, dtype=torch.int64)}, f"holds whole numbers ({AT}.steps)"),
        ({f"{AT[:-6]}k_proj.lora_A.weight": torch.ones(2, 16)}, "has no pair of matrices for"),
    ],
)
def test_more_in_the_file(tmp_path: Path, extra: dict[str, Any], seen: str) -> None:
    error = refusal(tmp_path, FACTORS | extra)
    assert str(error).startswith(f"bad {seen}")
    assert error.hint == UNLOAD


def test_a_dora_is_no_product_of_matrices(tmp_path: Path) -> None:
    vectors = {f"{AT}.lora_magnitude_vector": torch.ones(16)}
    error = refusal(tmp_path, FACTORS | vectors, use_dora=True)
    assert str(error) == "bad is a DoRA adapter: its delta depends on the base"
    assert error.hint == UNLOAD


def test_nothing_low_rank_in_the_file(tmp_path: Path) -> None:
    error = refusal(tmp_path, {"base_model.model.lm_head.weight": torch.ones(20, 16)})
    assert str(error) == "bad has no LoRA matrices"


def test_a_full_model(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        merge_adapters([resolve(str(nano.model(tmp_path / "base")))], (1,))
    assert str(caught.value) == "base is a full model, not an adapter"
    assert caught.value.hint == "give adapters only, or merge into a full model"


def test_other_bases(tmp_path: Path) -> None:
    one = resolve(str(nano.lora(tmp_path / "code", base="org/small")))
    two = resolve(str(nano.lora(tmp_path / "math", base="org/large")))
    with pytest.raises(AlignmentError) as caught:
        merge_adapters([one, two], (1, 1))
    assert str(caught.value) == "code is an adapter of org/small, math of org/large"
    assert "write the same base_model_name_or_path" in caught.value.hint


def test_other_revisions(tmp_path: Path) -> None:
    stated = {"one": "a" * 40, "other": "main", "none": None}
    said = {
        name: resolve(str(nano.lora(tmp_path / name, base="org/small", revision=revision)))
        for name, revision in stated.items()
    }
    with pytest.raises(AlignmentError, match=r"one is an adapter of its base at a+, other at main"):
        merge_adapters([said["one"], said["other"]], (1, 1))
    merged = merge_adapters([said["none"], said["one"]], (1, 1))
    config = adapter_config(merged)
    assert (config["base_model_name_or_path"], config["revision"]) == ("org/small", "a" * 40)


def test_other_tasks(tmp_path: Path) -> None:
    one = resolve(str(nano.lora(tmp_path / "code", task_type="CAUSAL_LM")))
    two = resolve(str(nano.lora(tmp_path / "math", task_type="SEQ_CLS")))
    with pytest.raises(AlignmentError) as caught:
        merge_adapters([one, two], (1, 1))
    assert str(caught.value) == "code is for the task CAUSAL_LM, math for SEQ_CLS"
    assert caught.value.hint == "adapters for different tasks sit in models of different classes"


def test_what_one_does_not_say_the_other_says(tmp_path: Path) -> None:
    one = resolve(str(nano.lora(tmp_path / "code", task_type="CAUSAL_LM")))
    two = resolve(str(nano.lora(tmp_path / "math", base="org/small")))
    merge = merge_adapters([one, two], (1, 1))
    assert (merge.base, merge.task) == ("org/small", "CAUSAL_LM")


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_damaged_weights(tmp_path: Path, number: float) -> None:
    good = resolve(str(nano.lora(tmp_path / "code")))
    tensors = FACTORS | {f"{AT}.lora_A.weight": torch.full((2, 16), number)}
    bad = resolve(str(nano.lora(tmp_path / "math", tensors)))
    with pytest.raises(CheckpointError) as caught:
        write_adapter(merge_adapters([good, bad], (1, 1)), tmp_path / "out")
    assert str(caught.value) == "math has NaN or Inf in model.layers.0.self_attn.q_proj"
    assert "damaged" in caught.value.hint
    assert not any(tmp_path.glob("out*"))


def test_from_the_hub(tmp_path: Path, org: str) -> None:
    """Downloaded once into the cache, then read there."""
    references = []
    for number, name in enumerate(("code", "math")):
        tensors = {key: (number + 1) * tensor for key, tensor in FACTORS.items()}
        nano.push(nano.lora(tmp_path / name, tensors), f"{org}/{name}")
        references.append(f"{org}/{name}")
    remote = write_adapter(
        merge_adapters([resolve(each) for each in references], (1, 1)), tmp_path / "remote"
    )
    folders = [resolve(str(tmp_path / name)) for name in ("code", "math")]
    local = write_adapter(merge_adapters(folders, (1, 1)), tmp_path / "local")
    weights = [(r.folder / "adapter_model.safetensors").read_bytes() for r in (remote, local)]
    assert weights[0] == weights[1]
