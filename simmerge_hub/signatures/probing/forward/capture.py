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
from simmerge_hub.signatures.probing.head import HeadInputs, run_to_head
from simmerge_hub.signatures.probing.layerwise import pad
from simmerge_hub.signatures.probing.offload import READ_ENTRIES, trim_memory
from simmerge_hub.signatures.probing.sketch import (
    LOGPROB_FLOOR,
    QUERIES,
    SKETCH_WIDTH,
    TOKENS,
    TOP_TOKENS,
    WHOLE_VOCABULARY,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel

REDUCED = 2**21
"""Log-probabilities reduced at a time: in double precision they take 16 MB."""

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


def run(
    model: PreTrainedModel, layers: Layers, batch: Sequence[Prompt], entries: int
) -> list[Arrays]:
    """One forward pass; per prompt, its part of every array of the sketch.

    `entries` logits (positions × vocabulary) are made at a time at most, of one position at least.
    """
    ids, mask = pad([prompt.ids for prompt in batch])
    queries = torch.tensor([(p.queries * QUERIES)[:QUERIES] for p in batch])
    hidden: dict[int, list[Tensor]] = {}
    hooks = [
        layers.modules[n].register_forward_hook(_make_hook(hidden, n, batch)) for n in layers.hidden
    ]
    try:
        with record_attention(frozenset(layers.attention), queries) as recorder:
            before_head = run_to_head(model, ids, mask)
    finally:
        for hook in hooks:
            hook.remove()
    step = max(1, entries // model.config.get_text_config().vocab_size)
    return [
        distribution
        | {"hidden": np.stack([hidden[n][i].numpy() for n in sorted(hidden)])}
        | _attention(recorder.rows, i, p)
        for i, (p, distribution) in enumerate(
            zip(batch, _distributions(before_head, mask, batch, step), strict=True)
        )
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


def _distributions(
    before_head: HeadInputs, mask: Tensor, batch: Sequence[Prompt], step: int
) -> list[Arrays]:
    """Per prompt its loss, and the distributions at its positions; of `step` positions at a time.

    Only every token's own log-probability and what is kept outlive the step.
    """
    states = before_head.states[mask.bool().to(before_head.states.device)]
    targets = torch.tensor([token for p in batch for token in (*p.ids[1:], 0)])
    kept = torch.tensor([i in p.positions for p in batch for i in range(len(p.ids))])
    own, parts, at = [], [], 0
    for low in range(0, len(states), step):
        logits = before_head.logits(states[low : low + step])
        for few in logits.split(max(1, REDUCED // logits.shape[1])):
            place = slice(at, at + len(few))
            logprobs = few.float().log_softmax(-1).clamp_min_(LOGPROB_FLOOR)
            wanted = targets[place, None].to(logprobs.device)
            own.append(logprobs.gather(1, wanted)[:, 0].cpu())
            parts.append(_reduce(logprobs[kept[place].to(logprobs.device)].cpu()))
            at = place.stop
            if few.numel() >= READ_ENTRIES:
                trim_memory()  # what is kept of a few is put between the holes that they leave
        logits = few = None  # the next ones take as much room
    whole = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    logliks = torch.cat(own).split([len(p.ids) for p in batch])
    by_prompt = zip(*(part.split([len(p.positions) for p in batch]) for part in whole.values()),
               strict=True)  # fmt: skip
    return [
        {"loss": -loglik[:-1].mean(0, keepdim=True).numpy()}
        | {name: each.numpy() for name, each in zip(whole, row, strict=True)}
        for loglik, row in zip(logliks, by_prompt, strict=True)
    ]


def _reduce(logprobs: Tensor) -> dict[str, Tensor]:
    """What is kept of log-probabilities [positions, vocabulary]: one row of each a position."""
    sizes = torch.full((len(logprobs),), logprobs.shape[1])
    entropy = -(logprobs.exp() * logprobs).sum(-1)
    if logprobs.shape[1] <= WHOLE_VOCABULARY:
        return {"vocabulary": sizes, "entropy": entropy, "logprobs": logprobs}
    values, ids = logprobs.topk(TOP_TOKENS)
    rest = logprobs.double().exp().sum(-1) - values.double().exp().sum(-1)
    return {
        "vocabulary": sizes, "entropy": entropy, "logprobs": values,
        "ids": ids.to(torch.int32), "tail": rest.clamp_min(1e-30).log().float(),
    }  # fmt: skip


def _attention(rows: dict[int, Tensor], i: int, prompt: Prompt) -> Arrays:
    """float16 [layers, heads, queries, TOKENS] of prompt number i of the batch, if recorded."""
    if not rows:
        return {}
    kept = [rows[n][i, : len(prompt.queries)].transpose(0, 1) for n in sorted(rows)]
    stacked = torch.stack(kept).to(torch.float16).numpy()
    room = TOKENS - stacked.shape[-1]
    return {"attention": np.pad(stacked, [(0, 0)] * 3 + [(0, room)])}
