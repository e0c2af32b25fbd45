from dataclasses import replace

import numpy as np
import pytest

from simmerge_hub.errors import PredictorError
from simmerge_hub.operators import arm
from simmerge_hub.selector.predictor.wording import TIE
from simmerge_hub.selector.tables.availability import hide

RULE = ("delta_log_ratio.all", "delta_norm_expert.all", "delta_norm_auxiliary.all")


SIZE = 600_000
"""Parameters of the made-up bases."""


def rank(predictor, pair, **options):
    options = {"parameters": SIZE} | options
    return predictor.predict(pair.given(pair.values), task=pair.task, **options)


def test_the_best_comes_first_with_an_interval(predictor, pair):
    ranking = rank(predictor, pair)
    assert ranking.status == "calibrated"
    assert ranking.best.arm.label == "ties(density=0.2)"
    utilities = [p.gain for p in ranking.kept]
    assert utilities == sorted(utilities, reverse=True)
    assert len(ranking.kept) == len(predictor.arms)
    for found in ranking.kept:
        assert -1 <= found.low <= found.gain <= found.high <= 1.5
        assert found.task == pair.task


def test_the_first_has_the_interval_of_a_chosen_arm(predictor, pair):
    best, second = rank(predictor, pair).kept[:2]
    radii = predictor.radii["complete"]
    place = [a.label for a in predictor.arms].index(second.arm.label)
    assert best.gain - best.low == pytest.approx(radii.chosen)
    assert second.gain - second.low == pytest.approx(radii.arms[place])


def test_the_reason_names_what_decided(predictor, pair):
    ranking = rank(predictor, pair)
    strongest = ranking.contributions[0]
    assert strongest.feature in RULE
    assert strongest.lead > 0
    assert ranking.reason.startswith("ties(density=0.2) over ")
    assert f", because {strongest.says}" in ranking.reason
    assert strongest.feature == "delta_log_ratio.all"
    assert (
        strongest.says == f"the expert's delta is {np.exp(strongest.value):.2g} times the other's"
    )


def test_equal_arms_are_called_tied(predictor, pair, known):
    rankings = [
        predictor.predict(pair.given(values), task="t", parameters=SIZE)
        for values in known[1].rows.values()
    ]
    tied = [r for r in rankings if r.kept[0].gain - r.kept[1].gain <= TIE]
    assert 0 < len(tied) < len(rankings)
    for ranking in tied:
        first, second = (p.arm.label for p in ranking.kept[:2])
        assert ranking.reason.startswith(f"{first} (tied with {second}")


def test_without_a_base_arms_on_deltas_are_rejected(predictor, pair):
    pair.values = hide(pair.values, predictor.names, ("base",))
    ranking = rank(predictor, pair)
    assert {p.arm.label for p in ranking.kept} == {"linear", "slerp"}
    assert {a.label: why for a, why in ranking.rejected} == dict.fromkeys(
        ("ties(density=0.2)", "task_arithmetic(scale=1)"),
        "works on deltas, and there is no common base",
    )


def test_arms_can_be_chosen(predictor, pair):
    ranking = rank(predictor, pair, arms=[arm("linear"), arm("nuslerp")])
    assert [p.arm.label for p in ranking.kept] == ["linear"]
    assert ranking.reason == "linear is the only merge that can be used"
    why = {a.label: reason for a, reason in ranking.rejected}
    assert (why["nuslerp"], why["slerp"]) == ("not trained", "not asked for")


def test_an_arm_that_was_not_trained_is_scored_from_what_it_does(predictor, pair):
    arms = [arm("linear"), arm("nuslerp")]
    ranking = rank(predictor, pair, arms=arms, effects={"nuslerp": np.empty(0)})
    assert {p.arm.label for p in ranking.kept} == {"linear", "nuslerp"}
    (unseen,) = (p for p in ranking.kept if p.arm.label == "nuslerp")
    assert unseen.high - unseen.gain == pytest.approx(predictor.conditioned.unmeasured)
    assert not predictor.reads_effects(arms[:1]) or predictor.conditioned.share > 0
    assert predictor.reads_effects(arms)


def test_effects_that_are_read_must_be_given(predictor, pair):
    reading = replace(
        predictor,
        conditioned=replace(predictor.conditioned, effects=("merge_rest",), share=0.5),
    )
    with pytest.raises(PredictorError, match=r"must be told what .* does to the pair"):
        rank(reading, pair)
    given = {a.label: np.zeros(2) for a in reading.arms}
    with pytest.raises(PredictorError, match="reads 1 effects of an arm, but is given 2"):
        rank(reading, pair, effects=given)


def test_no_arm_left_is_an_error_with_the_trace(predictor, pair):
    pair.values = hide(pair.values, predictor.names, ("base",))
    with pytest.raises(PredictorError, match=r"no arm is left: .*ties.*no common base"):
        rank(predictor, pair, arms=[arm("ties", density=0.2)])


def test_leads_that_held_out_pairs_bore_out_are_acted_on(predictor, pair, known):
    column = predictor.names.index("delta_log_ratio.all")
    pair.values = min(known[1].rows.values(), key=lambda values: float(values[column]))
    ranking = rank(predictor, pair)
    assert ranking.trust.followed
    assert ranking.chosen == ranking.best
    assert ranking.safe.arm.label == "ties(density=0.2)"
    assert ranking.best.arm.label in ("linear", "slerp")
    assert ranking.trust.lead > ranking.trust.error
    assert ranking.trust.models >= 9


def test_features_unlike_any_that_were_held_out_take_the_safe_arm(predictor, pair):
    pair.values[:] = 1e6
    ranking = rank(predictor, pair)
    assert ranking.status == "abstained"
    assert not ranking.trust.followed
    assert ranking.chosen.arm == arm("linear")
    assert all((p.low, p.high) == (-1, 1.5) for p in ranking.kept)
    assert "no held-out pair was as far from training" in ranking.trust.reason
    known = f"linear is the safe choice: on {predictor.beyond.pairs} pairs of "
    assert ranking.trust.reason.startswith(known)
    assert ranking.reason.endswith("; not followed: linear is the safe choice")


@pytest.mark.parametrize("parameters", [270_000_000, 7_000_000_000, None])
def test_far_larger_models_take_linear_however_ordinary_their_features(predictor, pair, parameters):
    ranking = rank(predictor, pair, parameters=parameters)
    assert ranking.best.arm.label == "ties(density=0.2)"
    assert ranking.status == "abstained"
    assert ranking.chosen.arm == arm("linear")
    assert "ranking (ties(density=0.2) first) is not followed" in ranking.trust.reason
    assert ranking.novelty.reason in ranking.trust.reason


def test_the_safe_arm_far_away_is_read_from_outcomes(predictor, pair):
    other = replace(predictor, beyond=replace(predictor.beyond, gains={"slerp": 0.9}))
    assert rank(other, pair, parameters=7_000_000_000).chosen.arm == arm("slerp")


def test_the_safe_arm_can_be_impossible(predictor, pair):
    gains = {"ties(density=0.2)": 0.9, "slerp": 0.5}
    other = replace(predictor, beyond=replace(predictor.beyond, gains=gains))
    pair.values = hide(np.full(len(other.names), 1e6), other.names, ("base",))
    assert rank(other, pair).chosen.arm == arm("slerp")


def test_features_of_which_nothing_is_known_take_the_safe_arm(predictor, pair):
    pair.values[:] = np.nan
    ranking = rank(predictor, pair)
    assert (ranking.status, ranking.chosen.arm) == ("abstained", arm("linear"))


def test_where_nothing_was_held_out_nothing_is_acted_on(predictor, pair):
    nothing = predictor.record.take(np.empty(0, dtype=np.intp))
    ranking = rank(replace(predictor, record=nothing), pair)
    assert (ranking.status, ranking.chosen.arm) == ("abstained", arm("linear"))


def test_other_features_are_refused(predictor, pair):
    features = pair.given(pair.values)
    for wrong in (replace(features, schema=2), replace(features, names=features.names[::-1])):
        with pytest.raises(PredictorError, match="features of schema 1") as caught:
            predictor.predict(wrong, task="t", parameters=SIZE)
        assert caught.value.hint == (
            "use the version of simmerge-hub that trained it, or train one with this version"
        )


def test_a_family_never_seen_has_no_calibration(predictor, pair):
    other = replace(predictor, radii={})
    ranking = rank(other, pair)
    assert all((p.low, p.high) == (-1, 1.5) for p in ranking.kept)
