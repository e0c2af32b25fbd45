"""A merge that was made reads its experts' probes, each with the expert's own answer."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.signatures.probing.dosing.response import Cross, Response
from simmerge_hub.signatures.probing.probe import ProbeSet
from simmerge_hub.weights.shapes import Source

UNREAD = Cross(kept=np.empty(0, np.bool_), logliks=np.empty(0, np.float32))
"""Of prompts that a merge reads as other tokens than the expert."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnAnswers:
    """An expert's answers to the probes of its task.

    Args:
        expert: the model, and the base of an adapter.
        probes: what was answered.
        response: the answers, and what the expert and its base make of them.
    """

    expert: Source
    probes: ProbeSet
    response: Response

    @property
    def digest(self) -> str:
        """sha256 of prompts and answers."""
        content = hashlib.sha256(self.probes.digest.encode())
        for array in (self.response.answers, self.response.lengths):
            content.update(np.ascontiguousarray(array).tobytes())
        return content.hexdigest()


def count_tokens(asked: Mapping[str, OwnAnswers]) -> int:
    """Tokens that a merge reads: all prompts with their answers."""
    from simmerge_hub.signatures.probing.dosing.dose import read_probes

    return sum(
        len(sequence)
        for task, own in asked.items()
        for sequence in own.response.sequences(read_probes(own.expert, [own.probes])[task])
    )


def read_answers_of_experts(
    merge: Checkpoint, asked: Mapping[str, OwnAnswers], *, dtype: str = "float32"
) -> dict[str, Cross]:
    """Task -> what a merge makes of its expert's answers; UNREAD where its tokens differ.

    Args:
        merge: a full model.
        asked: the answers by task.
        dtype: what to compute in.

    Raises:
        ProbeError: the merge has no tokenizer.
        SignatureError: transformers cannot load it.
    """
    from simmerge_hub.signatures.probing import loading
    from simmerge_hub.signatures.probing.dosing.dose import read_probes, score_answers
    from simmerge_hub.weights.loaded import memory

    readings: dict[str, Cross] = {}
    entries = memory.batch_entries(memory.model_bytes(merge, None, dtype), memory.free_memory())
    with loading.open_model(merge, dtype=dtype) as model:
        for task, own in asked.items():
            ids = read_probes(own.expert, [own.probes])[task]
            read = read_probes((merge, None), [own.probes])[task]
            if read != ids or not _mean_alike(own, merge):
                readings[task] = UNREAD
                continue
            kept, logliks = score_answers(model, ids, own.response.sequences(ids), entries)
            readings[task] = Cross(kept=kept, logliks=logliks)
    return readings


def _mean_alike(own: OwnAnswers, merge: Checkpoint) -> bool:
    """Whether the tokens of an expert's answers have the same ids in the merge."""
    from simmerge_hub.signatures.probing import loading

    tables = [loading.load_tokenizer(*s).get_vocab() for s in (own.expert, (merge, None))]
    first, second = ({number: token for token, number in each.items()} for each in tables)
    return all(first.get(n) == second.get(n) for n in set(own.response.answers.tolist()))
