"""Numbers of the page on merges of many, from what `multiway.py` measured and planned."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from multiway_bench import OTHERS, PROMPTS, read
from multiway_fed import Plans, Rows, expect, held_out_gains
from multiway_harm import report_harm
from multiway_intervals import round_off, spread, spread_share
from multiway_sets import (
    BASES,
    CHAINED,
    DRAWN,
    FED,
    FOLDS,
    SETS,
    average,
    chain,
    controls,
    fed_trees,
    orders,
    seeded_hash,
    sets,
    trees,
)
from multiway_train import learn_from

from simmerge_hub.planning.choice import WITHIN
from simmerge_hub.planning.tree import Tree, identity
from simmerge_hub.zoo.manifest import Manifest

PLAN, BARE = "plan", "plan without RegMean"
EITHER = "plan without RegMean or RegMean++ at once, the better in hindsight"
ORACLES = {PLAN: "oracle", BARE: "oracle without RegMean"}
"""Plan -> the best of all that it may choose."""
CONTROL = "chain of linear, random order"


def report(manifest: Manifest) -> dict[str, Any]:
    """All numbers of the page, from what was measured and planned; sets that lack one are left
    out."""
    measured = {tuple(row["models"]): row for row in read("multiway")}
    planned = {tuple(row["models"]): row for row in read("multiway-plans")}
    numbers: dict[str, Any] = {
        "zoo": {"name": manifest.name, "specialists": len(manifest.specialists)},
        "prompts": PROMPTS,
        "folds": FOLDS,
        "drawn": DRAWN,
        "learned": {str(fold): _learned(manifest, fold) for fold in range(FOLDS)},
        "again": {"prompts": OTHERS},
    }
    for size in SETS["test"]:
        tested = [models for models in sets(manifest, size) if models in measured]
        chosen = [models for models in tested if models in planned]
        if chosen:
            gains = held_out_gains(manifest, measured, tested)
            plans = {m: planned[m]["plans"] | expect(manifest, m, gains) for m in chosen}
            numbers[str(size)] = _of_size(chosen, measured, planned, plans) | {
                "wanted": len(sets(manifest, size)),
                "expected": gains,
            }
            numbers["again"][str(size)] = _again(chosen, measured, planned, plans)
    if harm := report_harm():
        numbers["harm"] = harm
    return numbers


def _learned(manifest: Manifest, fold: int) -> dict[str, int]:
    """What the predictor of a fold learned from, in cases: merges on a task."""
    pairs, merges = learn_from(manifest, fold)
    return {
        "pairs": len(set(map(frozenset, zip(pairs.experts, pairs.auxiliaries, strict=True)))),
        "merges_of_many": len(merges),
        "sets_of_many": len(set(merges.models)),
    }


def _of_size(
    chosen: Sequence[tuple[str, ...]],
    measured: Rows,
    planned: Rows,
    plans: Mapping[tuple[str, ...], Plans],
) -> dict[str, Any]:
    scores = [_strategies(m, measured[m], planned[m], plans[m]) for m in chosen]
    picked = [choose(plans[m]).partition("[")[0] for m in chosen]
    return {
        "sets": len(chosen),
        "bases": {b: sum(measured[m]["base"] == b for m in chosen) for b in BASES},
        "strategies": {n: spread(chosen, [s[n] for s in scores]) for n in scores[0]},
        "lead": {
            plan: {
                n: spread(chosen, [s[plan] - s[n] for s in scores])
                for n in scores[0]
                if n not in (plan, EITHER, *ORACLES.values())
            }
            for plan in ORACLES
        },
        "captured": {plan: _headroom_captured(chosen, scores, plan) for plan in ORACLES},
        "taken": {arm.label: picked.count(arm.label) for arm in FED},
        "own": _compare_own(chosen, measured, plans),
        "orders": _orders(chosen, measured),
        "forecast": _forecast(chosen, measured, planned),
        "cost": _cost(chosen, measured, planned),
    }


def _again(
    chosen: Sequence[tuple[str, ...]],
    measured: Rows,
    planned: Rows,
    plans: Mapping[tuple[str, ...], Plans],
) -> dict[str, Any]:
    """Means on other prompts."""
    rows = {tuple(row["models"]): row["values"] for row in read("multiway-again")}
    known = [models for models in chosen if models in rows]
    scores = []
    for models in known:
        values, fed = dict(rows[models]), {t.label for t in fed_trees(models)}
        picked = {PLAN: choose(plans[models]), "oracle": best(measured[models], planned[models])}
        for name, other in ((PLAN, BARE), ("oracle", ORACLES[BARE])):
            values[name] = rows[models][picked[name] if picked[name] in fed else other]
        for label in fed:
            values[f"at once: {label.partition('[')[0]}"] = values.pop(label)
        scores.append(values)
    if not known:
        return {"sets": 0}
    return {
        "sets": len(known),
        "means": {name: spread(known, [s[name] for s in scores]) for name in scores[0]},
    }


def _strategies(
    models: tuple[str, ...], row: Mapping[str, Any], planned: Mapping[str, Any], plans: Plans
) -> dict[str, float]:
    """Strategy -> utility of its merge, mean over the tasks."""
    own, fed = average(row["utilities"]), average(row["fed"])
    weights = own | average(planned.get("measured", {}))
    true = weights | fed
    values = {
        PLAN: true[choose(plans)],
        BARE: true[choose(planned["plans"])],
        "plan without caution": true[choose(plans, caution=0.0)],
    }
    once = {t.label: own[t.label] for t in trees(models) if t.shape == "one step"}
    fixed = {tree.label for tree in controls(models)}
    drawn = [v for k, v in own.items() if len(models) == 3 or k not in {*once, *fixed}]
    values["a random plan without RegMean"] = float(np.mean(drawn))
    for label in CHAINED:
        chains = [chain(order, label) for order in orders(models)]
        found = [_same(own, models, tree) for tree in chains]
        values[f"chain of {label}, random order"] = float(np.mean(found))
    values["chain of linear, each task's expert last"] = _expert_last(models, row)
    for label, value in sorted((once | fed).items()):
        values[f"at once: {label.partition('[')[0]}"] = value
    values[ORACLES[BARE]] = weights[best(row, planned, fed=False)]
    values[ORACLES[PLAN]] = true[best(row, planned)]
    values[EITHER] = max(values[BARE], values[f"at once: {FED[-1].label}"])
    return values


def best(row: Mapping[str, Any], planned: Mapping[str, Any], *, fed: bool = True) -> str:
    """Label of the best merge measured of a set, with what activations say or without."""
    later = planned.get("measured", {}) if len(row["models"]) > 3 else {}
    values = average(row["utilities"] | later | (row["fed"] if fed else {}))
    return max(values, key=lambda label: values[label])


def choose(plans: Plans, *, caution: float = 1.0) -> str:
    """What comes first at this caution."""

    def value(label: str) -> tuple[float, str]:
        beliefs = np.array(plans[label])
        low = np.maximum(0, beliefs[:, 0] - caution * beliefs[:, 1]).mean()
        return -round(float(low), 9), label

    return min(plans, key=value)


def choose_alone(plans: Plans, place: int) -> str:
    """What comes first for one task alone."""
    return choose({label: [beliefs[place]] for label, beliefs in plans.items()})


def _same(own: Mapping[str, float], models: Sequence[str], tree: Tree) -> float:
    """The measured value of a tree, or of the one measured that gives the same merge."""
    if tree.label in own:
        return own[tree.label]
    wanted = identity(tree)
    return own[next(t.label for t in trees(models) if identity(t) == wanted)]


def _expert_last(models: tuple[str, ...], row: Mapping[str, Any]) -> float:
    """Another merge for each task: that in which its expert comes last, and has half the weight."""
    own = []
    for place, last in enumerate(models):
        order = sorted((m for m in models if m != last), key=lambda m: seeded_hash("order", m))
        by_task = {label: values[place] for label, values in row["utilities"].items()}
        own.append(_same(by_task, models, chain((*order, last), "linear")))
    return float(np.mean(own))


def _compare_own(
    chosen: Sequence[tuple[str, ...]], measured: Rows, plans: Mapping[tuple[str, ...], Plans]
) -> dict[str, Any]:
    """Another plan for each task, against the chain of Linear with each task's expert last."""
    rows = {tuple(row["models"]): row for row in read("multiway-own")}
    known = [models for models in chosen if models in rows]
    if not known:
        return {"sets": 0}
    last = [_expert_last(models, measured[models]) for models in known]
    plan = [_own(rows[models], measured[models]["fed"], plans[models]) for models in known]
    bare = [float(np.mean(rows[models]["values"])) for models in known]
    return {
        "sets": len(known),
        PLAN: spread(known, plan),
        BARE: spread(known, bare),
        "expert_last": spread(known, last),
        "lead": spread(known, [p - c for p, c in zip(bare, plan, strict=True)]),
    }


def _own(row: Mapping[str, Any], fed: Mapping[str, Sequence[float]], plans: Plans) -> float:
    """Utility where every task has what comes first for it alone."""
    picked = [choose_alone(plans, place) for place in range(len(row["values"]))]
    pairs = zip(picked, row["values"], strict=True)
    return float(np.mean([fed[p][i] if p in fed else v for i, (p, v) in enumerate(pairs)]))


def _headroom_captured(
    chosen: Sequence[tuple[str, ...]], scores: Sequence[Mapping[str, float]], name: str
) -> dict[str, Any]:
    """Share of the way from the best control (in hindsight) to the best that the plan may choose.

    A plan without RegMean is measured against what needs none.
    """
    seeing = {f"at once: {arm.label}" for arm in FED} if name == BARE else set()
    single = [
        n
        for n in scores[0]
        if n.startswith(("chain", "at once")) and "expert" not in n and n not in seeing
    ]
    best_ = max(single, key=lambda n: np.mean([s[n] for s in scores]))
    plan, control, oracle = (np.array([s[n] for s in scores]) for n in (name, best_, ORACLES[name]))
    return {"control": best_, **spread_share(chosen, plan - control, oracle - control)}


def _orders(chosen: Sequence[tuple[str, ...]], measured: Rows) -> dict[str, Any]:
    """Best minus worst of the orders measured, one operator at every step."""
    gaps: dict[str, list[float]] = {label: [] for label in CHAINED[:2]}
    for models in chosen:
        own = average(measured[models]["utilities"])
        every = [(*(m for m in models if m != last), last) for last in models]
        for label, each in gaps.items():
            chains = [chain(o, label) for o in (orders(models) if len(models) > 3 else every)]
            values = [_same(own, models, tree) for tree in chains]
            each.append(max(values) - min(values))
    return {label: spread(chosen, each) for label, each in gaps.items()}


def _forecast(chosen: Sequence[tuple[str, ...]], measured: Rows, planned: Rows) -> dict[str, Any]:
    """Forecasts of merges on weights alone against the measured: of tasks, and inside a set."""
    tasks, inside, held = [], [], []
    for models in chosen:
        plans = planned[models]["plans"]
        both = [label for label in measured[models]["utilities"] if label in plans]
        expected = np.array([plans[label] for label in both])
        true = np.array([measured[models]["utilities"][label] for label in both])
        tasks.append(np.stack([expected[..., 0].ravel(), true.ravel()]))
        held.append(np.abs(expected[..., 0] - true) <= WITHIN * expected[..., 1] + 1e-9)
        if true.mean(axis=1).std() > 0:
            pair = np.corrcoef(expected[..., 0].mean(axis=1), true.mean(axis=1))
            inside.append(float(pair[0, 1]))
    return {
        "count": sum(each.size for each in held),
        "correlation": round_off(np.corrcoef(np.concatenate(tasks, axis=1))[0, 1]),
        "coverage": round_off(np.concatenate([each.ravel() for each in held]).mean()),
        "inside": round_off(np.nanmean(inside)),
    }


def _cost(chosen: Sequence[tuple[str, ...]], measured: Rows, planned: Rows) -> dict[str, float]:
    """Processor seconds of one core: to plan, and to merge and evaluate as many plans."""
    rows = [planned[m] for m in chosen]
    each = [measured[m]["seconds"] / len(measured[m]["utilities"]) for m in chosen]
    seconds, scored = (sum(row[key] for row in rows) for key in ("seconds", "scored"))
    whole = sum(one * row["scored"] for one, row in zip(each, rows, strict=True))
    return {
        "scored_per_second": round_off(scored / seconds),
        "seconds_a_set": round_off(seconds / len(rows)),
        "seconds_a_measured_plan": round_off(np.mean(each)),
        "seconds_a_set_by_what_layers_are_fed": round_off(
            np.mean([measured[m]["fed_seconds"] for m in chosen])
        ),
        "ratio": round_off(seconds / whole),
    }
