import numpy as np
import pytest

from simmerge_hub.selector.tables.availability import (
    PATTERNS,
    hide,
    hide_each,
    measured_columns,
    missing,
    patterns,
    spell,
    spellings,
)
from simmerge_hub.signatures.features.vector import FEATURE_NAMES, names_of

DOSED, CROSSED = names_of(["dose"]), names_of(["dose", "cross"])


@pytest.mark.parametrize("pattern", PATTERNS, ids=spell)
def test_what_is_hidden_is_found_missing(pattern):
    values = np.ones(len(FEATURE_NAMES))
    assert missing(hide(values, FEATURE_NAMES, pattern), FEATURE_NAMES) == pattern
    assert np.isfinite(values).all()


def test_weights_are_always_there():
    everything = hide(np.ones(len(FEATURE_NAMES)), FEATURE_NAMES, PATTERNS[-1])
    assert np.isfinite(everything[FEATURE_NAMES.index("weight_cosine")])
    assert np.isnan(everything[FEATURE_NAMES.index("delta_norm_expert.all")])


def test_one_missing_feature_is_not_a_missing_family():
    values = np.ones(len(FEATURE_NAMES))
    values[FEATURE_NAMES.index("delta_norm_expert.head")] = np.nan
    assert missing(values, FEATURE_NAMES) == ()


def test_patterns_are_spelled():
    assert spell(()) == "complete"
    assert spell(("base", "attention")) == "without base, attention"


def test_without_optional_families_nothing_changes():
    assert patterns(FEATURE_NAMES) == PATTERNS


@pytest.mark.parametrize(("names", "count"), [(DOSED, 8), (CROSSED, 10)])
def test_optional_families_are_missing_where_what_they_need_is(names, count):
    known = patterns(names)
    assert len(known) == len(set(known)) == count
    assert known[0] == ()
    optional = [f for f in ("dose", "cross") if f in {family for p in known for family in p}]
    for pattern in known:
        values = np.ones(len(names))
        assert missing(hide(values, names, pattern), names) == pattern
        if {"base", "behaviour"} & set(pattern):
            assert pattern[-len(optional) :] == tuple(optional)
        assert spell(pattern) in spellings()
    assert tuple(dict.fromkeys(tuple(f for f in p if f not in optional) for p in known)) == PATTERNS


def test_each_row_loses_its_own_pattern():
    known = patterns(CROSSED)
    hidden = hide_each(np.ones((len(known), len(CROSSED))), CROSSED, np.arange(len(known)))
    assert tuple(missing(row, CROSSED) for row in hidden) == known


def test_what_no_row_has_is_not_learned_from():
    values = np.ones((3, len(CROSSED)))
    values[:, [name.startswith("cross") for name in CROSSED]] = np.nan
    values[0, :] = np.nan
    kept = measured_columns(values, CROSSED)
    assert tuple(name for name, one in zip(CROSSED, kept, strict=True) if one) == DOSED
    nothing = np.full((3, len(CROSSED)), np.nan)
    kept = measured_columns(nothing, CROSSED)
    assert tuple(name for name, one in zip(CROSSED, kept, strict=True) if one) == FEATURE_NAMES
