"""Sums of all pairs at once: answers made by hand, and the features' own."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from simmerge_hub.signatures.features.vector import features
from simmerge_hub.signatures.map.pairwise import (
    behaviour_measures,
    delta_norms,
    pair_measures,
    pair_sums,
)
from simmerge_hub.signatures.signing.signature import Settings, Signature

FIRST, SECOND = (f"model.layers.{layer}.mlp.up_proj.weight" for layer in (0, 1))
HEAD = "lm_head.weight"


def signature(name, values, shape=None):
    """A model of 2 × 2 matrices."""
    return Signature(
        name=name, commit=None, digest=name, kind="full", settings=Settings(),
        shapes=dict.fromkeys(values, shape or (2, 2)),
        sampled={tensor: torch.as_tensor(v).float() for tensor, v in values.items()},
    )  # fmt: skip


def same(values, wanted):
    """Whether two matrices are equal, missing numbers included."""
    return values == pytest.approx(np.array(wanted, np.float64), nan_ok=True)


@pytest.fixture
def trio():
    """Three models and a base: deltas (1, 1), (1, −1), (2, 2) in layer 0; 3, 0, −3 in layer 1."""
    base = signature("base", {FIRST: [[1, 1], [1, 1]], SECOND: [[2, 0], [0, 0]]})
    moved = {"a": ([2, 2], 5), "b": ([2, 0], 2), "c": ([3, 3], -1)}
    models = [
        signature(n, {FIRST: [row, [1, 1]], SECOND: [[x, 0], [0, 0]]})
        for n, (row, x) in moved.items()
    ]
    return models, base


def test_every_layer_by_hand(trio):
    models, base = trio
    sums = pair_sums([FIRST, SECOND], models, base)
    layers = {what: values[:-1] for what, values in sums.items()}
    measures = pair_measures(layers)
    cosines, conflicts = measures["delta_cosine"], measures["sign_conflict"]
    assert same(cosines[0], [[1, 0, 1], [0, 1, 0], [1, 0, 1]])
    assert same(conflicts[0], [[0, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0]])
    nan = np.nan  # the second did not move in layer 1, so nothing is opposed to it
    assert same(cosines[1], [[1, nan, -1], [nan, 1, nan], [-1, nan, 1]])
    assert same(conflicts[1], [[0, nan, 1], [nan, 0, nan], [1, nan, 0]])
    assert delta_norms(layers) == pytest.approx(np.sqrt([[2 / 4, 2 / 4, 8 / 4], [9 / 4, 0, 9 / 4]]))


def test_the_whole_is_the_sum_of_its_layers_by_hand(trio):
    models, base = trio
    sums = pair_sums([FIRST, SECOND], models, base)
    whole = {what: values.sum(0) for what, values in sums.items()}
    measures = pair_measures(whole)
    # deltas: a = (1, 1, 3), b = (1, −1, 0), c = (2, 2, −3)
    assert measures["delta_cosine"][0, 2] == pytest.approx((2 + 2 - 9) / np.sqrt(11 * 17))
    assert measures["delta_cosine"][0, 1] == 0
    assert measures["sign_conflict"][0, 2] == pytest.approx(1 / 3)
    assert measures["sign_conflict"][1, 2] == pytest.approx(1 / 2)
    a, c = np.array([2, 2, 1, 1, 5]), np.array([3, 3, 1, 1, -1])
    wanted = a @ c / np.sqrt((a @ a) * (c @ c))
    assert measures["weight_cosine"][0, 2] == pytest.approx(wanted)
    assert delta_norms(whole) == pytest.approx(np.sqrt(np.array([11, 2, 17]) / 8))


def test_without_a_base_weights_are_compared(trio):
    models, base = trio
    with_base = pair_measures(pair_sums([FIRST, SECOND], models, base))
    sums = pair_sums([FIRST, SECOND], models, None)
    measures = pair_measures(sums)
    assert set(measures) == {"weight_cosine"}
    assert measures["weight_cosine"] == pytest.approx(with_base["weight_cosine"], nan_ok=True)
    assert np.isnan(delta_norms(sums)).all()


def test_near_models_keep_their_digits():
    weights = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    models = [signature(n, {FIRST: weights + 1e-4 * k}, (64, 64)) for n, k in (("a", 0), ("b", 1))]
    sums = pair_sums([FIRST], models, None)
    x, y = (m.sampled[FIRST].double().reshape(-1).numpy() for m in models)
    wanted = 1 - x @ y / np.sqrt((x @ x) * (y @ y))
    assert 1 - pair_measures(sums)["weight_cosine"][0, 0, 1] == pytest.approx(wanted, rel=1e-3)


def test_tensors_outside_layers_count_in_the_whole_only(trio):
    models, base = trio
    head = {HEAD: [[1, 0], [0, 0]]}
    models = [signature(m.name, m.sampled | head) for m in models]
    base = signature("base", base.sampled | {HEAD: [[0, 0], [0, 0]]})
    sums = pair_sums([FIRST, SECOND, HEAD], models, base)
    assert sums["product"].shape == (3, 3, 3)
    assert (sums["product"][-1] == 1).all()
    assert sums["base"].tolist() == [4, 4, 0]


def test_sums_are_scaled_from_the_sample_to_the_tensor(trio):
    *models, base = (signature(m.name, m.sampled, (20, 2)) for m in (*trio[0], trio[1]))
    scaled = pair_sums([FIRST, SECOND], models, base)
    for what, values in pair_sums([FIRST, SECOND], *trio).items():
        assert scaled[what] == pytest.approx(10 * values), what


def test_the_measures_are_those_of_the_features(family):
    models = [family.expert, family.auxiliary]
    names = [n for n, shape in family.base.shapes.items() if len(shape) > 1]
    whole = {k: v.sum(0) for k, v in pair_sums(names, models, family.base).items()}
    measures = pair_measures(whole) | behaviour_measures(models)
    wanted = features(*models, family.base, "strings")
    assert measures["delta_cosine"][0, 1] == pytest.approx(wanted["delta_cosine.all"], abs=1e-6)
    assert measures["weight_cosine"][0, 1] == pytest.approx(wanted["weight_cosine"], abs=1e-6)
    assert measures["sign_conflict"][0, 1] == pytest.approx(wanted["sign_conflict"], abs=1e-9)
    assert measures["js"][0, 1] == measures["js.strings"][1, 0] == pytest.approx(wanted["js_mean"])
    sides = [wanted[f"delta_norm_{side}.all"] for side in ("expert", "auxiliary")]
    assert delta_norms(whole) == pytest.approx(sides)


def test_behaviour_is_compared_on_the_tasks_all_were_probed_with(family):
    other = signature("other", {FIRST: [[1, 1], [1, 1]]})
    assert behaviour_measures([family.expert, other]) == {}
    divergences = behaviour_measures([family.expert, family.auxiliary, family.base])
    for i, j in itertools.product(range(3), repeat=2):
        assert divergences["js"][i, j] == divergences["js"][j, i]
        assert (divergences["js"][i, j] == 0) == (i == j)


def test_other_tokens_are_missing_not_faked(family):
    sketch = replace(family.auxiliary.sketches["strings"], tokens="others")
    stranger = replace(family.auxiliary, sketches={"strings": sketch})
    divergences = behaviour_measures([family.expert, family.auxiliary, stranger])["js"]
    assert np.isnan(divergences[0, 2]) and np.isnan(divergences[2, 1])
    assert np.isfinite(divergences[0, 1])
