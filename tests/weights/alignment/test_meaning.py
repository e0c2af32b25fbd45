"""What configs say about the same weights."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from simmerge_hub.hub.resolve import Checkpoint, resolve
from simmerge_hub.weights.alignment.meaning import conflicts, differences
from tests import nano


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Checkpoint, Checkpoint]:
    one = resolve(str(nano.model(tmp_path / "one")))
    return one, replace(one, ref=resolve(str(nano.model(tmp_path / "two"))).ref)


def with_config(checkpoint: Checkpoint, **config: Any) -> Checkpoint:
    return replace(checkpoint, config=config)


@pytest.mark.parametrize(
    ("ours", "theirs", "reasons"),
    [
        ({"n_head": 4}, {"n_head": 4}, []),
        ({"n_head": 4}, {"n_head": 2}, ["says n_head 2, in one 4"]),
        ({"n_head": 4}, {}, []),
        ({"head_dim": None}, {"head_dim": 8}, []),  # a default that one of them spells out
        ({"rope_theta": 1}, {"rope_theta": 2}, []),  # may differ
        ({"text_config": {"n_head": 4}}, {"text_config": {"n_head": 2}},
         ["says text_config.n_head 2, in one 4"]),
        ({"text_config": {"n_head": 4}}, {"text_config": 3}, []),
        ({"text": {"n_head": 4}}, {"text": {"n_head": 2}}, []),  # no part of a model
    ],
)  # fmt: skip
def test_what_forbids_merging(
    pair: tuple[Checkpoint, Checkpoint],
    ours: dict[str, Any],
    theirs: dict[str, Any],
    reasons: list[str],
) -> None:
    reference, model = pair
    assert conflicts(with_config(reference, **ours), with_config(model, **theirs)) == reasons


def test_what_the_output_will_not_have(pair: tuple[Checkpoint, Checkpoint]) -> None:
    reference = with_config(pair[0], rope_theta=10000, hidden_act="silu", n_head=4)
    model = with_config(pair[1], rope_theta=500000, hidden_act="silu", n_head=2)
    assert differences(reference, model) == [
        "two has rope_theta 500000; the output has 10000 of one"
    ]


def test_long_settings_are_cut(pair: tuple[Checkpoint, Checkpoint]) -> None:
    reference = with_config(pair[0], rope_scaling="x" * 60)
    model = with_config(pair[1], rope_scaling="y" * 61)
    (sentence,) = differences(reference, model)
    assert f"rope_scaling {'y' * 57}...;" in sentence
    assert f"has {'x' * 60} of" in sentence
