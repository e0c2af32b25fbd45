"""Proposals: they follow from attempts and seed, and are never near a merge that was tried."""

import pytest

from simmerge_hub.learning.searching import proposals
from simmerge_hub.learning.searching.attempts import Attempt
from simmerge_hub.learning.searching.proposals import propose
from simmerge_hub.learning.searching.space import RANGES, arm_from


def _tried(points: list[dict]) -> list[Attempt]:
    return [Attempt(params=p, few=0.5, score=0.5 + i / 50, cost=1.25) for i, p in enumerate(points)]


@pytest.mark.parametrize("models", [2, 3])
def test_no_proposal_is_near_another(models: int) -> None:
    points: list[dict] = []
    for _ in range(12):
        points.append(propose(_tried(points), models, seed=3))
        arm_from(points[-1], models)
    for i, one in enumerate(points):
        assert not any(proposals._is_near(one, other) for other in points[:i])
    assert propose(_tried(points), models, seed=3) == propose(_tried(points), models, seed=3)
    assert propose([], models, seed=3) != propose([], models, seed=4)


def test_of_two_models_one_weight_says_both() -> None:
    point = propose([], 2, seed=0)
    assert point["weight.0"] + point["weight.1"] == pytest.approx(1.0)
    tried = {"operator": "linear", "weight.0": 0.9, "weight.1": 0.3}  # as an older state may say
    assert propose(_tried([tried]), 2, seed=0)["operator"] in RANGES


def test_near_is_of_one_operator_in_every_parameter() -> None:
    def ties(share: float, density: float) -> dict:
        own = {"ties.density": density, "ties.scale": 1.0}
        return {"operator": "ties", "weight.0": share, "weight.1": 1 - share, **own}

    assert proposals._is_near(ties(0.5, 0.5), ties(0.54, 0.7))
    assert not proposals._is_near(ties(0.5, 0.5), ties(0.6, 0.5))
    assert not proposals._is_near(ties(0.5, 0.5), ties(0.5, 0.8))
    linear = {"operator": "linear", "weight.0": 0.5, "weight.1": 0.5}
    assert not proposals._is_near(linear, ties(0.5, 0.5))
    assert proposals._is_near(linear, {"operator": "linear", "weight.0": 0.2, "weight.1": 0.2})
