"""Features of dose and response: whose they are, what is missing, and who need not have them."""

from dataclasses import replace

import numpy as np
import pytest

from simmerge_hub.signatures.features.registry import OPTIONAL
from simmerge_hub.signatures.features.vector import FEATURE_NAMES, KNOWN, features, names_of, reads
from simmerge_hub.signatures.probing.dosing.response import Cross
from tests.signatures.by_hand import TASK, response, signature

KEPT = [[0, 0], [0, 1], [1, 0], [1, 1], [1, 1], [0, 0]]
LOGLIKS = [-4.0, -3.0, -2.0, -1.0, 0.0, -5.0]
NAMES = tuple(OPTIONAL)
BASE = signature("base", [[1.0, 0.0]])
TOLD = response(KEPT, LOGLIKS, lengths=[1, 1], base="base")


def models(**responses):
    """An expert and an auxiliary of a matrix each, with the responses given."""
    weights = {"expert": [[1.0, 1.0]], "auxiliary": [[2.0, 0.0]]}
    return [
        replace(signature(side, weights[side]), responses={TASK: told} if told else {})
        for side, told in ((side, responses.get(side)) for side in weights)
    ]


def test_each_side_has_its_own() -> None:
    other = response([[1, 1]] * 6, [-2.0, 0, 0, 0, 0, 0], base="base")
    told = features(*models(expert=TOLD, auxiliary=other), BASE, TASK, names=NAMES)
    assert told.names == NAMES
    expert = {
        "dose_answers_expert.s03": 0.5, "dose_tokens_expert.s05": 0.5, "dose_loglik_expert.s07": -1,
        "dose_loglik_expert.s15": -5, "dose_gain_expert": 4, "dose_half_expert": 0.5,
        "dose_area_expert": 0.3 * 0.25 + 0.2 * 0.5 + 0.2 * 0.75 + 0.3,
    }  # fmt: skip
    assert {name: told[name] for name in expert} == pytest.approx(expert)
    assert told["dose_answers_auxiliary.s03"] == 1
    assert told["dose_half_auxiliary"] == pytest.approx(0.15)


def test_what_was_not_measured_is_missing() -> None:
    told = features(*models(expert=TOLD), BASE, TASK, names=NAMES)
    for name in NAMES:
        known = name.startswith("dose") and "_expert" in name
        assert np.isfinite(told[name]) == known, name
    other_base = replace(BASE, digest="other")
    for base in (None, other_base):
        told = features(*models(expert=TOLD), base, TASK, names=NAMES)
        assert np.isnan(told.values).all()


def test_the_mean_of_both_is_read_beside_the_response() -> None:
    cross = Cross(kept=np.array([True, False]), logliks=np.array([-1.0, -3.0], np.float32))
    told = features(*models(expert=TOLD), BASE, TASK, names=NAMES, cross={"expert": cross})
    crossed = [f"cross_{what}_expert" for what in ("answers", "tokens", "loglik", "regained")]
    assert [told[name] for name in crossed] == pytest.approx([0.5, 0.5, -2, 0.5])
    assert np.isnan(told["cross_answers_auxiliary"])


def test_nobody_gets_them_unasked(family) -> None:
    plain = features(family.expert, family.auxiliary, family.base, "strings")
    assert plain.names == FEATURE_NAMES == names_of([])
    assert not set(FEATURE_NAMES) & OPTIONAL.keys()
    with_doses = features(
        family.expert, family.auxiliary, family.base, "strings", names=names_of(["dose"])
    )
    assert np.array_equal(with_doses.values[: len(FEATURE_NAMES)], plain.values, equal_nan=True)


def test_names_follow_from_what_is_measured() -> None:
    assert {*names_of(["dose"])} - {*FEATURE_NAMES} == {n for n in NAMES if n.startswith("dose")}
    assert {*names_of(["dose", "cross"])} == KNOWN.keys()
    assert reads(names_of(["dose"]), "dose") and not reads(names_of(["dose"]), "cross")
    assert not reads(FEATURE_NAMES, "dose") and not reads(["unheard of"], "dose")


def test_swapping_the_models_swaps_them() -> None:
    for name in NAMES:
        assert KNOWN[KNOWN[name].swap].swap == name != KNOWN[name].swap
        assert KNOWN[name].summary.endswith(".")
