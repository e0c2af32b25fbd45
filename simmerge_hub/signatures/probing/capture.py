"""One batch of prompts through a loaded model; hooks reduce what passes while it runs.

No layer's activations outlive the layer, and no attention map its own layer's turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from simmerge_hub.signatures.probing.attention import record_attention
from simmerge_hub.signatures.probing.layerwise import pad

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TOKENS = 128
"""Prompts are cut after this many tokens."""
QUERIES = 2
"""Positions of each prompt whose attention rows are kept, its end included."""
SKETCH_WIDTH = 256
"""Wider hidden states are projected to this many numbers, inner products kept on average."""
WHOLE_VOCABULARY = 4096
"""Up to this vocabulary distributions are kept whole; above, the KEPT most likely tokens."""
TOP_TOKENS = 256
LOGPROB_FLOOR = -80.0
"""The least log-probability kept: e^-80 is nothing, but not minus infinity."""

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One prompt as tokens: all, the positions kept, and those whose attention is kept."""

    ids: tuple[int, ...]
    positions: tuple[int, ...]
    queries: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """A model's decoder layers, and the numbers of those kept."""

    modules: Sequence[torch.nn.Module]
    hidden: Sequence[int]
    attention: Sequence[int]


def run(model: PreTrainedModel, layers: Layers, batch: Sequence[Prompt]) -> list[Arrays]:
    """One forward pass; per prompt, its part of every array of the sketch."""
    ids, mask = pad([prompt.ids for prompt in batch])
    queries = torch.tensor([(p.queries * QUERIES)[:QUERIES] for p in batch])
    hidden: dict[int, list[Tensor]] = {}
    hooks = [
        layers.modules[n].register_forward_hook(_make_hook(hidden, n, batch)) for n in layers.hidden
    ]
    try:
        with record_attention(frozenset(layers.attention), queries) as recorder:
            logits = model(
                input_ids=ids.to(model.device),
                attention_mask=mask.to(model.device),
                use_cache=False,
            ).logits
    finally:
        for hook in hooks:
            hook.remove()
    return [
        _distribution(logits[i, : len(p.ids)], p)
        | {"hidden": np.stack([hidden[n][i].numpy() for n in sorted(hidden)])}
        | _attention(recorder.rows, i, p)
        for i, p in enumerate(batch)
    ]


def _make_hook(hidden: dict[int, list[Tensor]], number: int, batch: Sequence[Prompt]) -> Any:
    """A hook that keeps float32 [positions, width] of each prompt after one layer."""

    def keep(_module: torch.nn.Module, _inputs: Any, output: Any) -> None:
        states = output[0] if isinstance(output, tuple) else output
        kept = [states[i, list(p.positions)].float().cpu() for i, p in enumerate(batch)]
        hidden[number] = [_project(rows) for rows in kept]

    return keep


def _project(rows: Tensor) -> Tensor:
    """[rows, width] -> [rows, at most WIDTH] by a seeded Gaussian matrix."""
    width = rows.shape[1]
    if width <= SKETCH_WIDTH:
        return rows
    generator = torch.Generator().manual_seed(width)
    return rows @ (torch.randn(width, SKETCH_WIDTH, generator=generator) / SKETCH_WIDTH**0.5)


def _distribution(logits: Tensor, prompt: Prompt) -> Arrays:
    """From float [tokens, vocabulary]: loss of the prompt, distributions at its positions."""
    logprobs = logits.float().log_softmax(-1).clamp_min(LOGPROB_FLOOR).cpu()
    targets = torch.tensor(prompt.ids[1:])
    loss = -logprobs[:-1].gather(1, targets[:, None]).mean()
    kept = logprobs[list(prompt.positions)]
    arrays = {
        "loss": loss.reshape(1).numpy(),
        "vocabulary": np.array([kept.shape[1]]),
        "entropy": -(kept.exp() * kept).sum(-1).numpy(),
    }
    if kept.shape[1] <= WHOLE_VOCABULARY:
        return arrays | {"logprobs": kept.numpy()}
    values, ids = kept.topk(TOP_TOKENS)
    rest = kept.double().exp().sum(-1) - values.double().exp().sum(-1)
    tail = rest.clamp_min(1e-30).log().float()
    return arrays | {
        "logprobs": values.numpy(), "ids": ids.to(torch.int32).numpy(), "tail": tail.numpy()
    }  # fmt: skip


def _attention(rows: dict[int, Tensor], i: int, prompt: Prompt) -> Arrays:
    """float16 [layers, heads, queries, TOKENS] of prompt number i of the batch, if recorded."""
    if not rows:
        return {}
    kept = [rows[n][i, : len(prompt.queries)].transpose(0, 1) for n in sorted(rows)]
    stacked = torch.stack(kept).to(torch.float16).numpy()
    room = TOKENS - stacked.shape[-1]
    return {"attention": np.pad(stacked, [(0, 0)] * 3 + [(0, room)])}
