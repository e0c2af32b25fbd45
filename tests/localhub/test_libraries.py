"""transformers, datasets and peft push to localhub and load from it, unmodified."""

from pathlib import Path

import datasets
import pytest
import torch
from huggingface_hub import HfApi
from peft import LoraConfig, PeftModel, get_peft_model
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)


@pytest.fixture
def llama() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=64,
        vocab_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=32,
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    words = {word: number for number, word in enumerate(["<unk>", "a", "b", "c"])}
    plain = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=plain, unk_token="<unk>")


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.arange(16)[None]).logits


def test_a_model_and_its_tokenizer(api: HfApi, org: str, llama, tokenizer) -> None:
    llama.push_to_hub(f"{org}/llama")
    tokenizer.push_to_hub(f"{org}/llama")
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {
        *api.list_repo_files(f"{org}/llama")
    }
    assert AutoConfig.from_pretrained(f"{org}/llama").hidden_size == 32
    loaded = AutoModelForCausalLM.from_pretrained(f"{org}/llama")
    assert torch.equal(logits(loaded), logits(llama))
    assert AutoTokenizer.from_pretrained(f"{org}/llama")("a c b")["input_ids"] == [1, 3, 2]


def test_a_model_in_shards(api: HfApi, org: str, llama) -> None:
    llama.push_to_hub(f"{org}/sharded", max_shard_size="50KB")
    files = api.list_repo_files(f"{org}/sharded")
    assert "model.safetensors.index.json" in files and len([f for f in files if "-of-" in f]) > 1
    by_shard = api.get_safetensors_metadata(f"{org}/sharded")
    assert by_shard.sharded
    assert api.get_sharded_safetensors_metadata(f"{org}/sharded") == by_shard
    assert torch.equal(
        logits(AutoModelForCausalLM.from_pretrained(f"{org}/sharded")), logits(llama)
    )


def test_a_model_at_a_revision(api: HfApi, org: str, llama) -> None:
    llama.push_to_hub(f"{org}/llama")
    old, expected = api.model_info(f"{org}/llama").sha, logits(llama)
    with torch.no_grad():
        llama.model.embed_tokens.weight.add_(1)
    llama.push_to_hub(f"{org}/llama")
    loaded = AutoModelForCausalLM.from_pretrained(f"{org}/llama", revision=old)
    assert torch.equal(logits(loaded), expected)
    assert not torch.equal(logits(AutoModelForCausalLM.from_pretrained(f"{org}/llama")), expected)


def test_a_model_that_is_not_there(org: str) -> None:
    with pytest.raises(OSError, match="not a valid model identifier"):
        AutoConfig.from_pretrained(f"{org}/none")
    with pytest.raises(OSError, match="not a valid model identifier"):
        AutoConfig.from_pretrained("gpt2")


def test_an_adapter(api: HfApi, org: str, llama, tmp_path: Path) -> None:
    llama.push_to_hub(f"{org}/base")
    base = AutoModelForCausalLM.from_pretrained(f"{org}/base")
    adapted = get_peft_model(
        base, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    )
    adapted.push_to_hub(f"{org}/adapter")
    assert "adapter_model.safetensors" in api.list_repo_files(f"{org}/adapter")
    again = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(f"{org}/base"), f"{org}/adapter"
    )
    assert torch.allclose(logits(again), logits(adapted))
    assert not torch.allclose(logits(again), logits(llama))


def test_a_dataset(org: str) -> None:
    rows = {"text": [f"row {number}" for number in range(50)], "label": list(range(50))}
    datasets.Dataset.from_dict(rows).push_to_hub(f"{org}/rows")
    assert datasets.load_dataset(f"{org}/rows", split="train")[:] == rows
    streamed = datasets.load_dataset(f"{org}/rows", split="train", streaming=True)
    assert [row["text"] for row in streamed.take(3)] == rows["text"][:3]


def test_a_dataset_of_plain_files(api: HfApi, org: str) -> None:
    api.create_repo(f"{org}/csv", repo_type="dataset")
    csv = b"x,y\n1,2\n3,4\n"
    api.upload_file(
        path_or_fileobj=csv, path_in_repo="train.csv", repo_id=f"{org}/csv", repo_type="dataset"
    )
    assert datasets.load_dataset(f"{org}/csv", split="train")[:] == {"x": [1, 3], "y": [2, 4]}
