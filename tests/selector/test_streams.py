"""The split that the bandit's benchmark rests on: what is offline, and what is streamed."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import bandit as streams
from simmerge_hub.selector.tables.rows import Rows, join, stack
from tests.selector.conftest import ARMS, zoo


@pytest.fixture(scope="module")
def rows() -> Rows:
    """Two zoos with models of other names, each of two regimes."""
    parts = []
    for number, name in enumerate(("zoo-v2", "zoo-more")):
        one = join(*zoo(models=20, seed=number), ARMS)
        named = {
            "experts": tuple(f"{name}-{model}" for model in one.experts),
            "auxiliaries": tuple(f"{name}-{model}" for model in one.auxiliaries),
            "regimes": tuple(f"{name}/{regime}" for regime in one.regimes),
        }
        parts.append(replace(one, **named))
    return stack(parts)


def test_no_streamed_model_is_offline(rows: Rows) -> None:
    found = streams.sides(rows)
    assert not found.offline & found.streamed
    assert found.offline | found.streamed == set(rows.models)
    assert all(model.startswith("zoo-v2") for model in found.streamed)
    assert {m for m in rows.models if m.startswith("zoo-more")} < found.offline
    offline, streamed = (streams.places(rows, each) for each in (found.offline, found.streamed))
    assert len(offline) and len(streamed)
    for places, models in ((offline, found.offline), (streamed, found.streamed)):
        known = rows.take(places)
        assert set(known.models) <= models
        pairs = zip(rows.experts, rows.auxiliaries, strict=True)
        inside = [i for i, pair in enumerate(pairs) if models.issuperset(pair)]
        assert np.array_equal(places, inside)


def test_a_deal_is_a_share_of_every_regime(rows: Rows) -> None:
    among = set(list(rows.models)[::2])
    dealt = streams.deal(rows, 3, 0.5, among)
    assert dealt < among
    homes = streams.homes(rows)
    for regime in {homes[m] for m in among}:
        have = [m for m in among if homes[m] == regime]
        assert sum(m in dealt for m in have) == round(len(have) / 2)
    assert dealt == streams.deal(rows, 3, 0.5, among) != streams.deal(rows, 4, 0.5, among)
