"""Configs that others wrote beside tensors: whatever they say, one error or note, and soon."""

from typing import Any

import pytest

from simmerge_hub.errors import AlignmentError
from simmerge_hub.weights.layers import layer_of
from simmerge_hub.weights.loaded.described import refuse_misfits
from simmerge_hub.weights.loaded.model import REASON_SHOWN, build_empty, read_refusal
from tests import nano

CONFIG = {**nano.CONFIG, "vocab_size": nano.VOCABULARY}
SHAPES = {name: tuple(tensor.shape) for name, tensor in nano.weights(1).items()}


@pytest.mark.parametrize("kind", ["llama", "qwen2", "unheard-of"])
def test_more_layers_than_any_model_has_are_not_counted_out(kind: str) -> None:
    stated = {**CONFIG, "model_type": kind, "num_hidden_layers": 3_000}
    with pytest.raises(AlignmentError, match=r"it counts more than 2,048 layers; .* stored: 2$"):
        refuse_misfits("a", stated, SHAPES)


@pytest.mark.parametrize(
    "stated",
    [
        {**CONFIG, "num_labels": 100_001},
        {"model_type": "swin", "architectures": ["SwinModel"], "depths": [1, 2_049]},
    ],
)
def test_what_a_config_counts_is_not_made_without_bound(stated: dict[str, Any]) -> None:
    assert build_empty(stated) is None


def test_lists_as_long_as_a_config_states_are_not_made() -> None:
    kinds = {"model_type": "qwen2", "layer_types": ["full_attention"]}
    assert read_refusal({**kinds, "num_hidden_layers": 2})
    assert not read_refusal({**kinds, "num_hidden_layers": 3_000})


def test_what_transformers_says_of_a_config_is_cut() -> None:
    (note,) = refuse_misfits("a", {**CONFIG, "intermediate_size": "y" * 10_000}, SHAPES)
    assert note.startswith("transformers makes no model of the config.json of a: ")
    assert len(note) < REASON_SHOWN + 60


def test_what_models_of_old_store_in_layers_is_passed_over_in_silence() -> None:
    """Masks and angles that transformers makes anew say nothing of the config."""
    old = ("self_attn.rotary_emb.inv_freq", "attn.masked_bias", "attn.attention.bias")
    stored = SHAPES | {f"model.layers.0.{name}": (4,) for name in old}
    assert refuse_misfits("a", CONFIG, stored) == []
    (note,) = refuse_misfits("a", CONFIG, stored | {"model.layers.0.own.weight": (4,)})
    assert note.startswith("transformers passes over model.layers.0.own.weight of a: ")


@pytest.mark.parametrize("part", ["²", "9" * 5_000])
def test_what_is_no_number_in_a_name(part: str) -> None:
    """Python makes no number of a superscript, nor of thousands of digits."""
    name = f"model.odd.{part}.weight"
    assert layer_of(name) is None
    assert refuse_misfits("a", CONFIG, SHAPES | {name: (4,)}) == []
