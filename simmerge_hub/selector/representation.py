"""What the bandit expects of a pair: features -> the gain of every arm.

Small networks predict how well any arm does on a pair (the level) and by how much each arm differs
from the mean of all (its lead); forests that were trained offline may say the leads too, and the
mean of both is taken. The networks learn from rows of which all arms are known and from rows of
which one is, so they can be retrained on what a bandit was told. Training needs torch; forecasting
is numpy. Knows nothing about posteriors or files.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from simmerge_hub.selector import heads, network
from simmerge_hub.selector.network import Model, Network, Networks
from simmerge_hub.selector.rows import Floats

if TYPE_CHECKING:
    from torch import Tensor

DROPOUT, STEPS = 0.4, 200
"""Of training: dropout, full batches."""
PARTIAL = 2.0
"""How much a row of which one arm is known counts beside a row of which all are."""
NETWORKS = 2


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
            outputs = Networks(knots=self.knots, networks=self.networks).outputs(values)
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
    knots = network.quantiles(values)
    ranked = network.ranks(values, knots)
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


def _grown(forests: Sequence[str], values: Floats) -> Floats:
    """[n, arms]: the leads that forests predict, not centred."""
    from xgboost import DMatrix

    data = DMatrix(values, nthread=1)
    columns = [heads.booster(text).predict(data) for text in forests]
    return np.stack(columns, axis=1).astype(np.float64)


def _centred(leads: Floats) -> Floats:
    return leads - leads.mean(axis=1, keepdims=True)


def _train(ranked: Floats, gains: Floats, *, seed: int) -> Network:
    """One network: its last output is the level, the others are the leads, not centred."""
    import torch

    inputs = torch.tensor(ranked, dtype=torch.float32)
    known = torch.tensor(np.isfinite(gains), dtype=torch.float32)
    targets = torch.tensor(np.nan_to_num(gains), dtype=torch.float32)

    def loss(model: Model) -> "Tensor":
        return _loss(model(inputs), targets, known)

    count = gains.shape[1] + 1
    return network.train(ranked.shape[1], count, loss, steps=STEPS, dropout=DROPOUT, seed=seed)


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
