"""Answers are what `generate` says greedily, prompt by prompt."""

from typing import Any

import pytest
import torch
from transformers import GenerationConfig, PreTrainedModel

from simmerge_hub.errors import ProbeError
from simmerge_hub.signatures.probing import layerwise
from simmerge_hub.signatures.probing.answers import continue_greedily, read_answers

PROMPTS = [
    tuple(3 + (7 * i + 11 * j) % 90 for j in range(length))
    for i, length in enumerate((5, 9, 12, 7, 5, 20, 3))
]


def plain(model: Any, prompt: tuple[int, ...], tokens: int, end: int | None) -> tuple[int, ...]:
    """Token by token, each from a pass over everything before it."""
    text = list(prompt)
    for _ in range(tokens):
        with torch.no_grad():
            text.append(int(model(torch.tensor([text]), use_cache=False).logits[0, -1].argmax()))
        if text[-1] == end:
            break
    return tuple(text)


def with_ends(model: PreTrainedModel) -> tuple[PreTrainedModel, int]:
    """The model, an end token of which is one that it soon says."""
    said = [plain(model, prompt, 6, None)[len(prompt) :] for prompt in PROMPTS]
    end = said[0][2]
    assert model.generation_config is not None
    model.generation_config.eos_token_id = [95, end]
    return model, end


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt2", "mixtral"])
@pytest.mark.parametrize("tokens", [1, 6])
def test_answers_are_the_likeliest_tokens_up_to_the_end(
    tiny, architecture: str, tokens: int
) -> None:
    model, end = with_ends(tiny.model_of(architecture))
    model.generation_config.eos_token_id = [end]
    expected = [plain(model, prompt, tokens, end) for prompt in PROMPTS]
    assert continue_greedily(model, PROMPTS, tokens) == expected
    if tokens > 1:
        assert any(len(e) - len(p) < tokens for e, p in zip(expected, PROMPTS, strict=True))
        assert not any(end in e[len(p) : -1] for e, p in zip(expected, PROMPTS, strict=True))


def test_batches_do_not_matter_and_a_prompt_may_come_twice(
    tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny.model_of("llama")
    whole = continue_greedily(model, PROMPTS, 4)
    monkeypatch.setattr(layerwise, "BATCH_TOKENS", 20)
    twice = continue_greedily(model, [*PROMPTS, PROMPTS[0]], 4)
    assert twice == [*whole, whole[0]]


def test_how_a_model_is_meant_to_be_sampled_does_not_count(tiny) -> None:
    model = tiny.model_of("llama")
    model.generation_config.eos_token_id = None
    expected = [plain(model, prompt, 5, None) for prompt in PROMPTS]
    stated = GenerationConfig(
        do_sample=True, temperature=5.0, num_beams=3, repetition_penalty=9.0, max_length=7,
        num_return_sequences=2, return_dict_in_generate=True, suppress_tokens=[expected[0][5]],
    )  # fmt: skip
    model.generation_config = stated
    assert continue_greedily(model, PROMPTS, 5) == expected
    assert model.generation_config is stated


def test_the_config_says_the_end_where_nothing_else_does(tiny) -> None:
    model, end = with_ends(tiny.model_of("llama"))
    model.generation_config.eos_token_id = None
    model.config.eos_token_id = end
    assert continue_greedily(model, PROMPTS, 6) == [plain(model, p, 6, end) for p in PROMPTS]


def test_no_answer_is_longer_than_the_positions(tiny) -> None:
    """GPT-2 has no more than its config says: 64 here."""
    model = tiny.model_of("gpt2")
    model.generation_config.eos_token_id = model.config.eos_token_id = None
    prompts = [tuple(3 + j % 90 for j in range(length)) for length in (64, 62, 40, 10)]
    answered = continue_greedily(model, prompts, 5)
    assert [len(each) for each in answered] == [64, 64, 45, 15]
    assert answered == [plain(model, p, min(5, 64 - len(p)), None) for p in prompts]


def test_without_answers_the_model_is_not_run(tiny, tmp_path, monkeypatch) -> None:
    from simmerge_hub.signatures.probing import loading

    checkpoint = tiny.save(tiny.model_of("llama"), tmp_path / "model")
    monkeypatch.setattr(loading, "open_model", None)
    read = read_answers(checkpoint, None, ["sort abc>", "add 12>"], answers=0)
    tokenizer = tiny.letters()
    assert read == [tuple(tokenizer(text)["input_ids"]) for text in ("sort abc>", "add 12>")]


def test_prompts_are_read_by_the_models_own_tokenizer_and_answered(tiny, tmp_path) -> None:
    model = tiny.model_of("llama")
    checkpoint = tiny.save(model, tmp_path / "model")
    read = read_answers(checkpoint, None, ["sort abc>", "add 12>"], answers=3)
    for text, each in zip(("sort abc>", "add 12>"), read, strict=True):
        ids = tuple(tiny.letters()(text)["input_ids"])
        assert each == plain(model, ids, 3, 2)


def test_a_prompt_of_one_token_is_refused(tiny, tmp_path) -> None:
    checkpoint = tiny.save(tiny.model_of("llama"), tmp_path / "model")
    with pytest.raises(ProbeError, match="fewer than two tokens"):
        read_answers(checkpoint, None, [""], answers=0)
