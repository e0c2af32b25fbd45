"""What an arm does to a pair: where the merge lies, seen from its two models and their base.

The operator runs on the sampled rows, so the numbers exist for any operator, seen in training or
not. They are products of three deltas (the merge's m, the expert's e, the auxiliary's a), summed
over tensors as `deltas` sums them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simmerge_hub.operators import Arm, Place, as_rows, check, combine, find, measure
from simmerge_hub.signatures.measures import deltas
from simmerge_hub.signatures.measures.memo import memoize
from simmerge_hub.signatures.measures.remembered import remember
from simmerge_hub.signatures.signing.signature import Signature


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One number: what it is, what it says in plain words (`phrases`), whether it needs a base."""

    summary: str
    says: str
    base: bool = True


EFFECTS = {
    "merge_norm_expert": Effect(
        summary="Log of the merge's delta norm over the expert's.",
        says="the merge moves {times} times as far from the base as the expert",
    ),
    "merge_norm_auxiliary": Effect(
        summary="Log of the merge's delta norm over the auxiliary's.",
        says="the merge moves {times} times as far from the base as the other model",
    ),
    "merge_cosine_expert": Effect(
        summary="Cosine of the merge's delta with the expert's.",
        says="the cosine of the merge's delta with the expert's is {value}",
    ),
    "merge_cosine_auxiliary": Effect(
        summary="Cosine of the merge's delta with the auxiliary's.",
        says="the cosine of the merge's delta with the other's is {value}",
    ),
    "merge_share_expert": Effect(
        summary="Least-squares share of the expert's delta in the merge's.",
        says="the merge holds {percent} of the expert's delta",
    ),
    "merge_share_auxiliary": Effect(
        summary="Least-squares share of the auxiliary's delta in the merge's.",
        says="the merge holds {percent} of the other's delta",
    ),
    "merge_rest": Effect(
        summary="Norm of what in the merge's delta is no sum of the two, over its norm.",
        says="{percent} of the merge's delta is no sum of the two",
    ),
    "merge_from_expert": Effect(
        summary="Distance of the merge from the expert, over that of the two models.",
        says="the merge lies {value} of the models' distance from the expert",
        base=False,
    ),
    "merge_from_auxiliary": Effect(
        summary="Distance of the merge from the auxiliary, over that of the two models.",
        says="the merge lies {value} of the models' distance from the other model",
        base=False,
    ),
}
EFFECT_NAMES = tuple(EFFECTS)
LARGEST_SHARE = 3.0
"""Shares beyond this say only that both deltas are nearly the same."""


def effects(
    expert: Signature, auxiliary: Signature, base: Signature | None, arms: Sequence[Arm]
) -> np.ndarray:
    """Where each arm would put the merge of the two models.

    Args:
        expert: the first model of every arm.
        auxiliary: the second.
        base: what both were fine-tuned from, if known. Without it an arm on deltas has no effects
            and the others only those that need no base. Nor has one that looks at activations,
            which no signature holds.
        arms: operators with parameters for two models.

    Returns:
        float64 [arms, EFFECT_NAMES], NaN = missing.

    Raises:
        SignatureError: different settings.
    """
    return remember(
        "effects",
        (expert, auxiliary, base),
        [arm.spelled for arm in arms],
        (len(arms), len(EFFECT_NAMES)),
        lambda: _compute(expert, auxiliary, base, arms),
    )


def _compute(
    expert: Signature, auxiliary: Signature, base: Signature | None, arms: Sequence[Arm]
) -> np.ndarray:
    import torch

    names = deltas.shared_tensors([expert, auxiliary] + ([base] if base else []))
    scale = deltas.entries_per_sample(expert, names)
    called = (expert.name, auxiliary.name)
    usable = [_runs_on_samples(arm, based=base is not None) for arm in arms]
    operators = [
        check(arm.operator, arm.parameters, 2, base=base is not None) if use else None
        for arm, use in zip(arms, usable, strict=True)
    ]
    grams = np.zeros((len(arms), 3, 3))
    for name, weight in zip(names, scale, strict=True):
        models = [as_rows(s.sampled[name]) for s in (expert, auxiliary)]
        origin = as_rows(base.sampled[name]) if base else models[1]
        place = Place(tensor=name, models=called, shape=expert.shapes[name])
        chunks = {"weight": torch.stack(models), "anchored": torch.stack([origin, *models])}
        chunks["delta"] = chunks["weight"] - origin
        moved = chunks["delta"].flatten(1).double()
        between = (moved @ moved.T).numpy()
        for i, (arm, operator) in enumerate(zip(arms, operators, strict=True)):
            if operator is None:
                continue
            chunk = chunks[operator.space]
            statistics = measure(operator, [chunk], arm.parameters, place)
            merge = combine(operator, chunk, statistics, arm.parameters, place)
            own = (merge if operator.space == "delta" else merge - origin).flatten().double()
            grams[i, 1:, 1:] += weight * between
            grams[i, 0, 1:] += weight * (moved @ own).numpy()
            grams[i, 0, 0] += weight * float(own @ own)
    grams[:, 1:, 0] = grams[:, 0, 1:]
    values = np.array([_effects_of_gram(gram, known=base is not None) for gram in grams])
    values[~np.array(usable, bool)] = np.nan
    return values.reshape(len(arms), len(EFFECT_NAMES))


def _runs_on_samples(arm: Arm, *, based: bool) -> bool:
    operator = find(arm.operator)
    return operator.on_samples and (based or operator.space == "weight")


def effects_of_merge(
    merge: Signature, expert: Signature, auxiliary: Signature, base: Signature | None
) -> np.ndarray:
    """Where a merge that was made otherwise lies: float64 [EFFECT_NAMES], as `effects` gives them.

    Raises:
        SignatureError: different settings.
    """
    models = [merge, expert, auxiliary]
    names = deltas.shared_tensors([*models, base] if base else models)
    moved = [_deltas_from(signature, base or auxiliary) for signature in models]
    gram = np.zeros((3, 3))
    for name, weight in zip(names, deltas.entries_per_sample(expert, names), strict=True):
        rows = [each[name] for each in moved]
        for i in range(3):
            for j in range(i + 1):
                gram[i, j] += weight * float(np.dot(rows[i], rows[j]))
    gram += np.tril(gram, -1).T
    return np.array(_effects_of_gram(gram, known=base is not None))


@memoize
def _deltas_from(signature: Signature, origin: Signature) -> dict[str, np.ndarray]:
    """Tensor name -> float32 [sampled entries], how far it is from the origin's."""
    return {
        name: (sample.float() - origin.sampled[name].float()).flatten().numpy()
        for name, sample in signature.sampled.items()
        if name in origin.sampled and origin.sampled[name].shape == sample.shape
    }


def swap_effects(values: np.ndarray) -> np.ndarray:
    """Effects [..., EFFECT_NAMES] of the swapped arms on the swapped pair: sides change places."""
    return values[..., [EFFECT_NAMES.index(_other_side(name)) for name in EFFECT_NAMES]]


def _other_side(name: str) -> str:
    what, _, side = name.rpartition("_")
    other = {"expert": "auxiliary", "auxiliary": "expert"}.get(side)
    return f"{what}_{other}" if other else name


def _effects_of_gram(gram: np.ndarray, *, known: bool) -> list[float]:
    """Of the products of (merge, expert, auxiliary); measured from a base only if it is `known`."""
    merge, expert, auxiliary = np.diagonal(gram)
    between = np.sqrt(max(expert + auxiliary - 2 * gram[1, 2], 0))
    away = [
        np.sqrt(max(merge + gram[i, i] - 2 * gram[0, i], 0)) / between if between else np.nan
        for i in (1, 2)
    ]
    if not known or not merge > 0 or not expert > 0 or not auxiliary > 0:
        return [np.nan] * (len(EFFECT_NAMES) - len(away)) + away
    shares = np.linalg.lstsq(gram[1:, 1:], gram[1:, 0], rcond=1e-10)[0]
    rest = max(merge - shares @ gram[1:, 0], 0) / merge
    return [
        np.log(merge / expert) / 2,
        np.log(merge / auxiliary) / 2,
        gram[0, 1] / np.sqrt(merge * expert),
        gram[0, 2] / np.sqrt(merge * auxiliary),
        *np.clip(shares, -LARGEST_SHARE, LARGEST_SHARE),
        np.sqrt(rest),
        *away,
    ]
