"""Merges of models whose tokenizers differ: rows follow their tokens."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from simmerge_hub.errors import AlignmentError
from simmerge_hub.merger import merge
from simmerge_hub.operators import arm, merge_tensors
from simmerge_hub.recipe import Recipe, Slice, Source, Step
from tests import nano

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
WORDS = nano.VOCABULARY


def recipe(folder: Path, *names: str, base: bool = True, **how: object) -> Recipe:
    steps = (Step(operator="linear", models=names, parameters={}),)
    return Recipe(
        base=Source(name="base", folder=folder / "base") if base else None,
        models=tuple(Source(name=n, folder=folder / n) for n in names),
        steps=steps,
        **how,  # type: ignore[arg-type]
    )


@pytest.fixture
def family(tmp_path: Path) -> Path:
    """`code` has two more tokens than the base, `math` has one of them and another, in its rows."""
    nano.model(tmp_path / "base")
    for seed, (name, more) in enumerate({"code": ("<|a|>", "<|b|>"), "math": ("<|b|>",)}.items()):
        nano.save(tmp_path / name, nano.weights(seed + 1, vocabulary=WORDS + len(more)))
        (tmp_path / name / "tokenizer.json").write_text(nano.words(WORDS, *more))
    return tmp_path


def test_the_base_decides(family: Path) -> None:
    report = merge(recipe(family, "code", "math"), family / "out")
    merged, code, math = (nano.load(family / n) for n in ("out", "code", "math"))
    expected = merge_tensors(arm("linear"), None, [code[HEAD][:WORDS], math[HEAD][:WORDS]])
    assert torch.equal(merged[HEAD], expected)
    assert any("tokens of code not in base, left out: 2" in note for note in report.notes)
    check_loads(family / "out", WORDS)


def test_a_union_keeps_every_token(family: Path) -> None:
    merge(recipe(family, "code", "math", tokenizer="union"), family / "out")
    merged, base, code, math = (nano.load(family / n) for n in ("out", "base", "code", "math"))
    assert merged[EMBEDDING].shape == (WORDS + 2, nano.WIDTH)
    assert base[EMBEDDING].shape == (WORDS, nano.WIDTH)
    only, both = code[EMBEDDING][WORDS], [code[EMBEDDING][WORDS + 1], math[EMBEDDING][WORDS]]
    assert torch.equal(merged[EMBEDDING][WORDS], merge_tensors(arm("linear"), None, [only, only]))
    assert torch.equal(merged[EMBEDDING][WORDS + 1], merge_tensors(arm("linear"), None, both))
    tokenizer = check_loads(family / "out", WORDS + 2)
    assert tokenizer("w3 <|b|><|a|>")["input_ids"] == [3, WORDS + 1, WORDS]


def test_the_tokenizer_of_a_model(family: Path) -> None:
    config = json.loads((family / "math" / "config.json").read_text())
    (family / "math" / "config.json").write_text(json.dumps(config | {"eos_token_id": WORDS}))
    (family / "math" / "generation_config.json").write_text(json.dumps({"eos_token_id": WORDS}))
    merge(recipe(family, "code", "math", tokenizer="math"), family / "out")
    merged, code, math = (nano.load(family / n) for n in ("out", "code", "math"))
    both = [code[EMBEDDING][WORDS + 1], math[EMBEDDING][WORDS]]
    assert torch.equal(merged[EMBEDDING][WORDS], merge_tensors(arm("linear"), None, both))
    check_loads(family / "out", WORDS + 1)
    for file in ("config.json", "generation_config.json"):
        assert json.loads((family / "out" / file).read_text())["eos_token_id"] == WORDS


def test_embeddings_for_all_layers_follow_their_tokens(family: Path) -> None:
    """Gemma 3n's have rows for all tokens, or for the first ones alone."""
    table, key = "model.embed_tokens_per_layer.weight", "vocab_size_per_layer_input"
    for rows, names in ((0, ("base", "code", "math")), (WORDS, ("base", "code", "math"))):
        for name in names:
            stated = json.loads((family / name / "config.json").read_text())
            size = rows or stated["vocab_size"]
            (family / name / "config.json").write_text(json.dumps(stated | {key: size}))
            tensors = nano.load(family / name)
            tensors[table] = 1.0 + torch.arange(size).float()[:, None] + torch.zeros(size, 4)
            save_file(tensors, family / name / "model.safetensors")
        out = family / f"out-{rows}"
        report = merge(recipe(family, "code", "math", tokenizer="union"), out)
        assert not any(key in note for note in report.notes)
        size = rows or WORDS + 2
        assert json.loads((out / "config.json").read_text())[key] == size
        means = nano.load(out)[table][:, 0]
        ids = 1.0 + torch.arange(WORDS + 2)
        ids[WORDS + 1] -= 0.5 * (rows == 0)  # <|b|> is in one row of code, in another of math
        assert torch.equal(means, ids[:size])
    (family / "math" / "tokenizer.json").write_text(nano.words(WORDS - 2, "<|b|>", "w19", "w18"))
    with pytest.raises(AlignmentError, match=f"{table} of math has rows for its first {WORDS} tok"):
        merge(recipe(family, "code", "math"), family / "moved")


def test_a_bias_of_one_row_follows_its_tokens(family: Path) -> None:
    """As BART and Marian store what they add to the logits: [1, V]."""
    bias = "final_logits_bias"
    for place, name in enumerate(("base", "code", "math")):
        tensors = nano.load(family / name)
        tensors[bias] = 100.0 * place + torch.arange(len(tensors[HEAD]))[None]
        save_file(tensors, family / name / "model.safetensors", {"format": "pt"})
    merge(recipe(family, "code", "math", tokenizer="union"), family / "out")
    merged = nano.load(family / "out")[bias]
    assert merged.shape == (1, WORDS + 2)
    assert torch.equal(merged[0, :WORDS], 150.0 + torch.arange(WORDS))
    assert merged[0, WORDS:].tolist() == [100.0 + WORDS, 150.0 + WORDS + 0.5]


def test_the_same_size_with_other_tokens(tmp_path: Path) -> None:
    """Two models that each gave the same row to another token: rows are not mixed up."""
    for seed, (name, token) in enumerate({"a": "<|a|>", "b": "<|b|>"}.items()):
        nano.save(tmp_path / name, nano.weights(seed, vocabulary=WORDS + 1))
        (tmp_path / name / "tokenizer.json").write_text(nano.words(WORDS, token))
    merge(recipe(tmp_path, "a", "b", base=False), tmp_path / "out")
    merged, one = (nano.load(tmp_path / n) for n in ("out", "a"))
    assert torch.equal(merged[HEAD][WORDS], one[HEAD][WORDS])


def test_a_token_that_only_another_slice_knows(family: Path) -> None:
    """The embedding is of math alone, which lacks <|a|>: the row is that of code, and not zero."""
    slices = tuple(
        Slice(
            layers={name: span},
            steps=(Step(operator="passthrough", models=(name,), parameters={}),),
        )
        for name, span in {"math": (0, 1), "code": (1, 2)}.items()
    )
    stacked = recipe(family, "math", "code", base=False, tokenizer="union", slices=slices)
    merge(replace(stacked, steps=()), family / "out")
    merged, code, math = (nano.load(family / n) for n in ("out", "code", "math"))
    assert torch.equal(merged[EMBEDDING][: WORDS + 1], math[EMBEDDING])
    assert torch.equal(merged[EMBEDDING][WORDS + 1], code[EMBEDDING][WORDS])
    assert torch.equal(merged[HEAD][[WORDS + 1, WORDS]], code[HEAD][[WORDS, WORDS + 1]])
    check_loads(family / "out", WORDS + 2)


def test_same_bytes_with_any_threads(family: Path) -> None:
    for threads in (1, 2, 3):
        chosen = recipe(family, "code", "math", tokenizer="union")
        merge(chosen, family / f"out{threads}", threads=threads)
    first, *others = ((family / f"out{t}" / "model.safetensors").read_bytes() for t in (1, 2, 3))
    assert all(other == first for other in others)


def check_loads(folder: Path, size: int):
    model, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values()), info
    assert model.config.vocab_size == size
    assert model.get_input_embeddings().weight.shape[0] == size
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert len(tokenizer) == size
    return tokenizer


def test_a_tokenizer_that_treats_text_otherwise_is_named(family: Path) -> None:
    for name in ("code", "math"):
        nano.save(family / name, nano.weights(len(name)))
        (family / name / "tokenizer.json").write_text(nano.words(WORDS))
    stated = json.loads(nano.words(WORDS)) | {"normalizer": {"type": "Lowercase"}}
    (family / "math" / "tokenizer.json").write_text(json.dumps(stated))
    report = merge(recipe(family, "code", "math", base=False), family / "out")
    assert (
        "the tokenizer of math treats text otherwise than that of code, which the output has: "
        "normalizer"
    ) in report.notes
