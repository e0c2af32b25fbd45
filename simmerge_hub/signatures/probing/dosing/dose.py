"""Dose and response: what of its own answers a model still gives at a part of its delta.

A model answers its probes greedily. Then base + s·Δ reads each prompt with that answer, and at
every token of it tells which token it finds likeliest and how likely it finds the answer's. No
label is needed, and nothing is generated but at s = 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.progress import Progress
from simmerge_hub.signatures.probing import loading
from simmerge_hub.signatures.probing.answers import Sequences, continue_greedily
from simmerge_hub.signatures.probing.dosing.between import models_between
from simmerge_hub.signatures.probing.dosing.response import ANSWER_TOKENS, DOSES, Cross, Response
from simmerge_hub.signatures.probing.forward import longest_prompt, read_prompt
from simmerge_hub.signatures.probing.head import run_to_head
from simmerge_hub.signatures.probing.layerwise import batches, pad
from simmerge_hub.signatures.probing.probe import ProbeSet
from simmerge_hub.signatures.probing.sketch import LOGPROB_FLOOR
from simmerge_hub.weights.loaded import memory
from simmerge_hub.weights.shapes import Source

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def measure_responses(
    checkpoint: Checkpoint,
    base: Checkpoint,
    probe_sets: Sequence[ProbeSet],
    *,
    origin: str = "",
    dtype: str = "float32",
    offload: bool | None = None,
    progress: Progress | None = None,
) -> dict[str, Response]:
    """Let a model answer its probes, and read the answers at every dose; each is loaded once.

    Args:
        checkpoint: a full model of the base's tensors, or an adapter.
        base: what it was fine-tuned from; downloaded whole if remote, as the model is.
        probe_sets: one response is made of each.
        origin: digest of the base's content, kept in the responses.
        dtype, offload: as `between.models_between`.
        progress: called as doses go by.

    Returns:
        Task -> response.

    Raises:
        ProbeError: a prompt of fewer than two tokens, or there is no tokenizer.
        SignatureError: transformers or PEFT cannot load one of the models.
    """
    own: Source = (checkpoint, base if checkpoint.kind == "adapter" else None)
    prompts = read_probes(own, probe_sets)
    answered: dict[str, Sequences] = {}
    scores: dict[float, Mapping[str, tuple[np.ndarray, np.ndarray]]] = {}
    order = (1.0, *(dose for dose in DOSES if dose != 1.0))
    models = models_between((base, None), own, order, dtype=dtype, offload=offload)
    for model, dose in zip(models, order, strict=True):
        if progress:
            progress(f"{checkpoint.name} at {dose:g} of its delta", len(scores), len(order))
        answered = answered or {
            task: continue_greedily(model, ids, ANSWER_TOKENS) for task, ids in prompts.items()
        }
        scores[dose] = {
            task: score_answers(model, ids, answered[task], _entries(own, dtype))
            for task, ids in prompts.items()
        }
    return {
        probes.task: _join(
            probes, origin, prompts[probes.task], answered[probes.task],
            [scores[dose][probes.task] for dose in DOSES],
        )
        for probes in probe_sets
    }  # fmt: skip


def score_mean(
    own: Source,
    partner: Source,
    probes: ProbeSet,
    response: Response,
    *,
    dtype: str = "float32",
) -> Cross:
    """What the mean of two models, which is base + ½Δa + ½Δb, makes of the answers of one of them.

    Args:
        own: the model whose answers `response` holds.
        partner: the other, of the same tensors.
        probes: what was answered.
        response: of `own` on these probes.
        dtype: as `between.models_between`.
    """
    ids = read_probes(own, [probes])[probes.task]
    sequences = response.sequences(ids)
    models = models_between(partner, own, (0.5,), dtype=dtype)
    with closing(models):
        kept, logliks = score_answers(next(models), ids, sequences, _entries(own, dtype))
    return Cross(kept=kept, logliks=logliks)


def _entries(source: Source, dtype: str) -> int:
    """Logits made at a time at most."""
    return memory.batch_entries(memory.model_bytes(*source, dtype), memory.free_memory())


def read_probes(source: Source, probe_sets: Sequence[ProbeSet]) -> dict[str, Sequences]:
    """Task -> token ids of the prompts, as the model's own tokenizer reads them."""
    tokenizer = loading.load_tokenizer(*source)
    longest = longest_prompt(loading.load_config(*source))
    return {p.task: [read_prompt(t, tokenizer, longest) for t in p.prompts] for p in probe_sets}


def score_answers(
    model: PreTrainedModel,
    prompts: Sequence[tuple[int, ...]],
    sequences: Sequence[tuple[int, ...]],
    entries: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Whether each answer token is the likeliest in its place, and how likely it is.

    Args:
        model: in evaluation mode, whole in memory or by layers.
        prompts: token ids.
        sequences: each prompt's, and those of its answer.
        entries: logits made at a time at most; of one position at least.

    Returns:
        bool [T] and float32 [T] in nats, of all answers one after the other.
    """
    places = iter(sorted(range(len(sequences)), key=lambda i: len(sequences[i])))
    scores: dict[int, tuple[Tensor, Tensor]] = {}
    with torch.no_grad():
        for batch in batches(sequences):
            numbers = list(islice(places, len(batch)))
            begins = [len(prompts[i]) for i in numbers]
            scores |= zip(numbers, _score_batch(model, batch, begins, entries), strict=True)
    kept, logliks = zip(*(scores[i] for i in range(len(sequences))), strict=True)
    return torch.cat(kept).numpy(), torch.cat(logliks).numpy()


def _score_batch(
    model: PreTrainedModel, batch: Sequence[Sequence[int]], begins: Sequence[int], entries: int
) -> list[tuple[Tensor, Tensor]]:
    before_head = run_to_head(model, *pad(batch))
    step = max(1, entries // model.config.get_text_config().vocab_size)
    answers = [full[begin:] for full, begin in zip(batch, begins, strict=True)]
    places = [(i, b - 1, b - 1 + len(answers[i])) for i, b in enumerate(begins)]
    states = torch.cat([before_head.states[i, low:high] for i, low, high in places])
    wanted = torch.tensor([token for answer in answers for token in answer], dtype=torch.long)
    kept, logliks = [torch.zeros(0, dtype=torch.bool)], [torch.zeros(0)]
    for low in range(0, len(states), step):
        logprobs = before_head.logits(states[low : low + step]).float().log_softmax(-1)
        targets = wanted[low : low + step].to(logprobs.device)
        kept.append((logprobs.argmax(-1) == targets).cpu())
        own = logprobs.gather(1, targets[:, None])[:, 0]
        logliks.append(own.clamp_min(LOGPROB_FLOOR).cpu())
    lengths = [len(answer) for answer in answers]
    return list(zip(torch.cat(kept).split(lengths), torch.cat(logliks).split(lengths), strict=True))


def _join(
    probes: ProbeSet,
    origin: str,
    prompts: Sequences,
    answered: Sequences,
    scores: Sequence[tuple[np.ndarray, np.ndarray]],
) -> Response:
    answers = [full[len(ids) :] for ids, full in zip(prompts, answered, strict=True)]
    return Response(
        probes=probes.digest,
        base=origin,
        doses=np.array(DOSES, np.float32),
        answers=np.array([token for answer in answers for token in answer], np.int32),
        lengths=np.array([len(answer) for answer in answers], np.int32),
        kept=np.stack([kept for kept, _ in scores]),
        logliks=np.stack([logliks for _, logliks in scores]),
    )
