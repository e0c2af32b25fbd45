"""Numbers of the page on merges of many, from what `multiway.py` measured and planned."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from multiway_bench import OTHERS, PROMPTS, read
from multiway_sets import (
    BASES,
    CHAINED,
    DRAWN,
    FOLDS,
    SEED,
    SETS,
    chain,
    controls,
    orders,
    seeded_hash,
    sets,
    tasks_of,
    trees,
)

from simmerge_hub.planning.tree import Tree, identity
from simmerge_hub.selector.models import multiway
from simmerge_hub.zoo.manifest import Manifest

PROBED = 4
"""Merges that are really run on the probes where a plan may do that."""
EVENLY = "ties(density=0.5), all at the same weight"
PLAN, TRIED = "plan", f"plan, {PROBED} merges tried on the probes"
SMALLEST_HARM = 0.05
"""From which on harm is plain."""
CONTROL = "chain of linear, random order"
WAYS = ("structure", "leaves", "weights")


def report(manifest: Manifest) -> dict[str, Any]:
    """All numbers of the page, from what was measured and planned; sets that lack one are left
    out."""
    measured = {tuple(row["models"]): row for row in read("multiway")}
    planned = {(tuple(row["models"]), row["way"]): row for row in read("multiway-plans")}
    found: dict[str, Any] = {"prompts": PROMPTS, "folds": FOLDS, "drawn": DRAWN}
    for size in SETS["test"]:
        chosen = [m for m in sets(manifest, size) if m in measured and (m, "merged") in planned]
        if not chosen:
            continue
        scores = [_strategies(m, measured[m], planned) for m in chosen]
        found[str(size)] = {
            "wanted": len(sets(manifest, size)),
            "sets": len(chosen),
            "bases": {b: sum(measured[m]["base"] == b for m in chosen) for b in BASES},
            "strategies": {n: _spread(chosen, [s[n] for s in scores]) for n in scores[0]},
            "lead": {
                plan: {
                    n: _spread(chosen, [s[plan] - s[n] for s in scores])
                    for n in scores[0]
                    if n not in (plan, "oracle")
                }
                for plan in (PLAN, TRIED)
            },
            "captured": {plan: _headroom_captured(chosen, scores, plan) for plan in (PLAN, TRIED)},
            "own": _compare_own(chosen, measured),
            "ways": {
                way: _compare([m for m in chosen if (m, way) in planned], way, measured, planned)
                for way in WAYS
                if any((m, way) in planned for m in chosen)
            },
            "orders": _orders(chosen, measured),
            "forecast": _forecast(chosen, measured, planned),
            "cost": _cost(chosen, measured, planned),
        }
    found["intermediates"] = _intermediates(manifest, measured, planned)
    found["harm"] = _harm()
    found["again"] = _again()
    return found


def _intermediates(
    manifest: Manifest,
    measured: Mapping[Any, Mapping[str, Any]],
    planned: Mapping[Any, Mapping[str, Any]],
) -> dict[str, Any]:
    """Predicted against measured utility of merges of two inside sets of three, on all tasks.

    Merges of two occur in several sets of three; each counts once on a task.
    """
    pairs: dict[tuple[str, str], tuple[float, float, float]] = {}
    for models in sets(manifest, 3):
        if models in measured and (models, "merged") in planned:
            true, told = measured[models]["parts"], planned[models, "merged"]["parts"]
            for label, beliefs in told.items():
                for task_, (mean_, deviation), value in zip(
                    tasks_of(manifest, models), beliefs, true[label], strict=True
                ):
                    pairs[label, task_] = (mean_, deviation, value)
    predicted, deviations, true = np.array(list(pairs.values())).T
    return _calibration(predicted, deviations, true)


def _again() -> dict[str, Any]:
    """Means on other prompts, and the share of the headroom there."""
    found: dict[str, Any] = {"prompts": OTHERS}
    for size in SETS["test"]:
        rows = [row for row in read("multiway-again") if len(row["models"]) == size]
        if not rows:
            continue
        chosen = [tuple(row["models"]) for row in rows]
        scores = [row["values"] for row in rows]
        found[str(size)] = {
            "sets": len(rows),
            "means": {name: _spread(chosen, [s[name] for s in scores]) for name in scores[0]},
            "captured": {plan: _headroom_captured(chosen, scores, plan) for plan in (PLAN, TRIED)},
        }
    return found


def _harm() -> dict[str, Any]:
    """How often a planted model is left out, and no other one, where planting it did harm.

    `harm`: by how much planting it lowers the oracle, at least.
    """
    rows = list({tuple(row["models"]): row for row in read("multiway-harm")}.values())
    kinds = sorted({row["kind"] for row in rows})
    found: dict[str, Any] = {"planted": {k: sum(r["kind"] == k for r in rows) for k in kinds}}
    for name in ("plan", "tried"):
        found[name] = [
            {
                "harm": least,
                "kind": kind,
                "cases": len(some),
                "left_out": sum(row["planted"] not in row["picked"][name] for row in some),
                "all_others_kept": sum(
                    set(row["models"]) <= set(row["picked"][name]) for row in some
                ),
                "reached": _round(np.mean([row["reached"][name] for row in some])),
                "oracle_without": _round(np.mean([row["without"] for row in some])),
                "oracle_with": _round(np.mean([row["with"] for row in some])),
            }
            for least in (0.0, SMALLEST_HARM)
            for kind in ("all", *kinds)
            if (
                some := [row for row in rows if _harms(row, least) and kind in ("all", row["kind"])]
            )
        ]
    return found


def _harms(row: Mapping[str, Any], least: float) -> bool:
    return row["with"] < row["without"] and row["without"] - row["with"] >= least


def _strategies(
    models: tuple[str, ...], row: Mapping[str, Any], planned: Mapping[Any, Mapping[str, Any]]
) -> dict[str, float]:
    plan = planned[models, "merged"]
    true = _true(row, plan)
    found = {
        PLAN: true[choice(plan["plans"], 1.0)],
        TRIED: true[choice(plan["tried"], 1.0)],
        "plan without caution": true[choice(plan["plans"], 0.0)],
    }
    own = {label: sum(v) / len(v) for label, v in row["utilities"].items()}
    shapes = {tree.label: tree.shape for tree in trees(models)}
    fixed = {tree.label for tree in controls(models)}
    once = {label: value for label, value in own.items() if shapes[label] == "one step"}
    drawn = [v for k, v in own.items() if len(models) == 3 or k not in {*once, *fixed}]
    found["a random plan"] = float(np.mean(drawn))
    for label in CHAINED:
        chains = [chain(order, label) for order in orders(models)]
        values = [_same(own, models, tree) for tree in chains]
        found[f"chain of {label}, random order"] = float(np.mean(values))
    found["chain of linear, each task's expert last"] = _expert_last(models, row)
    for label, value in sorted(once.items()):
        found[f"at once: {label.partition('[')[0]}"] = value
    found["oracle"] = max(own.values()) if len(models) == 3 else max(true.values())
    return found


def _true(row: Mapping[str, Any], plan: Mapping[str, Any]) -> dict[str, float]:
    """Label -> measured mean, with the choices measured later."""
    everything = row["utilities"] | plan.get("measured", {})
    return {label: sum(v) / len(v) for label, v in everything.items()}


def choice(plans: Mapping[str, Any], caution: float) -> str:
    """What comes first at this caution."""

    def value(label: str) -> tuple[float, str]:
        beliefs = np.array(plans[label])
        low = np.maximum(0, beliefs[:, 0] - caution * beliefs[:, 1]).mean()
        return -round(float(low), 9), label

    return min(plans, key=value)


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


def choose_alone(plans: Mapping[str, Any], place: int) -> str:
    """What comes first for one task alone, one standard deviation below the mean."""

    def value(label: str) -> tuple[float, str]:
        mean, deviation = plans[label][place]
        return -round(mean - deviation, 9), label

    return min(plans, key=value)


def _compare_own(
    chosen: Sequence[tuple[str, ...]], measured: Mapping[Any, Mapping[str, Any]]
) -> dict[str, Any]:
    """Another plan for each task, against the chain of Linear with each task's expert last."""
    planned = {tuple(r["models"]): float(np.mean(r["values"])) for r in read("multiway-own")}
    known = [models for models in chosen if models in planned]
    last = [_expert_last(models, measured[models]) for models in known]
    plan = [planned[models] for models in known]
    return {
        "sets": len(known),
        "plan": _spread(known, plan),
        "expert_last": _spread(known, last),
        "lead": _spread(known, [p - c for p, c in zip(plan, last, strict=True)]),
    }


def _resample(chosen: Sequence[tuple[str, ...]], whole: bool) -> np.ndarray:
    """[2000, sets]: how often each set is drawn with its models.

    Either `whole` groups of models are drawn anew (no set is in two), or models one by one: a set
    then counts as often as all of its models together, which gives wider intervals.
    """
    units = multiway.groups(chosen)
    if not whole:
        units = [{model} for model in sorted(frozenset().union(*units))]
    belongs = np.array([[bool(unit & set(models)) for unit in units] for models in chosen])
    random = np.random.default_rng(SEED)
    drawn = random.integers(len(units), size=(2000, len(units)))
    counts = np.stack([np.bincount(row, minlength=len(units)) for row in drawn])
    weights = np.stack([counts[:, own].prod(axis=1) for own in belongs], axis=1)
    return weights[weights.sum(axis=1) > 0]


def _spread(chosen: Sequence[tuple[str, ...]], values: Sequence[float]) -> dict[str, float]:
    """Mean with 95 % intervals: from drawing models anew, and from drawing groups of them."""
    found = {"mean": _round(np.mean(values))}
    for whole, prefix in ((False, ""), (True, "group_")):
        weights = _resample(chosen, whole)
        means = weights @ np.array(values) / weights.sum(axis=1)
        low, high = np.quantile(means, (0.025, 0.975))
        found |= {f"{prefix}low": _round(low), f"{prefix}high": _round(high)}
    return found


def _headroom_captured(
    chosen: Sequence[tuple[str, ...]], scores: Sequence[Mapping[str, float]], name: str
) -> dict[str, Any]:
    """Share of the way from the best control (in hindsight) to the oracle."""
    single = [n for n in scores[0] if n.startswith(("chain", "at once")) and "expert" not in n]
    best = max(single, key=lambda n: np.mean([s[n] for s in scores]))
    plan, control, oracle = (np.array([s[n] for s in scores]) for n in (name, best, "oracle"))
    share = (plan - control).sum() / (oracle - control).sum()
    found = {"control": best, "mean": _round(share)}
    for whole, prefix in ((False, ""), (True, "group_")):
        weights = _resample(chosen, whole)
        shares = (weights @ (plan - control)) / (weights @ (oracle - control))
        low, high = np.quantile(shares, (0.025, 0.975))
        found |= {f"{prefix}low": _round(low), f"{prefix}high": _round(high)}
    return found


def _compare(
    chosen: Sequence[tuple[str, ...]],
    way: str,
    measured: Mapping[Any, Mapping[str, Any]],
    planned: Mapping[Any, Mapping[str, Any]],
) -> dict[str, Any]:
    """How a poorer way of seeing intermediates does on the same sets."""
    values = [
        [_true(measured[m], planned[m, w])[choice(planned[m, w]["plans"], 1.0)] for m in chosen]
        for w in ("merged", way)
    ]
    lead = [full - poor for full, poor in zip(*values, strict=True)]
    return {
        "sets": len(chosen),
        "merged": _spread(chosen, values[0]),
        way: _spread(chosen, values[1]),
        "lead": _spread(chosen, lead),
    }


def _orders(
    chosen: Sequence[tuple[str, ...]], measured: Mapping[Any, Mapping[str, Any]]
) -> dict[str, Any]:
    """Best minus worst of the orders measured, one operator at every step."""
    found = {}
    for label in CHAINED[:2]:
        gaps = []
        for models in chosen:
            utilities = measured[models]["utilities"]
            own = {k: sum(v) / len(v) for k, v in utilities.items()}
            chains = {chain(order, label) .label: chain(order, label) for order in (
                orders(models) if len(models) > 3 else [(*(m for m in models if m != last), last)
                                                        for last in models])}  # fmt: skip
            values = [_same(own, models, tree) for tree in chains.values()]
            gaps.append(max(values) - min(values))
        found[label] = _spread(chosen, gaps)
    if all("evenly" in measured[models] for models in chosen):
        each = [average(measured[models]["evenly"]).values() for models in chosen]
        found[EVENLY] = _spread(chosen, [max(values) - min(values) for values in each])
    return found


def _forecast(
    chosen: Sequence[tuple[str, ...]],
    measured: Mapping[Any, Mapping[str, Any]],
    planned: Mapping[Any, Mapping[str, Any]],
) -> dict[str, Any]:
    """Predicted against measured utility: of tasks, and of plans inside their set."""
    tasks, inside, deviations = [], [], []
    for models in chosen:
        plans = planned[models, "merged"]["plans"]
        both = [label for label in measured[models]["utilities"] if label in plans]
        expected = np.array([plans[label] for label in both])
        true = np.array([measured[models]["utilities"][label] for label in both])
        tasks.append(np.stack([expected[..., 0].ravel(), true.ravel()]))
        deviations.append(expected[..., 1].ravel())
        if true.mean(axis=1).std() > 0:
            pair = np.corrcoef(expected[..., 0].mean(axis=1), true.mean(axis=1))
            inside.append(float(pair[0, 1]))
    predicted, true = np.concatenate(tasks, axis=1)
    return _calibration(predicted, np.concatenate(deviations), true) | {
        "inside": _round(np.nanmean(inside))
    }


def _calibration(predicted: np.ndarray, deviations: np.ndarray, true: np.ndarray) -> dict[str, Any]:
    """Correlation, share of 90 % intervals that hold, and means by fifths of the prediction."""
    bins = [(predicted >= low) & (predicted < low + 0.2) for low in np.arange(0, 1, 0.2)]
    return {
        "count": len(predicted),
        "correlation": _round(np.corrcoef(predicted, true)[0, 1]),
        "coverage": _round((np.abs(predicted - true) <= 1.645 * deviations + 1e-9).mean()),
        "bins": [
            {"count": int(b.sum()), "predicted": _round(predicted[b].mean()),
             "measured": _round(true[b].mean())}
            for b in bins if b.any()
        ],
    }  # fmt: skip


def _cost(
    chosen: Sequence[tuple[str, ...]],
    measured: Mapping[Any, Mapping[str, Any]],
    planned: Mapping[Any, Mapping[str, Any]],
) -> dict[str, float]:
    """Processor seconds of one core: to plan, and to merge and evaluate as many plans."""
    rows = [planned[m, "merged"] for m in chosen]
    seconds = sum(r["seconds"] for r in rows)
    each = sum(measured[m]["seconds"] / len(measured[m]["utilities"]) for m in chosen)
    scored = sum(r["scored"] for r in rows)
    whole = sum(
        measured[m]["seconds"] / len(measured[m]["utilities"]) * r["scored"]
        for m, r in zip(chosen, rows, strict=True)
    )
    return {
        "scored_per_second": _round(scored / seconds),
        "seconds_a_set": _round(seconds / len(rows)),
        "seconds_a_measured_plan": _round(each / len(rows)),
        "ratio": _round(seconds / whole),
    }


def _round(value: float) -> float:
    return round(float(value), 4)


def average(utilities: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Label -> mean over tasks."""
    return {label: sum(values) / len(values) for label, values in utilities.items()}
