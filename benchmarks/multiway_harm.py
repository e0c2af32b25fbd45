"""Whether a plan leaves a harmful model out that is planted beside a set of three."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from multiway_bench import Benches, Signatures, append, plant, read
from multiway_sets import BASES, average, folds, seeded_hash, sets
from multiway_train import train_without_fold

from simmerge_hub.planning.ask.objective import MEAN
from simmerge_hub.planning.tree import enumerate_trees
from simmerge_hub.planning.trees.search import search
from simmerge_hub.zoo.manifest import Manifest

HARM = 40
"""Merges with a harmful model that are drawn to find the best, those in one step among them."""
HARMFUL = {"noise": 2.0, "overtrained": 4.0, "stranger": 1.0, "reversed": -3.0}
"""Kinds of harmful models that are tested, and how strong they are; see `plant`."""
SMALLEST_HARM = 0.05
"""From which on harm is plain."""


def harm(manifest: Manifest, part: str, seconds: float, shard: int) -> bool:
    """Plant a harmful model beside the tested sets of three, for so long, and let a plan on weights
    alone choose which of the four to merge; whether all are done.

    Kinds take turns, base by base. Whether it is harmful is measured: the best merge of all four,
    of HARM drawn, against the best of the three.
    """
    until = time.monotonic() + seconds
    signatures, benches = Signatures(manifest), Benches(manifest)
    measured = {tuple(row["models"]): row for row in read("multiway")}
    wanted = [c for c in sets(manifest, 3, part) if c in measured]
    wanted.sort(key=lambda chosen: BASES.index(measured[chosen]["base"]))
    for number, chosen in list(enumerate(wanted))[shard:]:
        if time.monotonic() > until:
            return False
        if list(chosen) in [row["models"] for row in read("multiway-harm")]:
            continue
        bench = benches[measured[chosen]["base"]]
        kind = list(HARMFUL)[number % len(HARMFUL)]
        other = plant(bench, chosen, kind, HARMFUL[kind])
        if other is None:
            continue
        drawn = sorted(
            enumerate_trees((*chosen, other)),
            key=lambda t: (len(t.parts) < 4, seeded_hash("harm", t.label)),
        )
        predictor = train_without_fold(manifest, folds(manifest)[chosen[0]])
        picked = search(signatures.forecast(chosen, predictor, others=[other]), MEAN)[0].tree
        row = {
            "models": chosen,
            "kind": kind,
            "planted": other,
            "without": max(average(measured[chosen]["utilities"]).values()),
            "with": max(average(bench.utilities(chosen, drawn[:HARM])).values()),
            "picked": picked.models,
            "reached": average(bench.utilities(chosen, [picked]))[picked.label],
        }
        append("multiway-harm", row)
    return True


def report_harm() -> dict[str, Any]:
    """How often a planted model is left out, and no other one, where planting it did harm.

    `harm`: by how much planting it lowers the oracle, at least. {} if none was planted.
    """
    rows = list(read("multiway-harm"))
    if not rows:
        return {}
    kinds = sorted({row["kind"] for row in rows})
    return {
        "planted": {kind: sum(row["kind"] == kind for row in rows) for kind in kinds},
        "plan": [
            {"harm": least, "kind": kind, **_summarize(some)}
            for least in (0.0, SMALLEST_HARM)
            for kind in ("all", *kinds)
            if (some := [r for r in rows if _harms(r, least) and kind in ("all", r["kind"])])
        ],
    }


def _summarize(rows: list[dict[str, Any]]) -> dict[str, Any]:
    means = {"reached": "reached", "oracle_without": "without", "oracle_with": "with"}
    return {
        "cases": len(rows),
        "left_out": sum(row["planted"] not in row["picked"] for row in rows),
        "all_others_kept": sum(set(row["models"]) <= set(row["picked"]) for row in rows),
        **{name: round(float(np.mean([row[key] for row in rows])), 4)
           for name, key in means.items()},
    }  # fmt: skip


def _harms(row: Mapping[str, Any], least: float) -> bool:
    return row["with"] < row["without"] and row["without"] - row["with"] >= least
