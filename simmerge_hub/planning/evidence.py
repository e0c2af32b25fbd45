"""Models -> signatures: from caches, from what is published, else computed."""

from collections.abc import Mapping
from dataclasses import dataclass

from simmerge_hub.hub.reference import home_path
from simmerge_hub.planning.ask.options import Say, Sources
from simmerge_hub.planning.ask.tasks import Task
from simmerge_hub.planning.inputs import Inputs
from simmerge_hub.recipe.calibration import FILES, Prompts
from simmerge_hub.signatures.features.vector import Features, features
from simmerge_hub.signatures.probing.probe import ProbeSet, probe_set
from simmerge_hub.signatures.published.shared import find_or_sign
from simmerge_hub.signatures.signing.signature import Request, Signature, Signed


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was measured: the probes by task, and by name every model's signature and the base's.

    `base` is the base's own, if there is a base; `origins` says by name where the parts of each
    signature came from.
    """

    probes: Mapping[str, ProbeSet]
    signatures: Mapping[str, Signature]
    base: Signature | None
    origins: Mapping[str, Mapping[str, str]]

    def compare(self, expert: str, auxiliary: str, task: str) -> Features:
        """The features of two models on a task."""
        known = self.signatures
        return features(known[expert], known[auxiliary], self.base, task)


def prompts_by_model(inputs: Inputs, evidence: Evidence) -> dict[str, tuple[Prompts, ...]]:
    """What each model is fed where its activations count: the prompts of the tasks it is the expert
    for, or of all tasks if it is the expert for none."""
    prompts = {task.name: _prompts(task, evidence) for task in inputs.tasks if evidence.probes}
    return {
        name: tuple(prompts[t.name] for t in inputs.tasks if t.expert == name)
        or tuple(prompts.values())
        for name in (inputs.names if prompts else ())
    }


def _prompts(task: Task, evidence: Evidence) -> Prompts:
    """Where a task's prompts are; a file of this machine by its whole path."""
    known = evidence.probes[task.name]
    stated = task.probes or ""
    where = str(home_path(stated).resolve()) if stated.endswith(FILES) else known.source
    return Prompts(source=where, digest=known.digest)


def sign_all(inputs: Inputs, sources: Sources, *, progress: Say, note: Say | None) -> Evidence:
    """Sign the models and the base, and run the probes of the tasks if they are wanted."""
    probed = inputs.tasks if sources.signals == "full" else ()
    probes = {task.name: probe_set(task.name, task.probes) for task in probed}
    signed: dict[str, Signed] = {}
    for checkpoint in [*inputs.models, *([inputs.base] if inputs.base else [])]:
        progress(f"signing {checkpoint.name}")
        signed[checkpoint.name] = find_or_sign(
            Request(checkpoint=checkpoint, base=inputs.base, probe_sets=tuple(probes.values())),
            third_parties=sources.signatures,
            progress=lambda what, done, total: progress(f"{what} ({done}/{total})"),
            note=note,
        )
    return Evidence(
        probes=probes,
        signatures={name: each.signature for name, each in signed.items()},
        base=signed[inputs.base.name].signature if inputs.base else None,
        origins={name: each.origins for name, each in signed.items()},
    )
