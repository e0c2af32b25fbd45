"""Sums over deltas against answers made by hand."""

import numpy as np
import pytest
import torch

from simmerge_hub.errors import SignatureError
from simmerge_hub.operators.sparse.sparsify import trim_thresholds
from simmerge_hub.signatures.measures import deltas
from simmerge_hub.signatures.signing.signature import Settings, Signature

NAME = "model.layers.0.mlp.up_proj.weight"


def signature(values, shape=None, entries=1000):
    tensor = torch.tensor(values, dtype=torch.float32)
    return Signature(
        name="m", commit=None, digest="", kind="full", settings=Settings(entries=entries),
        shapes={NAME: shape or tuple(tensor.shape)}, sampled={NAME: tensor},
    )  # fmt: skip


@pytest.fixture
def trio():
    """A base of ones and two deltas of ten entries; trimming to a fifth keeps two of each."""
    base = signature([[1.0] * 5] * 2)
    a = signature([[1 + x for x in row] for row in ([4, -3, 1, 0, 0], [0, 0, 1, -1, 1])])
    b = signature([[1 + x for x in row] for row in ([-2, 0, 1, 1, 0], [0, 6, 0, -1, -1])])
    return a, b, base


def common(trio):
    a, b, base = trio
    table = deltas.delta_sums(deltas.delta(a, base), deltas.delta(b, base), base)
    return {key: float(column[0]) for key, column in table.columns.items()}


def test_one_delta(trio):
    a, _, base = trio
    columns = deltas.delta(a, base).sums.columns
    assert columns["square"] == 16 + 9 + 4
    assert columns["absolute"] == 4 + 3 + 4
    assert columns["kept"] == 16 + 9
    assert columns["base"] == 10
    assert columns["entries"] == 10


def test_two_deltas(trio):
    sums = common(trio)
    assert sums["product"] == -8 + 1 + 1 - 1
    assert (sums["moved"], sums["opposed"]) == (4, 2)
    # kept: a has 4 and -3; b has 6 and -2: one shared entry, of opposite signs
    assert (sums["kept_both"], sums["kept_opposed"], sums["kept_either"]) == (1, 1, 3)
    assert sums["mass"] == 4 + 3 + 6 + 2
    assert sums["lost"] == sums["mass"] - (abs(4 - 2) + 3 + 6)


def test_order_does_not_matter(trio):
    a, b, base = trio
    assert common((b, a, base)) == pytest.approx(common(trio))


def test_sums_are_scaled_from_the_sample_to_the_tensor(trio):
    a, b, base = (signature(s.sampled[NAME].tolist(), shape=(20, 5)) for s in trio)
    whole = deltas.delta(*trio[::2]).sums.columns
    sampled = deltas.delta(a, base).sums.columns
    assert sampled["square"] == 10 * whole["square"]
    assert whole["rank"] < 2 < sampled["rank"] <= 5  # what 20 rows of 5 columns would say
    assert common((a, b, base))["product"] == 10 * common(trio)["product"]


def test_trimming_is_that_of_ties():
    values = np.random.default_rng(0).standard_normal(997).astype(np.float32)
    chunk = torch.from_numpy(values).reshape(1, 1, -1)
    (threshold,) = trim_thresholds([chunk], density=deltas.TRIM_DENSITY)
    assert np.array_equal(deltas._trim(values) != 0, np.abs(values) >= threshold)


def test_a_model_that_did_not_move(trio):
    _, b, base = trio
    sums = common((base, b, base))
    assert sums["product"] == sums["kept_both"] == sums["lost"] == 0
    assert np.isnan(sums["subspace"])


def test_different_settings_are_refused(trio):
    a, _, base = trio
    other = signature([[1.0] * 5] * 2, entries=100)
    with pytest.raises(SignatureError, match="different settings"):
        deltas.shared_tensors([a, base, other])


def test_tensors_of_other_shapes_are_not_shared(trio):
    a, _, _ = trio
    assert deltas.shared_tensors([a, signature([[1.0] * 4] * 2)]) == ()
