"""Random small models of many families: a merge is what transformers and PEFT load, or refused.

`make fuzz` runs it longer: FUZZ_EXAMPLES says how many models of each kind are tried.
"""

import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from simmerge_hub.errors import SimmergeError
from simmerge_hub.merger import merge
from simmerge_hub.recipe import Recipe, Slice, Source, Step

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "12"))
TIMES = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
SMALL: dict[str, Any] = {
    "vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 4,
    "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 32,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
GPT = {"n_embd": 16, "n_layer": 4, "n_head": 2, "n_positions": 32}
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2,
      "decoder_start_token_id": 0}  # fmt: skip
MOE = {"moe_intermediate_size": 8, "num_experts_per_tok": 2}
LATENT = {"n_routed_experts": 4, "n_group": 1, "topk_group": 1, "q_lora_rank": 8,
          "kv_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 8,
          "n_shared_experts": 1, "first_k_dense_replace": 1}  # fmt: skip
FAMILIES: dict[str, dict[str, Any]] = {
    "LlamaForCausalLM": {},
    "MistralForCausalLM": {},
    "Qwen2ForCausalLM": {},
    "Qwen3ForCausalLM": {"head_dim": 8},
    "GemmaForCausalLM": {"head_dim": 8},
    "Gemma2ForCausalLM": {"head_dim": 8, "sliding_window": 4},
    "Gemma3ForCausalLM": {"head_dim": 8, "sliding_window": 4},
    "Phi3ForCausalLM": {},
    "GPT2LMHeadModel": GPT,
    "GPTNeoXForCausalLM": {},
    "OPTForCausalLM": {"ffn_dim": 24, "word_embed_proj_dim": 16},
    "GraniteForCausalLM": {},
    "OlmoForCausalLM": {},
    "StableLmForCausalLM": {},
    "CohereForCausalLM": {},
    "MixtralForCausalLM": {"num_local_experts": 2},
    "Qwen2MoeForCausalLM": {**MOE, "shared_expert_intermediate_size": 8, "num_experts": 4},
    "Qwen3MoeForCausalLM": {**MOE, "num_experts": 4, "head_dim": 8},
    "DeepseekV3ForCausalLM": {**MOE, **LATENT},
    "GptOssForCausalLM": {"num_local_experts": 2, "num_experts_per_tok": 2, "head_dim": 8},
    "BertForMaskedLM": {},
    "RobertaForMaskedLM": {"pad_token_id": 1, "max_position_embeddings": 40},
    "DistilBertForMaskedLM": {"dim": 16, "hidden_dim": 24, "n_layers": 2, "n_heads": 2},
    "T5ForConditionalGeneration": T5,
}
TIED = st.sampled_from([None, True, False])
SPELLINGS: dict[str, Callable[[str, str], str]] = {
    "as saved": lambda name, prefix: name,
    "without prefix": lambda name, prefix: name.removeprefix(f"{prefix}."),
    "old norms": lambda name, prefix: name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
        "LayerNorm.bias", "LayerNorm.beta"
    ),
    "compiled": lambda name, prefix: f"_orig_mod.{name}",
}
TARGETS = ("q_proj", "v_proj", "query", "c_attn", "query_key_value", "qkv_proj", "q", "q_lin",
           "down_proj", "dense_h_to_4h", "embed_tokens", "lm_head", "wte", "word_embeddings",
           "shared", "embed_in", "embed_out")  # fmt: skip


@contextmanager
def workplace() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield Path(folder)


def save(family: str, folder: Path, seed: int, tied: bool | None) -> PreTrainedModel:
    kind = getattr(transformers, family)
    config = {**SMALL, **FAMILIES[family]} | ({} if tied is None else {"tie_word_embeddings": tied})
    torch.manual_seed(seed)
    model = kind(kind.config_class(**config)).eval()
    model.save_pretrained(folder)
    return model


def respell(folder: Path, spelling: str, prefix: str) -> None:
    file = folder / "model.safetensors"
    rename = SPELLINGS[spelling]
    tensors = {rename(name, prefix): t for name, t in load_file(file).items()}
    save_file(tensors, file, {"format": "pt"})


def run(folder: Path, *models: str, base: str | None = None, **fields: Any) -> Path | None:
    """The merged folder; None if it is refused."""
    step = Step(operator="task_arithmetic" if base else "linear", models=models, parameters={})
    recipe = Recipe(
        base=Source(name=base, folder=folder / base) if base else None,
        models=tuple(Source(name=name, folder=folder / name) for name in models),
        **{"steps": (step,), **fields},
    )
    try:
        return merge(recipe, folder / "out").folder
    except SimmergeError as error:
        event(f"refused: {str(error)[:60]}")
        assert error.hint
        return None


def load(kind: type[PreTrainedModel], folder: Path) -> dict[str, Tensor]:
    model, info = kind.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"] and not info["mismatched_keys"]
    return {name: tensor.double() for name, tensor in model.state_dict().items()}


@given(
    family=st.sampled_from(sorted(FAMILIES)),
    ties=st.tuples(TIED, TIED),
    spellings=st.tuples(st.sampled_from(sorted(SPELLINGS)), st.sampled_from(sorted(SPELLINGS))),
    stacked=st.tuples(st.booleans(), st.booleans()),
    unmatched=st.sampled_from(["refuse", "drop", "keep"]),
)
@TIMES
def test_full_models(
    family: str,
    ties: tuple[bool | None, bool | None],
    spellings: tuple[str, str],
    stacked: tuple[bool, bool],
    unmatched: str,
) -> None:
    """The mean of two, stored in two ways, is the mean of what is loaded of them."""
    kind = getattr(transformers, family)
    with workplace() as folder:
        wanted = []
        for seed, name in enumerate("ab"):
            model = save(family, folder / name, seed, ties[seed])
            if stacked[seed]:
                model.save_pretrained(folder / name, save_original_format=False)
            wanted.append(load(kind, folder / name))
            respell(folder / name, spellings[seed], model.base_model_prefix)
        out = run(folder, "a", "b", unmatched=unmatched)
        if out is None:
            return
        merged = load(kind, out)
        for name, tensor in merged.items():
            mean = (wanted[0][name] + wanted[1][name]) / 2
            torch.testing.assert_close(tensor, mean, atol=1e-6, rtol=0, msg=name)


@given(
    family=st.sampled_from(
        [name for name in sorted(FAMILIES) if name.endswith(("CausalLM", "HeadModel"))]
    ),
    tied=TIED,
    rank=st.integers(1, 4),
    targets=st.sets(st.sampled_from(TARGETS), min_size=1, max_size=3),
    whole=st.sets(st.sampled_from(["embed_tokens", "lm_head", "wte", "embed_out"]), max_size=1),
    rslora=st.booleans(),
    default=st.booleans(),
    stacks=st.booleans(),
)
@TIMES
def test_adapters(
    family: str,
    tied: bool | None,
    rank: int,
    targets: set[str],
    whole: set[str],
    rslora: bool,
    default: bool,
    stacks: bool,
) -> None:
    """An adapter merged into its base computes what PEFT's model of both computes."""
    from peft import LoraConfig, PeftModel, get_peft_model

    kind = getattr(transformers, family)
    with workplace() as folder:
        base = save(family, folder / "base", 0, tied)
        modules = {name.rpartition(".")[2] for name, _ in base.named_modules()}
        stacked = [name for name, p in base.named_parameters() if stacks and p.ndim == 3]
        if not (targets & modules) - whole and not stacked:
            return
        config = LoraConfig(
            r=rank,
            use_rslora=rslora,
            target_modules=sorted((targets & modules) - whole),
            modules_to_save=sorted(whole & modules) or None,
            target_parameters=stacked or None,
        )
        model = get_peft_model(base, config)
        generator = torch.Generator().manual_seed(1)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data.add_(0.2 * torch.randn(parameter.shape, generator=generator))
        model.save_pretrained(folder / "lora")
        tokens = torch.arange(3, 15)[None]
        read = PeftModel.from_pretrained(kind.from_pretrained(folder / "base"), folder / "lora")
        with torch.inference_mode():
            wanted = read.eval()(tokens).logits
        if default:
            file = folder / "lora/adapter_model.safetensors"
            tensors = load_file(file)
            save_file({n.replace(".weight", ".default.weight") if "lora_" in n else n: t
                       for n, t in tensors.items()}, file)  # fmt: skip
        out = run(folder, "lora", base="base")
        if out is None:
            return
        with torch.inference_mode():
            merged = kind.from_pretrained(out).eval()(tokens).logits
        torch.testing.assert_close(merged, wanted, atol=1e-4, rtol=1e-4)


@given(
    family=st.sampled_from(
        [name for name in sorted(FAMILIES) if name.endswith(("CausalLM", "HeadModel"))]
    ),
    spans=st.lists(
        st.tuples(st.integers(0, 3), st.integers(1, 4)).filter(lambda span: span[0] < span[1]),
        min_size=1,
        max_size=3,
    ),
)
@TIMES
def test_slices(family: str, spans: list[tuple[int, int]]) -> None:
    """Every layer of a stack of slices computes what it computed where it was."""
    kind = getattr(transformers, family)
    with workplace() as folder:
        model = save(family, folder / "a", 0, None)
        step = Step(operator="passthrough", models=("a",), parameters={})
        slices = tuple(Slice(layers={"a": span}, steps=(step,)) for span in spans)
        out = run(folder, "a", steps=(), slices=slices)
        if out is None:
            return
        load(kind, out)
        stacked = kind.from_pretrained(out).eval()
        numbers = [n for span in spans for n in range(*span)]
        for place, number in enumerate(numbers):
            own, other = (_layers(m, n) for m, n in ((stacked, len(numbers)), (model, 4)))
            mine, theirs = own[place].state_dict(), other[number].state_dict()
            assert mine.keys() == theirs.keys()
            assert all(torch.equal(mine[name], theirs[name]) for name in mine)
            assert type(own[place]) is type(other[number])


def _layers(model: PreTrainedModel, count: int) -> Any:
    from torch.nn import ModuleList

    stacks = [m for m in model.modules() if isinstance(m, ModuleList) and len(m) == count]
    return stacks[0]


def test_families_can_be_made() -> None:
    assert len(FAMILIES) >= 15
    with workplace() as folder, pytest.raises(AttributeError):
        save("NoSuchModel", folder, 0, None)
