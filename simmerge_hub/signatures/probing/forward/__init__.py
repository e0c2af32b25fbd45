"""The functional part: one forward pass over a probe set -> a sketch.

Knows loaded models and texts; nothing about checkpoints, files or the Hub.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from simmerge_hub.errors import ProbeError
from simmerge_hub.signatures.probing.forward.capture import Arrays, Layers, Prompt, run
from simmerge_hub.signatures.probing.layerwise import BATCH_TOKENS, decoder_layers
from simmerge_hub.signatures.probing.sketch import (
    ATTENTION_LAYERS,
    HIDDEN_LAYERS,
    POSITIONS,
    QUERIES,
    TOKENS,
    Sketch,
)

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

LOGIT_ENTRIES = 2**25
"""Logits (positions × vocabulary) made at a time, where no other limit is given: 128 MiB."""


def sketch(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    probes: str = "",
    entries: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Sketch:
    """Run the prompts through a loaded model once.

    Args:
        model: in evaluation mode; its attention is kept if it runs `attention.register()`'s.
        tokenizer: the model's own; prompts are fed raw, without a chat template.
        prompts: unlabelled texts of at least two tokens.
        probes: the probe set's digest, kept in the sketch.
        entries: logits (positions × vocabulary) made at a time at most, of one position at least.
            Neither this nor batches change anything beyond rounding: prompts are padded on the
            right and masked.
        progress: called with (prompts done, prompts).

    Raises:
        ProbeError: a prompt of fewer than two tokens, or a token that the model does not embed.
    """
    config = model.config.get_text_config()
    longest = longest_prompt(config)
    read = [_prompt(text, tokenizer, longest) for text in prompts]
    _check_embedded(read, model)
    layers = _layers(model)
    parts: dict[int, Arrays] = {}
    with torch.no_grad():
        for batch in _batches(read):
            arrays = run(model, layers, [read[i] for i in batch], entries or LOGIT_ENTRIES)
            parts |= dict(zip(batch, arrays, strict=True))
            if progress:
                progress(len(parts), len(read))
    return _join(read, [parts[i] for i in range(len(read))], layers, probes)


def longest_prompt(config: PreTrainedConfig) -> int:
    """Tokens of a prompt that are read at most, for a text model of this config."""
    return min(TOKENS, getattr(config, "max_position_embeddings", TOKENS))


def read_prompt(text: str, tokenizer: PreTrainedTokenizerBase, longest: int) -> tuple[int, ...]:
    """The token ids of a prompt, the first `longest` of them.

    Raises:
        ProbeError: there are fewer than two.
    """
    ids: list[int] = tokenizer(text, truncation=True, max_length=longest)["input_ids"]  # type: ignore[assignment]
    if len(ids) < 2:
        raise ProbeError(
            f"the prompt {text!r} has fewer than two tokens",
            hint="probe with longer texts: nothing can be predicted from one token",
        )
    return tuple(ids)


def _prompt(text: str, tokenizer: PreTrainedTokenizerBase, longest: int) -> Prompt:
    ids = read_prompt(text, tokenizer, longest)
    last = len(ids) - 1
    order = sorted(range(1, last), key=lambda i: hashlib.sha256(f"{i} {text}".encode()).digest())
    return Prompt(
        ids=ids,
        positions=(*sorted(order[: POSITIONS - 1]), last),
        queries=(*sorted(order[: QUERIES - 1]), last),
    )


def _check_embedded(prompts: Sequence[Prompt], model: PreTrainedModel) -> None:
    largest = max(max(prompt.ids) for prompt in prompts)
    embedded = getattr(model.get_input_embeddings(), "num_embeddings", largest + 1)
    if largest >= embedded:
        raise ProbeError(
            f"the tokenizer gives token {largest}, and the model embeds {embedded}",
            hint="use the tokenizer the model was trained with, or plan with --signals structural",
        )


def _batches(prompts: list[Prompt]) -> Iterator[list[int]]:
    """Numbers of prompts of similar length, of BATCH_TOKENS together at most."""
    batch: list[int] = []
    for i in sorted(range(len(prompts)), key=lambda i: len(prompts[i].ids)):
        if batch and (len(batch) + 1) * len(prompts[i].ids) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _layers(model: PreTrainedModel) -> Layers:
    """The model's decoder layers, and which of them are kept."""
    modules = decoder_layers(model)
    return Layers(
        modules=modules,
        hidden=_spread_layers(len(modules), HIDDEN_LAYERS),
        attention=_spread_layers(len(modules), ATTENTION_LAYERS),
    )


def _spread_layers(count: int, kept: int) -> list[int]:
    """At most `kept` of `count` layers, evenly spread, the last one among them."""
    kept = min(count, kept)
    return [(i + 1) * count // kept - 1 for i in range(kept)]


def _join(
    prompts: Sequence[Prompt], parts: Sequence[Arrays], layers: Layers, probes: str
) -> Sketch:
    def join(name: str, axis: int = 0, dtype: Any = np.float32) -> np.ndarray:
        if name not in parts[0]:
            return np.empty(0, dtype)
        return np.ascontiguousarray(np.concatenate([p[name] for p in parts], axis=axis), dtype)

    longest = max(len(p.ids) for p in prompts)
    attention = np.ascontiguousarray(join("attention", 2, np.float16)[..., :longest])
    count = len(layers.modules)
    return Sketch(
        probes=probes,
        tokens=hashlib.sha256(repr([p.ids for p in prompts]).encode()).hexdigest(),
        vocabulary=int(parts[0]["vocabulary"][0]),
        logprobs=join("logprobs"),
        ids=join("ids", dtype=np.int32),
        tail=join("tail"),
        entropy=join("entropy"),
        loss=join("loss"),
        ends=np.array([place == p.positions[-1] for p in prompts for place in p.positions]),
        hidden=join("hidden", 1),
        depths=_depths(layers.hidden, count),
        attention=attention,
        attention_depths=_depths(layers.attention if attention.size else [], count),
    )


def _depths(layers: Sequence[int], count: int) -> np.ndarray:
    return np.array([(layer + 0.5) / count for layer in layers], np.float32)
