"""The learner for few models that a benchmark compares with the package's."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import gaussian
from benchmarks.gaussian import Setting
from simmerge_hub.operators import PAPER_ARMS
from simmerge_hub.selector.tables.rows import Rows, join
from tests.selector.conftest import zoo

SETTING = Setting(features=2, noise=1.0)


@pytest.fixture(scope="module")
def rows(known) -> Rows:
    """The first arm is the better the larger the third feature, whatever the others are."""
    found = join(*known, PAPER_ARMS)
    gains = np.tile(0.5, (len(found), 3))
    gains[:, 0] += 0.2 * np.tanh(found.values[:, 2])
    return replace(found, gains=gains)


def test_ranks_share_ties_and_leave_out_what_is_missing() -> None:
    told = next(gaussian.ranks(np.array([[7.0], [np.nan], [3.0], [7.0], [9.0]])))
    ranks = np.array([2.5, 1, 2.5, 4])
    assert told[[0, 2, 3, 4]] == pytest.approx((ranks - 2.5) / ranks.std())
    assert told[1] == 0
    assert not next(gaussian.ranks(np.ones((4, 1)))).any()


def test_it_reads_what_goes_with_the_choice(rows: Rows) -> None:
    assert 2 in gaussian.screen(rows, 1)
    flat = replace(rows, values=np.where(np.arange(len(rows.names)) == 2, rows.values, np.nan))
    assert gaussian.screen(flat, 3).tolist() == [2]


def test_two_known_rows_are_weighed_by_how_near_they_are(rows: Rows) -> None:
    """Against the closed form for two points, worked out by hand."""
    known = rows.take(np.array([0, 1]))
    known = replace(known, values=np.array([[-1.0], [1.0]]), names=("x",))
    known = replace(known, gains=np.array([[0.0, 1.0, 0.5], [1.0, 0.0, 0.5]]))
    asked = replace(known.take(np.array([0])), values=np.array([[0.5]]))
    found = gaussian.predict(known, asked, None, Setting(features=1, noise=1.0))[0]
    between, near, far = np.exp(-2.0), np.exp(-0.125), np.exp(-1.125)
    lead = 0.5 * (near - far) / (2 - between)
    assert found == pytest.approx([0.5 + lead, 0.5 - lead, 0.5])


def test_another_world_is_learned_from_as_well(rows: Rows) -> None:
    turned = replace(rows, gains=1 - rows.gains)
    alone = gaussian.predict(rows, rows, None, SETTING)
    both = gaussian.predict(rows, rows, turned, SETTING)
    assert np.ptp(both[:, 0]) < np.ptp(alone[:, 0]) / 4


def test_it_finds_the_better_arm_of_models_held_out() -> None:
    known, asked = (join(*zoo(models=14, seed=seed), PAPER_ARMS) for seed in (1, 2))
    chosen = gaussian.ask(known, asked, seed=0).argmax(axis=1)
    taken = asked.gains[np.arange(len(asked)), chosen].mean()
    assert taken > asked.gains.mean(axis=0).max() + 0.5 * np.ptp(
        [asked.gains.max(axis=1).mean(), asked.gains.mean(axis=0).max()]
    )
