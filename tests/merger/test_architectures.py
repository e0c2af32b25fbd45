"""Nothing is hard-coded per architecture: tiny models of many kinds, as transformers saves them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from simmerge_hub.errors import AlignmentError
from simmerge_hub.merger import merge
from simmerge_hub.recipe import Recipe, Slice, Source, Step
from tests import nano

SMALL: dict[str, Any] = {
    "vocab_size": 48, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 32,
    "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2,
}  # fmt: skip
VISION: dict[str, Any] = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
    "image_size": 8, "patch_size": 4,
}  # fmt: skip


def llava() -> PreTrainedModel:
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**VISION),
        text_config=transformers.LlamaConfig(**SMALL),
        image_token_index=3,
    )
    return transformers.LlavaForConditionalGeneration(config)


def t5() -> PreTrainedModel:
    config = transformers.T5Config(
        vocab_size=48, d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2,
        decoder_start_token_id=0,
    )  # fmt: skip
    return transformers.T5ForConditionalGeneration(config)


def bert() -> PreTrainedModel:
    names = SMALL.keys() - {"num_key_value_heads"}
    return transformers.BertForMaskedLM(transformers.BertConfig(**{n: SMALL[n] for n in names}))


def gpt2() -> PreTrainedModel:
    config = transformers.GPT2Config(
        vocab_size=48, n_embd=16, n_layer=2, n_head=2, n_positions=32, bos_token_id=0,
        eos_token_id=1,
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config)


def mamba() -> PreTrainedModel:
    config = transformers.MambaConfig(
        vocab_size=48, hidden_size=16, state_size=4, num_hidden_layers=2
    )
    return transformers.MambaForCausalLM(config)


def whisper() -> PreTrainedModel:
    config = transformers.WhisperConfig(
        vocab_size=48, num_mel_bins=8, d_model=16, encoder_layers=2, decoder_layers=2,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=24,
        decoder_ffn_dim=24, max_source_positions=16, max_target_positions=16, pad_token_id=2,
        bos_token_id=0, eos_token_id=1, decoder_start_token_id=0,
    )  # fmt: skip
    return transformers.WhisperForConditionalGeneration(config)


def clip() -> PreTrainedModel:
    names = SMALL.keys() - {"num_key_value_heads"}
    text = {name: SMALL[name] for name in names}
    return transformers.CLIPModel(
        transformers.CLIPConfig(text_config=text, vision_config=VISION, projection_dim=16)
    )


def causal(name: str, config: str = "", **more: Any) -> Callable[[], PreTrainedModel]:
    kind = getattr(transformers, config or f"{name}Config")
    model = getattr(transformers, f"{name}ForCausalLM")
    return lambda: model(kind(**SMALL, **more))


MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "Llama": causal("Llama"),
    "Llama, tied": causal("Llama", tie_word_embeddings=True),
    "Mistral": causal("Mistral"),
    "Qwen2": causal("Qwen2"),
    "Qwen3": causal("Qwen3", head_dim=8),
    "Gemma 3": causal("Gemma3", "Gemma3TextConfig", head_dim=8),
    "OLMo 2": causal("Olmo2"),
    "Mixtral": causal("Mixtral", num_local_experts=3, num_experts_per_tok=2),
    "GPT-2": gpt2,
    "BERT": bert,
    "T5": t5,
    "LLaVA": llava,
    "Mamba": mamba,
    "Whisper": whisper,
    "CLIP": clip,
}


def save(folder: Path, make: Callable[[], PreTrainedModel], seed: int, **how: Any) -> Source:
    torch.manual_seed(seed)
    model = make()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder, **how)
    return Source(name=folder.name, folder=folder)


def load(folder: Path, kind: type[PreTrainedModel]) -> PreTrainedModel:
    model, info = kind.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"], info
    assert not info["mismatched_keys"]
    return model


@pytest.mark.parametrize("name", MODELS)
def test_the_mean_of_two_models_loads(name: str, tmp_path: Path) -> None:
    make = MODELS[name]
    kind = type(make())
    base = save(tmp_path / "base", make, 0)
    models = (save(tmp_path / "a", make, 1), save(tmp_path / "b", make, 2, max_shard_size="8KB"))
    steps = (Step(operator="task_arithmetic", models=("a", "b"), parameters={"scale": 0.5}),)
    merge(Recipe(base=base, models=models, steps=steps), tmp_path / "out")
    merged = load(tmp_path / "out", kind).state_dict()
    one, two = (load(tmp_path / n, kind).state_dict() for n in "ab")
    assert merged.keys() == one.keys()
    for tensor, mean in merged.items():
        torch.testing.assert_close(mean, (one[tensor] + two[tensor]) / 2, rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", ["Llama", "Qwen3", "Gemma 3", "GPT-2", "Mixtral", "LLaVA"])
def test_three_layers_of_two_models_load(name: str, tmp_path: Path) -> None:
    make = MODELS[name]
    kind = type(make())
    models = tuple(save(tmp_path / n, make, seed) for seed, n in enumerate("ab"))
    slices = tuple(
        Slice(layers={n: span}, steps=(Step(operator="passthrough", models=(n,), parameters={}),))
        for n, span in (("a", (0, 2)), ("b", (1, 2)))
    )
    merge(Recipe(base=None, models=models, slices=slices), tmp_path / "out")
    merged = load(tmp_path / "out", kind).state_dict()
    other = load(tmp_path / "b", kind).state_dict()
    text = {n: t for n, t in merged.items() if "vision" not in n}
    third = {n for n in text if re.search(r"(layers|h)\.2\.", n)}
    assert third
    for tensor in third:
        origin = re.sub(r"(layers|h)\.2\.", r"\1.1.", tensor)
        assert torch.equal(merged[tensor], other[origin]), tensor


@pytest.mark.parametrize("stored", ["as it is", "under a name of old"])
def test_no_merge_is_loaded_with_random_rows(stored: str, tmp_path: Path) -> None:
    """No transformers that loads today's models knows the first name of Mamba's embedding."""
    models = tuple(save(tmp_path / n, mamba, seed) for seed, n in enumerate("ab"))
    recipe = Recipe(
        base=None, models=models, steps=(Step(operator="linear", models=("a", "b"), parameters={}),)
    )
    if stored == "as it is":
        merge(recipe, tmp_path / "out")
        load(tmp_path / "out", transformers.MambaForCausalLM)
        return
    for name in "ab":
        file = tmp_path / name / "model.safetensors"
        tensors = load_file(file)
        tensors["backbone.embedding.weight"] = tensors.pop("backbone.embeddings.weight")
        save_file(tensors, file, {"format": "pt"})
    with pytest.raises(AlignmentError, match=r"^a stores .* and no backbone\.embeddings\.weight, "):
        merge(recipe, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_encoder_decoder_is_not_sliced(tmp_path: Path) -> None:
    source = save(tmp_path / "a", t5, 0)
    step = Step(operator="passthrough", models=("a",), parameters={})
    slices = (Slice(layers={"a": (0, 1)}, steps=(step,)),)
    with pytest.raises(Exception, match="a is an encoder-decoder: its two stacks cannot be sliced"):
        merge(Recipe(base=None, models=(source,), slices=slices), tmp_path / "out")


def test_models_of_different_architectures_are_refused(tmp_path: Path) -> None:
    models = (save(tmp_path / "a", MODELS["Llama"], 0), save(tmp_path / "b", gpt2, 1))
    steps = (Step(operator="linear", models=("a", "b"), parameters={}),)
    with pytest.raises(Exception, match=r"b does not fit: config\.json says model_type gpt2, in a"):
        merge(Recipe(base=None, models=models, steps=steps), tmp_path / "out")


def test_config_that_changes_what_weights_mean_is_refused(tmp_path: Path) -> None:
    nano.save(tmp_path / "a", nano.weights(0))
    changed = {**nano.CONFIG, "vocab_size": nano.VOCABULARY, "num_attention_heads": 4}
    nano.save(tmp_path / "b", nano.weights(1), config=changed)
    models = tuple(Source(name=n, folder=tmp_path / n) for n in "ab")
    steps = (Step(operator="linear", models=("a", "b"), parameters={}),)
    with pytest.raises(Exception, match=r"b does not fit: config\.json says num_attention_heads"):
        merge(Recipe(base=None, models=models, steps=steps), tmp_path / "out")
