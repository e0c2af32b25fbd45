"""Held-out evidence far enough away -> the ranking is followed; else the safe arm."""

from typing import Any

import numpy as np
import pytest

from simmerge_hub.operators import arm
from simmerge_hub.selector.predictor.measured.pairs import Measured
from simmerge_hub.selector.predictor.record import Record
from simmerge_hub.selector.predictor.trust import Grounds, Trust, combine, min_models

ARMS = (arm("linear"), arm("ties", density=0.2), arm("slerp"))
LINEAR, TIES, SLERP = (each.label for each in ARMS)
MODELS, SIZE = 14, 7e9
BEYOND = Measured(
    of="pairs of giants", origin="a test", parameters=10**9, pairs=3, gains={LINEAR: 0.9, TIES: 0.4}
)
FAR = (1.5, 0.1, 0.3)
"""As far as any held-out row."""


def record(predicted: Any, gains: Any, far: Any = FAR, size: float = SIZE) -> Record:
    """All ordered pairs of some models; every row has these predictions and gains, with a little
    that differs."""
    pairs = [(a, b) for a in range(MODELS) for b in range(MODELS) if a != b]
    rows = len(pairs)
    shift = np.linspace(-0.05, 0.05, rows)[:, None]
    return Record(
        arms=ARMS,
        kinds=("models",) * rows,
        experts=np.array([a for a, _ in pairs]),
        auxiliaries=np.array([b for _, b in pairs]),
        gains=np.tile(np.array(gains, dtype=float), (rows, 1)) + shift,
        predicted={"complete": np.tile(np.array(predicted, dtype=float), (rows, 1))},
        distances={"complete": np.tile(np.array(far, dtype=float), (rows, 1))},
        sizes=np.full(rows, size),
    )


def join(one: Record, other: Record) -> Record:
    """The rows of both."""
    return Record(
        arms=ARMS,
        kinds=(*one.kinds, *other.kinds),
        experts=np.concatenate([one.experts, other.experts]),
        auxiliaries=np.concatenate([one.auxiliaries, other.auxiliaries]),
        gains=np.concatenate([one.gains, other.gains]),
        predicted={"complete": np.concatenate([r.predicted["complete"] for r in (one, other)])},
        distances={"complete": np.concatenate([r.distances["complete"] for r in (one, other)])},
        sizes=np.concatenate([one.sizes, other.sizes]),
    )


def weigh(known: Record, lead: float, at: Any = (0.0, 0.0, 0.1), **options: Any) -> Trust:
    """Linear is ranked first, and leads TIES and SLERP by so much."""
    grounds = Grounds(
        record=known,
        beyond=BEYOND,
        pattern=options.pop("pattern", "complete"),
        coordinates=np.array(at, dtype=float),
        parameters=options.pop("parameters", SIZE),
        alpha=0.1,
        far="it is a giant",
    )
    leads = options.pop("leads", {LINEAR: 0.0, TIES: lead, SLERP: lead})
    return grounds.weigh(list(leads), leads, both=options.pop("both", False))


TRUE = record((0.6, 0.5, 0.5), (0.45, 0.5, 0.2))
"""Leads of 0.1 over TIES, the best fixed arm, turned out to be -0.05: too high by 0.15."""


@pytest.mark.parametrize("both", [False, True])
def test_a_lead_above_the_error_of_such_leads_is_acted_on(both: bool) -> None:
    found = weigh(TRUE, 0.2, both=both)
    assert (found.followed, found.safe, found.chosen) == (True, TIES, LINEAR)
    assert found.error == pytest.approx(0.15)
    assert found.reason.startswith(f"It leads {TIES}, the safe operator, by 0.20; leads no larger")


@pytest.mark.parametrize("both", [False, True])
def test_a_lead_below_it_takes_the_safe_arm(both: bool) -> None:
    found = weigh(TRUE, 0.14, both=both)
    assert (found.followed, found.chosen) == (False, TIES)
    assert found.reason.startswith(
        f"{TIES} is the safe choice: linear is ranked first, 0.14 ahead of it, but leads no larger "
        "were too high by 0.15 at most on "
    )


def test_the_bound_is_above_the_mean_error_where_models_differ() -> None:
    luck = np.random.default_rng(0).normal(0, 0.3, (MODELS, 1))
    known = record((0.6, 0.5, 0.5), (0.5, 0.5, 0.2))
    known.gains[:, :1] += luck[known.experts]
    mean = float((0.1 - (known.gains[:, 0] - known.gains[:, 1])).mean())
    assert weigh(known, 0.2).error > mean + 0.03


@pytest.mark.parametrize("place", [0, 1, 2])
def test_evidence_that_is_nearer_in_one_coordinate_shows_nothing(place: int) -> None:
    at = np.array(FAR)
    assert weigh(TRUE, 0.9, at).followed
    at[place] += 0.001
    found = weigh(TRUE, 0.9, at)
    assert (found.followed, found.chosen, found.cases) == (False, LINEAR, 0)
    assert np.isinf(found.error)


def test_models_of_another_size_do_not_speak_where_enough_of_ones_own_do() -> None:
    """Leads are right at the size that was trained on, and too high by half at another."""
    near = record((0.6, 0.5, 0.5), (0.6, 0.5, 0.5), (0.0, 0.1, 0.3))
    other = record((0.6, 0.1, 0.1), (0.1, 0.12, 0.1), FAR)
    known = join(near, other)
    found = weigh(known, 0.1)
    assert found.followed
    assert found.cases == len(near)
    assert found.error == pytest.approx(0, abs=1e-9)
    away = weigh(known, 0.4, (0.1, 0.0, 0.1))
    assert (away.followed, away.chosen) == (False, TIES)


@pytest.mark.parametrize(("parameters", "speaks"), [(8e9, True), (9e9, False), (None, False)])
def test_a_size_that_was_trained_on_speaks_for_its_own_bases_only(
    parameters: float | None, speaks: bool
) -> None:
    """Beside a thousand rows of small models, thirty of large ones."""
    right = record((0.6, 0.5, 0.5), (0.6, 0.5, 0.5), (0.0, 0.1, 0.3))
    found = weigh(right, 0.1, parameters=parameters)
    assert (found.followed, found.cases) == (speaks, len(right) if speaks else 0)


def test_where_too_few_models_are_of_ones_own_size_the_next_speak_too() -> None:
    near = record((0.6, 0.5, 0.5), (0.6, 0.5, 0.5), (0.0, 0.1, 0.3))
    few = near.take((near.experts < 3) & (near.auxiliaries < 3))
    assert weigh(join(few, TRUE), 0.2).cases == len(few) + len(TRUE)


def test_beyond_all_evidence_the_safe_arm_is_the_best_of_the_farthest_outcomes() -> None:
    leads = {TIES: 0.0, SLERP: 0.3, LINEAR: 0.4}
    found = weigh(TRUE, 0, (9.0, 0, 0), leads=leads)
    assert (found.followed, found.first, found.chosen) == (False, TIES, LINEAR)
    assert "on 3 pairs of giants, the nearest evidence there is, linear closed 0.90" in found.reason
    assert (
        f"own ranking ({TIES} first) is not followed: no held-out pair was as far" in found.reason
    )
    assert "from training (it is a giant)" in found.reason
    assert found.because[-1].startswith("To be surer, let some merges be tried first (--try 4)")


def test_the_safe_arm_is_one_that_can_be_used() -> None:
    leads = {SLERP: 0.0, TIES: 0.1}
    assert weigh(TRUE, 0, (9.0, 0, 0), leads=leads).chosen == TIES
    assert weigh(TRUE, 0, leads={SLERP: 0.0, LINEAR: 0.01}).chosen == LINEAR


def test_features_of_a_pattern_that_was_never_held_out_show_nothing() -> None:
    assert weigh(TRUE, 0.9, pattern="without base").cases == 0


def test_too_few_models_show_nothing() -> None:
    few = np.maximum(TRUE.experts, TRUE.auxiliaries) < min_models(0.1)
    enough = TRUE.take(few)
    assert weigh(enough, 0.9).followed
    fewer = enough.take(np.maximum(enough.experts, enough.auxiliaries) < min_models(0.1) - 1)
    found = weigh(fewer, 0.9)
    assert (found.followed, found.models) == (False, min_models(0.1) - 1)
    assert f"only {min_models(0.1) - 1} models were as far" in found.reason


def test_the_fewest_models_are_those_a_bound_of_this_level_needs() -> None:
    assert [min_models(alpha) for alpha in (0.1, 0.05, 0.5)] == [9, 19, 1]


def test_only_leads_no_larger_are_such_leads() -> None:
    """Large leads were much too high, small ones right: a small one is believed."""
    known = record((0.6, 0.5, 0.1), (0.48, 0.4, 0.1))
    large = np.arange(len(known)) % 2 == 0
    known.predicted["complete"][large] = (0.9, 0.1, 0.1)
    known.gains[large] = (-0.6, 0.4, 0.1)
    assert weigh(known, 0.12).followed
    assert weigh(known, 0.12).error < 0.1
    assert not weigh(known, 0.8).followed
    assert not weigh(known, 0.05).followed
    assert "too rarely" in weigh(known, 0.05).reason


def test_an_arm_that_was_never_measured_is_not_taken() -> None:
    leads = {"nuslerp": 0.0, TIES: 0.9, LINEAR: 0.9}
    found = weigh(TRUE, 0, leads=leads)
    assert (found.followed, found.chosen) == (False, TIES)
    assert "nuslerp was never measured" in found.reason


def test_the_safe_arm_treats_both_models_alike() -> None:
    """An arm that leans on the expert wins on its task, and is not safe for both models."""
    lean = (arm("linear", weights=(0.7, 0.3)), arm("linear", weights=(0.3, 0.7)), arm("linear"))
    known = record((0.6, 0.5, 0.5), (0.9, 0.1, 0.4))
    known = Record(
        arms=lean,
        kinds=known.kinds,
        experts=known.experts,
        auxiliaries=known.auxiliaries,
        gains=known.gains,
        predicted=known.predicted,
        distances=known.distances,
        sizes=known.sizes,
    )
    found = weigh(known, 0, leads={each.label: 0.0 for each in lean})
    assert found.safe == "linear"
    both = known.both_tasks("complete")
    assert np.allclose(both.gains[:, :2].mean(), 0.5)
    assert len(both.first) == MODELS * (MODELS - 1) / 2


def test_several_tasks_are_as_far_as_the_farthest_of_them_in_every_coordinate() -> None:
    """And by the features that fewest of them have: the intervals of that pattern are wider."""

    def at(*coordinates: float, pattern: str = "complete") -> Grounds:
        return Grounds(
            record=TRUE, beyond=BEYOND, pattern=pattern, coordinates=np.array(coordinates),
            parameters=SIZE, alpha=0.1,
        )  # fmt: skip

    found = combine([at(1.0, 0.0, 0.3), at(0.0, 0.1, 0.2, pattern="without base")])
    assert found.coordinates.tolist() == [1.0, 0.1, 0.3]
    assert found.pattern == "without base"
