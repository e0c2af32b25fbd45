"""Small networks: ranks by hand, what they say against torch, and what training leaves alone."""

import numpy as np
import pytest
import torch

from simmerge_hub.selector.models import network
from simmerge_hub.selector.models.network import Networks


def test_a_value_becomes_its_rank_among_what_was_seen() -> None:
    knots = network.quantiles(np.arange(network.KNOTS, dtype=np.float64)[:, None])
    asked = np.array([[-1.0], [16.0], [99.0], [np.nan]])
    found = network.ranks(asked, knots)[:, 0]
    assert found == pytest.approx([-np.sqrt(3), 0.0, np.sqrt(3), 0.0])


def test_a_feature_that_never_varied_says_nothing() -> None:
    seen = np.column_stack([np.full(5, 2.0), np.full(5, np.nan)])
    found = network.ranks(np.array([[7.0, 7.0]]), network.quantiles(seen))
    assert found.tolist() == [[0.0, 0.0]]


def test_it_learns_and_leaves_the_state_of_others_alone() -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=(400, 3))
    knots = network.quantiles(values)
    inputs = torch.tensor(network.ranks(values, knots), dtype=torch.float32)
    wanted = torch.tensor(values[:, :1] - values[:, 1:2], dtype=torch.float32)
    torch.manual_seed(7)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    made = [
        network.train(
            3, 1, lambda model: ((model(inputs) - wanted) ** 2).mean(), steps=150, dropout=0.0,
            seed=seed,
        )
        for seed in (0, 1, 0)
    ]  # fmt: skip
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert all(np.array_equal(made[0][name], made[2][name]) for name in network.LAYERS)
    assert {n: w.shape for n, w in made[0].items()} == network.shapes(3, 1)
    said = Networks(knots=knots, networks=(made[0], made[1])).outputs(values)
    assert np.corrcoef(said[:, 0], wanted[:, 0].numpy())[0, 1] > 0.97


def test_what_is_said_is_what_torch_would_say() -> None:
    random = np.random.default_rng(0)
    net = {name: random.normal(size=shape) for name, shape in network.shapes(4, 2).items()}
    values = random.normal(size=(6, 4))
    knots = network.quantiles(random.normal(size=(50, 4)))
    layers = {name: torch.tensor(weights) for name, weights in net.items()}
    hidden = torch.tensor(network.ranks(values, knots))
    for i in (0, 1):
        hidden = torch.nn.functional.silu(hidden @ layers[f"w{i}"].T + layers[f"b{i}"])
    wanted = hidden @ layers["w2"].T + layers["b2"]
    assert Networks(knots=knots, networks=(net,)).outputs(values) == pytest.approx(wanted.numpy())


def test_errors_inside_a_group_count_more_than_those_of_its_mean() -> None:
    errors = torch.tensor([1.0, 1.0, 1.0, -1.0])
    group = torch.tensor([0, 0, 1, 1])
    found = network._by_groups(errors, group, 2, 5.0)
    assert float(found) == pytest.approx((1.0 + 5.0) / 2)
