"""The same parameters under other names are merged as transformers and PEFT load them."""

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from simmerge_hub.errors import AlignmentError
from simmerge_hub.hub.resolve import resolve
from simmerge_hub.merger import merge
from simmerge_hub.recipe import Recipe, Source, Step
from simmerge_hub.weights.loaded.conform import conform

SMALL: dict[str, Any] = {
    "vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 2, "max_position_embeddings": 32, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
EXPERTS = {"moe_intermediate_size": 8, "num_experts": 4, "num_experts_per_tok": 2, "head_dim": 8}
Rename = Callable[[str], str]


def save(kind: str, folder: Path, seed: int, **config: Any) -> type[PreTrainedModel]:
    """A random model of transformers in `folder`; its class."""
    model = getattr(transformers, kind)
    torch.manual_seed(seed)
    model(model.config_class(**{**SMALL, **config})).save_pretrained(folder)
    return model


def stored(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


def rewrite(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Store the model in `folder` as these tensors."""
    whole = {name: tensor.clone() for name, tensor in tensors.items()}
    save_file(whole, folder / "model.safetensors", {"format": "pt"})


def recipe_of(folder: Path, *models: str, base: str | None = None, **fields: Any) -> Recipe:
    """The mean of models, or an adapter added to its base."""
    operator = "task_arithmetic" if base else "linear"
    return Recipe(
        base=Source(name=base, folder=folder / base) if base else None,
        models=tuple(Source(name=name, folder=folder / name) for name in models),
        steps=(Step(operator=operator, models=models, parameters={}),),
        **fields,
    )


def merge_of(folder: Path, *models: str, base: str | None = None, **fields: Any) -> Path:
    return merge(recipe_of(folder, *models, base=base, **fields), folder / "out").folder


def load(kind: type[PreTrainedModel], folder: Path) -> dict[str, Tensor]:
    model, info = kind.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"] and not info["mismatched_keys"]
    return {name: tensor.double() for name, tensor in model.state_dict().items()}


def assert_mean(kind: type[PreTrainedModel], folder: Path) -> None:
    """What is loaded of the merge is the mean of what is loaded of a and b."""
    out, a, b = (load(kind, folder / name) for name in ("out", "a", "b"))
    for name, tensor in out.items():
        torch.testing.assert_close(tensor, (a[name] + b[name]) / 2, atol=2e-7, rtol=1e-7)


OLD = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}


def as_of_old(name: str) -> str:
    for new, old in OLD.items():
        name = name.replace(new, old)
    return name


SPELLINGS: dict[str, tuple[str, dict[str, Any], Rename]] = {
    "without its prefix": ("GPT2LMHeadModel", {}, lambda n: n.removeprefix("transformer.")),
    "with a prefix": ("BertModel", {}, lambda n: f"bert.{n}"),
    "names of old": ("BertModel", {}, as_of_old),
    "a tied tensor's other name": (
        "T5ForConditionalGeneration",
        {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2},
        lambda n: n.replace("shared.", "encoder.embed_tokens."),
    ),
}  # fmt: skip


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_other_names_for_the_same(spelling: str, first: bool, tmp_path: Path) -> None:
    name, config, rename = SPELLINGS[spelling]
    for seed, folder in enumerate("ab"):
        kind = save(name, tmp_path / folder, seed, **config)
    odd = tmp_path / ("a" if first else "b")
    rewrite(odd, {rename(n): t for n, t in stored(odd).items()})
    merge_of(tmp_path, "a", "b")
    assert_mean(kind, tmp_path)


MOES: dict[str, dict[str, Any]] = {
    "Qwen3MoeForCausalLM": EXPERTS,
    "DeepseekV4ForCausalLM": {  # whose rules for names have dots that are escaped
        "moe_intermediate_size": 8, "n_routed_experts": 4, "num_experts_per_tok": 2, "head_dim": 16,
        "num_key_value_heads": 1, "q_lora_rank": 8, "o_lora_rank": 8, "index_head_dim": 8,
        "qk_rope_head_dim": 8,
    },
}  # fmt: skip


@pytest.mark.parametrize("fused", ["a", "b"])
@pytest.mark.parametrize("name", MOES)
def test_experts_stacked_and_one_by_one(name: str, fused: str, tmp_path: Path) -> None:
    for seed, folder in enumerate("ab"):
        kind = save(name, tmp_path / folder, seed, **MOES[name])
    whole = kind.from_pretrained(tmp_path / fused)
    whole.save_pretrained(tmp_path / fused, save_original_format=False)
    assert "model.layers.0.mlp.experts.gate_up_proj" in stored(tmp_path / fused)
    merge_of(tmp_path, "a", "b")
    assert_mean(kind, tmp_path)


JOINED: dict[str, tuple[str, dict[str, Any]]] = {
    "attn.Wqkv": ("NomicBertModel", {"num_key_value_heads": 2}),
    "self_attn.att_proj": ("Molmo2TextModel", {"num_key_value_heads": 1, "head_dim": 8}),
    "linear_attn.q_conv1d": (
        "OlmoHybridForCausalLM",
        {"num_key_value_heads": 2, "layer_types": ["linear_attention", "full_attention"],
         "linear_num_key_heads": 1, "linear_num_value_heads": 2, "linear_key_head_dim": 8,
         "linear_value_head_dim": 8, "pad_token_id": 0},
    ),
}  # fmt: skip


@pytest.mark.parametrize("in_memory", ["a", "b"])
@pytest.mark.parametrize("as_published", JOINED)
def test_rows_of_one_matrix_or_of_several(
    as_published: str, in_memory: str, tmp_path: Path
) -> None:
    """Queries, keys and values as one matrix and as three: neither was mixed with the other."""
    name, config = JOINED[as_published]
    for seed, folder in enumerate("ab"):
        kind = save(name, tmp_path / folder, seed, **config)
    assert any(as_published in n for n in stored(tmp_path / in_memory))
    model = kind.from_pretrained(tmp_path / in_memory)
    model.save_pretrained(tmp_path / in_memory, save_original_format=False)
    assert not any(as_published in n for n in stored(tmp_path / in_memory))
    merge_of(tmp_path, "a", "b")
    assert_mean(kind, tmp_path)


def test_what_transformers_passes_over_is_copied(tmp_path: Path) -> None:
    """A causal mask that old GPT-2 checkpoints store as floats."""
    for seed, folder in enumerate("ab"):
        kind = save("GPT2LMHeadModel", tmp_path / folder, seed)
    mask = torch.tril(torch.ones(32, 32))[None, None]
    rewrite(tmp_path / "a", {**stored(tmp_path / "a"), "transformer.h.0.attn.bias": mask})
    merge_of(tmp_path, "a", "b")
    assert_mean(kind, tmp_path)
    assert torch.equal(stored(tmp_path / "out")["transformer.h.0.attn.bias"], mask)


@pytest.mark.parametrize("wrapper", ["_orig_mod.", "module.", "_fsdp_wrapped_module."])
def test_wrappers_of_training_are_taken_off(wrapper: str, tmp_path: Path) -> None:
    for seed, folder in enumerate("ab"):
        kind = save("LlamaForCausalLM", tmp_path / folder, seed)
    plain = stored(tmp_path / "a")
    rewrite(tmp_path / "a", {wrapper + n: t for n, t in plain.items()})
    merge_of(tmp_path, "a", "b")
    rewrite(tmp_path / "a", plain)
    assert_mean(kind, tmp_path)


@pytest.mark.parametrize("wrapper", ["_fsdp_wrapped_module", "_checkpoint_wrapped_module"])
@pytest.mark.parametrize("wrapped", ["a", "b", "ab"])
def test_wrappers_of_single_layers_are_taken_off(
    wrapper: str, wrapped: str, tmp_path: Path
) -> None:
    """Models that both have them were merged as they were, and loaded with random layers."""
    for seed, folder in enumerate("ab"):
        kind = save("LlamaForCausalLM", tmp_path / folder, seed)
    plain = {folder: stored(tmp_path / folder) for folder in wrapped}
    for folder, tensors in plain.items():
        names = {n: n.replace(".self_attn", f".{wrapper}.self_attn") for n in tensors}
        rewrite(tmp_path / folder, {names[n]: t for n, t in tensors.items()})
    merge_of(tmp_path, "a", "b")
    for folder, tensors in plain.items():
        rewrite(tmp_path / folder, tensors)
    assert_mean(kind, tmp_path)


@pytest.mark.parametrize("copies", ["a", "b"])
def test_copies_of_what_is_tied_are_stored_by_some(copies: str, tmp_path: Path) -> None:
    """BERT's first checkpoints store head and bias beside what they are tied to."""
    for seed, folder in enumerate("ab"):
        kind = save("BertForMaskedLM", tmp_path / folder, seed)
        randomize(kind.from_pretrained(tmp_path / folder), tmp_path / folder)
    own, head = stored(tmp_path / copies), "cls.predictions"
    twice = {
        f"{head}.decoder.bias": own[f"{head}.bias"],
        f"{head}.decoder.weight": own["bert.embeddings.word_embeddings.weight"],
    }
    rewrite(tmp_path / copies, {**own, **twice})
    merge_of(tmp_path, "a", "b")
    assert_mean(kind, tmp_path)
    assert stored(tmp_path / "out").keys() == own.keys()


@pytest.mark.parametrize("unmatched", ["drop", "keep"])
def test_strangers_are_not_merged_by_leaving_everything_out(unmatched: str, tmp_path: Path) -> None:
    for seed, folder in enumerate("ab"):
        save("LlamaForCausalLM", tmp_path / folder, seed)
    rewrite(tmp_path / "b", {f"other.{n}": t for n, t in stored(tmp_path / "b").items()})
    with pytest.raises(AlignmentError, match="0% of the weights of b have a counterpart in all"):
        merge_of(tmp_path, "a", "b", unmatched=unmatched)
    with pytest.raises(AlignmentError) as caught:
        merge_of(tmp_path, "a", "b")
    assert "unmatched" not in caught.value.hint


def adapt(folder: Path, kind: type[PreTrainedModel], **config: Any) -> dict[str, Tensor]:
    """A random LoRA on the model in `base`; the parameters of PEFT's own merge, read back."""
    from peft import LoraConfig, PeftModel, get_peft_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = get_peft_model(kind.from_pretrained(folder / "base"), LoraConfig(r=2, **config))
        generator = torch.Generator().manual_seed(1)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data.add_(0.3 * torch.randn(parameter.shape, generator=generator))
        model.save_pretrained(folder / "lora")
        read = PeftModel.from_pretrained(kind.from_pretrained(folder / "base"), folder / "lora")
        merged = read.merge_and_unload()
    return {name: tensor.detach().double() for name, tensor in merged.state_dict().items()}


TIED: dict[str, dict[str, Any]] = {
    "LoRA on the embedding": {"target_modules": ["q_proj", "embed_tokens"]},
    "LoRA on the head": {"target_modules": ["lm_head"]},
    "embedding whole": {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]},
    "head whole": {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
    "both": {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens", "lm_head"]},
    "neither": {"target_modules": ["q_proj"]},
}


@pytest.mark.parametrize("case", TIED)
def test_a_tie_that_an_adapter_parts(case: str, tmp_path: Path) -> None:
    """PEFT's own model, not its merge: that writes into the tensor that both share."""
    from peft import PeftModel

    kind = save("LlamaForCausalLM", tmp_path / "base", 0, tie_word_embeddings=True)
    adapt(tmp_path, kind, **TIED[case])
    merge_of(tmp_path, "lora", base="base")
    tokens = torch.arange(3, 15)[None]
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        base = kind.from_pretrained(tmp_path / "base")
        wanted = PeftModel.from_pretrained(base, tmp_path / "lora").eval()(tokens).logits
        merged = kind.from_pretrained(tmp_path / "out").eval()(tokens).logits
    torch.testing.assert_close(merged, wanted, atol=1e-5, rtol=1e-5)
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config["tie_word_embeddings"] is (case == "neither")


def test_a_tie_that_no_config_parts(tmp_path: Path) -> None:
    config = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2}
    kind = save("T5ForConditionalGeneration", tmp_path / "base", 0, **config)
    adapt(tmp_path, kind, target_modules=["q"], modules_to_save=["shared"])
    with pytest.raises(AlignmentError, match=r"lora changes shared\.weight, which base ties to"):
        merge_of(tmp_path, "lora", base="base")


def test_a_head_that_a_config_calls_tied_and_that_differs(tmp_path: Path) -> None:
    """transformers 5 does not tie what is stored with different values."""
    for seed, folder in enumerate("ab"):
        kind = save("LlamaForCausalLM", tmp_path / folder, seed, tie_word_embeddings=True)
    own = stored(tmp_path / "b")
    rewrite(tmp_path / "b", {**own, "lm_head.weight": own["model.embed_tokens.weight"] + 1})
    merge_of(tmp_path, "a", "b")
    assert_mean(kind, tmp_path)
    rewrite(tmp_path / "b", {**own, "lm_head.weight": own["model.embed_tokens.weight"]})
    merge(recipe_of(tmp_path, "a", "b"), tmp_path / "again")
    assert "lm_head.weight" not in stored(tmp_path / "again")


@pytest.mark.parametrize("where", ["model.embed_tokens.weight", "lm_head.weight"])
@pytest.mark.parametrize("copies", ["a", "b"])
def test_a_tied_copy_that_differs_in_one_row(copies: str, where: str, tmp_path: Path) -> None:
    """Embeddings that were trained whole move in the rows of tokens that were seen alone."""
    for seed, folder in enumerate("ab"):
        kind = save("LlamaForCausalLM", tmp_path / folder, seed, tie_word_embeddings=True)
    own = stored(tmp_path / copies)
    own["lm_head.weight"] = own["model.embed_tokens.weight"].clone()
    own[where][39] += 1
    rewrite(tmp_path / copies, own)
    merge_of(tmp_path, "a", "b")
    assert_mean(kind, tmp_path)


def llava(folder: Path) -> type[PreTrainedModel]:
    vision = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
              "num_attention_heads": 2, "image_size": 8, "patch_size": 4}  # fmt: skip
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**vision),
        text_config=transformers.LlamaConfig(**SMALL),
        image_token_index=3,
    )
    torch.manual_seed(0)
    transformers.LlavaForConditionalGeneration(config).save_pretrained(folder)
    return transformers.LlavaForConditionalGeneration


def test_an_adapter_names_modules_as_they_are_in_memory(tmp_path: Path) -> None:
    kind = llava(tmp_path / "base")
    wanted = adapt(tmp_path, kind, target_modules=["q_proj"])
    base, lora = resolve(str(tmp_path / "base")), resolve(str(tmp_path / "lora"))
    assert "model.language_model.layers.0.self_attn.q_proj.weight" not in base.tensors
    assert len(conform([lora], base).models[0].targets) == 4
    merge_of(tmp_path, "lora", base="base")
    out = load(kind, tmp_path / "out")
    for name, tensor in out.items():
        torch.testing.assert_close(tensor, wanted[name], atol=2e-6, rtol=0)


@pytest.mark.parametrize(
    "rename",
    [
        lambda n: n.replace("base_model.model.model.", "base_model.model."),  # of AutoModel
        lambda n: n.replace("lora_A.weight", "lora_A.default.weight").replace(
            "lora_B.weight", "lora_B.default.weight"
        ),
        lambda n: n.replace("base_model.model.", "base_model.model._orig_mod."),
        lambda n: n.removeprefix("base_model.model."),
    ],
    ids=["without the prefix", "with the adapter's name", "compiled", "bare"],
)
def test_spellings_of_an_adapter(rename: Rename, tmp_path: Path) -> None:
    kind = save("LlamaForCausalLM", tmp_path / "base", 0, tie_word_embeddings=False)
    wanted = adapt(tmp_path, kind, target_modules=["q_proj"])
    file = tmp_path / "lora/adapter_model.safetensors"
    save_file({rename(n): t for n, t in load_file(file).items()}, file)
    merge_of(tmp_path, "lora", base="base")
    for name, tensor in load(kind, tmp_path / "out").items():
        torch.testing.assert_close(tensor, wanted[name], atol=2e-6, rtol=0)


def randomize(model: PreTrainedModel, folder: Path) -> None:
    """Save a model whose biases are no zeros, as they are after training."""
    generator = torch.Generator().manual_seed(5)
    for parameter in model.parameters():
        parameter.data.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(folder)


@pytest.mark.parametrize("module", ["decoder", "word_embeddings"])
def test_what_is_tied_beside_the_head_is_parted_with_it(module: str, tmp_path: Path) -> None:
    """BERT ties its head's bias, too: a config that parts one parts both."""
    from peft import PeftModel

    kind = save("BertForMaskedLM", tmp_path / "base", 0)
    randomize(kind.from_pretrained(tmp_path / "base"), tmp_path / "base")
    adapt(tmp_path, kind, target_modules=["query", module])
    merge_of(tmp_path, "lora", base="base")
    load(kind, tmp_path / "out")  # nothing is missing
    tokens = torch.arange(3, 15)[None]
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        base = kind.from_pretrained(tmp_path / "base").eval()
        wanted = PeftModel.from_pretrained(base, tmp_path / "lora").eval()(tokens).logits
        merged = kind.from_pretrained(tmp_path / "out").eval()(tokens).logits
    torch.testing.assert_close(merged, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("unmatched", ["refuse", "drop", "keep"])
def test_a_head_of_its_own_needs_all_that_was_tied(unmatched: str, tmp_path: Path) -> None:
    for seed, folder in enumerate("ab"):
        kind = save("BertForMaskedLM", tmp_path / folder, seed, tie_word_embeddings=folder == "a")
        randomize(kind.from_pretrained(tmp_path / folder), tmp_path / folder)
    try:
        merge_of(tmp_path, "a", "b", unmatched=unmatched)
    except AlignmentError as refused:
        assert refused.hint
        assert unmatched != "keep"
    else:
        load(kind, tmp_path / "out")  # nothing is made up
        assert unmatched == "keep"


@pytest.mark.parametrize(
    ("name", "rows", "said"),
    [
        ("score", 0, "if it is this one, the adapter has a head of its own: merge it"),
        (
            "lm_head",
            4,
            "if it is this one, tokens were added: name what resize_token",
        ),
    ],
)
def test_what_an_adapter_has_beside_its_own_base(
    name: str, rows: int, said: str, tmp_path: Path
) -> None:
    """No other base helps: adapters of classifiers, and those that were given tokens."""
    kind = save("LlamaForCausalLM", tmp_path / "base", 0, tie_word_embeddings=False)
    adapt(tmp_path, kind, target_modules=["q_proj"], modules_to_save=["lm_head"])
    file = tmp_path / "lora/adapter_model.safetensors"
    tensors = {n.replace("lm_head", name): t for n, t in load_file(file).items()}
    head = f"base_model.model.{name}.weight"
    tensors[head] = torch.cat([tensors[head], torch.ones(rows, 16)])
    save_file(tensors, file)
    with pytest.raises(AlignmentError) as refused:
        merge_of(tmp_path, "lora", base="base")
    assert said in refused.value.hint
