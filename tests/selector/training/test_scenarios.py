"""Ways to leave out: no model on both sides, and each as far away as it says."""

from collections.abc import Iterable

import numpy as np
import pytest

from simmerge_hub.operators import PAPER_ARMS
from simmerge_hub.selector.models.mixture import Size
from simmerge_hub.selector.tables.rows import Rows, Split, join
from simmerge_hub.selector.training import scenarios
from simmerge_hub.selector.training.objectives import both_tasks
from simmerge_hub.selector.training.train import hold_out
from tests.selector.conftest import zoo

SIZES = {"small-0": 600_000, "small-1": 2_400_000}


@pytest.fixture(scope="module")
def rows() -> Rows:
    return join(*zoo(), PAPER_ARMS)


@pytest.fixture(scope="module")
def sizes(rows: Rows) -> np.ndarray:
    return scenarios.sizes_of(rows, {"parameters": SIZES})


@pytest.fixture(scope="module")
def collected(rows: Rows, sizes: np.ndarray) -> scenarios.Record:
    small = Size(heads=10, conditioned=10)
    return scenarios.collect(rows, sizes, hold_out(rows, seed=0), small, seed=0)


def share_no_model(rows: Rows, splits: Iterable[Split]) -> bool:
    sides = [(rows.take(s.train).models, rows.take(s.test).models) for s in splits]
    return bool(sides) and not any(set(one) & set(other) for one, other in sides)


def test_sizes_are_those_of_each_row_s_base(rows: Rows, sizes: np.ndarray) -> None:
    assert sizes.tolist() == [SIZES[regime] for regime in rows.regimes]
    zoos = {"parameters": {"a": 5}}
    assert scenarios.sizes_of(join(*zoo(), PAPER_ARMS), {"parameters": [7]}).tolist()[0] == 7
    assert np.isnan(scenarios.sizes_of(rows, zoos)).all()
    assert np.isnan(scenarios.sizes_of(rows, {"parameters": [7, 8]})).all()
    assert np.isnan(scenarios.sizes_of(rows, {})).all()


def test_a_size_is_asked_about_after_the_others(rows: Rows, sizes: np.ndarray) -> None:
    found = scenarios.leave_sizes_out(sizes)
    assert len(found) == 2
    assert share_no_model(rows, found)
    for split in found:
        assert not set(sizes[split.train]) & set(sizes[split.test])
    assert scenarios.leave_sizes_out(np.full(9, 600_000.0)) == []
    assert scenarios.leave_sizes_out(np.full(9, np.nan)) == []


def test_a_regime_is_left_out_where_its_size_remains(rows: Rows, sizes: np.ndarray) -> None:
    assert scenarios.leave_regimes_out(rows, sizes) == [], "those are sizes left out"
    for same in (np.full(len(rows), 600_000.0), np.full(len(rows), np.nan)):
        found = scenarios.leave_regimes_out(rows, same)
        assert len(found) == 2
        assert share_no_model(rows, found)


def test_a_domain_is_never_trained_on(rows: Rows) -> None:
    found = scenarios.leave_domains_out(rows, 3, seed=0)
    assert set(found) == {"code", "math", "rag", "instruct"}
    tested = []
    for domain, splits in found.items():
        assert share_no_model(rows, splits)
        for split in splits:
            known = rows.take(split.train)
            names = {*known.tasks, *known.experts, *known.auxiliaries}
            assert not any(name.startswith(domain) for name in names)
            tested += split.test.tolist()
    assert sorted(tested) == list(range(len(rows)))


def test_the_record_holds_what_was_measured(rows: Rows, collected: scenarios.Record) -> None:
    assert set(collected.kinds) == {"models", "size", "domain"}
    assert len(collected) == 3 * len(rows)
    for kind in set(collected.kinds):
        one = collected.take(np.array([each == kind for each in collected.kinds]))
        pairs = zip(one.experts.tolist(), one.auxiliaries.tolist(), one.gains, strict=True)
        found = {(rows.models[a], rows.models[b]): gains for a, b, gains in pairs}
        for i, pair in enumerate(zip(rows.experts, rows.auxiliaries, strict=True)):
            assert np.allclose(found[pair], rows.gains[i], atol=0.005)


def test_only_a_size_left_out_is_far_in_scale(collected: scenarios.Record) -> None:
    for distances in collected.distances.values():
        for kind, far in zip(collected.kinds, distances[:, 0], strict=True):
            if kind != "domain":  # of these, training sometimes has only one size left
                assert far == pytest.approx(np.log(4) if kind == "size" else 0, abs=1e-4)


def test_arms_that_cannot_be_used_have_no_prediction(collected: scenarios.Record) -> None:
    labels = [each.label for each in collected.arms]
    without = np.isnan(collected.predicted["without base"]).all(axis=0)
    assert [label for label, gone in zip(labels, without, strict=True) if gone] == [
        "ties(density=0.2)"
    ]
    assert not np.isnan(collected.predicted["complete"]).any()


def test_both_tasks_of_a_pair_are_what_reports_judge(
    rows: Rows, collected: scenarios.Record
) -> None:
    mine = collected.take(np.array([kind == "models" for kind in collected.kinds]))
    found = mine.both_tasks("complete")
    expected = both_tasks(rows, {})
    assert expected is not None
    names = [
        (rows.models[a], rows.models[b]) for a, b in zip(found.first, found.second, strict=True)
    ]
    order = [names.index(pair) for pair in zip(expected.first, expected.second, strict=True)]
    assert len(names) == len(order)
    assert np.allclose(found.gains[order], expected.gains, atol=0.005)


def test_a_large_record_is_thinned_by_pairs(
    collected: scenarios.Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scenarios, "PAIRS_PER_KIND", 20)
    found = scenarios._thin(collected)
    for kind in set(collected.kinds):
        one = found.take(np.array([each == kind for each in found.kinds]))
        assert 14 <= len(one.pairs()) <= 20
        assert len(one) == 2 * len(one.pairs())
