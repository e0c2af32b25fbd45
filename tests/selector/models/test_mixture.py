"""The contest between heads and the arm-conditioned forest, and arms that were never trained."""

from dataclasses import replace

import numpy as np
import pytest

from simmerge_hub.operators import PAPER_ARMS, arm
from simmerge_hub.selector.models import conditioned, mixture
from simmerge_hub.selector.tables.rows import join
from simmerge_hub.signatures.merged.effects import EFFECT_NAMES


@pytest.fixture(scope="module")
def rows(known):
    """With one effect of each arm that says how far it will get."""
    outcomes, features = known
    found = join(outcomes, features, outcomes.arms)
    noise = np.random.default_rng(0).normal(scale=0.02, size=found.gains.shape)
    return replace(found, effect_names=EFFECT_NAMES[:1], effects=(found.gains + noise)[:, :, None])


def test_what_knows_more_wins_the_contest(rows):
    assert mixture.contest(rows, seed=0).share > 0
    blind = replace(rows, effects=np.full_like(rows.effects, np.nan))
    fitted = mixture.fit(blind, mixture.Size(heads=30, conditioned=30, share=0.0), seed=0)
    alone, forest = mixture.parts(fitted, blind.values, blind.effects)
    assert np.array_equal(mixture.predict(fitted, blind.values, blind.effects), alone)
    mixed = mixture.predict(replace(fitted, share=0.5), blind.values, blind.effects)
    assert mixed == pytest.approx((alone + forest) / 2)


def test_an_arm_that_was_not_trained_is_ranked_by_what_it_does(rows):
    seen = rows.only([0, 2, 3])
    fitted = mixture.fit(seen, mixture.Size(heads=30, conditioned=60, share=1.0), seed=0)
    unseen = rows.only([1])
    guess = mixture.predict_arms(fitted, unseen.values, unseen.effects, unseen.arms)[:, 0]
    assert np.corrcoef(guess, unseen.gains[:, 0])[0, 1] > 0.9


def test_few_rows_have_a_size_without_a_contest(rows):
    few = rows.take(np.arange(1))
    assert mixture.contest(few, seed=0) == mixture.Size()


def test_what_an_arm_is_can_be_told():
    trained = conditioned.operators([*PAPER_ARMS, arm("slerp", t=0.25)])
    assert trained == ("linear", "slerp", "ties")
    assert conditioned.describe(arm("ties", density=0.2), trained) == [1, 0.2, 1, 0.5, 0, 0, 1]
    assert conditioned.describe(arm("linear", weights=(0.6, 0.2)), trained)[3] == pytest.approx(
        0.75
    )
    assert conditioned.describe(arm("slerp", t=0.25), trained)[3] == pytest.approx(0.75)
    assert conditioned.describe(arm("task_arithmetic", scale=0.4), trained) == [
        1, 1, 0.4, 0.5, 0, 0, 0,
    ]  # fmt: skip


def test_effects_that_need_a_base_are_hidden_with_it():
    values = np.ones((2, 3, len(EFFECT_NAMES)))
    assert np.isnan(
        conditioned.hide_effects(values, EFFECT_NAMES, ("base",))
    ).mean() == pytest.approx(7 / 9)
    assert np.array_equal(conditioned.hide_effects(values, EFFECT_NAMES, ("attention",)), values)
