"""What the predictor of many learns from: planted models, the table, the predictor of a fold."""

import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from multiway_bench import BUILD, Bench, Benches, Signatures, append, plant, read
from multiway_sets import LEARNING, SEED, SETS, folds, seeded_hash, sets, tasks_of, trees

from simmerge_hub.planning.tree import Tree, enumerate_trees
from simmerge_hub.selector.models import heads, mixture, multiway
from simmerge_hub.selector.models.mixture import Size
from simmerge_hub.selector.predictor import origin
from simmerge_hub.selector.predictor.archive import load, save
from simmerge_hub.selector.predictor.predictor import Predictor
from simmerge_hub.selector.tables import merges
from simmerge_hub.selector.tables.features import load_features
from simmerge_hub.selector.tables.lines import read_text, write_text
from simmerge_hub.selector.tables.outcomes import load_outcomes
from simmerge_hub.selector.tables.rows import Rows, join
from simmerge_hub.selector.training.train import digest
from simmerge_hub.signatures.features.vector import FEATURE_NAMES
from simmerge_hub.signatures.merged.effects import EFFECT_NAMES as EFFECTS
from simmerge_hub.zoo.manifest import Manifest

KEPT = 36
"""Merges of a set that training reads: all of three models, a seeded draw of four."""
LEARNED = {"noise": (1.0, 2.0, 3.0), "overtrained": (2.0, 4.0, 6.0), "stranger": (1.0,)}
"""Those that training reads of: other models, and never a reversed one."""
SHARES = {"noise": 1, "overtrained": 1, "stranger": 2}
"""How often each is planted; strangers are the hardest to tell."""
OUTCOMES = Path(__file__).parent.parent / "recipes/outcomes/zoo-v3.jsonl.gz"
FEATURES = OUTCOMES.with_name("zoo-v3-features.jsonl.gz")
MERGES = OUTCOMES.with_name("zoo-v2-merges.jsonl.gz")


def plant_all(manifest: Manifest, seconds: float, shard: int) -> bool:
    """Plant a harmful model beside every set of three that training reads, for so long, and measure
    merges with it: half of KEPT with all of the set, half with two of it. Whether that is done."""
    until = time.monotonic() + seconds
    benches = Benches(manifest)
    for chosen in [each for part in LEARNING for each in sets(manifest, 3, part)][shard:]:
        if time.monotonic() > until:
            return False
        if list(chosen) in [row["models"] for row in read("multiway-planted")]:
            continue
        base = manifest.models[chosen[0]].spec["base"]
        bench = benches[base]
        random = Random(seeded_hash(*chosen))
        (kind,) = random.choices(list(SHARES), list(SHARES.values()))
        strength = random.choice(LEARNED[kind])
        other = plant(bench, chosen, kind, strength)
        if other is None:
            continue
        drawn = _draw((*chosen, other), KEPT // 2)
        for two in combinations(chosen, 2):
            drawn += _draw((*two, other), KEPT // 6)
        row = {
            "models": chosen,
            "base": base,
            "kind": kind,
            "strength": strength,
            "planted": other,
            "utilities": bench.utilities(chosen, drawn),
        }
        append("multiway-planted", row)
    return True


def _draw(models: Sequence[str], count: int) -> list[Tree]:
    """A seeded draw of the merges of all of these."""
    return sorted(enumerate_trees(sorted(models)), key=lambda t: seeded_hash("planted", t.label))[
        :count
    ]


def table(manifest: Manifest, seconds: float, shard: int) -> bool:
    """Describe the measured merges of the sets to learn from as training reads them, for so long;
    write the table once all are. Whether that is done.

    What the table in `recipes/outcomes` holds already is kept: remove it if the zoo changed.
    """
    until = time.monotonic() + seconds
    signatures, benches = Signatures(manifest), Benches(manifest)
    rows: dict[tuple[str, ...], list[Any]] = {}
    for line in map(json.loads, read_text(MERGES).splitlines()[1:]) if MERGES.exists() else ():
        rows.setdefault(tuple(line["models"]), []).append(line)
    of_train = {
        chosen for part in LEARNING for size in SETS[part] for chosen in sets(manifest, size, part)
    }
    measured = [*read("multiway"), *read("multiway-planted")]
    rows = _done() | rows
    for row in [row for row in measured if tuple(row["models"]) in of_train][shard:]:
        for some, known in _by_models(row).items():
            if some in rows or some in (rows := _done() | rows):
                continue
            if time.monotonic() > until:
                return False
            rows[some] = _describe(some, row, known, signatures, benches[row["base"]])
            append("multiway-table", {"models": some, "lines": rows[some]})
    if shard:
        return False
    lines = [
        merges.header(FEATURE_NAMES, EFFECTS),
        *(line for some in sorted(rows) for line in rows[some]),
    ]
    write_text(MERGES, "".join(json.dumps(line) + "\n" for line in lines))
    return True


def _done() -> dict[tuple[str, ...], list[Any]]:
    """What is described already, by other processes too."""
    return {tuple(each["models"]): each["lines"] for each in read("multiway-table")}


def _by_models(row: Mapping[str, Any]) -> dict[tuple[str, ...], list[Tree]]:
    """The measured merges that training reads, by their models."""
    models = tuple(row["models"])
    if "planted" in row:
        whole = (*models, row["planted"])
        some = [tuple(sorted((*two, row["planted"]))) for two in combinations(models, 2)]
        known = [t for each in (whole, *some) for t in enumerate_trees(sorted(each))]
    else:
        known = trees(models)
    found: dict[tuple[str, ...], list[Tree]] = {}
    for tree in known:
        if tree.label in row["utilities"]:
            found.setdefault(tuple(sorted(tree.models)), []).append(tree)
    return {each: training_merges(some) for each, some in found.items()}


def training_merges(known: Sequence[Tree]) -> list[Tree]:
    """KEPT of these, a seeded draw."""
    return sorted(known, key=lambda tree: seeded_hash("table", tree.label))[:KEPT]


def _describe(
    models: tuple[str, ...],
    row: Mapping[str, Any],
    known: Sequence[Tree],
    signatures: Signatures,
    bench: Bench,
) -> list[Any]:
    """Lines of the table of merges, one for a task whose expert is among the models.

    Args:
        models: of the merges.
        row: what was measured of a set, whose tasks are asked about; a planted model has none.
        known: the merges.
        signatures, bench: of the zoo.
    """
    asked = tasks_of(signatures.manifest, row["models"])
    others = [name for name in models if name not in row["models"]]
    forecast = signatures.forecast(row["models"], origin.find(None).predictor, others=others)
    experts = list(asked.values())
    probes = [signatures.probes[t] for t, expert in asked.items() if expert in models]
    for tree in known:
        forecast.runs[tree.label] = bench.run(tree, probes)
    return [
        merges.line(
            models,
            view.task,
            view.gap.level,
            view.values,
            [
                merges.entry(
                    tree.arm, row["utilities"][tree.label][place],
                    forecast.effects(tree, [view])[0],
                    forecast.likeness(tree, view),
                )
                for tree in known
            ],
        )
        for place, view in enumerate(forecast.view(models))
        if view.expert == experts[place]
    ]  # fmt: skip


def learn_from(manifest: Manifest, fold: int) -> tuple[Rows, merges.Merges]:
    """What the predictor of a fold learns from: pairs of this build and merges of many of the two
    before, of specialists of this zoo by name, none of them of the fold. Merges with a model that
    was planted are left out: some were made of models of the first build."""
    place = folds(manifest)
    rows, measured = _tables()
    pairs = zip(rows.experts, rows.auxiliaries, strict=True)

    def select(models: Iterable[Iterable[str]]) -> np.ndarray:
        apart = (all(place.get(name, fold) != fold for name in each) for each in models)
        return np.flatnonzero(list(apart))

    return rows.take(select(pairs)), measured.take(select(measured.models))


@cache
def _tables() -> tuple[Rows, merges.Merges]:
    arms = origin.find(None).predictor.arms
    return join(load_outcomes(OUTCOMES), load_features(FEATURES), arms), merges.load_merges(MERGES)


def train_without_fold(manifest: Manifest, fold: int) -> Predictor:
    """The packaged predictor, fitted anew on pairs and merges that share no model with a fold.

    The heads' sizes are the default ones. Half-widths of pairs' intervals, which only say how
    cautious a plan is, are the packaged ones; those of merges of many come from the same rows.
    """
    tables = b"".join(each.read_bytes() for each in (OUTCOMES, FEATURES, MERGES))
    path = BUILD / f"multiway-{fold}-{hashlib.sha256(tables).hexdigest()[:8]}.json"
    if not path.exists():
        packaged = origin.find(None).predictor
        known, measured = learn_from(manifest, fold)
        fitted = mixture.fit(known, Size(), seed=SEED)
        forest = replace(packaged.conditioned, forest=heads.text(fitted.forest), share=fitted.share)
        made = replace(
            packaged,
            line=fitted.line,
            heads=tuple(heads.text(head) for head in fitted.heads),
            conditioned=forest,
            training=digest(known),
            many=multiway.learn(known, measured, seed=SEED, alpha=packaged.alpha),
        )
        save(made, path)
    return load(path)
