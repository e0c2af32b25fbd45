"""What the bandit expects of a pair: features -> the gain of every arm.

Small networks predict how well any arm does on a pair (the level) and by how much each arm differs
from the mean of all (its lead); forests that were trained offline may say the leads too, and the
mean of both is taken. The networks learn from rows of which all arms are known and from rows of
which one is, so they can be retrained on what a bandit was told. Training needs torch; forecasting
is numpy. Knows nothing about posteriors or files.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from simmerge_hub.selector import heads
from simmerge_hub.selector.rows import Floats

if TYPE_CHECKING:
    from torch import Tensor

WIDTHS = (128, 32)
"""Units of the two hidden layers."""
DROPOUT, DECAY, RATE, STEPS = 0.4, 0.1, 3e-3, 200
"""Of training: dropout, weight decay (AdamW), highest learning rate (one cycle), full batches."""
PARTIAL = 2.0
"""How much a row of which one arm is known counts beside a row of which all are."""
KNOTS = 33
"""Quantiles kept per feature: a value becomes its rank among what was seen."""
NETWORKS = 2
LAYERS = ("w0", "b0", "w1", "b1", "w2", "b2")

Network = dict[str, Floats]
"""`w0` [128, features], `b0` [128], `w1`, `b1`, `w2` [arms + 1, 32], `b2` [arms + 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Representation:
    """How features become forecasts.

    Args:
        knots: [features, 33] quantiles, in order.
        networks: trained with different seeds; none is allowed if there are forests.
        forests: XGBoost's JSON, one per arm, predicting its lead; or none.
    """

    knots: Floats
    networks: tuple[Network, ...]
    forests: tuple[str, ...] = field(default=(), repr=False)

    def forecast(self, values: Floats) -> Floats:
        """Gains [n, arms] of features [n, f]; a missing feature counts as its median."""
        level, leads = np.zeros(len(values)), []
        if self.networks:
            ranked = ranks(values, self.knots)
            outputs = np.mean([_output(net, ranked) for net in self.networks], axis=0)
            level = outputs[:, -1]
            leads.append(_centred(outputs[:, :-1]))
        if self.forests:
            leads.append(_centred(_grown(self.forests, values)))
        return level[:, None] + np.mean(leads, axis=0)


def fit(
    values: Floats,
    gains: Floats,
    *,
    seed: int,
    networks: int = NETWORKS,
    forests: Sequence[str] = (),
) -> Representation:
    """Train the networks.

    Args:
        values: [n, f] features, NaN = missing.
        gains: [n, arms], NaN = not known.
        seed: of initial weights and dropout.
        networks: how many; 0 leaves it to the forests.
        forests: of `fit_forests`, or none.
    """
    knots = quantiles(values)
    ranked = ranks(values, knots)
    nets = tuple(_train(ranked, gains, seed=1000 * seed + i) for i in range(networks))
    return Representation(knots=knots, networks=nets, forests=tuple(forests))


def fit_forests(values: Floats, gains: Floats, *, trees: int = 100, seed: int = 0) -> list[str]:
    """One forest per arm that predicts its lead, from rows that are known whole."""
    from xgboost import DMatrix, train

    leads = _centred(gains)
    return [
        heads.text(
            train(
                heads.SETTINGS | {"seed": seed + i},
                DMatrix(values, label=leads[:, i], nthread=1),
                num_boost_round=trees,
            )
        )
        for i in range(gains.shape[1])
    ]


def quantiles(values: Floats) -> Floats:
    """[features, 33]: what ranks are measured by; zeros where a feature was never seen."""
    found = np.zeros((values.shape[1], KNOTS))
    for column, knots in zip(values.T, found, strict=True):
        seen = column[np.isfinite(column)]
        if len(seen):
            knots[:] = np.quantile(seen, np.linspace(0, 1, KNOTS))
    return found


def ranks(values: Floats, knots: Floats) -> Floats:
    """[n, f]: each value's rank among the knots, scaled to unit variance; 0 where missing."""
    found = np.zeros(values.shape)
    for i, steps in enumerate(knots):
        column = values[:, i]
        places = (np.searchsorted(steps, column) + np.searchsorted(steps, column, "right")) / 2
        found[:, i] = np.where(np.isfinite(column), places / KNOTS - 0.5, 0.0)
    return found * np.sqrt(12)


def _output(net: Network, ranked: Floats) -> Floats:
    """[n, arms + 1]: the leads, not centred, and the level."""
    for layer in (0, 1):
        ranked = ranked @ net[f"w{layer}"].T + net[f"b{layer}"]
        ranked = ranked / (1 + np.exp(-np.clip(ranked, -60, 60)))
    return ranked @ net["w2"].T + net["b2"]


def _grown(forests: Sequence[str], values: Floats) -> Floats:
    """[n, arms]: the leads that forests predict, not centred."""
    from xgboost import DMatrix

    data = DMatrix(values, nthread=1)
    columns = [heads.booster(text).predict(data) for text in forests]
    return np.stack(columns, axis=1).astype(np.float64)


def _centred(leads: Floats) -> Floats:
    return leads - leads.mean(axis=1, keepdims=True)


def _train(ranked: Floats, gains: Floats, *, seed: int) -> Network:
    """Fit one network by full batches; the random state of others is left as it was."""
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sizes = (ranked.shape[1], *WIDTHS, gains.shape[1] + 1)
        first, second, last = (nn.Linear(a, b) for a, b in pairwise(sizes))
        model = nn.Sequential(
            first, nn.SiLU(), nn.Dropout(DROPOUT), second, nn.SiLU(), nn.Dropout(DROPOUT), last
        )
        inputs = torch.tensor(ranked, dtype=torch.float32)
        known = torch.tensor(np.isfinite(gains), dtype=torch.float32)
        targets = torch.tensor(np.nan_to_num(gains), dtype=torch.float32)
        optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
        for _ in range(STEPS):
            optimizer.zero_grad()
            _loss(model(inputs), targets, known).backward()
            optimizer.step()
            schedule.step()
    layers = [p.detach().numpy().astype(np.float64) for p in model.parameters()]
    return dict(zip(LAYERS, layers, strict=True))


def _loss(outputs: "Tensor", targets: "Tensor", known: "Tensor") -> "Tensor":
    """Squared errors of levels and leads where all arms are known, of the gain where one is."""
    leads = outputs[:, :-1] - outputs[:, :-1].mean(dim=1, keepdim=True)
    errors = (outputs[:, -1:] + leads - targets) * known
    counts = known.sum(dim=1)
    whole = (counts == known.shape[1]).float()
    level = errors.sum(dim=1) / counts.clamp(min=1)
    lead = ((errors - level[:, None] * known) ** 2).sum(dim=1)
    one = PARTIAL * (errors**2).sum(dim=1) * (1 - whole)
    return ((level**2 + lead) * whole + one).sum() / whole.sum().clamp(min=1)
