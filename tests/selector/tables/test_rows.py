from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simmerge_hub.errors import PredictorError
from simmerge_hub.operators import ARMS, PAPER_ARMS
from simmerge_hub.selector.tables.rows import Rows, join, leave_pairs_out, split_half, splits, stack


def names(rows, places):
    return {rows.experts[i] for i in places} | {rows.auxiliaries[i] for i in places}


@settings(max_examples=30, deadline=None)
@given(
    models=st.integers(4, 14),
    folds=st.integers(2, 8),
    seed=st.integers(0, 99),
    across=st.booleans(),
)
def test_no_model_is_on_both_sides(make_zoo, models, folds, seed, across):
    rows = join(*make_zoo(models=models, seed=seed), PAPER_ARMS)
    for split in splits(rows, folds, seed=seed, across=across):
        assert len(split.train) and len(split.test)
        assert not names(rows, split.train) & names(rows, split.test)


def test_every_row_is_tested_once(known):
    rows = join(*known, PAPER_ARMS)
    tested = np.concatenate([split.test for split in splits(rows, 5, seed=3)])
    assert sorted(tested) == list(range(len(rows)))


def test_the_deal_depends_on_the_seed_only(known):
    rows = join(*known, PAPER_ARMS)
    first, again, other = (splits(rows, 5, seed=seed)[0].test for seed in (1, 1, 2))
    assert first.tolist() == again.tolist() != other.tolist()


def test_rows_apart_share_no_model(known):
    rows = join(*known, PAPER_ARMS)
    for places, others in leave_pairs_out(rows):
        assert not names(rows, places) & names(rows, np.flatnonzero(others))


def test_only_rows_with_a_gap_are_joined(known):
    outcomes, features = known
    rows = [replace(r, auxiliary_utility=0.97) if i else r for i, r in enumerate(outcomes.rows)]
    assert len(join(replace(outcomes, rows=tuple(rows)), features, PAPER_ARMS)) == 1
    with pytest.raises(PredictorError, match="none of 111 outcomes has a gap"):
        join(replace(outcomes, rows=tuple(rows[1:])), features, PAPER_ARMS)


def test_tables_that_do_not_fit(known):
    outcomes, features = known
    with pytest.raises(PredictorError, match=r"the outcomes hold no .*nuslerp"):
        join(outcomes, features, ARMS)
    with pytest.raises(PredictorError, match="112 outcomes have no features, first code-0"):
        join(outcomes, replace(features, rows={}), PAPER_ARMS)


def rename(rows: Rows) -> Rows:
    """The same pairs under other names."""
    return replace(rows, experts=tuple(f"other-{name}" for name in rows.experts))


def test_tables_are_stacked_whole(known):
    rows = join(*known, PAPER_ARMS)
    both = stack([rows, rename(rows)])
    count = len(rows)
    assert len(both) == 2 * count and both.experts[count] == f"other-{rows.experts[0]}"
    for name in ("values", "gains", "halves", "base_gains", "effects"):
        first, second = np.split(getattr(both, name), 2)
        np.testing.assert_array_equal(first, getattr(rows, name))
        np.testing.assert_array_equal(second, getattr(rows, name))
    one = stack([rows])
    assert (one.arms, one.names, one.schema) == (rows.arms, rows.names, rows.schema)


def test_tables_that_cannot_be_stacked(known):
    rows = join(*known, PAPER_ARMS)
    with pytest.raises(PredictorError, match=r"two tables hold .* \+ "):
        stack([rows, rows])
    for told, wrong in (
        (r"schema of features \(1 and 9\)", {"schema": 9, "names": ()}),
        (r"effects of arms \(one\)", {"effect_names": ("one",)}),
        (r"features \(their order\)", {"names": rows.names[::-1]}),
        (
            r"features \(js_mean, other\)",
            {"names": tuple(n.replace("js_mean", "other") for n in rows.names)},
        ),
        (r"arms \(linear\)", {"arms": rows.arms[1:]}),
    ):
        with pytest.raises(PredictorError, match=f"differ in their {told}"):
            stack([rows, replace(rename(rows), **wrong)])


def test_chosen_on_one_half_and_judged_on_the_other() -> None:
    lucky = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.9, 0.7], [0.2, 0.4]]])
    assert split_half(lucky).tolist() == pytest.approx([0.0, 0.8])
