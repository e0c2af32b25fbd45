import numpy as np
import pytest

from simmerge_hub.operators import PAPER_ARMS
from simmerge_hub.selector.predictor.novelty import judge, survey
from simmerge_hub.selector.tables.availability import PATTERNS, hide, spell
from simmerge_hub.selector.tables.rows import join


@pytest.fixture(scope="module")
def rows(known):
    return join(*known, PAPER_ARMS)


@pytest.fixture(scope="module")
def familiar(rows):
    return survey(rows, parameters=(600_000, 2_400_000))


@pytest.mark.parametrize("pattern", PATTERNS, ids=spell)
def test_it_stays_quiet_for_pairs_of_new_models(make_zoo, rows, familiar, pattern):
    others = join(*make_zoo(models=24, seed=9), PAPER_ARMS)
    values = hide(others.values, rows.names, pattern)
    states = [judge(familiar, row, rows.names).status for row in values]
    assert states.count("calibrated") / len(states) > 0.8
    assert states.count("abstained") / len(states) < 0.06


def test_a_difference_in_scale_extrapolates(rows, familiar):
    scaled = rows.values.copy()
    for name in ("delta_norm_expert.all", "delta_norm_auxiliary.all"):
        scaled[:, rows.names.index(name)] *= 1000
    states = [judge(familiar, row, rows.names).status for row in scaled]
    assert states.count("extrapolated") / len(states) > 0.9
    assert states.count("abstained") / len(states) < 0.06


def test_larger_models_extrapolate(rows, familiar):
    row = rows.values[0]
    assert judge(familiar, row, rows.names, parameters=5_000_000).status == "calibrated"
    found = judge(familiar, row, rows.names, parameters=7_000_000_000)
    assert found.status == "extrapolated"
    assert "7,000,000,000 parameters; training saw 600,000 to 2,400,000" in found.reason


def test_a_combination_never_seen_abstains(make_zoo):
    """Every value is ordinary by itself; together they contradict each other."""
    rows = join(*make_zoo(models=24), PAPER_ARMS)
    latent = np.random.default_rng(0).normal(size=len(rows))
    signs = np.resize([1, -1], len(rows.names))
    noise = 0.05 * np.random.default_rng(1).normal(size=rows.values.shape)
    rows.values[:] = latent[:, None] * signs + noise
    familiar = survey(rows)
    found = judge(familiar, np.full(len(rows.names), 1.2), rows.names)
    assert found.status == "abstained"
    assert found.outside == 0
    assert "mean ranks away" in found.reason
    assert judge(familiar, 1.2 * signs, rows.names).status == "calibrated"


def test_far_outside_everything_abstains(rows, familiar):
    found = judge(familiar, np.full(len(rows.names), 1e6), rows.names)
    assert (found.status, found.outside) == ("abstained", 1.0)
    assert set(found.strange) == set(rows.names)


def test_nothing_known_abstains(rows, familiar):
    found = judge(familiar, np.full(len(rows.names), np.nan), rows.names)
    assert found.status == "abstained"
