"""What transformers makes of stored names, by its own rules and no more generously."""

import pytest
import torch
from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

from simmerge_hub.weights.loaded.origins import find_origins


@pytest.fixture(scope="module")
def model() -> Qwen2VLForConditionalGeneration:
    text = {
        "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "vocab_size": 20,
        "num_attention_heads": 2, "num_key_value_heads": 2, "tie_word_embeddings": False,
    }  # fmt: skip
    vision = {"depth": 1, "embed_dim": 16, "hidden_size": 16, "num_heads": 2}
    config = Qwen2VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=False)
    with torch.device("meta"):
        return Qwen2VLForConditionalGeneration(config)


def test_every_parameter_is_loaded_under_its_own_name(
    model: Qwen2VLForConditionalGeneration,
) -> None:
    state = model.state_dict()
    assert find_origins(model, state).keys() == state.keys()


def test_a_name_that_a_rule_spoils_is_not_loaded(model: Qwen2VLForConditionalGeneration) -> None:
    """transformers takes a rule back only where the name itself is that of a parameter: the rule
    for names of old makes `model.language_model.lm_head.weight` of this one, which nothing is."""
    names = [name for name in model.state_dict() if name != "lm_head.weight"]
    assert "lm_head.weight" not in find_origins(model, [*names, "model.lm_head.weight"])
    assert "lm_head.weight" in find_origins(model, [*names, "lm_head.weight"])
