"""Features of every measured pair of a zoo: what training sees beside the outcomes."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from simmerge_hub.hub.resolve import Checkpoint, resolve
from simmerge_hub.progress import Progress
from simmerge_hub.selector.tables.features import FeatureTable
from simmerge_hub.selector.tables.outcomes import Key, Outcome, Outcomes
from simmerge_hub.signatures.features.vector import FEATURE_SCHEMA, features, names_of
from simmerge_hub.signatures.merged.effects import EFFECT_NAMES as EFFECTS
from simmerge_hub.signatures.merged.effects import effects, swap_effects
from simmerge_hub.signatures.probing.dosing.response import Cross
from simmerge_hub.signatures.probing.probe import ProbeSet, probe_set
from simmerge_hub.signatures.signing import responses
from simmerge_hub.signatures.signing.signature import Request, Signature, obtain
from simmerge_hub.zoo.manifest import Manifest, base_of, load_manifest


def zoo_features(
    folder: Path,
    outcomes: Outcomes,
    *,
    dose: bool = True,
    cross: bool = False,
    progress: Progress = lambda what, done, total: None,
) -> FeatureTable:
    """The features of every row of `outcomes`: one signature per model, then pairs.

    Args:
        folder: the zoo that was measured.
        outcomes: its table; each row's (expert, auxiliary, task) becomes a row of features, with
            what each arm does to the pair.
        dose: every model answers the probes of the tasks it is an expert for, and its answers are
            read at parts of its delta.
        cross: of every row, both models are run as their mean on the expert's answers.
        progress: called with (what, done, in all).
    """
    manifest = load_manifest(folder)
    probes = {path: probe_set(path, str(manifest.probes(t))) for t, path in manifest.tasks.items()}
    names = sorted({n for row in outcomes.rows for n in (row.expert, row.auxiliary)})
    bases = {name: manifest.models[name].spec["base"] for name in names}
    everyone = [*dict.fromkeys(bases.values()), *names]
    needed = _tasks_by_model(outcomes, bases)
    known_best = _tasks_by_expert(outcomes) if dose or cross else {}
    requests, signatures = {}, {}
    for done, name in enumerate(everyone, 1):
        wanted = tuple(known for task, known in probes.items() if task in needed[name])
        requests[name] = _request(manifest, name, wanted, known_best.get(name, frozenset()))
        signatures[name] = obtain(requests[name]).signature
        progress(f"signing {name}", done, len(everyone))
    columns = names_of([*(["dose"] if known_best else []), *(["cross"] if cross else [])])
    rows: dict[Key, np.ndarray] = {}
    moved: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for done, row in enumerate(outcomes.rows, 1):
        trio = signatures[row.expert], signatures[row.auxiliary], signatures[bases[row.expert]]
        told = _cross(row, requests, signatures) if cross else {}
        rows[row.key] = features(*trio, row.task, names=columns, cross=told).values
        pair = row.expert, row.auxiliary
        if pair not in moved:
            forward = effects(*trio, outcomes.arms)
            backward = swap_effects(forward)
            moved[pair] = {a.label: f for a, f in zip(outcomes.arms, forward, strict=True)}
            moved[row.auxiliary, row.expert] = {
                a.swapped().label: f for a, f in zip(outcomes.arms, backward, strict=True)
            }
        progress("comparing pairs", done, len(outcomes.rows))
    return FeatureTable(
        names=columns,
        schema=FEATURE_SCHEMA,
        rows=rows,
        effect_names=EFFECTS,
        effects={key: moved[key[0], key[1]] for key in rows},
    )


def _tasks_by_model(outcomes: Outcomes, bases: Mapping[str, str]) -> dict[str, set[str]]:
    """Model -> the tasks of the rows it is in: where few pairs are measured, few of all."""
    tasks: dict[str, set[str]] = {}
    for row in outcomes.rows:
        for name in (row.expert, row.auxiliary, bases[row.expert]):
            tasks.setdefault(name, set()).add(row.task)
    return tasks


def _tasks_by_expert(outcomes: Outcomes) -> dict[str, frozenset[str]]:
    """Model -> the tasks of the rows it is the expert of."""
    experts = {row.expert for row in outcomes.rows}
    return {e: frozenset(r.task for r in outcomes.rows if r.expert == e) for e in experts}


def _request(
    manifest: Manifest, name: str, probes: tuple[ProbeSet, ...], dosed: frozenset[str]
) -> Request:
    checkpoint = resolve(str(manifest.path(name)))
    base: Checkpoint | None = None
    if checkpoint.kind == "adapter" or dosed:
        base = resolve(str(manifest.path(base_of(manifest, name))))
    return Request(checkpoint=checkpoint, base=base, probe_sets=probes, dosed=dosed)


def _cross(
    row: Outcome, requests: Mapping[str, Request], signatures: Mapping[str, Signature]
) -> dict[str, Cross]:
    """What the mean of a row's models makes of the expert's answers."""
    response = signatures[row.expert].responses.get(row.task)
    if response is None:
        return {}
    told = responses.cross(requests[row.expert], requests[row.auxiliary], row.task, response)
    return {"expert": told} if told else {}
