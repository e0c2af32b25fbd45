import numpy as np
import pytest

from simmerge_hub.operators import arm
from simmerge_hub.selector.tables.rows import Rows
from simmerge_hub.selector.training.objectives import both_tasks, each_task

ARMS = (
    arm("linear"),
    arm("linear", weights=(0.7, 0.3)),
    arm("linear", weights=(0.3, 0.7)),
)


@pytest.fixture
def rows() -> Rows:
    """a and b are each the expert once; c only ever helps."""
    gains = np.array([[0.4, 0.9, 0.1], [0.5, 0.8, 0.0], [0.3, 0.3, 0.3]])
    return Rows(
        experts=("a", "b", "a"),
        auxiliaries=("b", "a", "c"),
        tasks=("t/a", "t/b", "t/a"),
        regimes=("r", "r", "r"),
        names=(),
        schema=1,
        arms=ARMS,
        values=np.empty((3, 0)),
        gains=gains,
        halves=np.stack([gains, gains], axis=2),
        base_gains=np.zeros(3),
        effect_names=(),
        effects=np.empty((3, 3, 0)),
        weights=np.ones(3),
    )


def test_a_pair_is_judged_on_both_tasks_with_arms_swapped(rows):
    found = both_tasks(rows, {"mine": rows.gains})
    assert found is not None
    assert (found.first, found.second) == (("a",), ("b",))
    assert found.gains == pytest.approx(np.array([[0.45, 0.45, 0.45]]))
    assert found.scores["mine"] == pytest.approx(found.gains)
    assert found.halves.shape == (1, 3, 2)


def test_each_task_is_a_case(rows):
    assert each_task(rows, {}).gains is rows.gains


def test_without_a_swapped_arm_there_are_no_pairs(rows):
    assert both_tasks(rows.only([0, 1]), {}) is None


def test_without_both_roles_there_are_no_pairs(rows):
    assert both_tasks(rows.take(np.array([0, 2])), {}) is None
