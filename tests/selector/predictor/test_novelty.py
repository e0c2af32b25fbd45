from dataclasses import replace

import numpy as np
import pytest

from simmerge_hub.operators import PAPER_ARMS
from simmerge_hub.selector.predictor.novelty import distances, judge, scale, survey
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
    states = [judge(familiar, row, rows.names, parameters=600_000).status for row in values]
    assert states.count("calibrated") / len(states) > 0.8
    assert "abstained" not in states


def test_a_difference_in_scale_extrapolates(rows, familiar):
    scaled = rows.values.copy()
    for name in ("delta_norm_expert.all", "delta_norm_auxiliary.all"):
        scaled[:, rows.names.index(name)] *= 1000
    states = [judge(familiar, row, rows.names, parameters=600_000).status for row in scaled]
    assert states.count("extrapolated") / len(states) > 0.9
    assert "abstained" not in states


def test_larger_models_extrapolate(rows, familiar):
    row = rows.values[0]
    assert judge(familiar, row, rows.names, parameters=2_400_000).status == "calibrated"
    found = judge(familiar, row, rows.names, parameters=7_000_000_000)
    assert found.status == "extrapolated"
    assert found.scale == pytest.approx(np.log(7_000_000_000 / 2_400_000))
    assert "7,000,000,000 parameters; training saw 600,000 and 2,400,000" in found.reason


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        (600_000, 0),
        (700_000, 0),
        (1_200_000, np.log(2)),
        (4_800_000, np.log(2)),
        (300_000, np.log(2)),
        (None, np.inf),
    ],
)
def test_scale_is_the_ratio_to_the_nearest_size(parameters, expected):
    assert scale(parameters, (600_000, 2_400_000)) == pytest.approx(expected)
    assert scale(parameters, None) == np.inf


def test_a_combination_never_seen_is_far(make_zoo):
    """Every value is ordinary by itself; together they contradict each other."""
    rows = join(*make_zoo(models=24), PAPER_ARMS)
    latent = np.random.default_rng(0).normal(size=len(rows))
    signs = np.resize([1, -1], len(rows.names))
    noise = 0.05 * np.random.default_rng(1).normal(size=rows.values.shape)
    rows.values[:] = latent[:, None] * signs + noise
    familiar = survey(rows, parameters=(600_000, 600_000))
    found = judge(familiar, np.full(len(rows.names), 1.2), rows.names, parameters=600_000)
    assert found.status == "extrapolated"
    assert found.outside == 0
    assert "away (0 = alike)" in found.reason
    usual = judge(familiar, 1.2 * signs, rows.names, parameters=600_000)
    assert usual.status == "calibrated"


def test_far_outside_everything(rows, familiar):
    found = judge(familiar, np.full(len(rows.names), 1e6), rows.names, parameters=600_000)
    assert (found.status, found.outside) == ("extrapolated", 1.0)
    assert set(found.strange) == set(rows.names)


def test_nothing_known_is_all_outside(rows, familiar):
    nothing = np.full(len(rows.names), np.nan)
    found = judge(familiar, nothing, rows.names, parameters=600_000)
    assert (found.status, found.outside) == ("extrapolated", 1.0)


def test_a_pattern_never_seen_abstains(rows, familiar):
    never = replace(familiar, limits={})
    found = judge(never, rows.values[0], rows.names, parameters=600_000)
    assert (found.status, found.reason) == (
        "abstained",
        "pairs complete features were never seen in training",
    )


def test_held_out_rows_are_as_far_as_a_predictor_of_the_others_would_say(rows):
    """The distances of the record are those that `judge` gives."""
    first = np.arange(len(rows)) < 60
    known, asked = rows.take(np.flatnonzero(first)), rows.take(np.flatnonzero(~first))
    familiar = survey(known, parameters=(600_000, 600_000))
    for pattern in PATTERNS:
        values = hide(asked.values, rows.names, pattern)
        said = [judge(familiar, row, rows.names, parameters=600_000) for row in values]
        expected = [found.coordinates[1:] for found in said]
        assert np.allclose(distances(known, asked, pattern), expected)
