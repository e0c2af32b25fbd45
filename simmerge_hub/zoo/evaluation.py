"""How well a model does a task: exact match, token accuracy, likelihood, in one forward pass.

Greedy decoding writes the right answer exactly when, at every position of that answer, the most
likely token after the right beginning is the right one. So exact match needs no decoding: one
pass over prompt and answer decides it, `<eos>` included (a test holds this against `generate`).

Prompts of like length are examined together, and the head sees answer positions only: the
vocabulary is most of a small language model. In bfloat16 the leading words of each position, and
the right one, are scored again in float32; only the hidden states are then rounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simmerge_hub.zoo.real.codec import NANO, Codec
from simmerge_hub.zoo.tasks import Task
from simmerge_hub.zoo.training import IGNORED, tensors

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

BATCH_PROMPTS = 32
"""Prompts in one forward pass."""
LOGIT_POSITIONS = 64
"""Positions whose logits are held at a time."""
LEADING = 8
"""Words per position that are scored again in float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exam:
    """A task's evaluation prompts and answers as tensors: int64 [prompts, tokens]."""

    ids: Tensor
    labels: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A model's result in an exam, with both halves so that choices can be cross-checked.

    Args:
        exact_match: share of answers right to the last token, of the even and the odd prompts.
        token_accuracy: share of answer tokens right given the right beginning, averaged over
            prompts, of the even and the odd prompts.
        nll: mean over prompts of the mean negative log likelihood per answer token, in nats.
        log_likelihood: mean over prompts of the mean log likelihood per answer token, in nats, of
            the even and the odd prompts.
    """

    exact_match: tuple[float, float]
    token_accuracy: tuple[float, float]
    nll: float
    log_likelihood: tuple[float, float]


def exam(task: Task, count: int, *, seed: int = 0, codec: Codec = NANO) -> Exam:
    """`count` evaluation examples of `task`, none of which is ever trained on or probed with."""
    ids, labels = tensors(task.examples("evaluation", count, seed=seed), codec=codec)
    return Exam(ids=ids, labels=labels)


def evaluate(model: PreTrainedModel, exam: Exam) -> Score:
    """The score of `model` in `exam`: every prompt once, in the model's own dtype."""
    import torch

    right = torch.zeros_like(exam.labels, dtype=torch.bool)
    loss = torch.zeros(exam.labels.shape)
    with torch.inference_mode():
        for rows, width in _groups(exam.labels):
            wanted = exam.labels[rows, 1:width]
            kept = wanted != IGNORED
            hidden = _hidden_states(model, exam.ids[rows, : width - 1])[kept]
            judged = [
                _score_positions(model, h, w)
                for h, w in zip(
                    hidden.split(LOGIT_POSITIONS), wanted[kept].split(LOGIT_POSITIONS), strict=True
                )
            ]
            at = (rows[:, None].expand_as(kept)[kept], kept.nonzero()[:, 1] + 1)
            right[at] = torch.cat([r for r, _ in judged])
            loss[at] = torch.cat([n for _, n in judged])
    lengths = (exam.labels != IGNORED).sum(1)
    nll = loss.sum(1) / lengths
    return Score(
        exact_match=_halves((right.sum(1) == lengths).double()),
        token_accuracy=_halves(right.sum(1) / lengths.double()),
        nll=round(float(nll.mean()), 4),
        log_likelihood=_halves(-nll.double()),
    )


def _groups(labels: Tensor) -> Iterator[tuple[Tensor, int]]:
    """Rows of like length, and how many of the columns they need."""
    ends = labels.shape[1] - (labels != IGNORED).flip(1).int().argmax(1)
    for rows in ends.argsort(stable=True).split(BATCH_PROMPTS):
        yield rows, int(ends[rows].max())


def _hidden_states(model: Any, ids: Tensor) -> Tensor:
    """[rows, tokens, width] before the head; nothing looks ahead, so padding is harmless."""
    return model.model(input_ids=ids, use_cache=False).last_hidden_state


def _score_positions(model: Any, hidden: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """For positions [n, width]: whether the likeliest token is the wanted one, and its loss."""
    import torch
    from torch.nn.functional import cross_entropy

    logits = model.lm_head(hidden)
    if logits.dtype != torch.float32:
        logits = _rescore_leading(logits.float(), hidden, wanted, model.lm_head.weight)
    return logits.argmax(-1) == wanted, cross_entropy(logits, wanted, reduction="none")


def _rescore_leading(logits: Tensor, hidden: Tensor, wanted: Tensor, head: Tensor) -> Tensor:
    """`logits` with the leading ones and the wanted one computed in float32."""
    import torch

    leading = logits.topk(min(LEADING, logits.shape[1])).indices
    chosen = torch.cat([leading, wanted[:, None]], dim=1)
    exact = torch.einsum("nd,nkd->nk", hidden.float(), head[chosen].float())
    return logits.scatter(1, chosen, exact)


def _halves(values: Tensor) -> tuple[float, float]:
    even, odd = values[::2].mean(), values[1::2].mean()
    return round(float(even), 4) + 0.0, round(float(odd), 4) + 0.0  # never -0.0


def mean(halves: Sequence[float]) -> float:
    """One number for both halves of an exam."""
    return sum(halves) / len(halves)
