"""Gains and contributions are those of the heads and of the forest, by the forest's share."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from simmerge_hub.operators import arm
from simmerge_hub.selector.models import conditioned, heads
from simmerge_hub.selector.predictor.predictor import Predictor
from simmerge_hub.selector.predictor.scorer import Scorer
from simmerge_hub.signatures.measures import remembered

UNTRAINED = arm("task_arithmetic", scale=0.4)


def scorer(predictor: Predictor, share: float) -> Scorer:
    return Scorer(
        arms=predictor.arms,
        line=predictor.line,
        heads=predictor.heads,
        conditioned=replace(predictor.conditioned, share=share),
    )


def test_the_place_of_an_arm(predictor: Predictor) -> None:
    mixed = scorer(predictor, 0.5)
    assert [mixed.place(each) for each in predictor.arms] == list(range(len(predictor.arms)))
    assert mixed.place(UNTRAINED) is None


def test_gains_are_mixed_for_trained_arms_only(predictor: Predictor, pair: SimpleNamespace) -> None:
    arms = (*predictor.arms, UNTRAINED)
    values = pair.values[None]
    effects = np.empty((1, len(arms), 0))
    by_head = heads.predict([*map(heads.booster, predictor.heads)], predictor.line, values)[0]
    forest = heads.booster(predictor.conditioned.forest)
    trained = conditioned.operators(predictor.arms)
    by_forest = conditioned.predict(forest, values, effects, arms, trained)[0]
    assert not np.allclose(by_head, by_forest[:-1])
    for share in (0.0, 0.25, 1.0):
        gains = scorer(predictor, share).gains(values, effects, arms)[0]
        assert gains[:-1] == pytest.approx((1 - share) * by_head + share * by_forest[:-1])
        assert gains[-1] == by_forest[-1]


def test_contributions_are_mixed_like_gains(predictor: Predictor, pair: SimpleNamespace) -> None:
    none, first = np.empty(0), predictor.arms[0]
    parts = [scorer(predictor, share).shap(pair.values, none, first) for share in (0.0, 1.0)]
    assert parts[0].any() and parts[1].any()
    mixed = scorer(predictor, 0.25).shap(pair.values, none, first)
    assert mixed == pytest.approx(0.75 * parts[0] + 0.25 * parts[1])


def test_what_was_scored_before_needs_no_forest(
    predictor: Predictor, pair: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And only that: other values, another arm or another share are other questions."""
    monkeypatch.setattr(remembered, "_folder", lambda: tmp_path)
    asked: list[str] = []
    real = heads.booster
    monkeypatch.setattr(heads, "booster", lambda head: (asked.append(head), real(head))[1])
    values, effects = pair.values[None], np.empty((1, len(predictor.arms), 0))

    def both(share: float, values: np.ndarray) -> list[np.ndarray]:
        each = scorer(predictor, share)
        shap = each.shap(values[0], np.empty(0), predictor.arms[0])
        return [each.gains(values, effects, predictor.arms), shap]

    first = both(0.5, values)
    assert asked
    asked.clear()
    assert [each.tobytes() for each in both(0.5, values)] == [each.tobytes() for each in first]
    assert not asked
    for share, others in ((0.25, values), (0.5, values + 1)):
        both(share, others)
        assert asked
        asked.clear()
