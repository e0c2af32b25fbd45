"""Average linkage against a tree made by hand, and against SciPy's."""

import numpy as np
import pytest
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from simmerge_hub.signatures.map.linkage import average_linkage


def random(count: int, seed: int) -> np.ndarray:
    """Symmetric distances with a zero diagonal."""
    upper = np.triu(np.random.default_rng(seed).random((count, count)), 1)
    return upper + upper.T


def test_a_tree_made_by_hand():
    distance = np.array([[0, 4, 1, 6], [4, 0, 3, 2.5], [1, 3, 0, 8], [6, 2.5, 8, 0]])
    tree = average_linkage(distance)
    assert [(m.nodes, m.height) for m in tree.joins] == [
        ((0, 2), 1),
        ((1, 3), 2.5),
        ((4, 5), (4 + 6 + 3 + 8) / 4),
    ]
    assert [set(m.models) for m in tree.joins] == [{0, 2}, {1, 3}, {0, 1, 2, 3}]
    # 2 and 1 are the nearest across the two halves, so they meet in the middle
    assert tree.order == (0, 2, 1, 3)


@pytest.mark.parametrize("count", [2, 3, 7, 40])
def test_heights_are_scipy_s(count):
    distance = random(count, seed=count)
    theirs = hierarchy.linkage(squareform(distance), "average")
    tree = average_linkage(distance)
    assert [m.height for m in tree.joins] == pytest.approx(theirs[:, 2])
    assert [len(m.models) for m in tree.joins] == theirs[:, 3].tolist()


@pytest.mark.parametrize("seed", range(5))
def test_every_merge_is_a_run_of_the_order(seed):
    tree = average_linkage(random(12, seed))
    assert sorted(tree.order) == list(range(12))
    place = {model: i for i, model in enumerate(tree.order)}
    for merge in tree.joins:
        places = sorted(place[model] for model in merge.models)
        assert places == list(range(places[0], places[0] + len(places)))


def test_equal_distances_are_joined_in_reading_order():
    tree = average_linkage(np.ones((4, 4)) - np.eye(4))
    assert [m.nodes for m in tree.joins] == [(0, 1), (4, 2), (5, 3)]
    assert average_linkage(np.zeros((3, 3))).joins[-1].height == 0


def test_the_distances_given_are_left_alone():
    distance = random(5, seed=0)
    before = distance.copy()
    average_linkage(distance)
    assert np.array_equal(distance, before)
