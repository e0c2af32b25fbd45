from dataclasses import replace

import numpy as np
import pytest

from simmerge_hub.operators import PAPER_ARMS
from simmerge_hub.selector.models import linear, mixture
from simmerge_hub.selector.models.conformal import WIDEST
from simmerge_hub.selector.models.mixture import Size
from simmerge_hub.selector.predictor.wording import OWN_WEIGHT
from simmerge_hub.selector.tables.rows import join
from simmerge_hub.selector.training.train import digest, train
from simmerge_hub.selector.training.weighing import WEIGHTS, combine, weigh

SMALL = Size(heads=10, conditioned=25)


@pytest.fixture(scope="module")
def others(make_zoo):
    return join(*make_zoo(models=24), PAPER_ARMS)


@pytest.fixture(scope="module")
def own(make_zoo):
    """A catalogue in which the arm that is right elsewhere is wrong."""
    rows = join(*elsewhere(make_zoo), PAPER_ARMS)
    return replace(rows, gains=rows.gains[:, ::-1].copy())


def elsewhere(make_zoo):
    """A zoo of the same rule whose models have names of their own."""
    outcomes, features = make_zoo(models=8, seed=3)
    rows = tuple(
        replace(row, expert=f"x-{row.expert}", auxiliary=f"x-{row.auxiliary}", regime="other")
        for row in outcomes.rows
    )
    named = {(f"x-{e}", f"x-{a}", task): of for (e, a, task), of in features.rows.items()}
    return replace(outcomes, rows=rows), replace(features, rows=named)


def test_a_catalogue_unlike_the_others_counts_more(own, others):
    assert weigh(own, others, size=SMALL, seed=0) > 1


def test_then_the_choice_follows_the_catalogue(own, others):
    weight = weigh(own, others, size=SMALL, seed=0)
    share = {}
    for each in (1.0, weight):
        fitted = mixture.fit(combine(own, [others], each), SMALL, seed=0)
        predicted = mixture.predict(fitted, own.values, own.effects)
        share[each] = (predicted.argmax(axis=1) == own.gains.argmax(axis=1)).mean()
    assert share[weight] > share[1.0] + 0.1


def test_no_weight_makes_far_more_of_a_catalogue_than_of_all_others(own, others):
    few = others.take(np.arange(len(own)))
    assert weigh(own, few, size=SMALL, seed=0) <= WEIGHTS[1]


def test_a_catalogue_of_which_no_model_can_be_left_out_counts_as_it_is(own, others):
    pair = [
        i for i, each in enumerate(own.experts) if {each, own.auxiliaries[i]} <= {*own.models[:2]}
    ]
    assert weigh(own.take(np.array(pair)), others, seed=0) == 1


def test_a_row_of_weight_two_is_a_row_that_stands_twice(own):
    """Of the line; a forest draws its examples."""
    first, *rest = range(len(own))
    twice = own.take(np.array([first, first, *rest]))
    heavy = replace(own, weights=np.array([2.0] + [1.0] * len(rest)))
    penalty = 100.0
    fitted = linear.fit(heavy, penalty * len(own) / len(twice))
    wanted = linear.fit(twice, penalty)
    for name in ("mean", "spread", "intercept", "weights"):
        assert np.allclose(getattr(fitted, name), getattr(wanted, name)), name


def test_a_predictor_says_how_much_its_own_rows_count(make_zoo):
    made = train([elsewhere(make_zoo)], others=[make_zoo(models=8)], arms=PAPER_ARMS[:2])
    assert made.report[OWN_WEIGHT] in WEIGHTS
    assert set(made.regimes) == {"small-0", "small-1", "other"}


def test_intervals_are_those_of_ones_own_models(make_zoo):
    """A thousand rows of others that are foreseen well make nobody surer of thirty that are not."""
    arms = PAPER_ARMS[:2]
    mine, theirs = elsewhere(make_zoo), make_zoo(models=8)
    made = train([mine], others=[theirs], arms=arms)
    assert 0 < made.radii["complete"].rows <= len(join(*mine, arms))
    assert train([mine, theirs], arms=arms).radii["complete"].rows > len(join(*mine, arms))
    few = (replace(mine[0], rows=mine[0].rows[:4]), mine[1])
    assert train([few], others=[theirs], arms=arms).conditioned.unmeasured == WIDEST


def test_what_was_learned_from_is_told_apart_by_weights(own):
    """As it was where all rows count alike, whatever they count."""
    assert digest(own.weighed(4.0)) == digest(own)
    uneven = replace(own, weights=np.linspace(1.0, 2.0, len(own)))
    assert digest(uneven) != digest(own)
