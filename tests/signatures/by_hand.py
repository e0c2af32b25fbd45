"""Signatures and sketches of a few numbers, small enough to work features out on paper."""

from typing import Any

import numpy as np
import torch

from simmerge_hub.signatures.probing.dosing.response import DOSES, Response
from simmerge_hub.signatures.probing.sketch import Sketch
from simmerge_hub.signatures.signing.artifact import Settings, Signature

QUERY = "model.layers.0.self_attn.q_proj.weight"
TASK = "t"


def sketch(probabilities: list[list[float]], hidden: list[list[float]], **changed: Any) -> Sketch:
    """One prompt a row, of which the end alone is kept; one hidden layer, no attention."""
    count = len(probabilities)
    values: dict[str, Any] = {
        "probes": "p", "tokens": "t", "vocabulary": len(probabilities[0]),
        "logprobs": np.log(np.array(probabilities, np.float32)),
        "ids": np.empty(0, np.int32), "tail": np.empty(0, np.float32),
        "entropy": np.zeros(count, np.float32), "loss": np.zeros(count, np.float32),
        "ends": np.ones(count, bool), "hidden": np.array([hidden], np.float32),
        "depths": np.array([0.5], np.float32), "attention": np.empty(0, np.float16),
        "attention_depths": np.empty(0, np.float32),
    }  # fmt: skip
    return Sketch(**{**values, **changed})


def signature(name: str, weight: list[list[float]], sketch: Sketch | None = None) -> Signature:
    """A model of one matrix, sampled whole."""
    tensor = torch.tensor(weight, dtype=torch.float32)
    return Signature(
        name=name, commit=None, digest=name, kind="full", settings=Settings(),
        shapes={QUERY: tuple(tensor.shape)}, sampled={QUERY: tensor},
        sketches={TASK: sketch} if sketch else {},
    )  # fmt: skip


def response(
    kept: list[list[int]], logliks: list[float], *, lengths: list[int] | None = None, base: str = ""
) -> Response:
    """Answers of `lengths` tokens; at each dose which are kept, and how likely each token is."""
    tokens = len(kept[0])
    return Response(
        probes="p", base=base, doses=np.array(DOSES, np.float32),
        answers=np.zeros(tokens, np.int32),
        lengths=np.array([tokens] if lengths is None else lengths, np.int32),
        kept=np.array(kept, bool).reshape(len(DOSES), tokens),
        logliks=np.repeat(np.array(logliks, np.float32)[:, None], tokens, axis=1),
    )  # fmt: skip
