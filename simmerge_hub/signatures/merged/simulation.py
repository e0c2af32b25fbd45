"""The signature of a merge that is never built.

Structure: the operator itself runs on the sampled rows. Behaviour: to first order in the deltas a
merge moves the base's log-probabilities and hidden states by the deltas' shares of its own delta,
so  f = f₀ + Σ cᵢ (fᵢ − f₀)  with c the least-squares shares over the sampled weights. For Linear
and task arithmetic c is exactly the weights; the step from weights to behaviour never is exact.
It is good where deltas are small (2 % of the weights: a third of the distance to the nearest input)
and poor where they are large: on the nano pair code + math (8 and 9 %) the predicted behaviour is
about as far from the real merge, JS 0.11-0.16 nats, as the nearer of its two models.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from simmerge_hub.errors import SignatureError
from simmerge_hub.operators import Arm, Place, find, merge_tensors
from simmerge_hub.signatures.measures.comparison import comparable
from simmerge_hub.signatures.measures.deltas import shared_tensors
from simmerge_hub.signatures.measures.distributions import align_outcomes
from simmerge_hub.signatures.probing.sketch import LOGPROB_FLOOR, Sketch
from simmerge_hub.signatures.signing.signature import Signature

if TYPE_CHECKING:
    from torch import Tensor

FIRST_ORDER = "behaviour: first order in the deltas"
ESTIMATED_STATISTICS = "weights: statistics of whole tensors estimated from sampled rows"


def simulate_merge(arm: Arm, base: Signature | None, signatures: Sequence[Signature]) -> Signature:
    """The signature of `arm` applied to the signed models.

    Args:
        arm: operator and parameters, for this many models.
        base: the base's signature; needed by operators on deltas.
        signatures: the models', in the arm's order; all of the same settings.

    Returns:
        A signature of kind `merge` whose `approximate` says what was derived. Its sketches are of
        the tasks that every input has, fed with the same tokens.

    Raises:
        SignatureError: different settings, or an operator that looks at all rows of tensors of
            which only some are sampled. OperatorError: what the operator itself refuses.
    """
    inputs = [*signatures, base] if base is not None else list(signatures)
    names = shared_tensors(inputs)
    if find(arm.operator).all_rows and not _are_whole(signatures[0], names):
        raise SignatureError(
            f"{arm.label} looks at all rows of a tensor, and signatures hold some",
            hint="merge it, and sign the merge",
        )
    called = tuple(s.name for s in signatures)
    sampled = {
        name: merge_tensors(
            arm,
            base.sampled[name] if base else None,
            [s.sampled[name] for s in signatures],
            Place(tensor=name, models=called, shape=signatures[0].shapes[name]),
        )
        for name in names
    }
    tasks = _tasks(inputs)
    shares = _shares(sampled, base, signatures) if tasks else np.empty(0)
    sketches = {t: _blend_sketches(t, base, signatures, shares) for t in tasks}
    return Signature(
        name=f"{arm.label}({', '.join(s.name for s in signatures)})",
        commit=None,
        digest=hashlib.sha256(
            "\n".join([arm.label, *(s.digest for s in inputs)]).encode()
        ).hexdigest(),
        kind="merge",
        settings=signatures[0].settings,
        shapes={name: signatures[0].shapes[name] for name in names},
        sampled=sampled,
        sketches=sketches,
        approximate=_approximations(arm, inputs, names, bool(sketches)),
    )


def _approximations(
    arm: Arm, inputs: Sequence[Signature], names: Sequence[str], sketched: bool
) -> tuple[str, ...]:
    labels = [label for s in inputs for label in s.approximate]
    if not find(arm.operator).exact_on_samples and not _are_whole(inputs[0], names):
        labels.append(ESTIMATED_STATISTICS)
    if sketched:
        labels.append(FIRST_ORDER)
    return tuple(dict.fromkeys(labels))


def _are_whole(signature: Signature, names: Sequence[str]) -> bool:
    """Whether it holds every row of these tensors."""
    held, shapes = signature.sampled, signature.shapes
    return all(held[name].numel() == _entries(shapes[name]) for name in names)


def _entries(shape: Sequence[int]) -> int:
    return int(np.prod(shape, dtype=np.int64))


def _shares(
    sampled: dict[str, Tensor], base: Signature | None, signatures: Sequence[Signature]
) -> np.ndarray:
    """float64 [models]: the merge's delta as a combination of the models' deltas.

    Without a base, its weights as a combination of their weights. The least-norm solution, so that
    equal models get equal shares.
    """
    import torch

    gram = np.zeros((len(signatures) + 1,) * 2)
    for name, merge in sampled.items():
        columns = [s.sampled[name].double() for s in signatures] + [merge.double()]
        if base is not None:
            columns = [c - base.sampled[name].double() for c in columns]
        flat = torch.stack([c.flatten() for c in columns])
        gram += (flat @ flat.T).numpy()
    return np.linalg.lstsq(gram[:-1, :-1], gram[:-1, -1], rcond=1e-10)[0]


def _tasks(inputs: Sequence[Signature]) -> list[str]:
    """Tasks that all have, fed with the same tokens."""
    first = inputs[0].sketches
    return [
        task
        for task in first
        if all(task in s.sketches and _is_comparable(s.sketches[task], first[task]) for s in inputs)
    ]


def _is_comparable(one: Sketch, other: Sketch) -> bool:
    return one.probes == other.probes and comparable(one, other)


def _blend_sketches(
    task: str, base: Signature | None, signatures: Sequence[Signature], shares: np.ndarray
) -> Sketch:
    parts = [s.sketches[task] for s in signatures]
    weights = list(shares)
    if base is not None:
        parts.append(base.sketches[task])
        weights.append(1 - shares.sum())

    def blend(arrays: Sequence[np.ndarray]) -> np.ndarray:
        if any(a.shape != arrays[0].shape for a in arrays):
            return np.empty(0, arrays[0].dtype)
        blended = sum(w * a.astype(np.float64) for w, a in zip(weights, arrays, strict=True))
        return np.asarray(blended).astype(arrays[0].dtype)

    logprobs, ids, tail = _distribution(parts, blend)
    attention = np.clip(blend([p.attention for p in parts]).astype(np.float64), 0, None)
    total = attention.sum(-1, keepdims=True) if attention.size else np.ones(1)
    probabilities = np.exp(logprobs.astype(np.float64))
    rest = np.exp(tail.astype(np.float64)) * tail if tail.size else 0.0
    return Sketch(
        probes=parts[0].probes,
        tokens=parts[0].tokens,
        vocabulary=min(part.vocabulary for part in parts),
        logprobs=logprobs,
        ids=ids,
        tail=tail,
        entropy=(-(probabilities * logprobs).sum(-1) - rest).astype(np.float32),
        loss=np.maximum(blend([p.loss for p in parts]), 0),
        ends=parts[0].ends,
        hidden=blend([p.hidden for p in parts]),
        depths=parts[0].depths,
        attention=(attention / np.where(total > 0, total, 1)).astype(np.float16),
        attention_depths=parts[0].attention_depths,
    )


def _distribution(parts: Sequence[Sketch], blend) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The blended distributions: log-probabilities, ids and tail, normalised again."""
    common = align_outcomes(parts)
    logprobs = blend(common.logprobs).astype(np.float64)
    logprobs -= np.logaddexp.reduce(logprobs, axis=-1, keepdims=True)
    logprobs = np.maximum(logprobs, LOGPROB_FLOOR).astype(np.float32)
    if not common.ids.size:
        return logprobs, common.ids, parts[0].tail
    return logprobs[:, :-1], common.ids, logprobs[:, -1]
