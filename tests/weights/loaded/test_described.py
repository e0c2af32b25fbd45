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


def test_a_table_of_tokens_under_a_name_of_old_is_not_made_up() -> None:
    """transformers loads no model of the name that Mamba's first models have: it is random."""
    stated = {
        "architectures": ["MambaForCausalLM"], "model_type": "mamba", "hidden_size": 8,
        "num_hidden_layers": 1, "vocab_size": 12, "tie_word_embeddings": False,
    }  # fmt: skip
    model = build_empty(stated)
    assert model is not None
    stored = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    assert refuse_misfits("a", stated, stored) == []
    old = {name.replace("embeddings.", "embedding."): shape for name, shape in stored.items()}
    with pytest.raises(AlignmentError) as refused:
        refuse_misfits("a", stated, old)
    assert str(refused.value) == (
        "a stores backbone.embedding.weight, which transformers passes over, and no "
        "backbone.embeddings.weight, which it would make up"
    )
    assert refused.value.hint == (
        "rename backbone.embedding.weight to backbone.embeddings.weight in copies of the models"
    )
    (note,) = refuse_misfits("a", {**stated, "auto_map": {}}, old)
    assert note.endswith(", unless it is loaded with its own code (trust_remote_code)")


@pytest.mark.parametrize("prefix", ["base_model.model.", "decoder."])
def test_a_decoder_under_a_prefix_that_transformers_does_not_know(prefix: str) -> None:
    with pytest.raises(
        AlignmentError, match=r" and no model\.embed_tokens\.weight, which it would"
    ):
        refuse_misfits("a", CONFIG, {f"{prefix}{name}": shape for name, shape in SHAPES.items()})


def test_a_table_of_tokens_that_nobody_stores_is_not_made_up() -> None:
    stored = {name: shape for name, shape in SHAPES.items() if "embed_tokens" not in name}
    with pytest.raises(AlignmentError, match=r"^a stores no table of tokens .* make one up$") as e:
        refuse_misfits("a", CONFIG, stored)
    assert "`custom_code: true`" in e.value.hint


LAYER = "model.layers.1."


@pytest.mark.parametrize("named", ["other.weight", "model.layers.1.own_layernorm.weight", ""])
@pytest.mark.parametrize("lost", ["model.norm.weight", f"{LAYER}input_layernorm.weight"])
def test_a_norm_that_is_made_up_is_said(lost: str, named: str) -> None:
    """Also where what is stored looks like a decoder's: a norm for a norm."""
    stored = {(named if n == lost else n): shape for n, shape in SHAPES.items()}
    stored.pop("", None)
    *_, note = refuse_misfits("a", CONFIG, stored)
    assert note == f"a stores no {lost}: transformers makes up what its config has"


def test_a_matrix_of_a_layer_is_not_made_up() -> None:
    lost = f"{LAYER}mlp.up_proj.weight"
    stored = {name: shape for name, shape in SHAPES.items() if name != lost}
    with pytest.raises(AlignmentError, match=rf"^a stores no {lost}, which .* make that up$"):
        refuse_misfits("a", CONFIG, stored)
    (note,) = refuse_misfits("a", {**CONFIG, "auto_map": {}}, stored)
    assert note.endswith(", unless it is loaded with its own code (trust_remote_code)")


@pytest.mark.parametrize(
    ("old", "new"),
    [("self_attn.", "attention."), ("layers.1.", "layers.1.module."), ("up_proj", "own.up_proj")],
)
def test_layers_whose_matrices_have_other_names_are_not_made_up(old: str, new: str) -> None:
    """Roles and shapes are those of a decoder, and transformers would load none of them."""
    stored = {name.replace(old, new): shape for name, shape in SHAPES.items()}
    with pytest.raises(AlignmentError, match=r"make that up, and passes over model\.layers\.") as e:
        refuse_misfits("a", CONFIG, stored)
    assert e.value.hint.startswith("rename what is stored in copies of the models")


@pytest.mark.parametrize("kind", ["phi3", "qwen2", "qwen3", "gemma2", "olmo2"])
def test_no_decoder_is_taken_for_another_by_its_shapes(kind: str) -> None:
    """Llama's tensors beside the config of a decoder that has more, or joins them."""
    name = {"phi3": "Phi3", "olmo2": "Olmo2"}.get(kind, kind.capitalize())
    stated = {**CONFIG, "model_type": kind, "architectures": [f"{name}ForCausalLM"]}
    try:
        assert refuse_misfits("a", stated, SHAPES)
    except AlignmentError as error:
        assert error.hint


def test_a_head_that_a_task_has_and_nobody_stores_is_said() -> None:
    kind = {**CONFIG, "architectures": ["LlamaForSequenceClassification"]}
    stored = {name: shape for name, shape in SHAPES.items() if name != "lm_head.weight"}
    (note,) = refuse_misfits("a", kind, stored)
    assert note == "a stores no score.weight: transformers makes up what its config has"
