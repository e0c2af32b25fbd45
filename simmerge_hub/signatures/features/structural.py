"""Features of weights and deltas. Sums over the tensors of a group; norms and biases apart."""

import math

import numpy as np

from simmerge_hub.signatures.features.context import SIDES, Pair
from simmerge_hub.signatures.features.registry import feature
from simmerge_hub.signatures.measures.blocks import BLOCKS, GROUPS, THIRDS
from simmerge_hub.signatures.measures.ratios import log_ratio, mean, ratio, root
from simmerge_hub.signatures.measures.sums import TensorSums

CONFLICTS = ("all", "attention", "mlp", *THIRDS)


@feature(groups=("all", *BLOCKS))
def weight_distance(pair: Pair, group: str) -> float:
    """Distance of the two models' weights over the root mean square of their norms."""
    table = pair.weights
    scale = table.total("first", group) + table.total("second", group)
    return root(ratio(2 * table.total("distance", group), scale))


@feature()
def weight_cosine(pair: Pair) -> float:
    """Cosine of the two models' weights, all matrices."""
    first, second, distance = (
        pair.weights.total(column, "all") for column in ("first", "second", "distance")
    )
    return ratio(first + second - distance, 2 * math.sqrt(first * second))


@feature("base", sides=True, groups=GROUPS)
def delta_norm(pair: Pair, side: str, group: str) -> float:
    """Norm of the model's delta over the norm of the base's weights."""
    own = pair.own(side)
    return root(ratio(own.total("square", group), own.total("base", group)))


@feature("base", swap="negated", groups=GROUPS)
def delta_log_ratio(pair: Pair, group: str) -> float:
    """Log of the expert's delta norm over the auxiliary's."""
    return 0.5 * log_ratio(*(pair.own(side).total("square", group) for side in SIDES))


@feature("base", groups=GROUPS)
def delta_cosine(pair: Pair, group: str) -> float:
    """Cosine of the two deltas."""
    expert, auxiliary = (pair.own(side).total("square", group) for side in SIDES)
    return ratio(pair.common.total("product", group), math.sqrt(expert * auxiliary))


@feature("base")
def sign_conflict(pair: Pair) -> float:
    """Share of opposite signs among the entries that both models moved."""
    return _share(pair.common, "opposed", "moved", "all")


@feature("base", groups=CONFLICTS)
def sign_conflict_trimmed(pair: Pair, group: str) -> float:
    """Share of opposite signs among the entries both keep after trimming to a fifth."""
    return _share(pair.common, "kept_opposed", "kept_both", group)


@feature("base", groups=CONFLICTS)
def sign_conflict_mass(pair: Pair, group: str) -> float:
    """Mass that cancels in the sum of the trimmed deltas: 1 − ‖Στ‖₁/Σ‖τ‖₁."""
    return _share(pair.common, "lost", "mass", group)


@feature("base", groups=("all", "attention", "mlp"))
def support_overlap(pair: Pair, group: str) -> float:
    """Jaccard overlap of the entries the two trimmed deltas keep."""
    return _share(pair.common, "kept_both", "kept_either", group)


@feature("base", sides=True)
def trim_energy(pair: Pair, side: str) -> float:
    """Share of the delta's squared norm in its largest fifth of entries."""
    return _share(pair.own(side), "kept", "square", "all")


@feature("base", sides=True)
def delta_density(pair: Pair, side: str) -> float:
    """How evenly the delta is spread: ‖τ‖₁²/(n‖τ‖₂²), 1 if all entries are of one size."""
    own = pair.own(side)
    return ratio(
        own.total("absolute", "all") ** 2, own.total("entries", "all") * own.total("square", "all")
    )


@feature("base", sides=True)
def rank_share(pair: Pair, side: str) -> float:
    """Effective rank of the delta over that of the base's weights, mean over matrices."""
    columns = pair.own(side).columns
    return mean(columns["rank"] / columns["base_rank"])


@feature("base", swap="negated")
def rank_log_ratio(pair: Pair) -> float:
    """Log of the expert's effective rank over the auxiliary's, mean over matrices."""
    expert, auxiliary = (pair.own(side).columns["rank"] for side in SIDES)
    return mean(np.log(expert / auxiliary))


@feature("base")
def subspace_overlap(pair: Pair) -> float:
    """Overlap of the 8 leading input directions of the deltas, ‖QₐᵀQ_b‖²/k, mean over matrices."""
    return mean(pair.common.columns["subspace"])


def _share(table: TensorSums, part: str, whole: str, group: str) -> float:
    return ratio(table.total(part, group), table.total(whole, group))
