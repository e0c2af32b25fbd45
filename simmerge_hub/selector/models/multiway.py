"""Merges of three models and more: one forecast for the whole merge, however it is made.

A merge of many is seen, on each task, as the pair of the task's expert and the plain mean of all
the others: the pair's features, where the merge lies between the two (`signatures.merged.effects`),
what the last step's arm is, and, if the merge was really run on the probes, how much it behaves
like the expert (`signatures.merged.likeness`). A forest and small networks learn from that, and the
mean of both is taken. The forest learns from measured pairs, too. The networks learn from merges of
the same models on the same task together: how well any of them does is one error, by how much they
differ another, which counts more, because a plan chooses between them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from simmerge_hub.selector.models import conditioned, heads, network
from simmerge_hub.selector.models.conformal import radius
from simmerge_hub.selector.models.network import Network, Networks, Training
from simmerge_hub.selector.tables.availability import hide_each, patterns
from simmerge_hub.selector.tables.merges import Merges
from simmerge_hub.selector.tables.outcomes import HIGHEST, LOWEST
from simmerge_hub.selector.tables.rows import Floats, Places, Rows
from simmerge_hub.signatures.merged import likeness

if TYPE_CHECKING:
    from xgboost import Booster

TREES = 300
STEPS, BATCH, DROPOUT = 2000, 32, 0.3
"""Of the networks' training: steps, groups of merges in each, dropout."""
LEAD_WEIGHT = 5.0
"""How much the errors inside a group count beside that of its mean."""
HIDDEN_SHARE = 0.5
"""The share of groups that a pattern of missing features is drawn for; none missing is one, too."""
NETWORKS = 2
NETWORK_INPUTS = 2
"""Inputs that only the networks read, the last ones: whether it was run, of how many models."""
DECIMALS = 5
"""Of weights; the file is half as large for it."""
GROUP_FOLDS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiwayModel:
    """What predicts merges of three models and more, as it is stored.

    Args:
        forest: XGBoost's JSON.
        networks: they have one output.
        likeness: the names of what is read of a merge that was run, in order.
        unrun: half-width of the interval of a merge that was not run on the probes.
        run: of one that was.
        merges: how many measured merges it learned from, each on one task.
        models: of how many models the largest of them are.
    """

    forest: str = field(repr=False)
    networks: Networks = field(repr=False)
    likeness: tuple[str, ...]
    unrun: float
    run: float
    merges: int
    models: int


def learn(rows: Rows, merges: Merges, *, seed: int, alpha: float) -> MultiwayModel:
    """What predicts merges of three models and more, with its intervals.

    Args:
        rows: measured pairs.
        merges: measured merges of many, described by the same features.
        seed: of what is drawn in fitting.
        alpha: intervals are to hold a share of 1 − alpha of outcomes.
    """
    unrun, run = half_widths(rows, merges, seed=seed, alpha=alpha)
    forest, networks = fit(rows, merges, seed=seed)
    return MultiwayModel(
        forest=heads.text(forest),
        networks=networks,
        likeness=likeness.LIKENESS_NAMES,
        unrun=unrun,
        run=run,
        merges=len(merges),
        models=max(map(len, merges.models)),
    )


def fit(rows: Rows, merges: Merges, *, seed: int) -> "tuple[Booster, Networks]":
    """What learns from each merge as if it was run on the probes and as if it was not, some with
    families of features hidden.

    Args:
        rows: measured pairs; their merges were not run.
        merges: measured merges of the same features.
        seed: of subsampling, initial weights, dropout, batches and what is hidden.
    """
    trained = conditioned.operators(rows.arms)
    return _forest(rows, merges, trained, seed=seed), _networks(merges, trained, seed=seed)


def predict(
    forest: "Booster", networks: Networks, merges: Merges, trained: Sequence[str]
) -> Floats:
    """[n]: the share of the gap each merge is predicted to close, in [-1, 1.5].

    Args:
        forest: as `fit` or `heads.booster` gives it.
        networks: of `fit`.
        merges: their gains are not read.
        trained: the operators of the pairs, as `conditioned.operators` names them.
    """
    seen = matrix(merges, trained)
    grown = conditioned.predict_lines(forest, seen[:, :-NETWORK_INPUTS])
    said = np.clip(networks.outputs(seen)[:, 0], LOWEST, HIGHEST)
    return (grown + said) / 2


def pair_lines(merges: Merges, trained: Sequence[str]) -> Floats:
    """[n, features + effects + what the arms are]: as `conditioned` sees an arm."""
    return conditioned.lines(merges.values, merges.effects, merges.arms, trained)


def matrix(merges: Merges, trained: Sequence[str]) -> Floats:
    """[n, inputs]: `pair_lines`, what the merge did on the probes, whether it was run, and of how
    many models it is. The networks read all of it, the forest all but the last OWN."""
    run = np.isfinite(merges.likeness).any(axis=1, keepdims=True).astype(np.float64)
    counts = np.array([[len(models)] for models in merges.models])
    return np.concatenate([pair_lines(merges, trained), merges.likeness, run, counts], axis=1)


def inputs(features: int, effects: int, trained: Sequence[str]) -> tuple[int, int]:
    """How many numbers the forest and the networks read of a merge."""
    told = conditioned.size(features, effects, trained) + len(likeness.LIKENESS_NAMES)
    return told, told + NETWORK_INPUTS


def half_widths(rows: Rows, merges: Merges, *, seed: int, alpha: float) -> tuple[float, float]:
    """What 90 % intervals need if alpha is 0.1: of merges that were not run, and of those run.

    From residuals on merges none of whose models was trained on: groups of models that no set ties
    together are held out in turn, so whole bases where sets tie all models of one. Where all models
    are tied, models are held out, and merges with any of them tested.
    """
    operators = conditioned.operators(rows.arms)
    unrun: list[Floats] = []
    run: list[Floats] = []
    for tested in _deal(groups(merges.models)):
        apart = [
            i
            for i, pair in enumerate(zip(rows.experts, rows.auxiliaries, strict=True))
            if not tested & set(pair)
        ]
        inside = np.array([bool(tested & set(models)) for models in merges.models])
        test, known = (merges.take(np.flatnonzero(part)) for part in (inside, ~inside))
        if not apart or not len(known):
            continue
        fitted = fit(rows.take(np.array(apart)), known, seed=seed)
        unrun.append(np.abs(predict(*fitted, _hide_likeness(test), operators) - test.gains))
        run.append(np.abs(predict(*fitted, test, operators) - test.gains))
    none = np.empty(0)
    return radius(np.concatenate([none, *unrun]), alpha), radius(
        np.concatenate([none, *run]), alpha
    )


def groups(sets: Sequence[Sequence[str]]) -> list[frozenset[str]]:
    """Models that share a set, directly or through others': no set is in two groups."""
    tied: list[frozenset[str]] = []
    for models in dict.fromkeys(map(tuple, sets)):
        touched = [group for group in tied if group & set(models)]
        tied = [group for group in tied if group not in touched]
        tied.append(frozenset(models).union(*touched))
    return sorted(tied, key=sorted)


def _deal(parts: Sequence[frozenset[str]]) -> list[frozenset[str]]:
    """The groups, put together into at most FOLDS; the models of the only one."""
    if len(parts) == 1:
        parts = [frozenset({model}) for model in sorted(parts[0])]
    dealt = [parts[i::GROUP_FOLDS] for i in range(min(GROUP_FOLDS, len(parts)))]
    return [frozenset().union(*part) for part in dealt]


def _hide_likeness(merges: Merges) -> Merges:
    return replace(merges, likeness=np.full_like(merges.likeness, np.nan))


def _hide(merges: Merges, drawn: Places) -> Merges:
    """As if not run, with a pattern of families hidden from each."""
    return replace(
        _hide_likeness(merges),
        values=hide_each(merges.values, merges.names, drawn),
        effects=conditioned.hide_each_effects(
            merges.effects, merges.effect_names, drawn, patterns(merges.names)
        ),
    )


def _forest(rows: Rows, merges: Merges, trained: Sequence[str], *, seed: int) -> "Booster":
    """One forest on pairs and merges of many; two thirds of what it learns from merges is as if
    they had not been run."""
    from xgboost import DMatrix, train

    known, gains = conditioned.examples(rows, seed)
    unseen = np.full((len(known), len(likeness.LIKENESS_NAMES)), np.nan)
    blind = np.random.default_rng(seed).integers(1, len(patterns(merges.names)), len(merges))
    each = (merges, _hide_likeness(merges), _hide(merges, blind))
    lines = [
        np.concatenate([known, unseen], axis=1),
        *(matrix(m, trained)[:, :-NETWORK_INPUTS] for m in each),
    ]
    labels = [gains, *(m.gains for m in each)]
    data = DMatrix(np.concatenate(lines), label=np.concatenate(labels), nthread=1)
    return train(conditioned.SETTINGS | {"seed": seed}, data, num_boost_round=TREES)


def _networks(merges: Merges, trained: Sequence[str], *, seed: int) -> Networks:
    lines = np.concatenate([matrix(_hide_likeness(merges), trained), matrix(merges, trained)])
    knots = network.quantiles(lines)
    ranked = network.ranks(lines, knots)
    masks = conditioned.masks(merges.names, merges.effect_names, lines.shape[1])
    gains = np.tile(merges.gains, 2)
    together = _task_groups(merges)
    together += [places + len(merges) for places in together]
    made = (
        _train(ranked, gains, together, masks, seed=1000 * seed + number)
        for number in range(NETWORKS)
    )
    return Networks(knots=knots, networks=tuple(made))


def _task_groups(merges: Merges) -> list[Places]:
    """The places of merges of the same models on the same task."""
    by_task: dict[tuple[object, ...], list[int]] = {}
    for place, key in enumerate(zip(merges.models, merges.tasks, strict=True)):
        by_task.setdefault(key, []).append(place)
    return [np.array(places) for places in by_task.values()]


def _train(
    ranked: Floats, gains: Floats, together: Sequence[Places], masks: Floats, *, seed: int
) -> Network:
    how = Training(
        steps=STEPS, batch=BATCH, dropout=DROPOUT, leads=LEAD_WEIGHT, hidden=HIDDEN_SHARE
    )
    weights_by_layer = network.train_on_groups(ranked, gains, together, how, masks=masks, seed=seed)
    return {layer: weights.round(DECIMALS) for layer, weights in weights_by_layer.items()}
