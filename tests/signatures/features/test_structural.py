"""Every feature of weights on three 2 × 2 matrices, worked out by hand.

The base is (1, 0 | 0, 0); the expert's delta (0, 2 | 0, 0), the auxiliary's (0, −1 | 1, 0). Of four
entries trimming keeps the largest: one of the expert's, and both tied ones of the auxiliary's.
"""

from math import isnan, log, sqrt

import pytest

from simmerge_hub.signatures.features.vector import features
from tests.signatures.by_hand import TASK, signature

BASE = signature("base", [[1.0, 0.0], [0.0, 0.0]])
EXPERT = signature("expert", [[1.0, 2.0], [0.0, 0.0]])
AUXILIARY = signature("auxiliary", [[1.0, -1.0], [1.0, 0.0]])
WANTED = {
    "weight_distance.all": sqrt(2 * 10 / (5 + 3)),  # (0, 3 | −1, 0) over norms² 5 and 3
    "weight_cosine": -1 / sqrt(5 * 3),
    "delta_norm_expert.all": 2.0,
    "delta_norm_auxiliary.attention": sqrt(2),
    "delta_log_ratio.all": log(2) / 2,
    "delta_cosine.middle": -2 / sqrt(4 * 2),
    "sign_conflict": 1.0,  # of the one entry both moved
    "sign_conflict_trimmed.all": 1.0,
    "sign_conflict_mass.all": 2 * 1 / (2 + 2),  # 2 and −1 leave 1 of 3; the other 1 stays
    "support_overlap.all": 1 / 2,
    "trim_energy_expert": 1.0,
    "trim_energy_auxiliary": 1.0,
    "delta_density_expert": 2**2 / (4 * 4),
    "delta_density_auxiliary": 2**2 / (4 * 2),
    "rank_share_expert": 1.0,
    "rank_share_auxiliary": 2.0,
    "rank_log_ratio": log(1 / 2),
    "subspace_overlap": 1.0,  # the expert's one input direction lies in the auxiliary's two
}


@pytest.mark.parametrize("name", WANTED)
def test_by_hand(name: str) -> None:
    vector = features(EXPERT, AUXILIARY, BASE, TASK)
    assert vector[name] == pytest.approx(WANTED[name], rel=1e-6)


@pytest.mark.parametrize("name", ["delta_norm_expert.mlp", "delta_cosine.early", "sign_conflict"])
def test_what_is_not_there_is_missing(name: str) -> None:
    base = None if name == "sign_conflict" else BASE
    assert isnan(features(EXPERT, AUXILIARY, base, TASK)[name])
