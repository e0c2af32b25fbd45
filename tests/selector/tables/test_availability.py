import numpy as np
import pytest

from simmerge_hub.selector.tables.availability import PATTERNS, hide, missing, spell
from simmerge_hub.signatures.features.vector import FEATURE_NAMES


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
