"""Features of every measured pair of a zoo: what training sees beside the outcomes."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from simmerge_hub.hub.resolve import Checkpoint, resolve
from simmerge_hub.selector.tables.features import FeatureTable
from simmerge_hub.selector.tables.outcomes import Key, Outcomes
from simmerge_hub.signatures.features.vector import FEATURE_NAMES, FEATURE_SCHEMA, features
from simmerge_hub.signatures.merged.effects import EFFECT_NAMES as EFFECTS
from simmerge_hub.signatures.merged.effects import effects, swap_effects
from simmerge_hub.signatures.probing.probe import ProbeSet, Progress, probe_set
from simmerge_hub.signatures.signing.signature import Signature, sign
from simmerge_hub.zoo.manifest import Manifest, load_manifest


def zoo_features(
    folder: Path, outcomes: Outcomes, *, progress: Progress = lambda what, done, total: None
) -> FeatureTable:
    """The features of every row of `outcomes`: one signature per model, then pairs.

    Args:
        folder: the zoo that was measured.
        outcomes: its table; each row's (expert, auxiliary, task) becomes a row of features, with
            what each arm does to the pair.
        progress: called with (what, done, in all).
    """
    manifest = load_manifest(folder)
    probes = {path: probe_set(path, str(manifest.probes(t))) for t, path in manifest.tasks.items()}
    names = sorted({n for row in outcomes.rows for n in (row.expert, row.auxiliary)})
    bases = {name: manifest.models[name].spec["base"] for name in names}
    everyone = [*dict.fromkeys(bases.values()), *names]
    needed = _tasks_by_model(outcomes, bases)
    signatures = {}
    for done, name in enumerate(everyone, 1):
        wanted = [known for task, known in probes.items() if task in needed[name]]
        signatures[name] = _signature(manifest, name, wanted)
        progress(f"signing {name}", done, len(everyone))
    rows: dict[Key, np.ndarray] = {}
    moved: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for done, row in enumerate(outcomes.rows, 1):
        trio = signatures[row.expert], signatures[row.auxiliary], signatures[bases[row.expert]]
        rows[row.key] = features(*trio, row.task).values
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
        names=FEATURE_NAMES,
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


def _signature(manifest: Manifest, name: str, probes: list[ProbeSet]) -> Signature:
    checkpoint = resolve(str(manifest.path(name)))
    base: Checkpoint | None = None
    if checkpoint.kind == "adapter":
        base = resolve(str(manifest.path(manifest.models[name].spec["base"])))
    return sign(checkpoint, base=base, probe_sets=probes)
