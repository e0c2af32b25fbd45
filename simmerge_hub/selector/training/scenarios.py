"""Held-out pairs near and far: models, a size of base, a regime, a domain left out of training.

Each way of leaving out puts the tested pairs at some distance from what they are predicted by. All
of it together is the record a plan's choice must stand on (`predictor.record`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from simmerge_hub.selector.models import conditioned, mixture
from simmerge_hub.selector.models.conformal import usable_arms
from simmerge_hub.selector.models.mixture import Size
from simmerge_hub.selector.predictor import novelty
from simmerge_hub.selector.predictor.record import Record
from simmerge_hub.selector.tables.availability import Pattern, hide, missing, patterns, spell
from simmerge_hub.selector.tables.rows import Floats, Rows, Split
from simmerge_hub.selector.training.report import HeldOut

AUXILIARY_FOLDS = 3
"""Of auxiliaries, where a domain is left out."""
FEWEST_MODELS = 6
"""Fewer are not trained on."""
PAIRS_PER_KIND = 400
"""Pairs of each kind that are kept."""


def sizes_of(rows: Rows, provenance: Mapping[str, Any]) -> Floats:
    """[n]: the parameters of each row's base; NaN where the outcomes do not say."""
    stated = provenance.get("parameters")
    if isinstance(stated, Mapping):
        sizes = [stated.get(r, stated.get(r.rpartition("/")[2], np.nan)) for r in rows.regimes]
    else:
        sizes = [stated[0] if stated and len(set(stated)) == 1 else np.nan] * len(rows)
    return np.array(sizes, dtype=np.float64)


def leave_sizes_out(sizes: Floats) -> list[Split]:
    """Each size of base asked about after training on all the others."""
    known = np.unique(sizes[np.isfinite(sizes)])
    return [_split(sizes == size) for size in known] if len(known) > 1 else []


def leave_regimes_out(rows: Rows, sizes: Floats) -> list[Split]:
    """Each regime asked about after training on the others, if a base of its size is among them."""
    regimes, parts, sizes = np.array(rows.regimes), [], np.nan_to_num(sizes)
    for regime in sorted(set(rows.regimes)):
        there = regimes == regime
        if not there.all() and set(sizes[there].tolist()) <= set(sizes[~there].tolist()):
            parts.append(_split(there))
    return parts


def leave_domains_out(rows: Rows, folds: int, *, seed: int) -> dict[str, list[Split]]:
    """Domain -> its experts' rows, asked about after training on rows of other domains only.

    Auxiliaries are kept apart by folds.
    """
    domains = np.array([task.partition("/")[0] for task in rows.tasks])
    home = dict(zip(rows.experts, domains, strict=True))
    of_auxiliary = np.array([home.get(x, "") for x in rows.auxiliaries])
    random = np.random.default_rng(seed)
    fold = {str(m): i % folds for i, m in enumerate(random.permutation(rows.models))}
    placed = np.array(
        [(fold[e], fold[x]) for e, x in zip(rows.experts, rows.auxiliaries, strict=True)]
    )
    return {
        domain: [
            Split(train=np.flatnonzero(apart), test=test)
            for one in range(folds)
            for apart in [(domains != domain) & (of_auxiliary != domain) & (placed != one).all(1)]
            if len(test := np.flatnonzero((domains == domain) & (placed[:, 1] == one)))
        ]
        for domain in sorted(set(domains.tolist()))
    }


def collect(rows: Rows, sizes: Floats, held: HeldOut, size: Size, *, seed: int) -> Record:
    """The record of all ways to leave out.

    Args:
        rows: what can be learned from.
        sizes: [n], as `sizes_of` gives them.
        held: the rows with models left out, predicted.
        size: of the predictors that are fitted for the other kinds.
        seed: of folds and fits.
    """
    others = {
        "size": leave_sizes_out(sizes),
        "regime": leave_regimes_out(rows, sizes),
        "domain": [
            s for part in leave_domains_out(rows, AUXILIARY_FOLDS, seed=seed).values() for s in part
        ],
    }
    asked = [(kind, split) for kind, parts in others.items() for split in parts]
    asked = [(kind, s) for kind, s in asked if len(rows.take(s.train).models) >= FEWEST_MODELS]
    predicted = {}

    def one(number: int) -> None:
        split = asked[number][1]
        known, test = rows.take(split.train), rows.take(split.test)
        fitted = mixture.fit(known, size, seed=seed)
        predicted[number] = np.stack([_predict(fitted, test, p) for p in patterns(rows.names)])

    mixture.run_in_parallel(one, range(len(asked)))
    at = _places(rows, held.rows)
    near = [
        _part(
            "models",
            rows,
            sizes,
            Split(train=at[s.train], test=at[s.test]),
            held.predicted[:, s.test],
        )
        for s in held.splits
    ]
    far = [_part(kind, rows, sizes, s, predicted[i]) for i, (kind, s) in enumerate(asked)]
    return _thin(_concatenate([*near, *far]))


def _split(there: np.ndarray) -> Split:
    return Split(train=np.flatnonzero(~there), test=np.flatnonzero(there))


def _places(rows: Rows, some: Rows) -> np.ndarray:
    """Where `some` of the rows stand among them."""
    keys = {
        k: i for i, k in enumerate(zip(rows.experts, rows.auxiliaries, rows.tasks, strict=True))
    }
    return np.array([keys[k] for k in zip(some.experts, some.auxiliaries, some.tasks, strict=True)])


def _predict(fitted: mixture.Mixture, test: Rows, pattern: Pattern) -> Floats:
    """[test rows, arms]"""
    values = hide(test.values, test.names, pattern)
    effects = conditioned.hide_effects(test.effects, test.effect_names, pattern)
    return mixture.predict(fitted, values, effects)


def _part(kind: str, rows: Rows, sizes: Floats, split: Split, predicted: Floats) -> Record:
    """The record of one split; `predicted` is [patterns, test rows, arms]."""
    known, test = rows.take(split.train), rows.take(split.test)
    numbers = {name: number for number, name in enumerate(rows.models)}
    scale = _scale(sizes[split.test], sizes[split.train])
    usable = {p: usable_arms(rows.arms, p) for p in patterns(rows.names) if _is_distinct(rows, p)}
    return Record(
        arms=rows.arms,
        kinds=(kind,) * len(test),
        experts=np.array([numbers[name] for name in test.experts]),
        auxiliaries=np.array([numbers[name] for name in test.auxiliaries]),
        gains=np.round(test.gains, 2),
        predicted={
            spell(p): np.where(usable[p], np.round(part, 2), np.nan)
            for p, part in zip(patterns(rows.names), predicted, strict=True)
            if p in usable and usable[p].any()
        },
        distances={
            spell(p): np.column_stack([scale, novelty.distances(known, test, p)])
            for p in usable
            if usable[p].any()
        },
        sizes=sizes[split.test],
    )


def _is_distinct(rows: Rows, pattern: Pattern) -> bool:
    """Whether rows without these families can be told from others."""
    return missing(hide(rows.values, rows.names, pattern)[0], rows.names) == pattern


def _scale(asked: Floats, trained: Floats) -> Floats:
    """[asked]: 0 where a size is not known: such a row shows nothing of other sizes."""
    known = np.unique(trained[np.isfinite(trained)]).tolist()
    if not known:
        return np.zeros(len(asked))
    scales = [novelty.scale(each, known) if np.isfinite(each) else 0.0 for each in asked.tolist()]
    return np.round(scales, novelty.DECIMALS)


def _concatenate(parts: Sequence[Record]) -> Record:
    first = parts[0]
    return Record(
        arms=first.arms,
        kinds=tuple(kind for part in parts for kind in part.kinds),
        experts=np.concatenate([part.experts for part in parts]),
        auxiliaries=np.concatenate([part.auxiliaries for part in parts]),
        gains=np.concatenate([part.gains for part in parts]),
        predicted={
            p: np.concatenate([part.predicted[p] for part in parts]) for p in first.predicted
        },
        distances={
            p: np.concatenate([part.distances[p] for part in parts]) for p in first.distances
        },
        sizes=np.concatenate([part.sizes for part in parts]),
    )


def _thin(record: Record) -> Record:
    """At most so many pairs of each kind, evenly spread."""
    by_kind: dict[str, dict[frozenset[int], list[int]]] = {}
    both = zip(record.kinds, record.experts.tolist(), record.auxiliaries.tolist(), strict=True)
    for place, (kind, *pair) in enumerate(both):
        by_kind.setdefault(kind, {}).setdefault(frozenset(pair), []).append(place)
    kept = []
    for pairs in by_kind.values():
        step = -(-len(pairs) // PAIRS_PER_KIND)
        ordered = sorted(pairs, key=sorted)
        kept += [place for pair in ordered[::step] for place in pairs[pair]]
    return record.take(np.array(kept))
