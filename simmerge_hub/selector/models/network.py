"""Small networks on ranks of features: training needs torch, forecasting is numpy.

A feature becomes its rank among what was seen, so that no scale or outlier matters; a missing one
counts as the median. Knows nothing about what is predicted.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from simmerge_hub.selector.tables.rows import Floats, Places

if TYPE_CHECKING:
    from torch import Tensor

WIDTHS = (128, 32)
"""Units of the two hidden layers."""
WEIGHT_DECAY, LEARNING_RATE = 0.1, 3e-3
"""Of training: weight decay (AdamW), highest learning rate (one cycle)."""
KNOTS = 33
"""Quantiles kept per feature: a value becomes its rank among what was seen."""
LAYERS = ("w0", "b0", "w1", "b1", "w2", "b2")

Network = dict[str, Floats]
"""`w0` [128, features], `b0` [128], `w1`, `b1`, `w2` [outputs, 32], `b2` [outputs]."""

Model = Callable[["Tensor"], "Tensor"]
"""A network in training: float32 [n, features] -> [n, outputs]."""


def shapes(features: int, count: int) -> dict[str, tuple[int, ...]]:
    """The shape of every layer."""
    sizes = (features, *WIDTHS, count)
    weights = {f"w{i}": (b, a) for i, (a, b) in enumerate(pairwise(sizes))}
    return weights | {f"b{i}": (size,) for i, size in enumerate(sizes[1:])}


def quantiles(values: Floats) -> Floats:
    """[features, 33]: what ranks are measured by; zeros where a feature was never seen."""
    knots = np.zeros((values.shape[1], KNOTS))
    for column, row in zip(values.T, knots, strict=True):
        seen = column[np.isfinite(column)]
        if len(seen):
            row[:] = np.quantile(seen, np.linspace(0, 1, KNOTS))
    return knots


def ranks(values: Floats, knots: Floats) -> Floats:
    """[n, f]: each value's rank among the knots, scaled to unit variance; 0 where it is missing or
    the feature never varied, so that nothing is known of what it says."""
    ranked = np.zeros(values.shape)
    for i, steps in enumerate(knots):
        if steps[0] == steps[-1]:
            continue
        column = values[:, i]
        places = (np.searchsorted(steps, column) + np.searchsorted(steps, column, "right")) / 2
        ranked[:, i] = np.where(np.isfinite(column), places / KNOTS - 0.5, 0.0)
    return ranked * np.sqrt(12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Networks:
    """Networks that read the same features.

    Args:
        knots: [features, 33] quantiles of each feature, in order.
        networks: trained with different seeds.
    """

    knots: Floats
    networks: tuple[Network, ...]

    def outputs(self, values: Floats) -> Floats:
        """[n, outputs] of features [n, features]: the networks' mean."""
        ranked = ranks(values, self.knots)
        return np.mean([_output(net, ranked) for net in self.networks], axis=0)


def train(
    features: int,
    count: int,
    loss: Callable[[Model], "Tensor"],
    *,
    steps: int,
    dropout: float,
    seed: int,
) -> Network:
    """Fit one network on one thread; the random state of others is left as it was.

    Args:
        features: inputs.
        count: outputs.
        loss: of the network in training, called once a step; it says what is learned from.
        steps: how many.
        dropout: after each hidden layer.
        seed: of initial weights and dropout.
    """
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]), _one_thread():
        torch.manual_seed(seed)
        sizes = (features, *WIDTHS, count)
        first, second, last = (nn.Linear(a, b) for a, b in pairwise(sizes))
        model = nn.Sequential(
            first, nn.SiLU(), nn.Dropout(dropout), second, nn.SiLU(), nn.Dropout(dropout), last
        )
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
        for _ in range(steps):
            optimizer.zero_grad()
            loss(model).backward()
            optimizer.step()
            schedule.step()
    layers = [p.detach().numpy().astype(np.float64) for p in model.parameters()]
    return dict(zip(LAYERS, layers, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How `train_on_groups` learns.

    Args:
        steps: how many.
        batch: groups in a step.
        dropout: after each hidden layer.
        leads: how much errors inside groups count beside those of their means.
        hidden: the share of groups that a pattern of hidden inputs is drawn for.
    """

    steps: int
    batch: int
    dropout: float
    leads: float
    hidden: float


def train_on_groups(
    ranked: Floats,
    targets: Floats,
    groups: Sequence[Places],
    how: Training,
    *,
    masks: Floats,
    seed: int,
) -> Network:
    """One network with one output, that is to tell the rows of a group apart.

    How well a group does on average is one error, by how much its rows differ another. A group of
    one row has the first alone.

    Args:
        ranked: [n, features].
        targets: [n].
        groups: the places of rows that belong together.
        how: what counts how much, and how long.
        masks: [patterns, features], 0 where a pattern hides an input.
        seed: of initial weights, dropout, batches and what is hidden.
    """
    import torch

    rows = torch.tensor(ranked, dtype=torch.float32)
    wanted = torch.tensor(targets, dtype=torch.float32)
    seen = torch.tensor(masks, dtype=torch.float32)
    random = np.random.default_rng(seed)
    size = min(how.batch, len(groups))

    def loss(model: Model) -> "Tensor":
        chosen = [groups[i] for i in random.choice(len(groups), size, replace=False)]
        places = torch.from_numpy(np.concatenate(chosen))
        group = torch.repeat_interleave(
            torch.arange(size), torch.tensor([len(each) for each in chosen])
        )
        drawn = random.integers(len(seen), size=size) * (random.random(size) < how.hidden)
        inputs = rows[places] * seen[torch.from_numpy(drawn)][group]
        return _by_groups(model(inputs)[:, 0] - wanted[places], group, size, how.leads)

    return train(ranked.shape[1], 1, loss, steps=how.steps, dropout=how.dropout, seed=seed)


def _by_groups(errors: "Tensor", group: "Tensor", count: int, leads: float) -> "Tensor":
    """Squared errors of the groups' means, and `leads` times those inside a group."""
    sizes = errors.new_zeros(count).index_add(0, group, errors.new_ones(len(errors)))
    means = errors.new_zeros(count).index_add(0, group, errors) / sizes
    inside = errors.new_zeros(count).index_add(0, group, (errors - means[group]) ** 2) / sizes
    return (means**2 + leads * inside).mean()


@contextmanager
def _one_thread() -> Iterator[None]:
    """So that sums come in the same order whatever else runs; layers this small gain nothing."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _output(net: Network, ranked: Floats) -> Floats:
    for layer in (0, 1):
        ranked = ranked @ net[f"w{layer}"].T + net[f"b{layer}"]
        ranked = ranked / (1 + np.exp(-np.clip(ranked, -60, 60)))
    return ranked @ net["w2"].T + net["b2"]
