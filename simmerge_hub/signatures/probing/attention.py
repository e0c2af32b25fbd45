"""An attention function that keeps the rows of a few queries, for transformers' AttentionInterface.

Fused attention returns no weights, and asking a model for all of them keeps every layer's at once.
Here each layer's weights live only while that layer runs; what is kept is [queries, heads, keys].
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

ATTENTION_NAME = "simmerge_probe"


@dataclass(slots=True, kw_only=True)
class Recorder:
    """What the attention function keeps: layer -> float32 [prompts, queries, heads, keys].

    `queries` int64 [prompts, queries] are positions in the batch that is running.
    """

    layers: frozenset[int]
    queries: Tensor
    rows: dict[int, Tensor] = field(default_factory=dict)


_RECORDER: ContextVar[Recorder | None] = ContextVar("recorder", default=None)


@contextmanager
def record_attention(layers: frozenset[int], queries: Tensor) -> Iterator[Recorder]:
    """Keep the attention rows of these queries in these layers while inside."""
    recorder = Recorder(layers=layers, queries=queries)
    token = _RECORDER.set(recorder)
    try:
        yield recorder
    finally:
        _RECORDER.reset(token)


def register() -> str:
    """Make the function known to transformers; its name, for `attn_implementation`."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    AttentionInterface.register(ATTENTION_NAME, probe_attention)
    AttentionMaskInterface.register(ATTENTION_NAME, eager_mask)
    return ATTENTION_NAME


def probe_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **how: Any,
) -> tuple[Tensor, None]:
    """Attention as the model's own code computes it without fusing, and its weights recorded.

    What one architecture alone adds to it (a bias by distance, sinks of its own) is in the
    `eager_attention_forward` of the file that its modules come from. Where there is none it is
    `attend`.

    Args:
        module: the layer's attention.
        query: [batch, heads, queries, dim]; `key` and `value` may have fewer heads (grouped).
        attention_mask: added to the scores, [batch, 1, queries, keys].
        how: whatever the module gives.

    Returns:
        [batch, queries, heads, dim] in the dtype of `value`, and no weights.
    """
    own = getattr(sys.modules.get(type(module).__module__), "eager_attention_forward", attend)
    output, weights = own(module, query, key, value, attention_mask, **how)
    _record(getattr(module, "layer_idx", None), weights)
    return output, None


def attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    """Plain attention: softmax(QKᵀ · scaling + mask) V, with soft-capping and sinks where asked.

    Args:
        module: not looked at.
        query: [batch, heads, queries, dim]; `key` and `value` may have fewer heads (grouped).
        attention_mask: added to the scores, [batch, 1, queries, keys].
        s_aux: one sink logit per head; its share of the softmax is dropped.

    Returns:
        [batch, queries, heads, dim] in the dtype of `value`, and the weights, float32.
    """
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = torch.matmul(query, key.transpose(2, 3)).float() * scale
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if attention_mask is not None:
        scores = scores + attention_mask[..., : scores.shape[-1]]
    weights = _softmax(scores, s_aux)
    output = torch.matmul(weights.to(value.dtype), value)
    return output.transpose(1, 2).contiguous(), weights


def _softmax(scores: Tensor, sinks: Tensor | None) -> Tensor:
    if sinks is None:
        return scores.softmax(-1)
    column = sinks.reshape(1, -1, 1, 1).expand(scores.shape[0], -1, scores.shape[2], 1)
    return torch.cat([scores, column.float()], dim=-1).softmax(-1)[..., :-1]


def _record(layer: int | None, weights: Tensor) -> None:
    recorder = _RECORDER.get()
    if recorder is None or layer not in recorder.layers:
        return
    prompts = torch.arange(len(weights), device=weights.device)[:, None]
    rows = weights[prompts, :, recorder.queries.to(weights.device)]
    recorder.rows[layer] = rows.float().cpu()
