"""Prompts as a model reads them, with what it answers: its own greedy continuation, unlabelled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.signatures.probing import loading
from simmerge_hub.signatures.probing.forward import longest_prompt, read_prompt
from simmerge_hub.signatures.probing.layerwise import batches

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Sequences = list[tuple[int, ...]]
"""Token ids, one tuple a text."""


def read_answers(
    checkpoint: Checkpoint,
    base: Checkpoint | None,
    prompts: Sequence[str],
    *,
    answers: int,
) -> Sequences:
    """The prompts' tokens, each followed by the model's own greedy answer to it.

    Args:
        checkpoint: a full model, or an adapter with its `base`; downloaded whole if remote.
        base: the model an adapter belongs to.
        prompts: fed raw, without a chat template.
        answers: tokens of an answer at most; with 0 the model is not run.

    Raises:
        ProbeError: a prompt of fewer than two tokens, or there is no tokenizer.
        SignatureError: transformers or PEFT cannot load the model.
    """
    tokenizer = loading.load_tokenizer(checkpoint, base)
    longest = longest_prompt(loading.load_config(checkpoint, base))
    ids = [read_prompt(text, tokenizer, longest) for text in prompts]
    if not answers:
        return ids
    with loading.open_model(checkpoint, base) as model:
        return continue_greedily(model, ids, answers)


def continue_greedily(
    model: PreTrainedModel, prompts: Sequence[tuple[int, ...]], tokens: int
) -> Sequences:
    """Each prompt and its likeliest continuation, up to the end token or `tokens` more tokens.

    None is longer than the model's positions.
    """
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    by_room: dict[int, list[tuple[int, ...]]] = {}
    for prompt in dict.fromkeys(prompts):
        room = tokens if positions is None else min(tokens, max(0, positions - len(prompt)))
        by_room.setdefault(room, []).append(prompt)
    answered = {prompt: prompt for prompt in by_room.pop(0, [])}
    with _greedy(model) as ends:
        for room, alike in by_room.items():
            for batch in batches(alike):
                answers = _continue_batch(model, batch, room, ends)
                answered |= dict(zip(map(tuple, batch), answers, strict=True))
    return [answered[prompt] for prompt in prompts]


@contextmanager
def _greedy(model: Any) -> Iterator[list[int]]:
    """The model's own end tokens; of how it is meant to be sampled nothing else counts inside."""
    from transformers import GenerationConfig

    stated, ends = model.generation_config, _end_tokens(model)
    model.generation_config = GenerationConfig()
    try:
        yield ends
    finally:
        model.generation_config = stated


def _continue_batch(
    model: Any, batch: Sequence[Sequence[int]], tokens: int, ends: list[int]
) -> Sequences:
    from transformers import GenerationConfig

    longest = max(map(len, batch))
    ids = torch.zeros(len(batch), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(batch):  # padded on the left: all go on at the same place
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, longest - len(prompt) :] = 1
    settings = GenerationConfig(
        max_new_tokens=tokens, do_sample=False, eos_token_id=ends or None, pad_token_id=0
    )
    with torch.no_grad():
        output = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            generation_config=settings,
        )
    written = output[:, longest:].tolist()
    return [
        (*prompt, *_cut_at_end(answer, ends)) for prompt, answer in zip(batch, written, strict=True)
    ]


def _end_tokens(model: Any) -> list[int]:
    stated = getattr(model.generation_config, "eos_token_id", None)
    if stated is None:
        stated = getattr(model.config.get_text_config(), "eos_token_id", None)
    return [stated] if isinstance(stated, int) else list(stated or [])


def _cut_at_end(answer: Sequence[int], ends: Sequence[int]) -> list[int]:
    """The answer with its first end token, without what comes after."""
    last = next((i for i, token in enumerate(answer) if token in ends), len(answer))
    return list(answer[: last + 1])
