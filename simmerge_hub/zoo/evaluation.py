"""How well a model does a task: exact match, token accuracy, likelihood, in one forward pass.

Greedy decoding writes the right answer exactly when, at every position of that answer, the most
likely token after the right beginning is the right one. So exact match needs no decoding: one
pass over prompt and answer decides it, `<eos>` included (a test holds this against `generate`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simmerge_hub.zoo.tasks import Task
from simmerge_hub.zoo.training import IGNORED, tensors

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


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
    """

    exact_match: tuple[float, float]
    token_accuracy: tuple[float, float]
    nll: float


def exam(task: Task, count: int, *, seed: int = 0) -> Exam:
    """`count` evaluation examples of `task`, none of which is ever trained on or probed with."""
    ids, labels = tensors(task.examples("evaluation", count, seed=seed))
    return Exam(ids=ids, labels=labels)


def evaluate(model: PreTrainedModel, exam: Exam) -> Score:
    """The score of `model` in `exam`: one forward pass in the model's own dtype."""
    import torch
    from torch.nn.functional import cross_entropy

    with torch.inference_mode():
        logits = model(input_ids=exam.ids, use_cache=False).logits[:, :-1]
    labels = exam.labels[:, 1:]
    asked = labels != IGNORED
    right = (logits.argmax(-1) == labels) & asked
    lengths = asked.sum(1)
    loss = cross_entropy(
        logits.transpose(1, 2).float(), labels, ignore_index=IGNORED, reduction="none"
    )
    return Score(
        exact_match=_halves((right.sum(1) == lengths).double()),
        token_accuracy=_halves(right.sum(1) / lengths.double()),
        nll=round(float((loss.sum(1) / lengths).mean()), 4),
    )


def _halves(values: Tensor) -> tuple[float, float]:
    even, odd = values[::2].mean(), values[1::2].mean()
    return round(float(even), 4), round(float(odd), 4)


def mean(halves: Sequence[float]) -> float:
    """One number for both halves of an exam."""
    return sum(halves) / len(halves)
